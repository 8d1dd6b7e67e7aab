"""What a host is read as: a name in ASCII, or an address; never anything in between."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.hosts import Malformed, read_address, read_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Feed.Example", "feed.example"),
        ("feed.example.", "feed.example."),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("feed。example", "feed.example"),
        ("a" * 63, "a" * 63),
        ("0x7g", "0x7g"),
        ("1a", "1a"),
    ],
)
def test_a_name(text: str, host: str) -> None:
    assert read_host(text) == (host, None)


@pytest.mark.parametrize("text", ["127.0.0.1", "１２７.０.０.１"])
def test_an_address(text: str) -> None:
    assert read_host(text) == ("127.0.0.1", ip_address("127.0.0.1"))


@pytest.mark.parametrize(
    "text", ["", ".", "a..b", "a b", "a%41", "-a", "a-", "a" * 64, "::1", "1", "0x7f", "1.2.3.4."]
)
def test_neither(text: str) -> None:
    with pytest.raises(Malformed, match=r"^must have "):
        read_host(text)


@given(st.text())
def test_reading_twice_changes_nothing(text: str) -> None:
    try:
        host, literal = read_host(text)
    except Malformed:
        return
    assert read_host(host) == (host, literal)
    # What the resolver could take for an address is one to us too.
    assert read_address(host) == literal


@given(st.ip_addresses())
def test_every_address_is_read(address: object) -> None:
    assert read_address(str(address)) == address
