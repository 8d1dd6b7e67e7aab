"""What an allow-list allows, and that nothing else special is."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.address_policy import AddressPolicy
from websocketmanager.domain.addresses import special_rule
from websocketmanager.errors import SettingsInvalid

CLOSED = AddressPolicy.of([])


@pytest.mark.parametrize(
    ("host", "rule"),
    [
        ("feed.example.com", None),
        ("8.8.8.8", None),
        ("127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("::1", "loopback"),
        ("fe80::1%eth0", "zoned"),
        ("localhost", "loopback"),
        ("LOCALHOST", "loopback"),
        ("localhost.", "loopback"),
        ("feed.localhost", "loopback"),
        ("localhost.localdomain", "loopback"),
        ("ip6-loopback", "loopback"),
        ("notlocalhost", None),
        ("localhost.example.com", None),
        ("metadata.google.internal", "cloud metadata"),
        ("metadata.google.internal.", "cloud metadata"),
        ("instance-data", "cloud metadata"),
    ],
)
def test_a_host_without_allow_list(host: str, rule: str | None) -> None:
    assert CLOSED.judge_host(host) == rule


@given(st.ip_addresses().map(str))
def test_without_allow_list_every_special_address_is_refused(address: str) -> None:
    assert CLOSED.judge_address("feed.example.com", address) == special_rule(address)
    assert CLOSED.judge_host(address) == special_rule(address)


@pytest.mark.parametrize(
    ("entry", "host", "address", "rule"),
    [
        ("feed.internal", "feed.internal", "10.0.0.1", None),
        ("Feed.Internal.", "FEED.internal.", "10.0.0.1", None),
        ("feed.internal", "a.feed.internal", "10.0.0.1", "private"),
        ("feed.internal", "evilfeed.internal", "10.0.0.1", "private"),
        ("*.internal", "feed.internal", "10.0.0.1", None),
        ("*.internal", "a.b.internal", "169.254.169.254", None),
        ("*.internal", "internal", "10.0.0.1", "private"),
        ("*.internal", "feedinternal", "10.0.0.1", "private"),
        ("10.0.0.1", "any.example", "10.0.0.1", None),
        ("10.0.0.1", "any.example", "10.0.0.2", "private"),
        ("10.0.0.0/8", "any.example", "10.255.255.255", None),
        ("10.0.0.0/8", "any.example", "::ffff:10.0.0.1", "IPv4-mapped"),
        ("10.0.0.0/8", "any.example", "64:ff9b::10.0.0.1", "NAT64-embedded private"),
        ("fd00::/8", "any.example", "fd12::1", None),
        ("[fd00::1]", "any.example", "fd00::1", None),
        ("fd00::/8", "any.example", "10.0.0.1", "private"),
        ("fe80::/10", "any.example", "fe80::1%eth0", "zoned"),
        ("feed.internal", "feed.internal", "fe80::1%eth0", "zoned"),
        ("0.0.0.0/0", "any.example", "127.0.0.1", None),
        ("bücher.example", "xn--bcher-kva.example", "10.0.0.1", None),
    ],
)
def test_an_entry_allows_what_it_names(
    entry: str, host: str, address: str, rule: str | None
) -> None:
    assert AddressPolicy.of([entry]).judge_address(host, address) == rule


@pytest.mark.parametrize(
    ("entry", "host", "rule"),
    [
        ("localhost", "localhost", None),
        ("localhost", "127.0.0.1", None),
        ("localhost", "::1", None),
        ("localhost", "feed.localhost", None),
        ("localhost", "10.0.0.1", "private"),
        ("127.0.0.0/8", "localhost", None),
        ("::1", "localhost", None),
        ("127.0.0.2", "localhost", "loopback"),
        ("0.0.0.0/0", "localhost", None),
        ("10.0.0.0/8", "localhost", "loopback"),
        ("metadata", "metadata", None),
    ],
)
def test_loopback_by_name_and_by_address(entry: str, host: str, rule: str | None) -> None:
    assert AddressPolicy.of([entry]).judge_host(host) == rule


def test_only_an_entry_by_name_trusts_a_name() -> None:
    policy = AddressPolicy.of(["feed.example", "*.venue.example", "0.0.0.0/0", "localhost"])
    names = ["feed.example", "FEED.example.", "a.venue.example", "localhost"]
    assert all(map(policy.trusts_name, names))
    others = ["a.feed.example", "venue.example", "127.0.0.1", "", "feed.localhost"]
    assert not any(map(policy.trusts_name, others))


def test_every_bad_entry_is_named() -> None:
    entries = ["ok.example", "", "*", "10.1.2.3/8", "a b", "*.10.0.0.1", "fe80::1%1", "x/24", "-"]
    with pytest.raises(SettingsInvalid) as raised:
        AddressPolicy.of(entries)
    assert [fault.path for fault in raised.value.faults] == [
        f"AllowedHosts[{number}]" for number in range(1, len(entries))
    ]


@given(st.text(), st.text())
def test_judging_is_total(host: str, address: str) -> None:
    policy = AddressPolicy.of(["*.internal", "10.0.0.0/8"])
    policy.judge_host(host)
    policy.judge_address(host, address)


@given(st.lists(st.text()))
def test_building_gives_a_policy_or_names_the_faults(entries: list[str]) -> None:
    with contextlib.suppress(SettingsInvalid):
        AddressPolicy.of(entries)
