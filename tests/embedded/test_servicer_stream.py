"""`PublishStream`: batches in order, each acknowledged, and what follows where one stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc import StatusCode as Code

from tests.embedded.client import EOF, Client, event, read_events, running
from tests.embedded.journal import KeptFacts
from tests.kit.clock import ManualClock, ScriptedDice
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.embedded.fanout import Fanout, QueueLimits
from websocketmanager.embedded.publisher import Publisher
from websocketmanager.embedded.servicer import PubsubServicer
from websocketmanager.embedded.store import opened_store
from websocketmanager.embedded.topics import ScenarioRegistry, TopicJudge

TOPIC, REFUSED = "demo.ticks", "no-such-prefix"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running() as client:
        yield client


def batch(number: int, *events: pb.PublishRequest, stops: int = 0) -> pb.PublishBatch:
    return pb.PublishBatch(events=events, number=number, stops=stops)


async def write(stream: Any, *batches: pb.PublishBatch) -> None:
    for one in batches:
        await stream.write(one)


async def acknowledged(stream: Any, count: int) -> list[tuple[int, int, str]]:
    """Reads acknowledgements: number, published, status."""
    acks = [await stream.read() for _ in range(count)]
    return [(ack.number, ack.published, ack.status.status) for ack in acks]


def datas(events: Sequence[pb.PubsubSubscribeResponse]) -> list[bytes]:
    return [one.data for one in events]


async def test_batches_are_published_and_acknowledged_in_order(client: Client) -> None:
    subscriber, _ = await client.subscribe_events(TOPIC)
    stream = client.pubsub.PublishStream()
    await write(stream, *(batch(n, event(TOPIC, b"%d" % n), event(TOPIC)) for n in (1, 2, 3, 4)))

    assert await acknowledged(stream, 4) == [(n, 2, "OK") for n in (1, 2, 3, 4)]
    got = datas(await read_events(subscriber, 8))
    assert got == [b"1", b"", b"2", b"", b"3", b"", b"4", b""]
    await stream.done_writing()
    assert await stream.read() is EOF
    assert await stream.code() is Code.OK


async def test_metadata_goes_on_as_it_came(client: Client) -> None:
    subscriber, _ = await client.subscribe_events(TOPIC)
    stream = client.pubsub.PublishStream()
    metadata = {"ce-id": "7", "pubsubname": "bus", "ce-source": "urn:ä"}

    await write(stream, batch(1, event(TOPIC, b"x", metadata)))

    [got] = await read_events(subscriber, 1)
    assert dict(got.metadata) == metadata
    assert got.message_id
    assert got.timestamp


async def test_nothing_overtakes_an_event_that_was_refused(client: Client) -> None:
    subscriber, _ = await client.subscribe_events(TOPIC)
    stream = client.pubsub.PublishStream()
    await write(
        stream,
        batch(1, event(TOPIC, b"1"), event(REFUSED), event(TOPIC, b"2")),
        batch(2, event(TOPIC, b"3")),
        batch(3, event(TOPIC, b"4")),
    )
    assert await acknowledged(stream, 3) == [(1, 1, "ERROR"), (2, 0, "SKIPPED"), (3, 0, "SKIPPED")]

    await write(
        stream,
        batch(4, event(TOPIC, b"2"), stops=1),
        batch(5, event(TOPIC, b"3"), event(REFUSED), stops=1),
        batch(6, event(TOPIC, b"4"), stops=1),
        batch(7, event(TOPIC, b"4"), stops=2),
    )
    assert await acknowledged(stream, 4) == [
        (4, 1, "OK"),
        (5, 1, "ERROR"),
        (6, 0, "SKIPPED"),
        (7, 1, "OK"),
    ]
    assert datas(await read_events(subscriber, 4)) == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    "bodies",
    [
        [batch(2, event(TOPIC)).SerializeToString()],
        [batch(1, event(TOPIC)).SerializeToString()] * 2,
        [b"\xff\xff"],
        # A batch whose event is no event.
        [b"\x0a\x02\xff\xff\x10\x01"],
        # A topic that is not UTF-8.
        [b"\x0a\x03\x0a\x01\xff\x10\x01"],
    ],
    ids=["hole", "repeated", "bytes", "event", "text"],
)
async def test_what_no_batch_may_be_ends_the_stream(client: Client, bodies: list[bytes]) -> None:
    invoke: Any = client.channel.stream_stream("/virtufin.Pubsub/PublishStream", None, None)
    stream = invoke()
    for body in bodies:
        await stream.write(body)
    for _ in bodies[1:]:
        assert await stream.read()
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await stream.read()
    assert failed.value.code() is Code.INVALID_ARGUMENT
    assert client.journal.facts == []


@pytest.mark.parametrize("rpc", ["PublishEvent", "PublishEvents"])
async def test_bytes_that_are_no_request_are_refused(client: Client, rpc: str) -> None:
    invoke: Any = client.channel.unary_unary(f"/virtufin.Pubsub/{rpc}", None, None)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await invoke(b"\xff\xff")
    assert failed.value.code() is Code.INVALID_ARGUMENT


async def test_a_stream_that_waits_does_not_delay_the_end() -> None:
    async with asyncio.timeout(10), AsyncExitStack() as stack:
        client = await stack.enter_async_context(running(stop_grace_seconds=30.0))
        # A channel of its own, which outlives the server.
        channel = grpc.aio.insecure_channel(client.api.address)
        stream = Client(client.api, channel, client.journal).pubsub.PublishStream()
        await write(stream, batch(1, event(TOPIC)))
        assert await acknowledged(stream, 1) == [(1, 1, "OK")]
        await stack.aclose()

        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stream.read()
        assert failed.value.code() is Code.UNAVAILABLE
        assert failed.value.details() == "the API is stopping"
        await channel.close(None)


async def due() -> None:
    """Lets what is due run, as a call that waits for gRPC does."""
    loop = asyncio.get_running_loop()
    came = loop.create_future()
    loop.call_soon(came.set_result, None)
    await came


class StoppingCaller:
    """A stream at whose n-th message, as it comes, the API is told to stop."""

    def __init__(self, bodies: Sequence[pb.PublishBatch], stop_at: int) -> None:
        self.bodies = [body.SerializeToString() for body in bodies]
        self.stop_at = stop_at
        self.stop: Callable[[], None] = lambda: None
        self.acks: list[pb.PublishAck] = []
        self.aborted: list[Code] = []

    async def read(self) -> bytes:
        body = self.bodies.pop(0)
        self.stop_at -= 1
        if self.stop_at == 0:
            self.stop()
        return body

    async def write(self, ack: pb.PublishAck) -> None:
        self.acks.append(ack)
        await due()

    async def abort(self, code: Code, _: str) -> None:
        await due()
        self.aborted.append(code)


@pytest.mark.parametrize("stop_at", [1, 2])
async def test_a_batch_that_comes_with_the_end_is_not_half_done(stop_at: int) -> None:
    caller = StoppingCaller([batch(n, event(TOPIC, b"%d" % n)) for n in (1, 2, 3)], stop_at)
    async with opened_store(":memory:") as store:
        fanout = Fanout(QueueLimits(), KeptFacts())
        judge = TopicJudge(ScenarioRegistry(store, ()), "any")
        clock, dice = ManualClock(), ScriptedDice()
        publisher = Publisher(fanout, judge, max_message_bytes=1000, clock=clock, dice=dice)
        servicer = PubsubServicer(publisher, fanout, judge, dice=dice)
        subscription = fanout.subscribe("1", [TOPIC])

        def stop() -> None:
            fanout.stop()
            servicer.stop()

        caller.stop = stop
        context: Any = caller
        await servicer.publish_stream(None, context)

    assert caller.aborted == [Code.UNAVAILABLE]
    assert len(caller.acks) == subscription.waiting == stop_at - 1
    assert servicer._listening == set()


async def test_the_key_is_asked_for() -> None:
    async with running(api_key="secret") as client:
        stream = client.pubsub.PublishStream()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stream.read()
        assert failed.value.code() is Code.UNAUTHENTICATED
