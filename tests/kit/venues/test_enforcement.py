"""The venues catch whoever breaks their rules: what a test trusts when it finds no violation."""

from __future__ import annotations

import asyncio
import json

import pytest
import wsproto
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from wsproto import events

from tests.kit.venues.alpaca import Alpaca
from tests.kit.venues.base import Rules, Venue, running_venue
from tests.kit.venues.binance import BinanceSpot
from tests.kit.venues.coinbase import Coinbase
from tests.kit.venues.kraken import Kraken
from tests.kit.venues.okx import Credentials, Okx

QUICK = Rules(silence_seconds=0.2)


async def _until_closed(client: ClientConnection) -> list[str]:
    """Returns what was said until the venue closed."""
    said: list[str] = []
    try:
        while True:
            said.append(str(await client.recv()))
    except ConnectionClosed:
        return said


async def _answers_pings(port: int, *, with_payload: bytes | None) -> None:
    """A client that answers pings with another payload, or not at all, until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    writer.write(protocol.send(events.Request(host="127.0.0.1", target="/ws")))
    try:
        while data := await reader.read(65_536):
            protocol.receive_data(data)
            for event in protocol.events():
                if isinstance(event, events.Ping) and with_payload is not None:
                    writer.write(protocol.send(events.Pong(payload=with_payload)))
                elif isinstance(event, events.CloseConnection):
                    writer.write(protocol.send(event.response()))
                    return
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("payload", [None, b"", b"of our own"], ids=["none", "empty", "other"])
async def test_binance_wants_the_pong_with_its_payload(payload: bytes | None) -> None:
    rules = Rules(ping_every_seconds=0.05, pong_seconds=0.2)
    async with running_venue(BinanceSpot(rules)) as venue:
        await _answers_pings(venue.port, with_payload=payload)
    assert venue.violations == ["no pong with the ping's payload"]


async def test_binance_counts_pings_and_closes_with_1008() -> None:
    async with running_venue(BinanceSpot()) as venue, connect(venue.url) as client:
        for number in range(3):
            await client.ping()
            await client.send(json.dumps({"method": "SUBSCRIBE", "params": [], "id": number}))
        await _until_closed(client)
        assert client.close_code == 1008
    assert venue.violations == ["6 frames within a second"]


async def test_binance_lets_five_frames_a_second_pass() -> None:
    async with running_venue(BinanceSpot()) as venue, connect(venue.url) as client:
        for number in range(5):
            await client.send(json.dumps({"method": "SUBSCRIBE", "params": [], "id": number}))
            assert json.loads(await client.recv()) == {"result": None, "id": number}
    assert venue.violations == []


async def test_binance_refuses_ids_that_are_none() -> None:
    async with running_venue(BinanceSpot()) as venue, connect(venue.url) as client:
        await client.send('{"method":"SUBSCRIBE","params":[],"id":"a@b"}')
        assert json.loads(await client.recv())["code"] == 2
    assert venue.violations == ["no valid id: 'a@b'"]


async def test_alpaca_wants_a_login_in_time() -> None:
    async with (
        running_venue(Alpaca({}, Rules(login_seconds=0.1))) as venue,
        connect(venue.url) as client,
    ):
        said = await _until_closed(client)
        assert [json.loads(one)[0].get("code") for one in said] == [None, 404]
    assert venue.violations == ["no login in time"]


async def test_alpaca_tells_the_second_of_one_key_in_band() -> None:
    login = '{"action":"auth","key":"a","secret":"b"}'
    async with (
        running_venue(Alpaca({"a": "b"})) as venue,
        connect(venue.url) as first,
        connect(venue.url) as second,
    ):
        for client, answer in ((first, "authenticated"), (second, "connection limit exceeded")):
            await client.recv()
            await client.send(login)
            assert json.loads(await client.recv())[0]["msg"] == answer
        assert venue.violations == ["connection limit exceeded: 2 of a"]


async def test_alpaca_and_okx_want_the_login_before_a_subscription() -> None:
    async with running_venue(Alpaca({})) as venue, connect(venue.url) as client:
        await client.recv()
        await client.send('{"action":"subscribe","trades":["AAPL"]}')
        assert json.loads(await client.recv())[0]["code"] == 401
    credentials = Credentials("a", "b", "c")
    async with running_venue(Okx(credentials)) as other, connect(other.url) as client:
        await client.send('{"op":"subscribe","args":[{"channel":"orders","instType":"ANY"}]}')
        assert json.loads(await client.recv())["code"] == "60011"
    assert venue.violations == other.violations == ["subscribed before the login"]


@pytest.mark.parametrize("venue", [Okx, Kraken], ids=["okx", "kraken"])
async def test_silence_ends_a_session_and_protocol_pings_are_no_words(
    venue: type[Okx] | type[Kraken],
) -> None:
    async with running_venue(venue(rules=QUICK)) as running, connect(running.url) as client:
        await client.ping()
        await _until_closed(client)
        assert client.close_code == 1008
    assert running.violations == ["silent for too long"]


async def test_okx_counts_requests_but_not_pings() -> None:
    async with running_venue(Okx()) as venue, connect(venue.url) as client:
        venue.requests_per_hour = 1
        await client.send("ping")
        assert await client.recv() == "pong"
        for symbol, answer in (("A", "subscribe"), ("B", "error")):
            await client.send(
                f'{{"op":"subscribe","args":[{{"channel":"t","instId":"{symbol}"}}]}}'
            )
            while '"event"' not in (said := str(await client.recv())):
                continue
            assert json.loads(said)["event"] == answer
    assert venue.violations == ["too many requests within an hour"]


async def test_coinbase_wants_a_subscription_in_time() -> None:
    rules = Rules(first_subscribe_seconds=0.1)
    async with running_venue(Coinbase(rules=rules)) as venue, connect(venue.url) as client:
        await _until_closed(client)
        assert client.close_code == 1008
    assert venue.violations == ["no subscription in time"]


@pytest.mark.parametrize(
    ("venue", "notice"), [(BinanceSpot, "serverShutdown"), (Okx, "64008")], ids=["binance", "okx"]
)
async def test_old_sessions_are_told_and_closed(
    venue: type[BinanceSpot] | type[Okx], notice: str
) -> None:
    rules = Rules(max_age_seconds=0.2, notice_seconds=0.1)
    async with running_venue(venue(rules=rules)) as running, connect(running.url) as client:
        (said,) = await _until_closed(client)
        assert notice in said
        assert client.close_code == 1001
    assert running.violations == []


async def test_a_subscription_that_is_asked_for_twice_is_seen() -> None:
    venue: Venue = Coinbase()
    async with running_venue(venue), connect(venue.url) as client:
        for _ in range(2):
            channels = [{"name": "ticker", "product_ids": ["A"]}]
            await client.send(json.dumps({"type": "subscribe", "channels": channels}))
        await venue.wait_for(lambda: venue.violations)
    assert venue.violations == ["subscribed twice: ticker A"]
