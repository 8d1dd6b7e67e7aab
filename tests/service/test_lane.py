"""The lane keeps order and loses nothing, whatever the sink does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.builders import events
from tests.kit.clock import ManualClock, ScriptedDice
from tests.kit.journal import RecordingJournal
from tests.kit.port_faults import FaultScript, FaultyEventSink
from tests.kit.quiet import let_time_pass, wait_quiet
from websocketmanager.adapters.memory import MemoryEventSink
from websocketmanager.domain.envelope import (
    Event,
    MessageRun,
    Parcel,
    Route,
    count_events,
    each_event,
)
from websocketmanager.domain.facts import PublishingResumed, PublishingStalled
from websocketmanager.domain.model import Topic
from websocketmanager.errors import ApiUnauthenticated, ApiUnavailable
from websocketmanager.ports import EventSink, PublishResult, Refusal
from websocketmanager.service.lane import Feed, Lane

DOWN = ApiUnavailable("Pubsub.PublishEvent", "scripted")
UNSURE = PublishResult(0, Refusal(definite=False, problem="failed"))


@dataclass
class Owner:
    """Whose events a feed carries; keeps what it is told, those of runs one by one."""

    wants_discard: bool = True
    accepted_events: list[Event] = field(default_factory=list)
    refused_events: list[Event] = field(default_factory=list)
    discarded_events: list[Event] = field(default_factory=list)

    def accepted(self, events: Sequence[Parcel]) -> None:
        self.accepted_events.extend(each_event(events))

    def refused(self, event: Event, refusal: Refusal) -> bool:
        self.refused_events.append(event)
        return self.wants_discard

    def discarded(self, events: Sequence[Parcel]) -> None:
        self.discarded_events.extend(each_event(events))


class Track:
    """A lane on a sink, with its clock."""

    def __init__(self, sink: EventSink) -> None:
        self.clock = ManualClock()
        self.journal = RecordingJournal()
        self.lane = Lane(sink, self.clock, ScriptedDice(), self.journal)

    def feed(self, owner: Owner | None = None, *, gate: int | None = None) -> tuple[Feed, Owner]:
        owner = owner or Owner()
        feed = Feed(self.lane, owner) if gate is None else Feed(self.lane, owner, gate=gate)
        return feed, owner

    async def drained(self) -> None:
        await let_time_pass(self.clock, lambda: not self.lane.pending, step=0.5)


@asynccontextmanager
async def running(sink: EventSink) -> AsyncIterator[Track]:
    track = Track(sink)
    task = asyncio.create_task(track.lane.run())
    try:
        yield track
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


def push(feed: Feed, *batch: Parcel) -> None:
    for event in batch:
        feed.push(event)


def ids(batch: Sequence[Parcel]) -> list[str]:
    return [event.metadata["ce-id"] for event in each_event(batch)]


async def test_what_is_pushed_is_published_in_order() -> None:
    sink = MemoryEventSink()
    async with running(sink) as track:
        feed, owner = track.feed()
        push(feed, *events("a.b", [b"1", b"2", b"3"]))
        await asyncio.wait_for(track.lane.wait_drained(), 5)

        assert [event.data for event in sink.events] == [b"1", b"2", b"3"]
        assert owner.accepted_events == sink.events
        assert (feed.load, track.lane.pending) == (0, 0)


@pytest.mark.parametrize("error", [DOWN, ApiUnauthenticated("Pubsub.PublishEvent", "key")])
async def test_an_outage_is_told_once_and_loses_nothing(error: Exception) -> None:
    sink, faults = MemoryEventSink(), FaultScript()
    async with running(FaultyEventSink(sink, faults)) as track:
        feed, owner = track.feed()
        faults.break_all(error)
        push(feed, *events("a.b", [b"1", b"2"]))
        await track.clock.wait_for_sleeper()
        assert track.lane.stalled
        for _ in range(20):
            track.clock.advance(2.0)
            await track.clock.wait_for_sleeper()
        push(feed, *events("a.b", [b"3"], first=3))
        faults.heal()
        await track.drained()

        assert [event.data for event in sink.events] == [b"1", b"2", b"3"]
        assert owner.accepted_events == sink.events
        assert len(track.journal.of(PublishingStalled)) == 1
        assert len(track.journal.of(PublishingResumed)) == 1
        assert not track.lane.stalled


async def test_pauses_grow_to_two_seconds() -> None:
    faults = FaultScript()
    async with running(FaultyEventSink(MemoryEventSink(), faults)) as track:
        feed, _ = track.feed()
        faults.break_all(DOWN)
        push(feed, *events("a.b", [b"1"]))
        for _ in range(10):
            pause = await track.clock.wait_for_sleeper()
            track.clock.advance(pause)
            await wait_quiet()

        assert track.clock.slept[:2] == pytest.approx([0.0375, 0.075])
        assert max(track.clock.slept) == pytest.approx(1.5)


async def test_an_answer_without_progress_and_reason_is_a_stall() -> None:
    sink, faults = MemoryEventSink(), FaultScript()
    faults.answer("publish", PublishResult(0))
    async with running(FaultyEventSink(sink, faults)) as track:
        feed, _ = track.feed()
        push(feed, *events("a.b", [b"1"]))
        await track.drained()

        assert track.journal.of(PublishingStalled)
        assert len(sink.events) == 1


async def test_the_rest_of_a_partly_accepted_batch_follows() -> None:
    accepted: list[Event] = []

    class TwoAtATime(MemoryEventSink):
        async def publish(self, events: Sequence[Parcel]) -> PublishResult:
            two = each_event(events)[:2]
            accepted.extend(two)
            return PublishResult(len(two))

    async with running(TwoAtATime()) as track:
        feed, owner = track.feed()
        push(feed, *events("a.b", [b"%d" % n for n in range(5)]))
        await track.drained()

        assert ids(accepted) == ["1", "2", "3", "4", "5"]
        assert owner.accepted_events == accepted


async def test_a_refused_event_stops_neither_its_feed_nor_others() -> None:
    sink = MemoryEventSink(refused_topics={"bad.topic"})
    async with running(sink) as track:
        one, owner = track.feed(Owner(wants_discard=False))
        other, _ = track.feed()
        push(one, *events("bad.topic", [b"x"]), *events("a.b", [b"y"], first=2))
        push(other, *events("a.c", [b"z"]))
        await track.drained()

        assert sorted(event.data for event in sink.events) == [b"y", b"z"]
        assert (ids(owner.refused_events), owner.discarded_events) == (["1"], [])


async def test_a_refused_topic_takes_along_what_waits_for_it_alone() -> None:
    sink = MemoryEventSink(refused_topics={"bad.topic"})
    async with running(sink) as track:
        feed, owner = track.feed()
        bad, good = events("bad.topic", [b"1", b"3"]), events("a.b", [b"2", b"4"], first=3)
        push(feed, bad[0], good[0], bad[1], good[1])
        await track.drained()

        assert (owner.refused_events, owner.discarded_events) == ([bad[0]], [bad[1]])
        assert sink.events == good


async def test_a_refusal_without_reason_holds_its_feed_while_others_go_on() -> None:
    sink, faults = MemoryEventSink(), FaultScript()
    faults.answer("publish", UNSURE)
    async with running(FaultyEventSink(sink, faults)) as track:
        held, owner = track.feed()
        other, _ = track.feed()
        push(held, *events("a.b", [b"1", b"2"]))
        push(other, *events("a.c", [b"3"]))
        await wait_quiet()
        assert [event.data for event in sink.events] == [b"3"]
        push(held, *events("a.b", [b"4"], first=3))
        push(other, *events("a.c", [b"5"]))
        await wait_quiet()
        assert [event.data for event in sink.events] == [b"3", b"5"]

        await track.clock.wait_for_timeout()
        track.clock.advance(0.1)
        await track.drained()

        assert ids(owner.accepted_events) == ["1", "2", "3"]
        assert not owner.refused_events


async def test_what_is_refused_again_and_again_without_reason_is_refused() -> None:
    sink, faults = MemoryEventSink(), FaultScript()
    for _ in range(8):
        faults.answer("publish", UNSURE)
    async with running(FaultyEventSink(sink, faults)) as track:
        feed, owner = track.feed(Owner(wants_discard=False))
        push(feed, *events("a.b", [b"1", b"2"]))
        await track.drained()

        assert ids(owner.refused_events) == ["1"]
        assert ids(owner.accepted_events) == ["2"]
        assert faults.calls == ["publish"] * 9


async def test_failures_without_reason_count_in_a_row_only() -> None:
    sink, faults = MemoryEventSink(max_batch=1), FaultScript()
    async with running(FaultyEventSink(sink, faults)) as track:
        feed, owner = track.feed()
        for number in range(1, 5):
            for _ in range(5):
                faults.answer("publish", UNSURE)
            push(feed, *events("a.b", [b"x"], first=number))
            await track.drained()
        assert ids(owner.accepted_events) == ["1", "2", "3", "4"]
        assert not owner.refused_events


async def test_a_gate_holds_back_until_it_opens() -> None:
    sink = MemoryEventSink()
    async with running(sink) as track:
        feed, _ = track.feed(gate=0)
        one, two = events("a.b", [b"1", b"2"])  # tags 1 and 2
        push(feed, one, two)
        await wait_quiet()
        assert sink.events == []
        feed.open_gate(1)
        await wait_quiet()
        assert sink.events == [one]
        feed.open_gate(0)  # a gate never closes
        feed.open_gate(5)
        await track.drained()
        assert sink.events == [one, two]


async def test_what_waits_can_be_taken_out_and_the_feed_goes_on() -> None:
    sink, faults = MemoryEventSink(), FaultScript()
    hold = faults.hold("publish")
    async with running(FaultyEventSink(sink, faults)) as track:
        feed, owner = track.feed()
        other, _ = track.feed()
        first, second, third = events("a.b", [b"1", b"2", b"3"])
        push(feed, first)
        await hold.arrived.wait()
        push(feed, second)
        assert feed.clear() == [second]
        hold.release()
        await track.drained()
        assert owner.accepted_events == [first]

        # Taken out between its turn's announcement and the turn itself.
        push(feed, second)
        assert feed.clear() == [second]
        await wait_quiet()
        push(feed, third)
        push(other, *events("a.c", [b"4"]))
        await track.drained()
        assert owner.accepted_events == [first, third]
        assert (feed.load, track.lane.pending) == (0, 0)


@pytest.mark.parametrize("in_flight", [1, 64])
async def test_a_feed_is_in_one_call_at_a_time(in_flight: int) -> None:
    sink, faults = MemoryEventSink(max_batch=1, max_in_flight=in_flight), FaultScript()
    hold = faults.hold("publish")
    async with running(FaultyEventSink(sink, faults)) as track:
        one, _ = track.feed()
        other, _ = track.feed()
        push(one, *events("a.b", [b"1", b"2"]))
        push(other, *events("a.c", [b"3", b"4"]))
        await wait_quiet()
        overtaking = [event.data for event in sink.events]
        hold.release()
        await track.drained()

        assert overtaking == ([] if in_flight == 1 else [b"3", b"4"])
        mine = [event.data for event in sink.events if event.route.topic == "a.b"]
        assert mine == [b"1", b"2"]


async def test_no_more_calls_than_the_sink_wants() -> None:
    sink, faults = MemoryEventSink(max_batch=1, max_in_flight=3), FaultScript()
    holds = [faults.hold("publish") for _ in range(10)]
    async with running(FaultyEventSink(sink, faults)) as track:
        for number in range(10):
            feed, _ = track.feed()
            push(feed, *events(f"a.t{number}", [b"1"]))
        await wait_quiet()
        assert len(faults.calls) == 3
        for hold in holds:
            hold.release()
        await track.drained()
        assert len(sink.events) == 10


async def test_turns_are_fair_by_bytes() -> None:
    sink = MemoryEventSink()
    async with running(sink) as track:
        noisy, _ = track.feed()
        quiet, _ = track.feed()
        push(noisy, *events("a.noisy", [bytes(32 * 1024)] * 200))
        push(quiet, *events("a.quiet", [b"1"]))
        await track.drained()

        assert [str(event.route.topic) for event in sink.events].index("a.quiet") <= 2


async def test_small_events_cannot_fill_a_batch_alone() -> None:
    sink = MemoryEventSink(max_batch=1024)
    async with running(sink) as track:
        noisy, _ = track.feed()
        quiet, _ = track.feed()
        push(noisy, *events("a.noisy", [b""] * 5000))
        push(quiet, *events("a.quiet", [b"1"]))
        await track.drained()

        assert [str(event.route.topic) for event in sink.events].index("a.quiet") < 300


async def test_a_batch_is_bounded_in_events_and_bytes() -> None:
    sizes: list[tuple[int, int]] = []

    class Measuring(MemoryEventSink):
        async def publish(self, events: Sequence[Parcel]) -> PublishResult:
            sizes.append((count_events(events), sum(one.size for one in events)))
            return await super().publish(events)

    async with running(Measuring(max_batch=10)) as track:
        for number in range(3):
            feed, _ = track.feed()
            push(feed, *events(f"a.t{number}", [b"x"] * 15 + [bytes(700_000)] * 3))
        await track.drained()

    assert max(count for count, _ in sizes) <= 10
    assert max(size for _, size in sizes) < 1024 * 1024 + 700_000
    assert sum(count for count, _ in sizes) == 54


async def test_cancelling_gives_back_what_was_in_flight() -> None:
    sink, faults = MemoryEventSink(max_batch=4, max_in_flight=2), FaultScript()
    track = Track(FaultyEventSink(sink, faults))
    holds = [faults.hold("publish") for _ in range(2)]
    feeds = [track.feed() for _ in range(3)]
    task = asyncio.create_task(track.lane.run())
    for number, (feed, _) in enumerate(feeds):
        push(feed, *events(f"a.t{number}", [b"1", b"2", b"3"]))
    for hold in holds:
        await hold.arrived.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert [len(feed.events) for feed, _ in feeds] == [3, 3, 3]
    assert track.lane.pending == 9

    again = asyncio.create_task(track.lane.run())
    await track.drained()
    again.cancel()
    await asyncio.wait([again])
    for number in range(3):
        mine = [event for event in sink.events if event.route.topic == f"a.t{number}"]
        assert ids(mine) == ["1", "2", "3"]


async def test_waiting_for_the_end_waits_for_gated_and_held_events_too() -> None:
    sink = MemoryEventSink()
    async with running(sink) as track:
        feed, _ = track.feed(gate=0)
        push(feed, *events("a.b", [b"1"]))
        waiting = asyncio.create_task(track.lane.wait_drained())
        await wait_quiet()
        assert not waiting.done()
        feed.open_gate(9)
        await waiting


# --- a sink that keeps calls in order -----------------------------------------------------------


class OrderedSink:
    """Ends calls when the test says so, in the order in which they began.

    `ports.EventSink.ordered`: after one that is not accepted whole, those behind accept nothing.
    """

    def __init__(self, *, max_batch: int = 2, max_in_flight: int = 4) -> None:
        self.max_batch = max_batch
        self.max_in_flight = max_in_flight
        self.ordered = True
        self.calls: list[list[Event]] = []
        self.published: list[Event] = []
        self._answers: deque[asyncio.Future[PublishResult]] = deque()

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        self.calls.append(each_event(events))
        answer: asyncio.Future[PublishResult] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        result = await answer
        self.published += each_event(events)[: result.accepted]
        return result

    def data(self) -> list[list[bytes]]:
        """Returns the data of all calls so far."""
        return [[event.data for event in call] for call in self.calls]

    async def end(self, *results: PublishResult | Exception) -> None:
        """Ends the oldest calls so."""
        for result in results:
            answer = self._answers.popleft()
            if isinstance(result, PublishResult):
                answer.set_result(result)
            else:
                answer.set_exception(result)
        await wait_quiet()

    async def accept_all(self) -> None:
        """Accepts whatever comes until nothing does."""
        while self._answers:
            await self.end(PublishResult(len(self.calls[-len(self._answers)])))


ALL = PublishResult(2)
NOTHING = PublishResult(0)
REFUSED = Refusal(definite=True, problem="scripted")


async def test_calls_on_an_ordered_sink_follow_one_another_without_waiting() -> None:
    sink = OrderedSink()
    async with running(sink) as track:
        feed, owner = track.feed()
        push(feed, *events("a.b", [b"%d" % n for n in range(12)]))
        await wait_quiet()
        assert sink.data() == [[b"0", b"1"], [b"2", b"3"], [b"4", b"5"], [b"6", b"7"]]
        oldest = track.lane.oldest(feed)
        assert oldest is not None
        assert ids([oldest]) == ["1"]

        await sink.end(ALL)
        assert sink.data()[4:] == [[b"8", b"9"]]
        await sink.accept_all()

        assert owner.accepted_events == sink.published
        assert (feed.load, track.lane.pending) == (0, 0)


async def test_what_is_behind_a_refused_event_comes_back_and_goes_again() -> None:
    sink = OrderedSink()
    async with running(sink) as track:
        feed, owner = track.feed(Owner(wants_discard=False))
        other, _ = track.feed()
        push(feed, *events("a.b", [b"1", b"2", b"3", b"4"]))
        push(other, *events("a.c", [b"x", b"y"]))
        await wait_quiet()
        before = len(sink.calls)

        await sink.end(PublishResult(1, REFUSED))
        push(feed, *events("a.b", [b"5"], first=5))
        await wait_quiet()
        assert len(sink.calls) == before  # nothing begins until all are back
        await sink.end(*[NOTHING] * (before - 1))
        await sink.accept_all()

        assert ids(owner.refused_events) == ["2"]
        assert [e.data for e in sink.published if e.route.topic == "a.b"] == [
            b"1",
            b"3",
            b"4",
            b"5",
        ]
        assert [e.data for e in sink.published if e.route.topic == "a.c"] == [b"x", b"y"]


async def test_a_call_that_ends_at_once_lets_none_begin_that_was_to_follow() -> None:
    published: list[bytes] = []

    class Prompt(MemoryEventSink):
        async def publish(self, events: Sequence[Parcel]) -> PublishResult:
            data = [event.data for event in each_event(events)]
            if data[0] == b"1":
                return PublishResult(0, REFUSED)
            published.extend(data)
            return PublishResult(len(data))

    async with running(Prompt(max_batch=2, max_in_flight=4, ordered=True)) as track:
        feed, owner = track.feed(Owner(wants_discard=False))
        push(feed, *events("a.b", [b"1", b"2", b"3", b"4", b"5"]))
        await track.drained()

        assert ids(owner.refused_events) == ["1"]
        assert published == [b"2", b"3", b"4", b"5"]


async def test_a_refused_topic_takes_along_what_had_flown_behind() -> None:
    sink = OrderedSink()
    async with running(sink) as track:
        feed, owner = track.feed()
        bad = events("a.bad", [b"1", b"2", b"3"])
        push(feed, *bad, *events("a.b", [b"4"], first=4))
        await wait_quiet()

        await sink.end(PublishResult(0, REFUSED), NOTHING)
        await sink.end(PublishResult(1))

        assert owner.refused_events == bad[:1]
        assert owner.discarded_events == bad[1:]
        assert [event.data for event in sink.published] == [b"4"]
        assert track.lane.pending == 0


async def test_an_outage_of_an_ordered_sink_is_told_once_and_loses_nothing() -> None:
    sink = OrderedSink()
    async with running(sink) as track:
        feed, owner = track.feed()
        push(feed, *events("a.b", [b"1", b"2", b"3", b"4"]))
        await wait_quiet()
        for _ in range(6):
            await sink.end(DOWN, NOTHING)
            begun = len(sink.calls)
            push(feed, *events("a.b", [b"5"], first=5)[: not feed.events])
            await wait_quiet()
            assert len(sink.calls) == begun  # it rests
            await track.clock.wait_for_timeout()
            track.clock.advance(2.0)
            await wait_quiet()
            assert len(sink.calls) == begun + 2
            assert sink.data()[-2] == [b"1", b"2"]
        await sink.end(ALL, ALL)

        assert owner.accepted_events == sink.published
        assert len(track.journal.of(PublishingStalled)) == 1
        assert len(track.journal.of(PublishingResumed)) == 1


async def test_an_ordered_sink_s_failure_without_reason_holds_its_feed_alone() -> None:
    sink = OrderedSink(max_batch=10)
    async with running(sink) as track:
        feed, owner = track.feed()
        other, _ = track.feed()
        push(feed, *events("a.b", [b"1", b"2"]))
        push(other, *events("a.c", [b"x"]))
        await wait_quiet()
        await sink.end(UNSURE)
        assert sink.data()[-1] == [b"x"]
        await sink.end(PublishResult(1))

        await track.clock.wait_for_timeout()
        track.clock.advance(5.0)
        await wait_quiet()
        await sink.end(ALL)

        assert ids(owner.accepted_events) == ["1", "2"]


async def test_cancelling_gives_back_all_that_had_flown_in_its_order() -> None:
    sink = OrderedSink()
    track = Track(sink)
    feed, _ = track.feed()
    task = asyncio.create_task(track.lane.run())
    push(feed, *events("a.b", [b"%d" % n for n in range(9)]))
    await wait_quiet()
    assert len(sink.calls) == 4
    task.cancel()
    await asyncio.wait([task])

    assert [event.data for event in each_event(feed.events)] == [b"%d" % n for n in range(9)]
    assert track.lane.pending == 9


# --- any sink ---------------------------------------------------------------------------------


class AnySink:
    """Follows a list of behaviours, then accepts everything."""

    def __init__(
        self, behaviours: list[str], max_batch: int, max_in_flight: int, ordered: bool
    ) -> None:
        self.behaviours = behaviours[::-1]
        self.max_batch = max_batch
        self.max_in_flight = max_in_flight
        self.ordered = ordered
        self.stopped = False
        self.line = asyncio.Lock()
        self.published: list[Event] = []
        self.in_flight: set[str] = set()
        self.calls = 0

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        topics = {event.metadata["ce-feed"] for event in each_event(events)}
        if not self.ordered:
            assert not topics & self.in_flight, "two calls with one feed"
        assert 0 < count_events(events) <= self.max_batch
        self.in_flight |= topics
        self.calls += 1
        assert self.calls <= self.max_in_flight
        try:
            if self.ordered:
                return await self._in_line(events)
            await asyncio.sleep(0)
            return self._answer(events)
        finally:
            self.calls -= 1
            self.in_flight -= topics

    async def _in_line(self, events: Sequence[Parcel]) -> PublishResult:
        """Answers behind the calls that began before; nothing once one of them stopped."""
        if not self.calls - 1:
            self.line = asyncio.Lock()
            self.stopped = False
        line = None if self.stopped else self.line
        async with line or asyncio.Lock():
            await asyncio.sleep(0)
            if line is None or self.stopped:
                return PublishResult(0)
            self.stopped = True  # also by an error
            result = self._answer(events)
            self.stopped = result.accepted < count_events(events)
            return result

    def _answer(self, parcels: Sequence[Parcel]) -> PublishResult:
        events = each_event(parcels)
        behaviour = self.behaviours.pop() if self.behaviours else "accept"
        part = len(events) // 2
        match behaviour:
            case "part":
                part = max(1, part)
                self.published += events[:part]
                return PublishResult(part)
            case "nothing":
                return PublishResult(0)
            case "lost":
                raise DOWN
            case "lost after":
                self.published += events[:part]
                raise DOWN
            case "refuse" | "unsure":
                self.published += events[:part]
                refusal = Refusal(definite=behaviour == "refuse", problem="scripted")
                return PublishResult(part, refusal)
            case _:
                self.published += events
                return PublishResult(len(events))


BEHAVIOURS = ["accept", "part", "nothing", "lost", "lost after", "refuse", "unsure"]
plans = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 3), st.integers(1, 6)),
        st.tuples(st.just("run"), st.integers(0, 3), st.integers(1, 9)),
        st.tuples(st.just("quiet"), st.just(0), st.just(0)),
        st.tuples(st.just("time"), st.just(0), st.just(0)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None, database=None)
@given(
    plan=plans,
    behaviours=st.lists(st.sampled_from(BEHAVIOURS), max_size=30),
    bounds=st.sampled_from(
        [
            (1, 64, False),
            (1, 1, False),
            (7, 1, False),
            (1024, 1, False),
            (3, 2, False),
            (1024, 4, True),
            (2, 4, True),
            (3, 2, True),
        ]
    ),
    discards=st.booleans(),
)
def test_any_sink_gets_everything_in_order(
    plan: list[tuple[str, int, int]],
    behaviours: list[str],
    bounds: tuple[int, int, bool],
    discards: bool,
) -> None:
    async def play() -> None:
        sink = AnySink(behaviours, *bounds)
        track = Track(sink)
        owners = [Owner(wants_discard=discards) for _ in range(4)]
        feeds = [Feed(track.lane, owner) for owner in owners]
        pushed = [0, 0, 0, 0]
        task = asyncio.create_task(track.lane.run())
        for action, which, count in plan:
            match action:
                case "push":
                    for _ in range(count):
                        feeds[which].push(_numbered(which, pushed[which]))
                        pushed[which] += 1
                case "run":
                    feeds[which].push(_numbered_run(which, pushed[which], count))
                    pushed[which] += count
                case "quiet":
                    await wait_quiet()
                case "time":
                    track.clock.advance(0.3)
                    await wait_quiet()
                case _:
                    task.cancel()
                    await asyncio.wait([task])
                    task = asyncio.create_task(track.lane.run())
        await let_time_pass(track.clock, lambda: not track.lane.pending, step=0.7)
        task.cancel()
        await asyncio.wait([task])
        for which, owner in enumerate(owners):
            _check(which, owner, pushed[which], sink.published)
            assert feeds[which].load == 0

    asyncio.run(play())


def _numbered(which: int, number: int) -> Event:
    [event] = events(f"a.feed{which}", [b"%d" % number], first=number)
    return Event(event.route, event.data, (*event.variable, ("ce-feed", str(which))), number)


def _numbered_run(which: int, first: int, count: int) -> MessageRun:
    route = Route(Topic(f"a.feed{which}"), (("ce-feed", str(which)),), is_message=True)
    data = [b"%d" % number for number in range(first, first + count)]
    return MessageRun(route, data, "text/plain", 1, first, 0.5, sum(map(len, data)))


def _check(which: int, owner: Owner, pushed: int, published: list[Event]) -> None:
    outcome = [*owner.accepted_events, *owner.refused_events, *owner.discarded_events]
    assert sorted(map(_number, outcome)) == list(range(pushed)), "each has one outcome"
    assert all(event.data == b"%d" % _number(event) for event in outcome)
    accepted = list(map(_number, owner.accepted_events))
    assert accepted == sorted(accepted)
    mine = [_number(event) for event in published if event.metadata["ce-feed"] == str(which)]
    first_times = list(dict.fromkeys(mine))
    assert first_times == sorted(first_times), "order on the wire"
    assert set(accepted) <= set(mine)


def _number(event: Event) -> int:
    return int(event.metadata["ce-id"])


# --- small calls --------------------------------------------------------------------------------


async def test_small_calls_wait_where_two_fly_and_go_together() -> None:
    sink = OrderedSink(max_batch=10)
    async with running(sink) as track:
        track.lane._much = 4
        feed, _ = track.feed()
        for number in range(4):
            push(feed, *events("a.b", [b"%d" % number]))
            await wait_quiet()
        assert sink.data() == [[b"0"], [b"1"]]
        push(feed, *events("a.b", [b"4"]))
        push(feed, *events("a.c", [b"5"]))
        other, _ = track.feed()
        push(other, *events("a.d", [b"6"]))
        await wait_quiet()
        assert sink.data()[2:] == [[b"2", b"3", b"4", b"5", b"6"]], "that much waits for nobody"
        await sink.accept_all()
