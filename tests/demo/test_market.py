"""Prices walk within bounds, sequence numbers count, commands are obeyed and answered."""

from __future__ import annotations

import itertools
import json

import pytest

from websocketmanager.demo.market import LISTED, QUOTE, Market, reply_to

PREFIX = b"0123456789abcdef"


def market(*symbols: str, dice: tuple[float, ...] = (0.5, 0.9, 0.1)) -> Market:
    return Market(symbols or tuple(LISTED), itertools.cycle(dice).__next__)


def test_ticks_are_json_with_growing_sequence() -> None:
    some = market()
    ticks = [json.loads(some.tick(1.5) or "") for _ in range(3)]
    assert [tick["seq"] for tick in ticks] == [1, 2, 3]
    assert all(tick["type"] == "tick" and tick["symbol"] in LISTED for tick in ticks)
    assert ticks[0]["time_ms"] == 1500


def test_quotes_are_packed_with_bid_below_ask() -> None:
    sequence, micros, symbol, bid, ask = QUOTE.unpack(market("COIL-USD").quote(2.0) or b"")
    assert (sequence, micros) == (1, 2_000_000)
    assert symbol.rstrip(b"\0").decode() == "COIL-USD"
    assert bid < ask


@pytest.mark.parametrize("toss", [0.0, 0.999_999])
def test_the_walk_stays_within_its_bounds(toss: float) -> None:
    some = market("ACME-USD", dice=(0.0, toss, 0.5))
    for _ in range(5000):
        price = float(json.loads(some.tick(0) or "")["price"])
    assert LISTED["ACME-USD"] / 3 - 1 <= price * 100 <= LISTED["ACME-USD"] * 3 + 1


def test_without_a_subscription_there_is_silence() -> None:
    some = Market((), lambda: 0.5)
    assert some.tick(0) is None
    assert some.quote(0) is None


def test_subscribing_is_acknowledged_and_counts_each_listed_symbol_once() -> None:
    some = market("ACME-USD")
    request = {"method": "SUBSCRIBE", "params": ["BOLT-USD", "BOLT-USD", "ACME-USD", "X", 7]}
    answer = reply_to(json.dumps({**request, "id": 4}), some)
    assert json.loads(answer or "") == {"id": 4, "result": ["ACME-USD", "BOLT-USD"]}
    reply_to('{"method": "unsubscribe", "params": ["ACME-USD"]}', some)
    assert some.symbols == ("BOLT-USD",)


def test_an_unknown_method_is_answered() -> None:
    assert json.loads(reply_to('{"method": "BUY", "id": 1}', market()) or "")["error"]


@pytest.mark.parametrize("payload", [b"", b"ping", b"\xff\x00"])
def test_a_correlated_message_is_echoed_with_its_prefix(payload: bytes) -> None:
    assert reply_to(PREFIX + payload, market()) == PREFIX + payload


def test_a_correlated_command_is_obeyed_and_answered_behind_its_prefix() -> None:
    some = market("ACME-USD")
    answer = reply_to(PREFIX.decode() + '{"method": "LIST_SUBSCRIPTIONS", "id": 9}', some)
    assert isinstance(answer, str)
    assert answer.startswith(PREFIX.decode())
    assert json.loads(answer[16:]) == {"id": 9, "result": ["ACME-USD"]}


@pytest.mark.parametrize("message", ["", "short", "[1, 2]", b"\x00", '{"x": 1}', "[" * 15])
def test_what_is_neither_gets_no_answer(message: str | bytes) -> None:
    assert reply_to(message, market()) is None


def test_hostile_json_gets_an_echo_and_no_crash() -> None:
    assert reply_to("[" * 60_000, market()) == "[" * 60_000
