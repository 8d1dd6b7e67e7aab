"""Secrets of a URL are hidden, and nothing else changes."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.redaction import redact, scrub

LISTEN_KEY = "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ws://h",
        "wss://stream.binance.com:9443/ws/btcusdt@depth@100ms",
        "wss://stream.binance.com:9443/stream?streams=btcusdt@trade/ethusdt@depth20@100ms",
        "wss://ws.example.com/v2?symbol=BTC-USD&interval=1m&depth=20&v=1&compress=true&limit=5",
        "wss://ws.example.com/?product_ids=BTC-USD,ETH-USD;channels=ticker",
        "wss://[2606:4700::1111]:8443/feed",
        "wss://ws.example.com/feed/3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "wss://ws.example.com/a%20b/%C3%A9?stream=%40trade",
        "wss://ws.example.com/?token=&stream=",
        "wss://ws.example.com/a@b:c",
        "ws://bücher.example/straße",
    ],
)
def test_a_url_without_secrets_is_unchanged(url: str) -> None:
    assert redact(url) == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://user:pw@h/p", "wss://***@h/p"),
        ("wss://user@h:1", "wss://***@h:1"),
        ("wss://a:b@c:d@h/p", "wss://***@h/p"),
        ("wss:\\\\user:pw@h\\p", "wss:\\\\***@h\\p"),
        ("wss://user:p/w@h/p", "wss://***@h/p"),
        ("wss://user:p?w@h/p", "wss://***@h/p"),
        ("user:pw@h", "user:***@h"),
        ("wss://h/?token=abc", "wss://h/?token=***"),
        ("wss://h/?a=1&stream=x&apiKey=k=v", "wss://h/?a=***&stream=x&apiKey=***"),
        ("wss://h/?%74oken=abc;symbol=b", "wss://h/?%74oken=***;symbol=b"),
        ("wss://h/?abc&stream", "wss://h/?***&stream"),
        ("wss://h/?Symbol=B&SIGN=abc", "wss://h/?Symbol=B&SIGN=***"),
        ("wss://h/p?a=b?token=c", "wss://h/p?a=***"),
        ("wss://h/p#token=abc", "wss://h/p#***"),
        ("?token=abc", "?token=***"),
        (f"wss://h/ws/{LISTEN_KEY}", "wss://h/ws/***"),
        (f"wss://h/ws/{LISTEN_KEY}/x?v=1", "wss://h/ws/***/x?v=1"),
        (f"wss://h/stream?streams={LISTEN_KEY}/btcusdt@trade", "wss://h/stream?streams=***"),
        ("wss://h/v3/0123456789abcdef0123456789abcdef", "wss://h/v3/***"),
        ("wss://h/v2/kQ3_x-9ZbT7-Lm2_pR5vW8-aN1cD4eF6", "wss://h/v2/***"),
        ("wss://h/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "wss://h/***"),
    ],
)
def test_secrets_are_hidden(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(st.text())
def test_any_text_is_accepted_and_redacting_twice_changes_nothing(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


SECRET = st.text(string.ascii_letters + string.digits, min_size=8, max_size=40)


@given(user=SECRET, password=SECRET, name=SECRET, value=SECRET)
def test_no_secret_is_left(user: str, password: str, name: str, value: str) -> None:
    shown = redact(f"wss://{user}:{password}@feed.test:9443/ws?symbol=x&k_{name}={value}&v=1")
    assert shown == f"wss://***@feed.test:9443/ws?symbol=x&k_{name}=***&v=1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bad token s3cr%C3%A9t", "bad token ***"),
        ("bad token s3crét", "bad token ***"),
        ("who is alice with wonder", "who is *** with ***"),
        ("alice:wonder", "***"),
        ("nothing here but btcusdt and 1", "nothing here but btcusdt and 1"),
        ("", ""),
    ],
)
def test_the_peers_words_are_scrubbed(text: str, shown: str) -> None:
    url = "wss://alice:wonder@h/ws?stream=btcusdt&token=s3cr%C3%A9t&n=1"
    assert scrub(text, url) == shown


@given(st.text(), st.text())
def test_scrubbing_is_total(text: str, url: str) -> None:
    scrub(text, url)
