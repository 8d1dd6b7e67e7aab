"""The pump numbers, routes, bounds and counts what goes from a socket to its topic."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.kit.clock import START, ManualClock, ScriptedDice
from tests.kit.journal import RecordingJournal
from tests.kit.port_faults import FaultScript, FaultyEventSink, InLineEventSink
from tests.kit.quiet import let_time_pass, wait_quiet
from websocketmanager.adapters.memory import MemoryEventSink
from websocketmanager.domain.envelope import StreamIdentity
from websocketmanager.domain.model import Format, Kind, Message, Topic
from websocketmanager.errors import ApiUnavailable
from websocketmanager.ports import EventSink, PublishResult, Refusal
from websocketmanager.service.budget import Budget
from websocketmanager.service.lane import Lane
from websocketmanager.service.pump import (
    MESSAGE_REFUSED,
    PUBLISHING_BEHIND,
    TOPIC_REJECTED,
    Pump,
)

DOWN = ApiUnavailable("Pubsub.PublishEvent", "scripted")
A, B = Topic("a.a"), Topic("b.b")


class Works:
    """A lane that runs, and what its pumps said."""

    def __init__(self, max_budget: int, max_batch: int, *, ordered: bool) -> None:
        self.clock = ManualClock()
        self.sink = MemoryEventSink(max_batch=max_batch)
        self.refused: set[str] = set()
        self.sink.refused_topics = self.refused
        self.faults = FaultScript()
        sink: EventSink = FaultyEventSink(self.sink, self.faults)
        if ordered:
            sink = InLineEventSink(sink)
        self.lane = Lane(sink, self.clock, ScriptedDice(), RecordingJournal())
        self.budget = Budget(max_budget)
        self.told: list[tuple[str, ...]] = []

    def pump(self, *, topic: Topic | None = A, session: int = 1, **given: Any) -> Pump:
        values: dict[str, Any] = {
            "format": Format.RAW,
            "markers": False,
            "max_messages": 100,
            "max_bytes": 1_000_000,
        }
        pump = Pump(
            lane=self.lane,
            budget=self.budget,
            clock=self.clock,
            on_degraded=lambda cause, detail, count: self.told.append(("degraded", cause)),
            on_restored=lambda cause, count: self.told.append(("restored", cause, str(count))),
            **(values | given),
        )
        pump.set_topic(topic)
        if session:
            pump.open_session(identity(session), START)
            pump.confirm_session(session)
        return pump

    async def drained(self) -> None:
        await let_time_pass(self.clock, lambda: not self.lane.pending, step=0.5)

    def published(self, topic: Topic = A) -> list[bytes]:
        return [event.data for event in self.sink.events if event.route.topic == topic]

    def stamps(self) -> list[tuple[str, str]]:
        metadata = [event.metadata for event in self.sink.events]
        return [(entries["ce-session"], entries["ce-sequence"][-3:]) for entries in metadata]


@asynccontextmanager
async def works(
    max_budget: int = 1 << 40, max_batch: int = 1024, *, ordered: bool = False
) -> AsyncIterator[Works]:
    site = Works(max_budget, max_batch, ordered=ordered)
    task = asyncio.create_task(site.lane.run())
    try:
        yield site
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


def identity(session: int) -> StreamIdentity:
    return StreamIdentity("c1", START, "wss://h/", session, 1)


def full(pump: Pump) -> bool:
    return pump.full


def feed(pump: Pump, *texts: str) -> None:
    for text in texts:
        pump.accept(Message(Kind.TEXT, text.encode()), START)


async def test_messages_are_stamped_in_order() -> None:
    async with works() as site:
        pump = site.pump()
        feed(pump, "1", "2")
        pump.open_session(identity(2), START)
        pump.confirm_session(2)
        feed(pump, "3")
        await site.drained()

        assert site.published() == [b"1", b"2", b"3"]
        assert site.stamps() == [("1", "001"), ("1", "002"), ("2", "001")]
        assert pump.last_kind is Kind.TEXT


async def test_nothing_goes_before_its_session_is_in_the_store() -> None:
    async with works() as site:
        pump = site.pump(session=0)
        pump.open_session(identity(4), START)
        feed(pump, "1")
        await wait_quiet()
        assert site.sink.events == []
        pump.confirm_session(4)
        pump.open_session(identity(5), START)
        feed(pump, "2")
        await wait_quiet()
        assert site.published() == [b"1"]
        pump.confirm_session(5)
        await site.drained()
        assert site.published() == [b"1", b"2"]


async def test_without_a_topic_messages_are_counted_only() -> None:
    async with works() as site:
        pump = site.pump(topic=None)
        feed(pump, "1", "2")
        pump.set_topic(A)
        feed(pump, "3")
        pump.set_topic(None)
        feed(pump, "4")
        await site.drained()

        assert site.published() == [b"3"]
        assert site.stamps() == [("1", "003")]
        counts = pump.statistics()
        assert (counts.messages_received, counts.unrouted, counts.messages_published) == (4, 3, 1)
        assert (counts.bytes_received, counts.dropped, counts.buffered_messages) == (4, 0, 0)
        assert counts.last_message_at == START


async def test_a_topic_holds_from_the_next_message_on() -> None:
    async with works() as site:
        pump = site.pump()
        hold = site.faults.hold("publish")
        feed(pump, "1", "2")
        await hold.arrived.wait()
        feed(pump, "3")
        pump.set_topic(B)
        feed(pump, "4")
        hold.release()
        await site.drained()
        assert (site.published(A), site.published(B)) == ([b"1", b"2", b"3"], [b"4"])


# --- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [{"max_messages": 4}, {"max_bytes": 40}])
async def test_a_full_buffer_makes_the_reader_wait_until_it_is_half_empty(
    bounds: dict[str, Any],
) -> None:
    async with works(max_batch=1) as site:
        faults = site.faults
        pump = site.pump(**bounds)
        holds = [faults.hold("publish") for _ in range(4)]
        feed(pump, *["x" * 10] * 3)
        assert not full(pump)
        feed(pump, "x" * 10)
        assert full(pump)
        waiting = asyncio.create_task(pump.wait_room())
        await wait_quiet()
        assert site.told == [("degraded", PUBLISHING_BEHIND)]
        assert pump.degraded == {PUBLISHING_BEHIND}
        holds[0].release()
        await wait_quiet()
        assert not waiting.done()
        holds[1].release()
        await waiting
        assert not full(pump)
        assert site.told[1:] == [("restored", PUBLISHING_BEHIND, "0")]
        for hold in holds:
            hold.release()
        await site.drained()
        assert site.budget.used == 0


async def test_the_budget_of_the_process_holds_every_reader() -> None:
    async with works(max_budget=2000) as site:
        site.faults.break_all(DOWN)
        one, other = site.pump(), site.pump()
        feed(one, "x" * 1500)
        assert one.full
        assert other.full
        waiting = asyncio.create_task(other.wait_room())
        await wait_quiet()
        assert not waiting.done()
        assert other.degraded == {PUBLISHING_BEHIND}, "a reader that waits is told of"
        site.faults.heal()
        await let_time_pass(site.clock, waiting.done)
        assert other.degraded == set()
        assert (site.budget.used, site.budget.overdrawn) == (0, False)


async def test_a_reader_that_goes_away_leaves_no_degradation() -> None:
    async with works() as site:
        site.faults.break_all(DOWN)
        pump = site.pump(max_messages=2)
        feed(pump, "1", "2")
        waiting = asyncio.create_task(pump.wait_room())
        await wait_quiet()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert pump.degraded == {PUBLISHING_BEHIND}
        site.faults.heal()
        await site.drained()
        assert pump.degraded == set()


async def test_waiting_with_room_returns_at_once() -> None:
    async with works() as site:
        await site.pump().wait_room()
        assert site.told == []


# --- refused topics -----------------------------------------------------------------------------


async def test_a_refused_topic_drops_counts_and_is_tried_every_half_minute() -> None:
    async with works() as site:
        site.refused.add(A)
        pump = site.pump()
        feed(pump, "1", "2", "3")
        await site.drained()
        assert site.told == [("degraded", TOPIC_REJECTED)]
        assert pump.statistics().dropped == 3
        feed(pump, "4")
        await site.drained()
        assert site.faults.calls == ["publish"]

        for number in (1, 2):
            site.clock.advance(29.0)
            feed(pump, "5")
            await site.drained()
            assert len(site.faults.calls) == number
            site.clock.advance(1.0)
            feed(pump, "6", "7")
            await site.drained()
            assert len(site.faults.calls) == number + 1, "one is tried"
        assert site.told == [("degraded", TOPIC_REJECTED)]
        assert pump.statistics().dropped == 10

        site.refused.clear()
        site.clock.advance(30.0)
        feed(pump, "8", "9")
        await site.drained()
        feed(pump, "10")
        await site.drained()
        assert site.published() == [b"8", b"10"]
        assert site.told[1:] == [("restored", TOPIC_REJECTED, "11")]
        assert pump.degraded == set()
        assert pump.statistics().dropped == 11
        assert site.budget.used == 0


async def test_another_topic_restores_what_the_first_had_degraded() -> None:
    async with works() as site:
        site.refused.add(A)
        pump = site.pump()
        feed(pump, "1")
        await site.drained()
        pump.set_topic(B)
        feed(pump, "2")
        await site.drained()
        assert site.published(B) == [b"2"]
        assert site.told == [("degraded", TOPIC_REJECTED), ("restored", TOPIC_REJECTED, "1")]
        pump.set_topic(A)
        feed(pump, "3")
        await site.drained()
        assert site.told[2:] == [("degraded", TOPIC_REJECTED)], "the refused one is tried at once"


async def test_a_retry_that_is_accepted_with_others_behind_it_restores() -> None:
    async with works() as site:
        site.refused.add(A)
        pump = site.pump()
        feed(pump, "1")
        await site.drained()
        site.refused.clear()
        site.clock.advance(30.0)
        feed(pump, "2")
        pump.set_topic(B)
        feed(pump, "3")
        await site.drained()
        assert pump.degraded == set()


async def test_publishing_no_more_ends_a_refusal() -> None:
    async with works() as site:
        site.refused.add(A)
        pump = site.pump()
        hold = site.faults.hold("publish")
        feed(pump, "1")
        await hold.arrived.wait()
        pump.set_topic(None)
        hold.release()
        await site.drained()
        assert site.told == [("degraded", TOPIC_REJECTED), ("restored", TOPIC_REJECTED, "1")]
        pump.set_topic(A)
        feed(pump, "2")
        await site.drained()
        pump.set_topic(None)
        assert site.told[2:] == [("degraded", TOPIC_REJECTED), ("restored", TOPIC_REJECTED, "1")]


async def test_setting_a_refused_topic_again_tries_it_at_once() -> None:
    async with works() as site:
        site.refused.add(A)
        pump = site.pump()
        feed(pump, "1")
        await site.drained()
        site.refused.clear()
        pump.set_topic(A)
        feed(pump, "2")
        await site.drained()
        assert site.published() == [b"2"]


async def test_a_message_that_is_refused_alone_is_dropped_alone() -> None:
    alone = PublishResult(0, Refusal(definite=True, problem="too large", whole_topic=False))
    async with works() as site:
        pump = site.pump()
        site.faults.answer("publish", alone)
        feed(pump, "1", "2")
        await site.drained()
        assert site.published() == [b"2"]
        assert site.told == [("degraded", MESSAGE_REFUSED)]
        assert pump.statistics().dropped == 1

        site.refused.add(A)
        feed(pump, "3")
        await site.drained()
        site.refused.clear()
        site.clock.advance(30.0)
        site.faults.answer("publish", alone)
        feed(pump, "4")
        await site.drained()
        feed(pump, "5")
        await site.drained()
        assert site.published() == [b"2", b"5"], "the try of a refused topic is tried again"


async def test_an_abandoned_pump_publishes_and_takes_nothing_more() -> None:
    async with works() as site:
        pump = site.pump(session=0, markers=True)
        pump.open_session(identity(3), START)
        feed(pump, "1")
        pump.abandon()
        feed(pump, "2")
        pump.end_session(START, "lost")
        pump.confirm_session(3)
        await site.drained()
        assert site.sink.events == []
        assert pump.statistics().dropped == 2
        assert (site.budget.used, site.lane.pending) == (0, 0)


# --- markers ------------------------------------------------------------------------------------


async def test_markers_tell_the_bounds_of_each_session() -> None:
    async with works() as site:
        pump = site.pump(markers=True)
        feed(pump, "1", "2")
        pump.end_session(START + 1, "connection_lost")
        pump.open_session(identity(2), START + 5)
        pump.confirm_session(2)
        feed(pump, "3")
        await site.drained()

        told = [
            (event.metadata["ce-type"].rpartition(".")[2], event.data) for event in site.sink.events
        ]
        assert [name for name, _ in told] == [
            *("started", "message", "message", "ended"),
            *("gap", "started", "message"),
        ]
        started, ended, gap, again = (json.loads(told[index][1]) for index in (0, 3, 4, 5))
        assert (started["session"], started["first_sequence"], started["resumed"]) == (1, 1, False)
        assert (ended["session"], ended["last_sequence"]) == (1, 2)
        assert ended["cause"] == gap["cause"] == "connection_lost"
        assert (gap["from_session"], gap["from_sequence"]) == (1, 2)
        assert (gap["session"], gap["to_sequence"], gap["lost"]) == (2, 1, None)
        assert gap["ended_at"] == ended["ended_at"]
        assert gap["started_at"] == again["started_at"]
        assert again["resumed"]
        ids = [event.metadata["ce-id"] for event in site.sink.events]
        assert len(set(ids)) == len(ids)
        assert pump.statistics().messages_published == 3


async def test_after_a_crash_a_gap_begins_at_the_last_saved_position() -> None:
    async with works() as site:
        pump = site.pump(session=7, markers=True)
        await site.drained()
        gap = json.loads(site.sink.events[0].data)
        assert (gap["cause"], gap["from_session"], gap["from_sequence"]) == (
            "process_restart",
            6,
            0,
        )
        assert gap["lost"] is None, "an unknown number"
        assert pump.sequence == 0


async def test_markers_keep_silent_without_topic_and_on_a_refused_one() -> None:
    async with works() as site:
        pump = site.pump(topic=None, markers=True)
        pump.end_session(START, "x")
        pump.set_topic(A)
        site.refused.add(A)
        pump.open_session(identity(2), START)
        pump.confirm_session(2)
        await site.drained()
        assert pump.statistics().dropped == 0, "markers are no messages"
        pump.end_session(START, "x")
        await site.drained()
        assert site.faults.calls == ["publish"]


async def test_the_envelope_holds_the_exact_bytes() -> None:
    async with works() as site:
        pump = site.pump(format=Format.ENVELOPE)
        pump.accept(Message(Kind.BINARY, bytes(range(256))), START)
        await site.drained()
        [event] = site.sink.events
        assert event.metadata["ce-datacontenttype"] == "application/json"
        assert set(json.loads(event.data)) >= {"Payload", "WebSocketId", "ContentType"}
