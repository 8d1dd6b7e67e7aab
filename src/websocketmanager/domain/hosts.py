"""Reads a host as the dial will: a name in ASCII, or an address. Pure; stdlib only."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Final

_MAX_NAME_LENGTH: Final = 253
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: What the C resolver, unlike us, reads as an IPv4 address: 2130706433, 0x7f.1, 017700000001.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


class Malformed(ValueError):
    """Text is not what it should be; the exception's text says what it must be."""


def read_host(text: str) -> tuple[str, IPv4Address | None]:
    """Returns a host in ASCII, with its address when it is one.

    Raises:
        Malformed: it is neither an address nor a name.
    """
    host = text.lower()
    if not host.isascii():
        try:
            # IDNA 2003, as the dial's own reading of the URL does it.
            host = host.encode("idna").decode()
        except UnicodeError:
            raise Malformed("must have a host that IDNA can encode") from None
    name = host.removesuffix(".")
    labels = name.split(".")
    if len(name) > _MAX_NAME_LENGTH or not all(map(_LABEL.fullmatch, labels)):
        raise Malformed("must have a host of letters, digits, hyphens and dots")
    if not _NUMBER.fullmatch(labels[-1]):
        return host, None
    try:
        return host, IPv4Address(host)
    except AddressValueError:
        raise Malformed("must have four decimal numbers in an IPv4 address") from None


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Returns the address that the text spells, if it does."""
    try:
        return ip_address(text)
    except ValueError:
        return None
