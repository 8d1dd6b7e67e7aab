"""What the request of a handshake may carry: headers, subprotocols, an origin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from websocketmanager.errors import Fault

#: Together with the handshake's own they stay below what common servers accept (100).
MAX_HEADERS: Final = 64
#: Of a name and its value together; common servers accept lines of 8 KiB.
MAX_HEADER_LENGTH: Final = 8000
MAX_SUBPROTOCOLS: Final = 16
MAX_SUBPROTOCOL_LENGTH: Final = 1024
MAX_ORIGIN_LENGTH: Final = 512

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


def header_faults(headers: Sequence[tuple[str, str]]) -> Iterator[Fault]:
    """Yields what is wrong with headers, each at its place in the list."""
    if len(headers) > MAX_HEADERS:
        yield Fault("headers", f"must be at most {MAX_HEADERS}, not {len(headers)}")
        return
    for number, (name, value) in enumerate(headers):
        path = f"headers[{number}]"
        if len(name) + len(value) > MAX_HEADER_LENGTH:
            yield Fault(path, f"must have at most {MAX_HEADER_LENGTH} characters with its name")
            continue
        if problem := header_name_problem(name):
            yield Fault(f"{path}.name", problem)
        if problem := header_value_problem(value):
            yield Fault(f"{path}.value", problem)


def subprotocol_faults(names: Sequence[str]) -> Iterator[Fault]:
    """Yields what is wrong with subprotocols, each at its place in the list."""
    if len(names) > MAX_SUBPROTOCOLS:
        yield Fault("subprotocols", f"must be at most {MAX_SUBPROTOCOLS}, not {len(names)}")
        return
    for number, name in enumerate(names):
        problem = subprotocol_problem(name)
        if problem is None and name in names[:number]:
            problem = "must not be offered twice (RFC 6455 §4.1)"
        if problem:
            yield Fault(f"subprotocols[{number}]", problem)


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
