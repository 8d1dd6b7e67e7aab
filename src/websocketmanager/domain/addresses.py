"""Names the rule by which an IP address is not an ordinary public one. Pure; stdlib only.

Sources: the IANA special-purpose registries (RFC 6890 and what amended it) and the addresses at
which clouds serve instance metadata. IPv6 is closed by default: only 2000::/3 is public.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

CLOUD_METADATA: Final = "cloud metadata"
LOOPBACK: Final = "loopback"

#: First match wins, so the particular stands before the general.
_V4_RULES: Final = tuple(
    (IPv4Network(network), rule)
    for network, rule in (
        ("169.254.169.254/32", CLOUD_METADATA),
        ("169.254.170.2/32", CLOUD_METADATA),  # AWS containers
        ("100.100.100.200/32", CLOUD_METADATA),  # Alibaba
        ("192.0.0.192/32", CLOUD_METADATA),  # Oracle
        ("168.63.129.16/32", CLOUD_METADATA),  # Azure, although a public address
        ("0.0.0.0/32", "unspecified"),
        ("0.0.0.0/8", "this-network"),  # Linux connects 0.x to itself
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", LOOPBACK),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6_RULES: Final = tuple(
    (IPv6Network(network), rule)
    for network, rule in (
        ("fd00:ec2::254/128", CLOUD_METADATA),  # AWS
        ("fd20:ce::254/128", CLOUD_METADATA),  # Google
        ("::/128", "unspecified"),
        ("::1/128", LOOPBACK),
        ("64:ff9b:1::/48", "private"),  # NAT64 for local use, RFC 8215
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),  # site-local, deprecated
        ("ff00::/8", "multicast"),
        ("2001:2::/48", "benchmarking"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("2001::/23", "reserved"),
    )
)
_V6_PUBLIC: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_TEREDO: Final = IPv6Network("2001::/32")
_6TO4: Final = IPv6Network("2002::/16")
#: The interface identifier that carries an IPv4 address (ISATAP, RFC 5214 §6.1).
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})


def special_rule(address: str) -> str | None:
    """Returns the name of the rule that makes an address special, or None for a public one.

    Total: text that is no address is "invalid". An address that carries an IPv4 address (6to4,
    Teredo, NAT64, ISATAP) is as special as the one it carries; an IPv4-mapped one always is, and
    so is one with a zone.
    """
    if "%" in address:
        return "zoned"
    try:
        parsed = ip_address(address)
    except ValueError:
        return "invalid"
    return _v4_rule(parsed) if isinstance(parsed, IPv4Address) else _v6_rule(parsed)


def _v4_rule(address: IPv4Address) -> str | None:
    return next((rule for network, rule in _V4_RULES if address in network), None)


def _v6_rule(address: IPv6Address) -> str | None:
    if address.ipv4_mapped is not None:
        return "IPv4-mapped"
    for carrier, carried in _carried(address):
        if rule := _v4_rule(carried):
            return f"{carrier}-embedded {rule}"
    if address in _NAT64 or address in _TEREDO:
        return None
    for network, rule in _V6_RULES:
        if address in network:
            return rule
    return None if address in _V6_PUBLIC else "reserved"


def _carried(address: IPv6Address) -> list[tuple[str, IPv4Address]]:
    """Finds the IPv4 addresses to which a tunnel or translator would deliver."""
    number = int(address)
    carried = []
    if address in _NAT64:
        carried.append(("NAT64", IPv4Address(number & 0xFFFFFFFF)))
    if address in _6TO4:
        carried.append(("6to4", IPv4Address(number >> 80 & 0xFFFFFFFF)))
    if address in _TEREDO:
        carried.append(("Teredo", IPv4Address(number >> 64 & 0xFFFFFFFF)))
        # RFC 4380 §4: the client's address has all its bits inverted.
        carried.append(("Teredo", IPv4Address(~number & 0xFFFFFFFF)))
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        carried.append(("ISATAP", IPv4Address(number & 0xFFFFFFFF)))
    return carried
