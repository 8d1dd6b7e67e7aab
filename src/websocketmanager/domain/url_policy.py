"""Judges a URL; the one door to all that is known of URLs. Pure; stdlib only.

The addresses of its host are judged in `address_policy`, its secrets hidden in `redaction`.
`parse_url` accepts exactly the URLs that a dial can use: what it says about the host is what is
resolved, judged and dialled, so no second reading of the text can disagree with it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import unquote_to_bytes

from websocketmanager.domain.address_policy import AddressPolicy
from websocketmanager.domain.hosts import Malformed, read_host
from websocketmanager.domain.redaction import redact, scrub
from websocketmanager.errors import Fault, InvalidArgument

__all__ = ["AddressPolicy", "ParsedUrl", "parse_url", "redact", "scrub"]

MAX_URL_LENGTH: Final = 4096
_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}

_START: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_BARE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_V6_HOST: Final = re.compile(r"\[([^\[\]]*)\](?::(.*))?")
_HOST: Final = re.compile(r"([^:\[\]]*)(?::(.*))?")
_PORT: Final = re.compile(r"[0-9]{0,16}")
#: Legal in no URL, and read by some software as something else.
_UNENCODED: Final = frozenset('\\<>"')
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})


@dataclass(frozen=True, slots=True)
class ParsedUrl:
    """What a dial needs of a valid URL.

    Attributes:
        scheme: ws or wss.
        host: a name in ASCII and lower case, or an address without brackets.
        port: as given, or the scheme's default.
        literal: the host when it is an address, else None.
    """

    scheme: str
    host: str
    port: int
    literal: IPv4Address | IPv6Address | None = None

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "wss"

    @property
    def tls_name(self) -> str:
        """The name a certificate must carry: without the dot that makes a name absolute."""
        return self.host.removesuffix(".")


def parse_url(url: str) -> ParsedUrl:
    """Parses a WebSocket URL (RFC 6455 §3, RFC 3986), strictly.

    Raises:
        InvalidArgument: with one fault at `url`; its sentence repeats nothing secret.
    """
    try:
        return _parse(url)
    except Malformed as malformed:
        raise InvalidArgument(Fault("url", str(malformed))) from None


def _parse(url: str) -> ParsedUrl:
    _check_text(url)
    start = _START.match(url)
    if start is None or (scheme := start[1].lower()) not in _DEFAULT_PORTS:
        raise Malformed("must begin with ws:// or wss://")
    if start[2] is None:
        raise Malformed(f"must have // after {scheme}:")
    authority = re.split(r"[/?]", url[start.end() :], maxsplit=1)[0]
    user, at, place = authority.rpartition("@")
    if at:
        _check_user(user)
    host, literal, port_text = _host(place)
    return ParsedUrl(scheme, host, _port(port_text, _DEFAULT_PORTS[scheme]), literal)


def _check_text(url: str) -> None:
    if not url:
        raise Malformed("must not be empty")
    if len(url) > MAX_URL_LENGTH:
        raise Malformed(f"must have at most {MAX_URL_LENGTH} characters, not {len(url)}")
    for character in url:
        if unicodedata.category(character) in _INVISIBLE:
            raise Malformed("must not contain white space, control or invisible characters")
        if character in _UNENCODED:
            raise Malformed(f"must have {character} percent-encoded")
    if "#" in url:
        raise Malformed("must not have a fragment (RFC 6455 §3)")
    if _BARE_PERCENT.search(url):
        raise Malformed("must have two hexadecimal digits after every %")


def _check_user(user: str) -> None:
    name, colon, password = user.partition(":")
    if not colon:
        raise Malformed("must have a password with its user name (user:password@host)")
    if any(character in user for character in "@[]"):
        raise Malformed("must have @ and brackets in user information percent-encoded")
    try:
        unquote_to_bytes(name).decode()
        unquote_to_bytes(password).decode()
    except UnicodeDecodeError:
        raise Malformed("must have UTF-8 in its user information") from None


def _host(place: str) -> tuple[str, IPv4Address | IPv6Address | None, str | None]:
    if v6 := _V6_HOST.fullmatch(place):
        if "%" in v6[1]:
            raise Malformed("must not have an IPv6 zone")
        try:
            return v6[1].lower(), IPv6Address(v6[1]), v6[2]
        except AddressValueError:
            raise Malformed("must have an IPv6 address between brackets") from None
    plain = _HOST.fullmatch(place)
    if plain is None:
        raise Malformed("must have one host, with an IPv6 address in brackets")
    if not plain[1]:
        raise Malformed("must have a host")
    return *read_host(plain[1]), plain[2]


def _port(text: str | None, default: int) -> int:
    if not text:
        return default
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise Malformed("must have a port from 1 to 65535")
    return int(text)
