"""A proxy's URL, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import unquote_to_bytes

from websocketmanager.domain.hosts import Malformed
from websocketmanager.domain.url_policy import parse_url
from websocketmanager.errors import InvalidArgument

_PROXY: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^/?#]*)@)?([^/?#@]*:[0-9]+)/?")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
PROXY_SCHEMES: Final = ("http", "socks5", "socks5h")
#: RFC 1929 §2.
_MAX_SOCKS_CREDENTIAL: Final = 255


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """What a dial needs of a proxy's URL.

    Attributes:
        scheme: http (CONNECT), socks5, or socks5h (the proxy resolves the target's name).
        host: a name in ASCII and lower case, or an address without brackets.
        port: always given; there is no default that all software shares.
        literal: the host when it is an address, else None.
        user: decoded, or empty.
        password: decoded, or empty.
    """

    scheme: str
    host: str
    port: int
    literal: IPv4Address | IPv6Address | None = None
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def resolves_names(self) -> bool:
        """Whether the proxy is given the target's name instead of an address."""
        return self.scheme == "socks5h"


def proxy_problem(url: str) -> str | None:
    """Says what is wrong with a proxy's URL."""
    try:
        parse_proxy(url)
    except Malformed as malformed:
        return str(malformed)
    return None


def parse_proxy(url: str) -> ProxyUrl:
    """Reads a proxy's URL, strictly.

    Raises:
        Malformed: its text repeats nothing secret.
    """
    if not (match := _PROXY.fullmatch(url)):
        if not _SCHEME.match(url):
            raise Malformed(f"must begin with one of {_schemes()}")
        raise Malformed("must be scheme://host:port or scheme://user:password@host:port")
    scheme = match[1].lower()
    if scheme not in PROXY_SCHEMES:
        raise Malformed(f"must begin with one of {_schemes()}")
    try:
        # The one reader of hosts there is. Its sentences are about the host and the port here.
        place = parse_url(f"ws://{match[3]}/")
    except InvalidArgument as invalid:
        raise Malformed(invalid.faults[0].problem) from None
    user, password = _credentials(match[2], scheme)
    return ProxyUrl(scheme, place.host, place.port, place.literal, user, password)


def _credentials(user_information: str | None, scheme: str) -> tuple[str, str]:
    if user_information is None:
        return "", ""
    user_text, colon, password_text = user_information.partition(":")
    if not colon:
        raise Malformed("must have a password with its user name (user:password@host)")
    if "@" in user_information:
        raise Malformed("must have @ in user information percent-encoded")
    try:
        user = unquote_to_bytes(user_text).decode()
        password = unquote_to_bytes(password_text).decode()
    except UnicodeDecodeError:
        raise Malformed("must have UTF-8 in its user information") from None
    if any(not character.isprintable() for character in user + password):
        raise Malformed("must not have control characters in its user information")
    if scheme == "http":
        if ":" in user:
            raise Malformed("must not have a colon in its user name (RFC 7617 §2)")
    elif not all(
        part.isascii() and 1 <= len(part) <= _MAX_SOCKS_CREDENTIAL for part in (user, password)
    ):
        raise Malformed("must have 1 to 255 ASCII characters in user name and password (RFC 1929)")
    return user, password


def _schemes() -> str:
    return ", ".join(f"{scheme}://" for scheme in PROXY_SCHEMES)
