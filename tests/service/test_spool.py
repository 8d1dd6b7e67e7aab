"""Messages on the local disk: durable and spilled, in order, over crashes and full disks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.clock import START
from tests.kit.hold import Hold
from tests.kit.quiet import let_time_pass, wait_quiet
from tests.service.test_overflow import is_message
from tests.service.test_pump import DOWN, A, B, Works, feed, full, works
from websocketmanager.adapters.memory import MemoryMessageLog
from websocketmanager.domain.envelope import StreamIdentity, event_place
from websocketmanager.domain.model import Format, Kind
from websocketmanager.domain.overflow import LogEntry
from websocketmanager.ports import PublishResult, Refusal
from websocketmanager.service.overflow import Bounds
from websocketmanager.service.pump import (
    DROPPING,
    LOG_UNAVAILABLE,
    PUBLISHING_BEHIND,
    TOPIC_REJECTED,
    Pump,
)
from websocketmanager.service.spool import DiskBudget, Spool, SpoolHands

STREAM = "c1/1"
Kept = dict[str, list[tuple[int, LogEntry]]]


class Disk:
    """What outlives a process, and what one process has of it."""

    def __init__(self, site: Works, max_bytes: int = 1 << 40, kept: Kept | None = None) -> None:
        self.site = site
        self.log = MemoryMessageLog(kept)
        self.budget = DiskBudget(max_bytes)

    def pump(
        self,
        *,
        durable: bool = False,
        blocking: bool = False,
        session: int = 1,
        known: int = 0,
        epoch: int = 1,
        **given: Any,
    ) -> Pump:
        bounds = Bounds(given.get("max_messages", 100), given.get("max_bytes", 1_000_000))
        mine = StreamIdentity("c1", START, "wss://h/", known, epoch)

        def make(hands: SpoolHands) -> Spool:
            return Spool(
                self.log,
                STREAM,
                self.budget,
                identity=mine,
                format=given.get("format", Format.RAW),
                markers=given.get("markers", False),
                durable=durable,
                blocking=blocking,
                bounds=bounds,
                hands=hands,
            )

        pump = self.site.pump(session=0, make_spool=make, **given)
        if session:
            identity = StreamIdentity("c1", START, "wss://h/", session, epoch)
            pump.open_session(identity, START)
            pump.confirm_session(session)
        return pump

    @property
    def numbers(self) -> list[int]:
        """The numbers of the messages on the disk."""
        return [e.sequence for _, e in self.log.kept.get(STREAM, []) if not e.marker]


@asynccontextmanager
async def disk(max_bytes: int = 1 << 40, max_batch: int = 1024) -> AsyncIterator[Disk]:
    async with works(max_batch=max_batch) as site:
        yield Disk(site, max_bytes)


async def quiet(one: Disk) -> None:
    await let_time_pass(one.site.clock, lambda: not one.site.lane.pending, step=0.5)


def sequences(one: Disk) -> list[int]:
    return [event_place(e)[1] for e in one.site.sink.events if is_message(e)]


def balance(pump: Pump) -> bool:
    """Says whether every received message is somewhere."""
    counts = pump.statistics()
    return counts.messages_received == (
        counts.messages_published
        + counts.dropped
        + counts.unrouted
        + counts.buffered_messages
        + counts.spilled_messages
    )


# --- durable --------------------------------------------------------------------------------------


async def test_durable_publishes_only_what_is_on_the_disk() -> None:
    async with disk() as one:
        pump = one.pump(durable=True, blocking=True)
        await wait_quiet()
        one.log.problem = "it is full"
        feed(pump, "1", "2")
        await wait_quiet()
        assert (sequences(one), one.numbers) == ([], [])
        assert one.site.told == [("degraded", LOG_UNAVAILABLE)]
        assert balance(pump)
        one.log.heal()
        await quiet(one)
        assert sequences(one) == [1, 2]
        assert one.numbers == [], "what the API has leaves the disk"
        assert one.site.told[1:] == [("restored", LOG_UNAVAILABLE, "0")]
        assert (one.budget.used, one.site.budget.used) == (0, 0)


async def test_what_is_not_acknowledged_is_published_first_by_the_next_process() -> None:
    async with disk() as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump(durable=True, blocking=True, markers=True)
        feed(pump, "1", "2", "3")
        await wait_quiet()
        kept = {STREAM: list(one.log.kept[STREAM])}
        assert pump.kept == 4, "a marker is an event as well"
        one.site.faults.heal()
        await quiet(one)
        before = {e.metadata["ce-id"]: (e.data, e.metadata) for e in one.site.sink.events}
    async with works() as site:
        later = Disk(site, kept=kept)
        pump = later.pump(durable=True, blocking=True, markers=True, session=2, known=1, epoch=2)
        feed(pump, "new")
        await quiet(later)
        ids = [e.metadata["ce-id"] for e in site.sink.events]
        first = [i for i in ids if i in before]
        assert first == list(before), "the same ids, in the same order"
        assert ids[: len(first)] == first, "before anything new"
        for event in site.sink.events[: len(first)]:
            assert (event.data, event.metadata) == before[event.metadata["ce-id"]]
        assert site.sink.events[-1].data == b"new"
        assert later.numbers == []


async def test_a_durable_buffer_that_blocks_counts_what_the_disk_has() -> None:
    async with disk() as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump(durable=True, blocking=True, max_messages=4)
        feed(pump, "1", "2", "3", "4")
        assert full(pump)
        waiting = asyncio.create_task(pump.wait_room())
        await wait_quiet()
        assert not waiting.done()
        one.site.faults.heal()
        await quiet(one)
        await waiting
        assert sequences(one) == [1, 2, 3, 4]
        assert pump.degraded == set()


async def test_a_full_disk_makes_a_blocking_reader_wait_and_loses_nothing() -> None:
    async with disk(max_bytes=500) as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump(durable=True, blocking=True)
        feed(pump, *"12345")
        await wait_quiet()
        assert full(pump)
        one.site.faults.heal()
        await quiet(one)
        assert not full(pump)
        assert sequences(one) == [1, 2, 3, 4, 5]


async def test_of_a_run_from_the_disk_one_tries_a_refused_topic_and_all_leave_the_disk() -> None:
    async with disk() as one:
        hold = one.site.faults.hold("publish")
        pump = one.pump(durable=True, blocking=True)
        feed(pump, "1")
        await hold.arrived.wait()
        one.log.problem = "it is busy"
        pump.accept_run(Kind.TEXT, [b"2", b"3", b"4"], START)
        one.site.refused.add(A)
        hold.release()
        await wait_quiet()
        assert pump.degraded == {LOG_UNAVAILABLE, TOPIC_REJECTED}
        one.site.refused.clear()
        one.site.clock.advance(30.0)
        one.log.heal()
        await quiet(one)
        assert (sequences(one), pump.statistics().dropped) == ([2], 3)
        assert one.numbers == [], "nothing comes again with the next process"
        assert pump.degraded == set()
        assert (one.budget.used, one.site.budget.used) == (0, 0)


# --- spill ----------------------------------------------------------------------------------------


async def test_what_fits_needs_no_disk() -> None:
    async with disk() as one:
        pump = one.pump()
        await wait_quiet()
        feed(pump, "1", "2")
        assert one.numbers == []
        await quiet(one)
        assert sequences(one) == [1, 2]


async def test_a_run_goes_on_as_one_while_there_is_room() -> None:
    async with disk() as one:
        pump = one.pump(max_messages=10)
        await wait_quiet()
        assert pump.accept_run(Kind.TEXT, [b"x"] * 7, START) == 7
        assert [parcel.count for parcel in pump._feed.events] == [7]
        assert pump.accept_run(Kind.TEXT, [b"x"] * 7, START) == 7
        assert [parcel.count for parcel in pump._feed.events] == [7, 3]
        await quiet(one)
        assert sequences(one) == list(range(1, 15))
        assert (one.budget.used, one.numbers) == (0, [])


async def test_a_run_goes_through_the_disk_as_one_and_leaves_it_in_parts() -> None:
    async with disk(max_batch=3) as one:
        pump = one.pump(durable=True, blocking=True)
        await wait_quiet()
        holds = [one.site.faults.hold("publish") for _ in range(2)]
        assert pump.accept_run(Kind.TEXT, [b"x"] * 8, START) == 8
        assert (pump.statistics().buffered_messages, pump.kept) == (8, -8)
        await holds[0].arrived.wait()
        assert (one.numbers, pump.kept) == (list(range(1, 9)), 8)
        assert [parcel.count for parcel in pump._feed.events] == [5]
        holds[0].release()
        await holds[1].arrived.wait()
        await wait_quiet()
        assert (one.numbers, pump.kept) == (list(range(4, 9)), 5)
        holds[1].release()
        await quiet(one)
        assert sequences(one) == list(range(1, 9))
        assert (one.budget.used, one.site.budget.used) == (0, 0)


async def test_what_comes_back_from_the_disk_is_a_run_again() -> None:
    async with disk() as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump(durable=True, blocking=True)
        pump.accept_run(Kind.TEXT, [b"1", b"2", b"3"], START)
        pump.accept_run(Kind.TEXT, [b"4", b"5"], START + 1)
        pump.accept_run(Kind.BINARY, [b"6"], START + 1)
        await wait_quiet()
        kept = {STREAM: list(one.log.kept[STREAM])}
    async with works() as site:
        later = Disk(site, kept=kept)
        hold = site.faults.hold("publish")
        pump = later.pump(durable=True, blocking=True, session=0)
        pump.confirm_session(1)
        await hold.arrived.wait()
        flying = [parcel.count for batch in site.lane._flying for parcel in batch.events]
        assert flying == [3, 2, 1]
        hold.release()
        await quiet(later)
        assert [e.data for e in site.sink.events] == [b"%d" % n for n in range(1, 7)]
        assert sequences(later) == list(range(1, 7))


async def test_what_does_not_fit_waits_on_the_disk_and_is_published_in_order() -> None:
    async with disk(max_batch=2) as one:
        hold = one.site.faults.hold("publish")
        pump = one.pump(max_messages=4)
        await wait_quiet()
        feed(pump, *map(str, range(1, 5)))
        await hold.arrived.wait()
        assert one.numbers == []
        feed(pump, *map(str, range(5, 41)))
        await wait_quiet()
        assert not full(pump), "the reader goes on"
        assert one.numbers == list(range(5, 41))
        assert pump.statistics().spilled_messages == 36
        assert balance(pump)
        assert one.site.told == [("degraded", PUBLISHING_BEHIND)]
        hold.release()
        await quiet(one)
        assert sequences(one) == list(range(1, 41))
        assert pump.statistics().spilled_messages == 0
        assert one.site.told[1:] == [("restored", PUBLISHING_BEHIND, "0")]
        feed(pump, "41")
        assert one.numbers == [], "drained: the straight way again"
        await quiet(one)
        assert sequences(one)[-1] == 41
        assert (one.budget.used, one.site.budget.used) == (0, 0)


async def test_while_the_api_is_away_everything_goes_to_the_disk() -> None:
    async with disk() as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump()
        await wait_quiet()
        feed(pump, "1")
        await wait_quiet()
        assert one.site.lane.stalled
        feed(pump, "2", "3")
        await wait_quiet()
        assert one.numbers == [2, 3]
        one.site.faults.heal()
        await quiet(one)
        assert sequences(one) == [1, 2, 3]


async def test_a_stop_keeps_what_only_memory_has_in_front_of_what_came_later() -> None:
    async with disk() as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump(max_messages=3)
        await wait_quiet()
        feed(pump, "1", "2", "3", "4", "5")
        await wait_quiet()
        assert (one.numbers, pump.kept) == ([4, 5], 0)
        for spool in one.budget.spools:
            spool.keep()
            spool.keep()
        await wait_quiet()
        assert (one.numbers, pump.kept) == ([1, 2, 3, 4, 5], 3)
        kept = {STREAM: list(one.log.kept[STREAM])}
    async with works() as site:
        later = Disk(site, kept=kept)
        feed(later.pump(session=2, known=1, epoch=2), "new")
        await quiet(later)
        ids = [e.metadata["ce-id"].rpartition("/")[0][-1] for e in site.sink.events]
        assert (sequences(later), ids) == ([1, 2, 3, 4, 5, 1], ["1"] * 5 + ["2"])


async def test_nothing_overtakes_what_waits_for_the_disk_or_on_it() -> None:
    async with disk(max_batch=1) as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump(max_messages=6)
        await wait_quiet()
        feed(pump, "1")
        await wait_quiet()
        one.log.problem = "slow"
        feed(pump, "2")
        one.site.faults.heal()
        await quiet(one)
        feed(pump, "3")  # there is room, and the API is back
        await quiet(one)
        assert sequences(one) == [1]
        holds = [one.site.faults.hold("publish") for _ in range(2)]
        one.log.heal()
        await wait_quiet()
        feed(pump, *map(str, range(4, 15)))
        await wait_quiet()
        holds[0].release()
        await holds[1].arrived.wait()
        feed(pump, "15")  # one place is free, and nothing is read for one
        await wait_quiet()
        holds[1].release()
        await quiet(one)
        assert sequences(one) == list(range(1, 16))


async def test_what_is_being_read_is_not_given_up() -> None:
    async with disk(max_bytes=2500, max_batch=1) as one:
        hold = one.site.faults.hold("publish")
        pump = one.pump(max_messages=2, markers=True)
        await hold.arrived.wait()
        feed(pump, *map(str, range(1, 20)))
        await wait_quiet()
        one.log.problem = "slow"
        hold.release()
        await quiet(one)  # the next read is asked, and not answered
        feed(pump, *map(str, range(20, 30)))
        await wait_quiet()
        one.log.heal()
        await quiet(one)
        numbers = sequences(one)
        assert numbers == sorted(set(numbers))
        assert len(numbers) == pump.statistics().messages_published
        assert len(numbers) + pump.statistics().dropped == pump.sequence
        assert balance(pump)


async def test_a_disk_that_fails_makes_the_reader_wait_and_loses_nothing() -> None:
    async with disk() as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump(max_messages=4)
        await wait_quiet()
        feed(pump, "1")
        await wait_quiet()
        one.log.problem = "no space left on device"
        feed(pump, "2", "3", "4", "5")
        await wait_quiet()
        assert full(pump)
        assert ("degraded", LOG_UNAVAILABLE) in one.site.told
        waiting = asyncio.create_task(pump.wait_room())
        await wait_quiet()
        assert not waiting.done()
        one.log.heal()
        await waiting
        one.site.faults.heal()
        await quiet(one)
        assert sequences(one) == [1, 2, 3, 4, 5]
        assert pump.degraded == set()


async def test_at_the_disk_budget_the_oldest_is_dropped_and_told_of() -> None:
    async with disk(max_bytes=4000, max_batch=2) as one:
        hold = one.site.faults.hold("publish")
        pump = one.pump(max_messages=4, markers=True)
        await hold.arrived.wait()
        for number in range(1, 201):
            feed(pump, str(number))
            await wait_quiet()
        assert one.budget.used < 5000
        counts = pump.statistics()
        assert counts.dropped > 100
        assert ("degraded", DROPPING) in one.site.told
        assert not full(pump)
        hold.release()
        await quiet(one)
        numbers = sequences(one)
        assert numbers == sorted(set(numbers))
        assert len(numbers) == 200 - counts.dropped
        assert numbers[-1] == 200
        told = [json.loads(e.data) for e in one.site.sink.events if not is_message(e)][1:]
        assert [g["cause"] for g in told] == ["spill"]
        missing = set(range(1, 201)) - set(numbers)
        assert (told[0]["lost"], told[0]["from_sequence"], told[0]["to_sequence"]) == (
            len(missing),
            min(missing) - 1,
            max(missing) + 1,
        )
        assert (
            one.site.told[-1] == ("restored", DROPPING, str(counts.dropped))
            or (
                "restored",
                DROPPING,
                str(counts.dropped),
            )
            in one.site.told
        )
        assert (one.budget.used, one.site.budget.used) == (0, 0)


async def test_the_connection_that_holds_most_pays_for_the_disk() -> None:
    async with disk(max_bytes=6000) as one:
        one.site.faults.break_all(DOWN)
        hog = one.pump(max_messages=2)
        other = Disk(one.site)
        other.log, other.budget = MemoryMessageLog(), one.budget
        small = other.pump(max_messages=2)
        await wait_quiet()
        for number in range(100):
            feed(hog, str(number))
            if number % 10 == 0:
                feed(small, str(number))
            await wait_quiet()
        assert small.statistics().dropped == 0
        assert hog.statistics().dropped > 0


# --- topics and ends ------------------------------------------------------------------------------


async def test_a_refused_topic_is_tried_by_one_and_the_rest_leaves_the_disk() -> None:
    async with disk() as one:
        one.site.refused.add(A)
        pump = one.pump(durable=True, blocking=True)
        feed(pump, "1", "2")
        await quiet(one)
        assert one.site.told == [("degraded", TOPIC_REJECTED)]
        one.log.problem = "it is not asked"
        feed(pump, "3")
        await wait_quiet()
        assert LOG_UNAVAILABLE not in pump.degraded, "what is refused costs the disk nothing"
        one.log.heal()
        one.site.clock.advance(30.0)
        feed(pump, "4", "5")
        await quiet(one)
        assert one.numbers == []
        assert pump.statistics().dropped == 5
        one.site.refused.clear()
        one.site.clock.advance(30.0)
        feed(pump, "6")
        await quiet(one)
        feed(pump, "7")
        await quiet(one)
        assert sequences(one) == [6, 7]
        assert balance(pump)
        assert one.budget.used == 0


async def test_only_what_everything_before_is_done_with_leaves_the_disk() -> None:
    async with disk() as one:
        hold = one.site.faults.hold("publish")
        pump = one.pump(durable=True, blocking=True)
        feed(pump, "1")
        await wait_quiet()
        await hold.arrived.wait()
        one.site.refused.add(A)
        feed(pump, "2")
        pump.set_topic(B)
        feed(pump, "3")
        pump.set_topic(A)
        feed(pump, "4")
        await wait_quiet()
        again = one.site.faults.hold("publish")
        hold.release()
        await again.arrived.wait()  # 1 was refused, 2 and 4 behind it are gone; 3 is in flight
        assert one.numbers[:1] == [3]
        again.release()
        await quiet(one)
        assert [e.data for e in one.site.sink.events] == [b"3"]
        assert one.numbers == []


async def test_a_message_refused_alone_leaves_the_disk() -> None:
    async with disk() as one:
        pump = one.pump(durable=True, blocking=True)
        await wait_quiet()
        alone = Refusal(definite=True, problem="too large", whole_topic=False)
        one.site.faults.answer("publish", PublishResult(0, alone))
        feed(pump, "1", "2")
        await quiet(one)
        assert (sequences(one), one.numbers, pump.statistics().dropped) == ([2], [], 1)


async def test_an_abandoned_stream_leaves_nothing() -> None:
    async with disk() as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump(max_messages=2)
        await wait_quiet()
        feed(pump, *"123456")
        await wait_quiet()
        feed(pump, "7")
        pump.abandon()
        await wait_quiet()
        feed(pump, "8")
        assert one.log.kept == {}
        assert pump.statistics().dropped == 6, "all but what is in flight"
        assert pump.forget_log() == 0
        one.site.faults.heal()
        await quiet(one)
        assert sequences(one) == [1, 2]
        assert (one.budget.used, one.site.budget.used) == (0, 0)


async def test_a_session_that_the_store_never_learnt_of_is_not_mistaken_for_the_present_one() -> (
    None
):
    async with disk() as one:
        one.site.faults.break_all(DOWN)
        pump = one.pump(durable=True, blocking=True, session=3)
        feed(pump, "old")
        await wait_quiet()
        kept = {STREAM: list(one.log.kept[STREAM])}
        assert balance(pump)
    async with works() as site:
        later = Disk(site, kept=kept)
        pump = later.pump(durable=True, blocking=True, session=3, known=2, epoch=2)
        feed(pump, "new")
        await quiet(later)
        assert [e.data for e in site.sink.events] == [b"new"]
        assert (pump.statistics().dropped, later.numbers) == (1, [])


# --- any sequence ---------------------------------------------------------------------------------

STEPS = st.lists(
    st.sampled_from(
        ["accept", "many", "run", "publish", "break", "heal", "disk_fails", "disk_works", "time"]
    ),
    max_size=25,
)


async def played(one: Disk, pump: Pump, steps: list[str]) -> Hold:
    """Plays the steps; returns what holds the publish call under way."""
    hold = one.site.faults.hold("publish")
    for step in steps:
        match step:
            case "accept" | "many":
                for _ in range(1 if step == "accept" else 7):
                    if not pump.full:
                        feed(pump, "x")
            case "run":
                rest = [b"x"] * 9
                while rest and not pump.full:
                    rest = rest[pump.accept_run(Kind.TEXT, rest, START) :]
            case "publish":
                hold.release()
                hold = one.site.faults.hold("publish")
            case "break":
                one.site.faults.break_all(DOWN)
            case "heal":
                one.site.faults.heal()
            case "time":
                one.site.clock.advance(5.0)
            case "disk_fails":
                one.log.problem = "scripted"
            case _:
                one.log.heal()
        await wait_quiet()
    return hold


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans(), st.booleans(), st.integers(1, 6), st.integers(300, 3000))
def test_any_sequence_keeps_order_and_counts(
    steps: list[str], durable: bool, blocking: bool, max_messages: int, max_disk: int
) -> None:
    async def play() -> None:
        async with disk(max_bytes=max_disk, max_batch=3) as one:
            pump = one.pump(
                durable=durable or blocking,
                blocking=blocking,
                max_messages=max_messages,
                markers=True,
            )
            hold = await played(one, pump, steps)
            hold.release()
            one.site.faults.heal()
            one.log.heal()
            await let_time_pass(
                one.site.clock,
                lambda: not one.site.lane.pending and not pump.statistics().spilled_messages,
                step=0.5,
            )
            numbers = sequences(one)
            counts = pump.statistics()
            assert numbers == sorted(set(numbers))
            assert balance(pump)
            assert len(numbers) == counts.messages_published
            missing = set(range(1, pump.sequence + 1)) - set(numbers)
            gaps = [json.loads(e.data) for e in one.site.sink.events if not is_message(e)]
            told = [g for g in gaps if g.get("cause") == "spill"]
            assert sum(g["lost"] for g in told) == len(missing) == counts.dropped
            covered = {n for g in told for n in range(g["from_sequence"] + 1, g["to_sequence"])}
            assert covered == missing
            if blocking:
                assert not missing
            assert (one.budget.used, one.site.budget.used) == (0, 0)
            assert one.numbers == []
            assert not full(pump)

    asyncio.run(play())


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(1, 6), st.integers(1, 3))
def test_what_a_stop_keeps_is_published_in_order_by_the_next_process(
    steps: list[str], max_messages: int, max_batch: int
) -> None:
    async def play() -> None:
        async with disk(max_batch=max_batch) as one:
            pump = one.pump(max_messages=max_messages, markers=True)
            await played(one, pump, steps)
            one.log.heal()
            await wait_quiet()
            for spool in one.budget.spools:
                spool.keep()
            feed(pump, "last")
            await wait_quiet()
            assert one.site.lane.pending == pump.kept, "nothing would be lost now"
            before, last = sequences(one), pump.sequence
            kept = {STREAM: list(one.log.kept[STREAM])}
        async with works() as site:
            later = Disk(site, kept=kept)
            later.pump(session=2, known=1, epoch=2)
            await quiet(later)
            after = sequences(later)
            assert after == sorted(after)
            assert before + [n for n in after if n not in before] == list(range(1, last + 1))
            assert later.numbers == []

    asyncio.run(play())
