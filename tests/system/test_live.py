"""`Get`, `Update`, `Watch` and `Tail` over the whole service, real sockets on both sides."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from tests.kit.peer import PeerSession, numbered, running_peer, silent
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import Service, running_inside
from tests.system.evidence import LIFECYCLE, lives
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager._proto.websocketmanager.websocketmanager_pb2_grpc import (
    WebSocketManagerStub,
)

pytestmark = pytest.mark.usefixtures("plain_loop")


def sub(key: str) -> pb.Subscription:
    return pb.Subscription(
        key=key, subscribe=pb.Payload(text=f"+{key}"), unsubscribe=pb.Payload(text=f"-{key}")
    )


def said(session: PeerSession) -> list[str]:
    return [message.data.decode() for message in session.received]


async def read_to_the_end(call: Any) -> tuple[list[Any], grpc.StatusCode]:
    """Returns what a stream still gives, and how it ends."""
    got = []
    try:
        async with asyncio.timeout(20):
            async for one in call:
                got.append(one)  # noqa: PERF401 - what came before an error counts
    except grpc.aio.AioRpcError as error:
        return got, error.code()
    return got, grpc.StatusCode.OK


async def _watched(service: Service, **request: Any) -> Any:
    call = service.stub.Watch(pb.WatchRequest(**request))
    await call.initial_metadata()
    return call


async def test_a_connection_is_changed_and_watched_from_beginning_to_end() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(silent) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        everything = await _watched(service)
        options = pb.ConnectionOptions(subscriptions=[sub("a"), sub("b")])
        request = pb.ConnectRequest(url=peer.url, auto_reconnect=True, options=options)
        which = (await service.stub.Connect(request)).id
        first = await peer.wait_session()
        await first.wait_received(2)
        update = pb.UpdateRequest(
            id=which,
            topic="market.ticks",
            tags=pb.Tags(tags={"venue": "x"}),
            subscriptions=pb.SubscriptionsChange(add=[sub("c")], remove=["a"]),
        )
        changed = (await service.stub.Update(update)).connection
        assert (changed.topic, dict(changed.tags)) == ("market.ticks", {"venue": "x"})
        await first.wait_received(4)
        assert said(first) == ["+a", "+b", "-a", "+c"]
        tail = service.stub.Tail(pb.TailRequest(id=which, max_message_bytes=3))
        await tail.initial_metadata()
        await first.send(b"hello")
        seen = await anext(aiter(tail))
        (published,) = await api.wait_published(1, "market.ticks")
        assert published.data == b"hello"
        assert (seen.data, seen.size, seen.topic) == (b"hel", 5, "market.ticks")
        assert (seen.id, seen.time) == (
            published.metadata["ce-id"],
            published.metadata["ce-time"],
        )

        await first.close(1012, "restart")
        second = await peer.wait_session(2)
        await second.wait_received(2)
        assert said(second) == ["+b", "+c"]
        await service.wait_listed(which, lambda one: one.status == "connected")
        await api.wait_published(5, LIFECYCLE)
        detail = await service.stub.Get(pb.GetRequest(id=which))
        assert detail.statistics.reconnects == 1
        assert detail.statistics.sessions == 2
        assert detail.connection.statistics.messages_received == 1
        (again,) = [one for one in detail.transitions if one.state == "reconnecting"]
        assert (again.close_code, again.close_reason) == (1012, "restart")

        resumed = await _watched(service, id=which, after_event=1)
        await service.stub.Disconnect(pb.DisconnectRequest(id=which))
        rest, ended = await read_to_the_end(resumed)
        assert ended is grpc.StatusCode.OK
        assert await read_to_the_end(tail) == ([], grpc.StatusCode.OK)
        told = lives(api.published)[which]
        assert [one.event for one in rest] == [one.number for one in told[1:]]
        whole = [await anext(aiter(everything)) for _ in told]
        assert [(one.id, one.state) for one in whole] == [(one.id, one.state) for one in told]
        assert [json.loads(one.data) for one in whole] == [one.data for one in told]
        gone = await service.refused("Get", pb.GetRequest(id=which))
        assert gone.code is grpc.StatusCode.NOT_FOUND


async def test_streams_end_when_the_service_stops() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(silent) as peer,
        AsyncExitStack() as caller,
    ):
        async with running_inside(api.port) as service:
            await service.wait_ready()
            which = (await service.stub.Connect(pb.ConnectRequest(url=peer.url))).id
            # A channel of its own: it outlives the service.
            channel = grpc.aio.insecure_channel(service.grpc_address)
            stub: Any = WebSocketManagerStub(await caller.enter_async_context(channel))
            calls = [
                stub.Watch(pb.WatchRequest()),
                stub.Watch(pb.WatchRequest(id=which)),
                stub.Tail(pb.TailRequest(id=which)),
            ]
            for call in calls:
                await call.initial_metadata()
            ends = [asyncio.create_task(read_to_the_end(call)) for call in calls]
            before = asyncio.get_running_loop().time()
        took = asyncio.get_running_loop().time() - before
        assert [await end for end in ends] == [([], grpc.StatusCode.UNAVAILABLE)] * 3
    assert took < 2, "they do not use up the grace of running calls"


async def _published(api: ScriptedApi, count: int) -> None:
    async with asyncio.timeout(30):
        await api.wait_published(count, "market.ticks")


async def test_who_does_not_read_slows_nobody_and_learns_what_it_missed() -> None:
    count = 20_000
    start = asyncio.Event()
    async with (
        running_scripted_api() as api,
        running_peer(numbered(count, start=start)) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        request = pb.ConnectRequest(url=peer.url, topic="market.ticks")
        which = (await service.stub.Connect(request)).id
        tail = service.stub.Tail(pb.TailRequest(id=which))
        await tail.initial_metadata()
        start.set()
        await _published(api, count)  # the tail was not read once
        await service.stub.Disconnect(pb.DisconnectRequest(id=which))
        seen, ended = await read_to_the_end(tail)
        assert ended is grpc.StatusCode.OK
        assert seen[-1].sequence == count
        assert len(seen) < count
        assert sum(one.skipped for one in seen) == count - len(seen)
        place = 0
        for one in seen:
            place += one.skipped + 1
            assert (one.sequence, one.data) == (place, b"%d" % place)
