"""A slow API and a tiny buffer: the reader waits, pings are answered, nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.peer import PeerSession, numbered, running_peer, silent
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import running_inside
from tests.system.evidence import assert_causal, assert_in_order, lives, messages
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

pytestmark = pytest.mark.usefixtures("plain_loop")


def _tiny(messages: int) -> pb.ConnectionOptions:
    return pb.ConnectionOptions(buffer=pb.BufferOptions(max_messages=messages))


async def test_a_full_buffer_pauses_the_reader_and_loses_nothing() -> None:
    count = 300
    start = asyncio.Event()
    async with (
        running_scripted_api() as api,
        running_peer(numbered(count, start=start)) as peer,
        # Pings are due all the time: the closed valve must not look like a dead peer.
        running_inside(
            api.port, ping_interval_ms=100, ping_timeout_ms=100, api_timeout_ms=20_000
        ) as service,
    ):
        await service.wait_ready()
        request = pb.ConnectRequest(url=peer.url, topic="a.b", options=_tiny(10))
        which = (await service.stub.Connect(request)).id
        other = (await service.stub.Connect(pb.ConnectRequest(url=peer.url + "other"))).id
        await api.wait_published(4)  # the lifecycle events; what comes is a message
        hold = api.hold("Pubsub.PublishEvent")
        start.set()
        await hold.arrived.wait()
        one = await service.wait_listed(which, lambda c: c.statistics.buffered_messages >= 10)
        for _ in range(15):  # many times the time that a pong may take
            assert one.status == "connected"
            assert one.statistics.buffered_messages == 10
            await asyncio.sleep(0.1)
            one = (await service.list())[which]
        assert list(one.degraded) == ["publishing_behind"]
        assert len(peer.open_sessions) == 2
        hold.release()
        delivered = messages(await api.wait_published(count, "a.b"))
        assert_in_order(delivered)
        assert [one.data for one in delivered] == [b"%d" % n for n in range(1, count + 1)]
        assert len(peer.open_sessions) == 2
        one = await service.wait_listed(which, lambda c: not c.degraded)
        assert one.statistics.dropped == 0
        assert one.session == (await service.list())[other].session == 1
        # The buffer was full a hundred times over: one event for each would be a flood of its own.
        events = lives(api.published)[which]
        assert_causal(events)
        assert [event.data.get("cause") for event in events[2:]] == ["publishing_behind"]


async def test_pings_of_the_peer_are_answered_while_there_is_room() -> None:
    pongs = asyncio.Event()

    async def ping(session: PeerSession) -> None:
        await session.send(b"before")
        for _ in range(5):
            waiting = await session.connection.ping()
            async with asyncio.timeout(5):
                await waiting
        pongs.set()
        await silent(session)

    async with (
        running_scripted_api() as api,
        running_peer(ping) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        await service.stub.Connect(pb.ConnectRequest(url=peer.url, topic="a.b"))
        await api.go_away()
        async with asyncio.timeout(10):
            await pongs.wait()
        await api.come_back()
        await api.wait_published(1, "a.b")


async def test_a_stalled_api_call_delays_no_other_connection() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(numbered(100)) as peer,
        running_inside(api.port, api_timeout_ms=20_000) as service,
    ):
        await service.wait_ready()
        first = await service.stub.Connect(pb.ConnectRequest(url=peer.url, name="first"))
        await api.wait_published(2)
        hold = api.hold("Pubsub.PublishEvent")
        await service.stub.StartPublish(pb.StartPublishRequest(id=first.id, topic="stuck.topic"))
        await peer.sessions[0].send(b"stuck")
        await hold.arrived.wait()
        await service.stub.Connect(pb.ConnectRequest(url=peer.url, topic="a.b"))
        async with asyncio.timeout(20):
            await api.wait_published(100, "a.b")
        hold.release()
        await api.wait_published(1, "stuck.topic")
