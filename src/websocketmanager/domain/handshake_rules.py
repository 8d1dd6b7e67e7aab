"""Judges what a caller may say in an opening handshake, and through which proxy. Pure; stdlib only.

All texts are the evaluated ones: a secret that ends in a line break is as wrong as a header that
does. No sentence repeats a value, which may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from urllib.parse import unquote_to_bytes

from websocketmanager.domain.hosts import Malformed, read_address, read_host
from websocketmanager.domain.options import TlsOptions
from websocketmanager.domain.url_policy import parse_url
from websocketmanager.errors import Fault, InvalidArgument

#: Together with the handshake's own they stay below what common servers accept (100).
MAX_HEADERS: Final = 64
#: Of a name and its value together; common servers accept lines of 8 KiB.
MAX_HEADER_LENGTH: Final = 8000
MAX_SUBPROTOCOLS: Final = 16
MAX_SUBPROTOCOL_LENGTH: Final = 1024
MAX_ORIGIN_LENGTH: Final = 512
#: Every public authority there is takes about 230,000.
MAX_PEM_LENGTH: Final = 524_288

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
#: RFC 9110 §5.5 without obs-text, whose meaning nobody agrees on.
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_ORIGIN: Final = re.compile(
    r"null|[A-Za-z][A-Za-z0-9+.-]*://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{1,5})?"
)
#: Header names (lower case) that are not the caller's, with who owns them.
_OWNED: Final = {
    **dict.fromkeys(("host", "connection", "upgrade"), "belongs to the handshake"),
    "origin": "has an option of its own",
    # RFC 9110 §7.6.1 and §10.1.1, RFC 9112 §6 and §7: they would change what the request is.
    **dict.fromkeys(
        (
            *("content-length", "transfer-encoding", "te", "trailer", "expect"),
            *("keep-alive", "proxy-connection"),
        ),
        "belongs to the transport",
    ),
    **dict.fromkeys(("proxy-authorization", "proxy-authenticate"), "belongs to the proxy"),
}
_OWNED_PREFIX: Final = "sec-websocket-"

_PROXY: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^/?#]*)@)?([^/?#@]*:[0-9]+)/?")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
PROXY_SCHEMES: Final = ("http", "socks5", "socks5h")
#: RFC 1929 §2.
_MAX_SOCKS_CREDENTIAL: Final = 255

_CERTIFICATES: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)
_KEYS: Final = re.compile(
    r"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----\s[A-Za-z0-9+/=\s]+-----END \1-----"
)
#: PKCS #8 and, before it, OpenSSL's own way.
_ENCRYPTED_KEY: Final = re.compile(r"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")


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


def handshake_faults(
    *,
    headers: Sequence[tuple[str, str]] = (),
    subprotocols: Sequence[str] = (),
    origin: str = "",
    proxy: str = "",
    tls: TlsOptions | None = None,
    secure: bool = True,
) -> list[Fault]:
    """Judges all of a handshake's options, each at the path of its field.

    Args:
        headers: names and values.
        subprotocols: in the order of preference.
        origin: empty for none.
        proxy: empty for none.
        tls: None for nothing special.
        secure: whether the URL is wss://.
    """
    return [
        *_header_faults(headers),
        *_subprotocol_faults(subprotocols),
        *_at("origin", origin_problem(origin) if origin else None),
        *_at("proxy", proxy_problem(proxy) if proxy else None),
        *(tls_faults(tls, secure=secure) if tls is not None else ()),
    ]


def header_name_problem(name: str) -> str | None:
    """Says what is wrong with a header's name (RFC 9110 §5.1), or whose it is."""
    if not _TOKEN.fullmatch(name):
        return "must be a token (RFC 9110 §5.6.2): letters, digits, - and _"
    lower = name.lower()
    owner = "belongs to the handshake" if lower.startswith(_OWNED_PREFIX) else _OWNED.get(lower)
    return f"must not be {name}, which {owner}" if owner else None


def header_value_problem(value: str) -> str | None:
    """Says what is wrong with a header's value (RFC 9110 §5.5)."""
    if not _FIELD_VALUE.fullmatch(value):
        return "must have visible ASCII characters and blanks only, on one line"
    if value != value.strip(" \t"):
        return "must not begin or end with a blank"
    return None


def subprotocol_problem(name: str) -> str | None:
    """Says what is wrong with a subprotocol's name (RFC 6455 §4.1)."""
    if not _TOKEN.fullmatch(name):
        return "must be a token (RFC 9110 §5.6.2): no blanks, commas or quotes"
    if len(name) > MAX_SUBPROTOCOL_LENGTH:
        return f"must have at most {MAX_SUBPROTOCOL_LENGTH} characters, not {len(name)}"
    return None


def origin_problem(origin: str) -> str | None:
    """Says what is wrong with an origin (RFC 6454 §6.2): scheme, host, and nothing behind."""
    if len(origin) > MAX_ORIGIN_LENGTH:
        return f"must have at most {MAX_ORIGIN_LENGTH} characters, not {len(origin)}"
    if not _ORIGIN.fullmatch(origin):
        return "must be scheme://host or scheme://host:port, without a final slash"
    return None


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


def tls_faults(tls: TlsOptions, path: str = "tls", *, secure: bool = True) -> list[Fault]:
    """Judges TLS options; whether OpenSSL can use the texts is seen when it does."""
    if not secure and tls != TlsOptions():
        return [Fault(path, "must not be given for a URL that is not wss://")]
    faults = [
        *_at(f"{path}.ca_pem", tls.ca_pem and certificate_problem(tls.ca_pem)),
        *_at(
            f"{path}.certificate_pem",
            tls.certificate_pem and certificate_problem(tls.certificate_pem),
        ),
        *_at(f"{path}.key_pem", tls.key_pem and key_problem(tls.key_pem)),
        *_at(f"{path}.server_name", tls.server_name and server_name_problem(tls.server_name)),
    ]
    if tls.certificate_pem and not tls.key_pem:
        faults.append(Fault(f"{path}.key_pem", "must be given with certificate_pem"))
    if tls.key_pem and not tls.certificate_pem:
        faults.append(Fault(f"{path}.certificate_pem", "must be given with key_pem"))
    return faults


def certificate_problem(pem: str) -> str | None:
    """Says what is wrong with the PEM text (RFC 7468) of one certificate or more."""
    if len(pem) > MAX_PEM_LENGTH:
        return f"must have at most {MAX_PEM_LENGTH} characters, not {len(pem)}"
    if not _CERTIFICATES.search(pem):
        return "must have a PEM block of type CERTIFICATE"
    return None


def key_problem(pem: str) -> str | None:
    """Says what is wrong with the PEM text of a private key."""
    if len(pem) > MAX_PEM_LENGTH:
        return f"must have at most {MAX_PEM_LENGTH} characters, not {len(pem)}"
    if _ENCRYPTED_KEY.search(pem):
        return "must not be encrypted: there is nobody to ask for its password"
    if len(_KEYS.findall(pem)) != 1:
        return "must have one PEM block of type PRIVATE KEY"
    return None


def server_name_problem(name: str) -> str | None:
    """Says what is wrong with the name that a certificate must carry."""
    if read_address(name) is not None and "%" not in name:
        return None
    try:
        read_host(name)
    except Malformed as malformed:
        return str(malformed)
    return None


def certificates(pem: str) -> str:
    """Returns only the certificates of a text, without what authors write between them."""
    return "\n".join([*_CERTIFICATES.findall(pem), ""])


def _header_faults(headers: Sequence[tuple[str, str]]) -> Iterator[Fault]:
    if len(headers) > MAX_HEADERS:
        yield Fault("headers", f"must be at most {MAX_HEADERS}, not {len(headers)}")
        return
    for number, (name, value) in enumerate(headers):
        path = f"headers[{number}]"
        if len(name) + len(value) > MAX_HEADER_LENGTH:
            yield Fault(path, f"must have at most {MAX_HEADER_LENGTH} characters with its name")
            continue
        yield from _at(f"{path}.name", header_name_problem(name))
        yield from _at(f"{path}.value", header_value_problem(value))


def _subprotocol_faults(names: Sequence[str]) -> Iterator[Fault]:
    if len(names) > MAX_SUBPROTOCOLS:
        yield Fault("subprotocols", f"must be at most {MAX_SUBPROTOCOLS}, not {len(names)}")
        return
    for number, name in enumerate(names):
        problem = subprotocol_problem(name)
        if problem is None and name in names[:number]:
            problem = "must not be offered twice (RFC 6455 §4.1)"
        yield from _at(f"subprotocols[{number}]", problem)


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


def _at(path: str, problem: str | None) -> Iterator[Fault]:
    if problem:
        yield Fault(path, problem)
