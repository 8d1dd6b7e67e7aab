"""A full buffer by each policy that gives messages up: order, counts, markers, announcements."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.clock import START
from tests.kit.quiet import wait_quiet
from tests.service.test_pump import DOWN, A, B, Works, feed, full, identity, works
from websocketmanager.domain.envelope import MESSAGE_TYPE, Event, each_event, event_place
from websocketmanager.domain.failure import FailureKind, SocketFailed
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.options import Overflow
from websocketmanager.service.feeds import Batch, Feed
from websocketmanager.service.meter import Meter
from websocketmanager.service.pump import CONFLATING, DROPPING, PUBLISHING_BEHIND, Pump


def gaps(site: Works) -> list[dict[str, Any]]:
    """Returns what the published gap markers say."""
    return [json.loads(e.data) for e in site.sink.events if e.metadata["ce-type"].endswith("gap")]


def bounds(site: Works) -> list[tuple[int, int, int]]:
    """Returns from, to and lost of the published gap markers."""
    return [(g["from_sequence"], g["to_sequence"], g["lost"]) for g in gaps(site)]


def sequences(site: Works) -> list[int]:
    """Returns the numbers of the published messages."""
    return [event_place(e)[1] for e in site.sink.events if is_message(e)]


def is_message(event: Event) -> bool:
    return event.metadata["ce-type"] == MESSAGE_TYPE


def numbered(pump: Pump, first: int, last: int) -> None:
    feed(pump, *map(str, range(first, last + 1)))


@asynccontextmanager
async def held(policy: Overflow, **given: Any) -> AsyncIterator[tuple[Works, Pump]]:
    """Runs a pump whose first event is in flight and stays there until the API is healed."""
    async with works() as site:
        site.faults.break_all(DOWN)
        pump = site.pump(overflow=policy, markers=True, **{"max_messages": 4} | given)
        await wait_quiet()  # the marker of the session is in flight
        yield site, pump
        site.faults.heal()
        await site.drained()
        assert (site.budget.used, site.lane.pending) == (0, 0)
        assert_told_truly(site, pump)


def owners(batch: Batch) -> list[Feed]:
    """Returns whose each parcel of a batch is."""
    return [one for one, length in batch._shares for _ in range(length)]


def assert_told_truly(site: Works, pump: Pump) -> None:
    """Asserts order, and that what is missing is what the markers and the counts say."""
    numbers = sequences(site)
    assert numbers == sorted(set(numbers))
    missing = set(range(1, pump.sequence + 1)) - set(numbers)
    counts = pump.statistics()
    assert counts.dropped == len(missing)
    assert counts.messages_received == counts.messages_published + counts.dropped
    assert sum(lost for _, _, lost in bounds(site)) == len(missing)
    for low, high, lost in bounds(site):
        assert len(missing & set(range(low + 1, high))) >= lost
    ids = [event.metadata["ce-id"] for event in site.sink.events]
    assert len(set(ids)) == len(ids)


def assert_balanced(pump: Pump) -> None:
    counts = pump.statistics()
    assert counts.messages_received == counts.messages_published + counts.dropped


async def test_the_oldest_is_dropped_with_one_marker_in_its_place() -> None:
    async with held(Overflow.DROP_OLDEST) as (site, pump):
        numbered(pump, 1, 10)
        assert not pump.full
        assert pump.statistics().dropped == 6, "the marker takes no message's place"
        assert site.told == [("degraded", DROPPING)]
    assert sequences(site) == [7, 8, 9, 10]
    kinds = [e.metadata["ce-type"].rpartition(".")[2] for e in site.sink.events]
    assert kinds == ["started", "gap", *["message"] * 4]
    assert gaps(site) == [
        {
            "session": 1,
            "from_session": 1,
            "from_sequence": 0,
            "to_sequence": 7,
            "cause": "drop_oldest",
            "lost": 6,
        }
    ]
    assert site.told[1:] == [("restored", DROPPING, "6")]


async def test_what_is_in_flight_is_not_dropped() -> None:
    async with works(max_batch=2) as site:
        pump = site.pump(overflow=Overflow.DROP_OLDEST, max_messages=2)
        hold = site.faults.hold("publish")
        numbered(pump, 1, 2)
        await hold.arrived.wait()
        numbered(pump, 3, 9)
        hold.release()
        await site.drained()
        assert sequences(site) == [1, 2, 8, 9]
        assert pump.statistics().dropped == 5


async def test_markers_of_sessions_stay_and_gaps_do_not_reach_over_them() -> None:
    async with held(Overflow.DROP_OLDEST, max_messages=8) as (site, pump):
        numbered(pump, 1, 3)
        pump.end_session(START, "lost")
        pump.open_session(identity(2), START)
        pump.confirm_session(2)
        numbered(pump, 1, 12)
        site.faults.heal()
        await site.drained()
        told = [(e.metadata["ce-type"].rpartition(".")[2], e.tag) for e in site.sink.events]
        assert told[:2] == [("started", 1), ("gap", 1)]
        assert told[2:6] == [("ended", 1), ("gap", 2), ("started", 2), ("gap", 2)]
        dropped = [g for g in gaps(site) if g["cause"] == "drop_oldest"]
        assert [(g["session"], g["from_sequence"]) for g in dropped] == [(1, 0), (2, 0)]
        assert sum(g["lost"] for g in dropped) == pump.statistics().dropped
        numbers = [event_place(e) for e in site.sink.events if is_message(e)]
        assert numbers == [(2, n) for n in range(dropped[1]["to_sequence"], 13)]
        site.sink.events.clear()
        pump._meter, pump.sequence = Meter(START), 0


async def test_each_topic_has_its_own_gap() -> None:
    async with works() as site:
        site.faults.break_all(DOWN)
        pump = site.pump(overflow=Overflow.DROP_OLDEST, markers=True, max_messages=4)
        await wait_quiet()
        numbered(pump, 1, 2)
        pump.set_topic(B)
        numbered(pump, 3, 8)
        site.faults.heal()
        await site.drained()
        topics = [e.route.topic for e in site.sink.events if e.metadata["ce-type"].endswith("gap")]
        assert topics == [A, B]
        assert bounds(site)[0] == (0, 3, 2)


async def test_the_newest_is_dropped_until_an_eighth_is_free() -> None:
    async with works(max_batch=1) as site:
        pump = site.pump(overflow=Overflow.DROP_NEWEST, markers=True, max_messages=16)
        await site.drained()
        holds = [site.faults.hold("publish") for _ in range(4)]
        numbered(pump, 1, 20)
        assert pump.statistics().dropped == 4
        assert not pump.full
        holds[0].release()
        await holds[1].arrived.wait()
        numbered(pump, 21, 21)
        assert pump.statistics().dropped == 5, "one place is not enough"
        holds[1].release()
        await holds[2].arrived.wait()
        numbered(pump, 22, 22)
        assert pump.statistics().dropped == 5
        for hold in holds:
            hold.release()
        await site.drained()
        assert sequences(site) == [*range(1, 17), 22]
        assert bounds(site) == [(16, 22, 5)]
        assert site.told == [("degraded", DROPPING), ("restored", DROPPING, "5")]
        assert_told_truly(site, pump)


async def test_what_was_refused_last_is_told_before_the_session_ends() -> None:
    async with held(Overflow.DROP_NEWEST) as (site, pump):
        numbered(pump, 1, 6)
        pump.end_session(START, "lost")
        site.faults.heal()
        await site.drained()
        told = [e.metadata["ce-type"].rpartition(".")[2] for e in site.sink.events]
        assert told[-2:] == ["gap", "ended"]


async def test_the_latest_of_each_key_is_kept_in_order() -> None:
    async with held(Overflow.CONFLATE, conflate_pointer="/s", max_messages=10) as (site, pump):
        for number in range(1, 10):
            feed(pump, json.dumps({"s": "AB"[number % 2], "n": number}))
            feed(pump, "no key") if number == 3 else None
        assert full(pump)
        await pump.wait_room()
        assert not full(pump), "there is room without waiting"
        assert site.told == [("degraded", CONFLATING)]
        feed(pump, '{"s":"A","n":99}')
    published = [e.data for e in site.sink.events if is_message(e)]
    assert published == [
        b"no key",
        *(b'{"s": "%s", "n": %d}' % p for p in ((b"A", 8), (b"B", 9))),
        b'{"s":"A","n":99}',
    ]
    assert bounds(site) == [(0, 9, 7)]
    assert gaps(site)[0]["cause"] == "conflate"


async def test_where_conflating_frees_nothing_the_reader_waits() -> None:
    async with held(Overflow.CONFLATE, conflate_pointer="/s") as (site, pump):
        for number in range(4):
            feed(pump, json.dumps({"s": number}))
        waiting = asyncio.create_task(pump.wait_room())
        await wait_quiet()
        assert not waiting.done()
        assert site.told == [("degraded", PUBLISHING_BEHIND)]
        site.faults.heal()
        await site.drained()
        await waiting
        assert pump.statistics().dropped == 0


async def test_conflating_again_tells_one_gap_of_what_still_waits() -> None:
    async with held(Overflow.CONFLATE, conflate_pointer="/s", max_messages=4) as (site, pump):
        for number in range(20):
            feed(pump, json.dumps({"s": 0, "n": number}))
            await pump.wait_room()
        assert pump.statistics().buffered_messages <= 6
    assert len(gaps(site)) == 1


async def test_what_is_in_flight_does_not_stand_in_the_way_of_the_latest() -> None:
    async with works() as site:
        hold = site.faults.hold("publish")
        pump = site.pump(overflow=Overflow.CONFLATE, conflate_pointer="/s", max_messages=4)
        for number in range(4):
            feed(pump, json.dumps({"s": number}))
        await hold.arrived.wait()
        for number in range(4, 20):
            feed(pump, json.dumps({"s": 0, "n": number}))
            await asyncio.wait_for(pump.wait_room(), 5)
        hold.release()
        await site.drained()
        assert site.published()[-1] == b'{"s": 0, "n": 19}'
        assert_balanced(pump)


async def test_a_full_buffer_closes_the_session() -> None:
    async with held(Overflow.CLOSE) as (_, pump):
        numbered(pump, 1, 2)
        await pump.wait_room()
        numbered(pump, 3, 3)
        with pytest.raises(SocketFailed) as ended:
            await pump.wait_room()
        assert ended.value.failure.kind is FailureKind.BUFFER_OVERFLOW
        assert pump.statistics().dropped == 0
        numbered(pump, 4, 5)  # of the next session, while the API is still away
        assert pump.statistics().dropped == 2


@pytest.mark.parametrize("policy", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
async def test_the_budget_of_the_process_counts(policy: Overflow) -> None:
    async with works(max_budget=20_000) as site:
        site.faults.break_all(DOWN)
        other = site.pump()
        feed(other, "x" * 20_000)
        await wait_quiet()
        pump = site.pump(overflow=policy)
        numbered(pump, 1, 50)
        assert pump.statistics().buffered_messages <= 1
        assert pump.statistics().dropped >= 49
        site.faults.heal()
        await site.drained()
        assert site.budget.used == 0


async def test_an_abandoned_pump_tells_of_no_gap() -> None:
    async with works() as site:
        site.faults.break_all(DOWN)
        pump = site.pump(session=0, overflow=Overflow.DROP_NEWEST, markers=True, max_messages=2)
        pump.open_session(identity(3), START)
        numbered(pump, 1, 5)
        pump.abandon()
        pump.confirm_session(3)
        site.faults.heal()
        await site.drained()
        assert site.sink.events == []
        assert pump.statistics().dropped == 5
        assert site.budget.used == 0


# --- any sequence ---------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.just("accept"), st.integers(1, 12)) | st.tuples(st.just("publish"), st.just(0)),
    max_size=30,
)
POLICIES = st.sampled_from([p for p in Overflow if p is not Overflow.SPILL])


@settings(max_examples=150, deadline=None)
@given(POLICIES, STEPS, st.integers(1, 9), st.integers(16, 60), st.integers(1, 5))
def test_any_sequence_keeps_order_and_counts(
    policy: Overflow,
    steps: list[tuple[str, int]],
    max_messages: int,
    max_bytes: int,
    max_batch: int,
) -> None:
    async def play() -> None:
        async with works(max_batch=max_batch) as site:
            pump = site.pump(
                overflow=policy,
                markers=True,
                conflate_pointer="",
                max_messages=max_messages,
                max_bytes=max_bytes,
            )
            hold = site.faults.hold("publish")
            for step, count in steps:
                if step == "publish":
                    await wait_quiet()
                    hold.release()
                    hold = site.faults.hold("publish")
                    await wait_quiet()
                    continue
                for number in range(count):
                    if pump.full and policy is Overflow.CONFLATE:
                        assert pump._shedder is not None
                        pump._shedder.conflate()
                    elif pump.full and policy is Overflow.BLOCK:
                        break
                    feed(pump, str(number % 3))
                counts = pump.statistics()
                # One batch may be in flight, and one message is always taken.
                assert counts.messages_received == counts.messages_published + counts.dropped + sum(
                    e.route.is_message for e in waiting(site, pump)
                )
                if policy in {Overflow.DROP_OLDEST, Overflow.DROP_NEWEST, Overflow.CLOSE}:
                    assert counts.buffered_messages <= max_messages + max_batch + 2
            hold.release()
            site.faults.heal()
            await site.drained()
            assert site.budget.used == 0
            assert_told_truly(site, pump)

    asyncio.run(play())


def waiting(site: Works, pump: Pump) -> list[Event]:
    """Returns the pump's events that wait or are in flight."""
    flying = [
        event
        for batch in site.lane._flying
        for event, one in zip(batch.events, owners(batch), strict=True)
        if one is pump._feed
    ]
    return each_event([*flying, *pump._feed.events])


# --- runs -----------------------------------------------------------------------------------------


async def test_of_a_run_that_waits_only_as_much_is_dropped_as_must_be() -> None:
    async with held(Overflow.DROP_OLDEST, max_messages=8) as (site, pump):
        pump.accept_run(Kind.TEXT, [b"a"] * 7, START)
        pump.accept_run(Kind.TEXT, [b"b"] * 4, START)
        assert pump.statistics().dropped == 3
    assert sequences(site) == list(range(4, 12))
    assert bounds(site) == [(0, 4, 3)]


async def test_of_a_run_that_waits_only_as_many_bytes_are_dropped_as_must_be() -> None:
    async with works() as site:
        site.faults.break_all(DOWN)
        pump = site.pump(overflow=Overflow.DROP_OLDEST, max_bytes=6400)
        await wait_quiet()
        pump.accept_run(Kind.TEXT, [bytes(100)] * 60, START)
        # Three find room; the fourth takes a sixty-fourth of all beside its own place.
        pump.accept_run(Kind.TEXT, [bytes(100)] * 5, START)
        assert pump.statistics().dropped == 2
        assert [parcel.count for parcel in pump._feed.events] == [58, 4, 1]
        site.faults.heal()
        await site.drained()
        assert sequences(site) == list(range(3, 66))


async def test_what_a_refusal_sends_back_counts_as_waiting_again() -> None:
    async with works() as site:
        site.refused.add(A)
        pump = site.pump(overflow=Overflow.DROP_OLDEST, max_messages=4)
        numbered(pump, 1, 2)
        pump.set_topic(B)
        numbered(pump, 3, 4)
        await site.drained()
        assert (sequences(site), pump.statistics().dropped) == ([3, 4], 2)
        hold = site.faults.hold("publish")
        numbered(pump, 5, 5)
        await hold.arrived.wait()
        numbered(pump, 6, 13)
        assert pump.statistics().dropped == 2 + 4
        hold.release()
        await site.drained()
        assert sequences(site) == [3, 4, 5, 10, 11, 12, 13]


async def test_one_message_too_large_takes_none_of_its_run_with_it() -> None:
    async with works() as site:
        pump = site.pump(overflow=Overflow.DROP_NEWEST, markers=True, max_bytes=1000)
        await site.drained()
        pump.accept_run(Kind.TEXT, [b"a", bytes(2000), b"b", b"c"], START)
        await site.drained()
        assert sequences(site) == [1, 3, 4]
        assert bounds(site) == [(1, 3, 1)]
        assert_told_truly(site, pump)
