"""Runs on the lane: divided, accepted in part, refused in the middle, and in turn with others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.kit.builders import events, run
from tests.kit.port_faults import FaultScript, FaultyEventSink
from tests.kit.quiet import wait_quiet
from tests.service.test_lane import (
    DOWN,
    NOTHING,
    REFUSED,
    UNSURE,
    OrderedSink,
    Owner,
    Track,
    ids,
    push,
    running,
)
from websocketmanager.adapters.memory import MemoryEventSink
from websocketmanager.domain.envelope import Event, Parcel, count_events, divided, each_event
from websocketmanager.ports import PublishResult


async def test_a_run_is_divided_over_two_calls() -> None:
    sink = OrderedSink(max_batch=3)
    async with running(sink) as track:
        feed, owner = track.feed()
        push(feed, run("a.b", [b"%d" % n for n in range(5)]))
        assert (feed.load, track.lane.pending) == (5, 5)
        await wait_quiet()
        assert sink.data() == [[b"0", b"1", b"2"], [b"3", b"4"]]
        oldest = track.lane.oldest(feed)
        assert oldest is not None
        assert ids([oldest])[0] == "1"

        await sink.end(PublishResult(3))
        assert (feed.load, track.lane.pending) == (2, 2)
        oldest = track.lane.oldest(feed)
        assert oldest is not None
        assert ids([oldest]) == ["4", "5"]
        await sink.end(PublishResult(2))

        assert ids(owner.accepted_events) == ["1", "2", "3", "4", "5"]
        assert (feed.load, track.lane.pending) == (0, 0)


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_run_that_is_accepted_in_part_goes_on_where_that_ended(ordered: bool) -> None:
    accepted: list[Event] = []

    class ThreeAtATime(MemoryEventSink):
        async def publish(self, events: Sequence[Parcel]) -> PublishResult:
            front, _ = divided(events, 3)
            accepted.extend(each_event(front))
            return PublishResult(count_events(front))

    async with running(ThreeAtATime(ordered=ordered)) as track:
        feed, owner = track.feed()
        push(feed, run("a.b", [b"x"] * 10), *events("a.b", [b"y"], first=11))
        await track.drained()

        assert ids(accepted) == [str(number) for number in range(1, 12)]
        assert ids(owner.accepted_events) == ids(accepted)
        assert (feed.load, track.lane.pending) == (0, 0)


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_run_on_a_refused_topic_loses_one_and_takes_along_the_others(
    ordered: bool,
) -> None:
    sink = MemoryEventSink(refused_topics={"a.bad"}, ordered=ordered, max_in_flight=4, max_batch=4)
    async with running(sink) as track:
        feed, owner = track.feed()
        push(feed, run("a.good", [b"1", b"2"]), run("a.bad", [b"3"] * 5, first=3))
        push(feed, run("a.good", [b"8"], first=8), run("a.bad", [b"9"] * 2, first=9))
        await track.drained()

        assert ids(owner.accepted_events) == ids(sink.events) == ["1", "2", "8"]
        assert ids(owner.refused_events) == ["3"]
        assert ids(owner.discarded_events) == ["4", "5", "6", "7", "9", "10"]
        assert (feed.load, track.lane.pending) == (0, 0)


async def test_only_one_of_a_run_is_refused_when_its_owner_wants_the_others() -> None:
    sink = OrderedSink(max_batch=10)
    async with running(sink) as track:
        feed, owner = track.feed(Owner(wants_discard=False))
        push(feed, run("a.b", [b"%d" % n for n in range(5)]))
        await wait_quiet()
        await sink.end(PublishResult(2, REFUSED))
        assert sink.data()[1:] == [[b"3", b"4"]]
        await sink.accept_all()

        assert ids(owner.refused_events) == ["3"]
        assert ids(owner.accepted_events) == ["1", "2", "4", "5"]
        assert (feed.load, track.lane.pending) == (0, 0)


async def test_a_run_that_fails_without_a_reason_waits_from_there() -> None:
    sink, faults = MemoryEventSink(), FaultScript()
    faults.answer("publish", UNSURE)
    async with running(FaultyEventSink(sink, faults)) as track:
        feed, owner = track.feed()
        push(feed, run("a.b", [b"x"] * 3))
        await wait_quiet()
        assert (sink.events, feed.load) == ([], 3)
        await track.clock.wait_for_timeout()
        track.clock.advance(0.1)
        await track.drained()

        assert ids(owner.accepted_events) == ["1", "2", "3"]


async def test_an_outage_in_the_middle_of_runs_repeats_equal_ids_only() -> None:
    sink = OrderedSink(max_batch=4)
    async with running(sink) as track:
        feed, owner = track.feed()
        push(feed, run("a.b", [b"x"] * 6), run("a.b", [b"y"] * 4, first=7))
        await wait_quiet()
        assert [ids(call) for call in sink.calls] == [
            ["1", "2", "3", "4"],
            ["5", "6", "7", "8"],
            ["9", "10"],
        ]
        await sink.end(PublishResult(4), DOWN, NOTHING)
        await track.clock.wait_for_timeout()
        track.clock.advance(2.0)
        await wait_quiet()
        assert [ids(call) for call in sink.calls[3:]] == [["5", "6", "7", "8"], ["9", "10"]]
        await sink.accept_all()

        assert ids(owner.accepted_events) == [str(number) for number in range(1, 11)]


async def test_long_runs_leave_a_quiet_feed_its_turns() -> None:
    sink = MemoryEventSink(max_batch=1024)
    async with running(sink) as track:
        noisy, _ = track.feed()
        quiet, _ = track.feed()
        push(noisy, *[run("a.noisy", [b"x" * 100] * 2000, first=1 + n * 2000) for n in range(5)])
        push(quiet, *events("a.quiet", [b"1"]))
        await track.drained()

        place = [str(event.route.topic) for event in sink.events].index("a.quiet")
        assert place < 120, "behind one turn of 64 KiB"
        mine = [event for event in sink.events if event.route.topic == "a.noisy"]
        assert ids(mine) == [str(number) for number in range(1, 10_001)]


async def test_two_feeds_with_long_runs_share_each_call() -> None:
    sink = OrderedSink(max_batch=1024)
    async with running(sink) as track:
        for name in ("a.one", "a.two"):
            feed, _ = track.feed()
            push(feed, run(name, [b"x" * 100] * 3000))
        await wait_quiet()
        for call in sink.calls[:4]:
            of_one = sum(event.route.topic == "a.one" for event in call)
            assert len(call) == 1024
            assert 400 < of_one < 624
        await sink.accept_all()


async def test_cancelling_gives_back_divided_runs_in_their_order() -> None:
    sink = OrderedSink(max_batch=4)
    track = Track(sink)
    feed, _ = track.feed()
    task = asyncio.create_task(track.lane.run())
    push(feed, run("a.b", [b"x"] * 10), *events("a.b", [b"y"], first=11))
    await wait_quiet()
    assert len(sink.calls) == 3
    task.cancel()
    await asyncio.wait([task])

    assert ids(list(feed.events)) == [str(number) for number in range(1, 12)]
    assert (feed.load, track.lane.pending) == (11, 11)
