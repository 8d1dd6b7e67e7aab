"""Which addresses are special, and by which rule; compared with the standard library."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.addresses import special_rule

NAT64 = IPv6Network("64:ff9b::/96")
V4 = st.integers(0, 2**32 - 1).map(IPv4Address)
V6 = st.integers(0, 2**128 - 1).map(IPv6Address)
#: Random numbers seldom meet a special range: steer towards their beginnings.
NEAR_V4 = st.builds(
    lambda first, rest: IPv4Address(first << 24 | rest),
    st.sampled_from([0, 10, 100, 127, 169, 172, 192, 198, 203, 224, 240, 255]),
    st.integers(0, 2**24 - 1),
)
NEAR_V6 = st.builds(
    lambda first, rest: IPv6Address(first << 112 | rest),
    st.sampled_from([0, 0x64, 0x100, 0x2001, 0x2002, 0x3FFF, 0xFC00, 0xFD00, 0xFE80, 0xFF02]),
    st.integers(0, 2**112 - 1),
)


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "this-network"),
        ("10.0.0.1", "private"),
        ("100.63.255.255", None),
        ("100.64.0.0", "carrier-grade NAT"),
        ("100.100.100.200", "cloud metadata"),
        ("100.127.255.255", "carrier-grade NAT"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "cloud metadata"),
        ("169.254.1.1", "link-local"),
        ("169.254.169.254", "cloud metadata"),
        ("169.254.170.2", "cloud metadata"),
        ("172.15.255.255", None),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("172.32.0.0", None),
        ("192.0.0.192", "cloud metadata"),
        ("192.0.0.8", "reserved"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "6to4 relay"),
        ("192.168.255.255", "private"),
        ("198.18.0.1", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.9", "documentation"),
        ("224.0.0.1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("8.8.8.8", None),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::8.8.8.8", "reserved"),
        ("::ffff:127.0.0.1", "IPv4-mapped"),
        ("::ffff:8.8.8.8", "IPv4-mapped"),
        ("64:ff9b::8.8.8.8", None),
        ("64:ff9b::10.0.0.1", "NAT64-embedded private"),
        ("64:ff9b::169.254.169.254", "NAT64-embedded cloud metadata"),
        ("64:ff9b:1::1", "private"),
        ("100::1", "reserved"),
        ("2001:0:808:808::f7f7:f7f7", None),  # Teredo: server and client 8.8.8.8
        ("2001:0:808:808::80ff:fffe", "Teredo-embedded loopback"),
        ("2001:0:a00:1::f7f7:f7f7", "Teredo-embedded private"),
        ("2001:2::1", "benchmarking"),
        ("2001:10::1", "reserved"),
        ("2001:db8::1", "documentation"),
        ("2002:808:808::1", None),
        ("2002:7f00:1::1", "6to4-embedded loopback"),
        ("2002:a9fe:a9fe::1", "6to4-embedded cloud metadata"),
        ("2606:4700::1111", None),
        ("2606:4700::5efe:c0a8:1", "ISATAP-embedded private"),
        ("2606:4700::200:5efe:7f00:1", "ISATAP-embedded loopback"),
        ("3fff::1", "documentation"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "cloud metadata"),
        ("fd20:ce::254", "cloud metadata"),
        ("fe80::1", "link-local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
    ],
)
def test_each_range_has_its_rule(address: str, rule: str | None) -> None:
    assert special_rule(address) == rule


@pytest.mark.parametrize("address", ["fe80::1%eth0", "2606:4700::1111%1", "::1%", "%"])
def test_a_zone_is_always_refused(address: str) -> None:
    assert special_rule(address) == "zoned"


@given(st.one_of(V4, NEAR_V4, V6, NEAR_V6))
def test_never_laxer_than_the_standard_library(address: IPv4Address | IPv6Address) -> None:
    # What carries a public IPv4 address is reachable, though the library calls it special.
    carries = isinstance(address, IPv6Address) and (
        address.sixtofour or address.teredo or address in NAT64
    )
    if not carries and (not address.is_global or address.is_multicast or address.is_reserved):
        assert special_rule(str(address)) is not None


@given(st.one_of(V4, NEAR_V4))
def test_a_carried_address_is_judged_like_the_address(address: IPv4Address) -> None:
    rule = special_rule(str(address))
    number = int(address)
    carriers = {
        "NAT64": IPv6Address(int(IPv6Address("64:ff9b::")) | number),
        "6to4": IPv6Address(0x2002 << 112 | number << 80 | 1),
        "Teredo": IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | (number ^ 0xFFFFFFFF)),
    }
    for carrier, carrying in carriers.items():
        expected = None if rule is None else f"{carrier}-embedded {rule}"
        assert special_rule(str(carrying)) == expected
    assert special_rule(str(IPv6Address(0xFFFF << 32 | number))) == "IPv4-mapped"


@given(st.one_of(V6, NEAR_V6))
def test_spelling_does_not_matter(address: IPv6Address) -> None:
    assert special_rule(address.exploded.upper()) == special_rule(str(address))


@given(st.text())
def test_total_for_any_text(text: str) -> None:
    rule = special_rule(text)
    try:
        ip_address(text)
    except ValueError:
        assert rule in {"invalid", "zoned"}


@pytest.mark.parametrize("text", ["", "127.1", "0177.0.0.1", "2130706433", "1.2.3.4 ", "[::1]"])
def test_other_spellings_are_invalid(text: str) -> None:
    assert special_rule(text) == "invalid"
