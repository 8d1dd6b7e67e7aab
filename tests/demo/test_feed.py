"""The exchange over real loopback sockets: streams, answers, closes, silences, refusals."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.demo.feed import Feed, Tempo, running_feed
from websocketmanager.demo.market import LISTED, QUOTE

QUICK = Tempo(
    tick_seconds=0.001,
    quote_seconds=0.001,
    first_close_seconds=30,
    close_seconds=(30, 30),
    silence_every_seconds=1000,
)


@pytest.fixture
async def feed() -> AsyncIterator[Feed]:
    async with running_feed(clock=SystemClock(), dice=SystemDice(), tempo=QUICK) as running:
        yield running


async def test_ticks_arrive_as_text_in_sequence(feed: Feed) -> None:
    async with connect(feed.url("/ticker"), proxy=None) as socket:
        ticks = [json.loads(await socket.recv(decode=True)) for _ in range(20)]
    assert [tick["seq"] for tick in ticks] == list(range(1, 21))
    assert {tick["symbol"] for tick in ticks} <= set(LISTED)


async def test_quotes_arrive_as_binary_in_sequence(feed: Feed) -> None:
    async with connect(feed.url("/binary"), proxy=None) as socket:
        quotes = [QUOTE.unpack(await socket.recv(decode=False)) for _ in range(20)]
    assert [quote[0] for quote in quotes] == list(range(1, 21))


async def test_a_stream_is_silent_until_it_is_subscribed_to(feed: Feed) -> None:
    async with connect(feed.url("/stream"), proxy=None) as socket:
        await socket.send('{"method": "SUBSCRIBE", "params": ["COIL-USD"], "id": 1}')
        assert json.loads(await socket.recv()) == {"id": 1, "result": ["COIL-USD"]}
        assert json.loads(await socket.recv())["symbol"] == "COIL-USD"


async def test_symbols_in_the_url_are_subscribed_to(feed: Feed) -> None:
    url = feed.url("/stream?symbols=BOLT-USD,nonsense")
    async with connect(url, proxy=None) as socket:
        assert {json.loads(await socket.recv())["symbol"] for _ in range(5)} == {"BOLT-USD"}


@pytest.mark.parametrize("message", ["0123456789abcdefhello", b"0123456789abcdef\xff\x00"])
async def test_a_correlated_message_comes_back_in_its_kind(
    feed: Feed, message: str | bytes
) -> None:
    async with connect(feed.url("/stream"), proxy=None) as socket:
        await socket.send(message)
        assert await socket.recv() == message


async def test_pings_are_answered(feed: Feed) -> None:
    async with connect(feed.url("/ticker"), proxy=None) as socket:
        await (await socket.ping())


async def test_an_unknown_path_is_refused(feed: Feed) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(feed.url("/nothing"), proxy=None)
    assert refused.value.response.status_code == 404


async def test_clients_above_the_bound_are_refused_until_one_leaves(feed: Feed) -> None:
    clients = [await connect(feed.url("/stream"), proxy=None) for _ in range(16)]
    with pytest.raises(InvalidStatus) as refused:
        await connect(feed.url("/stream"), proxy=None)
    assert refused.value.response.status_code == 503
    for client in clients:
        await client.close()
    async with connect(feed.url("/ticker"), proxy=None) as socket:
        assert await socket.recv()


async def test_the_first_tick_session_is_closed_early_and_the_next_one_is_not() -> None:
    tempo = replace(QUICK, first_close_seconds=0.05, quote_seconds=0.02)
    async with (
        running_feed(clock=SystemClock(), dice=SystemDice(), tempo=tempo) as feed,
        connect(feed.url("/binary"), proxy=None) as binary,
    ):
        assert await close_code(await connect(feed.url("/ticker"), proxy=None)) == 1012
        async with connect(feed.url("/ticker"), proxy=None) as second:
            assert [await second.recv() for _ in range(100)]
        assert await binary.recv()


async def test_later_sessions_are_closed_with_going_away_or_restart() -> None:
    tempo = replace(QUICK, close_seconds=(0.02, 0.03))
    async with running_feed(clock=SystemClock(), dice=SystemDice(), tempo=tempo) as feed:
        assert await close_code(await connect(feed.url("/binary"), proxy=None)) in (1001, 1012)


async def test_silences_pause_the_stream_and_lose_nothing() -> None:
    clock = SystemClock()
    tempo = replace(QUICK, silence_every_seconds=0.05, silence_seconds=(0.2, 0.2))
    async with (
        running_feed(clock=clock, dice=SystemDice(), tempo=tempo) as feed,
        connect(feed.url("/ticker"), proxy=None) as socket,
    ):
        sequence, longest, before = [], 0.0, clock.monotonic()
        while longest < 0.15:
            sequence.append(json.loads(await socket.recv())["seq"])
            now = clock.monotonic()
            longest, before = max(longest, now - before), now
    assert sequence == list(range(1, len(sequence) + 1))


async def test_leaving_closes_clients_with_going_away() -> None:
    async with running_feed(clock=SystemClock(), dice=SystemDice(), tempo=QUICK) as feed:
        socket = await connect(feed.url("/stream"), proxy=None)
    assert await close_code(socket) == 1001


async def close_code(socket: ClientConnection) -> int | None:
    """Reads until the server closes, and returns the code it gave."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in socket:
            pass
    return socket.close_code
