"""A topic against the platform's rules: told, counted, survived; a good one delivers again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from tests.kit.journal import RecordingJournal
from tests.kit.peer import echo, running_peer
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import Service, running_inside
from tests.system.evidence import assert_causal, lives
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as api_pb
from websocketmanager._proto.virtufin_api.virtufin_api_pb2_grpc import PubsubStub
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.embedded.server import EmbeddedApi, running_embedded_api


@asynccontextmanager
async def _embedded(database: Path, port: int = 0) -> AsyncIterator[EmbeddedApi]:
    async with running_embedded_api(
        host="127.0.0.1",
        port=port,
        database=str(database),
        topic_rules="platform",
        journal=RecordingJournal(),
        clock=SystemClock(),
        dice=SystemDice(),
    ) as api:
        yield api


@asynccontextmanager
async def _subscription(api: EmbeddedApi, topic: str) -> AsyncIterator[Any]:
    """Gives the events of a topic, from now on."""
    async with grpc.aio.insecure_channel(api.address) as channel:
        stub: Any = PubsubStub(channel)
        call = stub.Subscribe(api_pb.PubsubSubscribeRequest(topic=topic))
        await call.initial_metadata()
        yield call
        call.cancel()


async def _say(service: Service, which: str, *words: bytes) -> None:
    for word in words:
        await service.stub.SendRaw(pb.SendRawRequest(id=which, message=word))


async def test_a_refused_topic_degrades_and_a_good_one_delivers_again(tmp_path: Path) -> None:
    async with (
        _embedded(tmp_path / "api.sqlite3") as api,
        running_peer(echo) as peer,
        running_inside(api.port) as service,
        _subscription(api, "websocketmanager.lifecycle") as told,
        _subscription(api, "act.exchange.kraken.ticker.update") as delivered,
    ):
        await service.wait_ready()
        request = pb.ConnectRequest(url=peer.url, topic="act.exchange.broken", auto_reconnect=True)
        which = (await service.stub.Connect(request)).id
        await _say(service, which, b"1", b"2", b"3")
        degraded = await _next(told, "degraded")
        assert degraded["cause"] == "topic_rejected"
        assert "act.exchange" in degraded["detail"]
        while (await service.list())[which].statistics.dropped < 3:
            await _say(service, which, b"more")
        one = (await service.list())[which]
        assert one.status == "connected"
        assert list(one.degraded) == ["topic_rejected"]
        assert one.statistics.messages_published == 0

        good = "act.exchange.kraken.ticker.update"
        await service.stub.StartPublish(pb.StartPublishRequest(id=which, topic=good))
        await _say(service, which, b"good")
        async with asyncio.timeout(10):
            while (event := await delivered.read()).data != b"good":
                assert event.data == b"more"  # an echo that was still on its way
        assert event.metadata["ce-websocketid"] == which
        assert event.metadata["ce-session"] == "1"
        while (await service.list())[which].degraded:
            await _say(service, which, b"x")
        assert len(peer.sessions) == 1


async def _next(told: Any, state: str) -> Any:
    async with asyncio.timeout(10):
        while not (event := await told.read()).metadata["ce-type"].endswith(f".{state}"):
            pass
    return json.loads(event.data)


async def test_a_refused_topic_hurts_no_other_connection() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(echo) as peer,
        running_inside(api.port) as service,
    ):
        api.refused_topics.add("act.bad")
        await service.wait_ready()
        bad = (await service.stub.Connect(pb.ConnectRequest(url=peer.url, topic="act.bad"))).id
        fine = (await service.stub.Connect(pb.ConnectRequest(url=peer.url, topic="a.b"))).id
        await asyncio.gather(
            _say(service, bad, *[b"bad"] * 50), _say(service, fine, *[b"%d" % n for n in range(50)])
        )
        delivered = await api.wait_published(50, "a.b")
        assert [one.data for one in delivered] == [b"%d" % n for n in range(50)]
        one = await service.wait_listed(bad, lambda c: c.statistics.dropped >= 50)
        assert one.statistics.messages_received == 50
        # Nearly all of them without asking the API again and again.
        asked = [
            call
            for call in api.calls
            if call.operation == "Pubsub.PublishEvent" and call.request.topic == "act.bad"
        ]
        assert len(asked) < 10
        api.refused_topics.clear()
        await service.stub.StartPublish(pb.StartPublishRequest(id=bad, topic="act.bad"))
        await _say(service, bad, b"accepted now")
        await api.wait_published(1, "act.bad")
        await service.wait_listed(bad, lambda c: not c.degraded)
        events = lives(api.published)[bad]
        while [e.state for e in events].count("degraded") < 2:
            await api.wait_published(len(api.published) + 1)
            events = lives(api.published)[bad]
        assert_causal(events)
        assert [e.data["active"] for e in events if e.state == "degraded"] == [True, False]
        assert events[-1].data["dropped"] == 50


async def test_switching_topics_splits_the_stream_at_one_message() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(echo) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        which = (await service.stub.Connect(pb.ConnectRequest(url=peer.url))).id
        await _say(service, which, b"unrouted")
        await service.wait_listed(which, lambda c: c.statistics.unrouted == 1)
        await service.stub.StartPublish(pb.StartPublishRequest(id=which, topic="one.topic"))
        await _say(service, which, b"1", b"2")
        await api.wait_published(2, "one.topic")
        await service.stub.StartPublish(pb.StartPublishRequest(id=which, topic="two.topic"))
        await _say(service, which, b"3")
        await api.wait_published(1, "two.topic")
        await service.stub.StopPublish(pb.StopPublishRequest(id=which))
        await _say(service, which, b"4")
        await service.wait_listed(which, lambda c: c.statistics.unrouted == 2)
    told: dict[str, list[tuple[bytes, str]]] = {topic: [] for topic in ("one.topic", "two.topic")}
    for event in api.published:
        if event.topic in told:
            told[event.topic].append((event.data, event.metadata["ce-sequence"].lstrip("0")))
    assert told == {"one.topic": [(b"1", "2"), (b"2", "3")], "two.topic": [(b"3", "4")]}


async def test_everything_survives_a_restart_of_the_embedded_api(tmp_path: Path) -> None:
    database = tmp_path / "api.sqlite3"
    async with running_peer(echo) as peer:
        async with _embedded(database) as api:
            port = api.port
            async with running_inside(port) as service:
                await service.wait_ready()
                request = pb.ConnectRequest(
                    url=peer.url, topic="marketdata.ticks", tags={"a": "b"}, auto_reconnect=True
                )
                which = (await service.stub.Connect(request)).id
        async with (
            _embedded(database, port) as api,
            running_inside(port) as service,
            _subscription(api, "marketdata.ticks") as delivered,
        ):
            await service.wait_ready()
            one = (await service.list())[which]
            assert (one.session, one.owner_epoch, dict(one.tags)) == (2, 2, {"a": "b"})
            await _say(service, which, b"again")
            async with asyncio.timeout(10):
                event = await delivered.read()
            assert event.data == b"again"
            assert event.metadata["ce-session"] == "2"
