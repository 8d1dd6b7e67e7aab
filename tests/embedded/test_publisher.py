"""Publishing serialised events: order, stops, and that a giant batch lets others run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.embedded.journal import KeptFacts
from tests.kit.clock import ManualClock, ScriptedDice
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.embedded.fanout import Fanout, QueueLimits
from websocketmanager.embedded.publisher import Publisher
from websocketmanager.embedded.store import opened_store
from websocketmanager.embedded.topics import ScenarioRegistry, TopicJudge

MEBIBYTE = 1024 * 1024


class Desk:
    """A publisher and what came of its events."""

    def __init__(self, publisher: Publisher, fanout: Fanout, clock: ManualClock) -> None:
        self.publisher = publisher
        self.fanout = fanout
        self.clock = clock
        self.subscription = fanout.subscribe("1", ["a.b", "a.c"])

    async def received(self) -> list[pb.PubsubSubscribeResponse]:
        self.fanout.unsubscribe("1")
        got: list[pb.PubsubSubscribeResponse] = []
        while taken := await self.subscription.take(10_000, MEBIBYTE):
            got += pb.PubsubEvents.FromString(taken).events
        return got


@asynccontextmanager
async def desk(max_message_bytes: int = MEBIBYTE) -> AsyncIterator[Desk]:
    clock = ManualClock(skip_sleeps=True)
    fanout = Fanout(QueueLimits(), KeptFacts())
    async with opened_store(":memory:") as store:
        judge = TopicJudge(ScenarioRegistry(store, ["scenario"]), "any")
        publisher = Publisher(
            fanout, judge, max_message_bytes=max_message_bytes, clock=clock, dice=ScriptedDice()
        )
        yield Desk(publisher, fanout, clock)


def request(topic: str, data: bytes) -> bytes:
    return pb.PublishRequest(topic=topic, data=data, metadata={"k": "v"}).SerializeToString()


async def publish(desk: Desk, events: list[tuple[str, bytes]]) -> tuple[int, str]:
    """Returns how many were published, and the path of the fault."""
    topics = [topic for topic, _ in events]
    published = await desk.publisher.publish(topics, [request(*one) for one in events])
    return published.count, published.fault.path if published.fault else ""


async def test_events_are_delivered_in_order_whatever_their_topics() -> None:
    async with desk() as one:
        events = [("a.b", b"1"), ("a.b", b"2"), ("a.c", b"3"), ("a.none", b"x"), ("a.b", b"4")]
        assert await publish(one, events) == (5, "")

        got = await one.received()
        assert [(e.topic, e.data) for e in got] == [e for e in events if e[0] != "a.none"]
        assert len({e.message_id for e in got}) == 4
        assert {e.timestamp for e in got} == {"2023-11-14T22:13:20.000000Z"}


async def test_it_stops_at_the_first_event_that_is_refused() -> None:
    async with desk(max_message_bytes=1000) as one:
        events = [("a.b", b"1"), ("", b"2"), ("a.b", b"3")]
        assert await publish(one, events) == (1, "topic")
        events = [("a.b", b"4"), ("a.b", b"x" * 990), ("a.b", b"5")]
        assert await publish(one, events) == (1, "data")

        assert [e.data for e in await one.received()] == [b"1", b"4"]


async def test_ids_go_on_behind_an_event_that_was_too_large() -> None:
    async with desk(max_message_bytes=1000) as one:
        await publish(one, [("a.b", b"1"), ("a.b", b"x" * 990)])
        await publish(one, [("a.b", b"2")])

        got = await one.received()
        assert len({e.message_id for e in got}) == 2


async def test_a_giant_batch_lets_others_run_and_is_published_whole() -> None:
    async with desk() as one:
        events = [("a.b", b"%d" % number) for number in range(3000)]
        assert await publish(one, events) == (3000, "")

        assert one.clock.slept == [0.0, 0.0]
        assert [e.data for e in await one.received()] == [data for _, data in events]


async def test_ids_count_on_through_blocks_and_batches() -> None:
    async with desk() as one:
        for _ in range(5):
            await publish(one, [("a.b", b"x")] * 1000)
        await publish(one, [("a.c", b"x")])

        ids = [event.message_id for event in await one.received()]
        assert len({an_id[:16] for an_id in ids}) == 1
        assert [int(an_id[16:], 16) for an_id in ids] == list(range(5001))
        assert {len(an_id) for an_id in ids} == {32}


async def test_a_run_becomes_chunks_that_a_stream_message_holds() -> None:
    async with desk() as one:
        sizes = [400_000, 400_000, 400_000, MEBIBYTE - 100, 10, 10, 600_000]
        assert await publish(one, [("a.b", b"x" * size) for size in sizes]) == (7, "")

        chunks = list(one.subscription._waiting)
        assert [chunk.events for chunk in chunks] == [2, 1, 1, 3]
        assert all(len(chunk.body) <= MEBIBYTE for chunk in chunks[:2])
        assert [len(e.data) for e in await one.received()] == sizes


@pytest.mark.parametrize("limit", [130, 200, 300, 16_384, 16_500])
async def test_the_limit_is_exactly_that_of_a_delivery(limit: int) -> None:
    async with desk(max_message_bytes=limit) as one:
        for size in range(max(0, limit - 130), limit):
            delivered = pb.PubsubSubscribeResponse.FromString(request("a.b", b"x" * size))
            delivered.message_id, delivered.timestamp = "i" * 32, "2023-11-14T22:13:20.000000Z"
            fits = pb.PubsubEvents(events=[delivered]).ByteSize() <= limit
            outcome = await publish(one, [("a.b", b"x" * size)])
            assert outcome == ((1, "") if fits else (0, "data"))
        assert one.subscription.waiting
