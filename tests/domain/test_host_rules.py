"""Numbers by host: names before endings, the longest ending first, every fault named."""

from __future__ import annotations

import pytest

from websocketmanager.domain.host_rules import HostRules, host_of
from websocketmanager.errors import SettingsInvalid


@pytest.mark.parametrize(
    ("host", "number"),
    [
        ("stream.one.test", 1),
        ("other.one.test", 2),
        ("a.deep.one.test", 3),
        ("one.test", 9),
        ("xone.test", 9),
        ("192.0.2.1", 4),
        ("2001:db8::1", 5),
        ("xn--bcher-kva.test", 6),
        ("zero.test", 0),
        ("", 9),
    ],
)
def test_the_name_counts_then_the_longest_ending_then_the_default(host: str, number: int) -> None:
    rules = HostRules.of(
        [
            "*.one.test=2",
            "Stream.One.test. = 1",
            "*.deep.one.test=3",
            "192.0.2.1=4",
            "[2001:DB8:0::1]=5",
            "bücher.test=6",
            "zero.test=0",
        ]
    )
    assert rules.at(host, 9) == number


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("one.test", "is not HOST=NUMBER"),
        ("=5", "does not begin with a name, *.suffix or an address"),
        ("a b=5", "does not begin with a name"),
        ("*=5", "does not begin with a name"),
        ("1.2.3=5", "does not begin with a name"),
        ("*.192.0.2.1=5", "must not have *. before an address"),
        ("one.test=", "must have a whole number"),
        ("one.test=-1", "must have a whole number"),
        ("one.test=1.5", "must have a whole number"),
        ("one.test=²", "must have a whole number"),
        ("one.test=101", "must have at most 100"),
        (f"one.test={'9' * 5000}", "must have at most 100"),
        ("TWO.test=2", "names its host again"),
    ],
)
def test_every_wrong_entry_is_named(entry: str, problem: str) -> None:
    with pytest.raises(SettingsInvalid) as invalid:
        HostRules.of(["two.test=1", entry, "nothing"], most=100, path="Rules")
    first, last = invalid.value.faults
    assert (first.path, last.path) == ("Rules[1]", "Rules[2]")
    assert problem in first.problem


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("wss://user:p%40w@Feed.Test.:9443/x?y=z@w", "feed.test"),
        ("ws://feed.test", "feed.test"),
        ("ws://[2001:DB8:0::1]:80/", "2001:db8::1"),
        ("ws://127.0.0.1:8080/", "127.0.0.1"),
        ("ws://bücher.test/${secret:KEY}", "xn--bcher-kva.test"),
        ("wss://${secret:USER}:${secret:PASSWORD}@feed.test/", "feed.test"),
        ("ws://-/", "-"),
        ("ws://A.test?b@c", "a.test"),
        ("ws://Not A Host/", "not a host"),
        ("nothing", ""),
        ("ws://", ""),
    ],
)
def test_a_host_has_one_spelling(url: str, host: str) -> None:
    assert host_of(url) == host
