"""What is posted is saved first and published then, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.kit.quiet import wait_quiet
from tests.service.house import DOWN, World, assert_no_holes, data_of
from tests.service.office import draft, office, open_book, record_of, texts
from websocketmanager.domain.envelope import (
    LIFECYCLE_TOPIC,
)
from websocketmanager.domain.facts import LifecycleEventsDropped, RecordSaveDelayed
from websocketmanager.domain.model import ConnectionId
from websocketmanager.domain.record import RECENT_EVENTS
from websocketmanager.errors import ApiError, StateConflict

CONFLICT = StateConflict("State.SaveState", "scripted")


async def test_a_record_is_saved_before_its_event_is_published() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, lambda r: replace(r, session=1), draft())
        await hold.arrived.wait()
        await wait_quiet()
        assert (world.sink.events, told.saved) == ([], [])
        hold.release()
        await house.settle()

        assert texts(world) == ["x"]
        stored = world.record("c1")
        assert stored is not None
        assert (stored.session, stored.event) == (1, 1)
        assert [saved.session for saved in told.saved] == [1]
        assert stored.recent_events[0].data["event"] == 1
        assert data_of(world.lifecycle()[0])["event"] == 1


async def test_what_is_posted_during_a_save_follows_it() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await hold.arrived.wait()
        house.ledger.post(book, lambda r: replace(r, session=7), draft("2"))
        house.ledger.post(book, None, draft("3"))
        hold.release()
        await house.settle()

        assert texts(world) == ["1", "2", "3"]
        assert world.store_faults.calls.count("save") == 2
        assert book.record.session == 7
        stored = world.record("c1")
        assert stored is not None
        assert (stored.session, stored.event) == (7, 3)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [DOWN, CONFLICT])
async def test_a_failed_save_is_repeated_with_equal_numbers(error: ApiError, after: bool) -> None:
    world = World()
    world.store_faults.fail("save", error, times=3, after=after)
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"), draft("2"))
        await wait_quiet()
        if not (after and error is CONFLICT):
            assert world.sink.events == []
            assert house.journal.of(RecordSaveDelayed)
        house.ledger.post(book, None, draft("3"))
        await house.settle()

        assert texts(world) == ["1", "2", "3"]
        assert_no_holes(world.lifecycle())
        assert not told.lost


async def test_what_is_posted_during_a_save_that_fails_follows_it_too() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    world.store_faults.fail("save", DOWN, after=True)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"), draft("2"))
        await hold.arrived.wait()
        house.ledger.post(book, None, draft("3"))
        hold.release()
        await house.settle()
        assert texts(world) == ["1", "2", "3"]


async def test_an_outage_is_told_once() -> None:
    world = World()
    world.store_faults.break_all(DOWN)
    async with office(world) as house:
        books = [open_book(record_of(world, id=f"c{n}"))[0] for n in range(3)]
        for book in books:
            house.ledger.post(book, None, draft())
        for _ in range(5):
            world.clock.advance(3.0)
            await wait_quiet()
        assert len(house.journal.of(RecordSaveDelayed)) == 1
        world.store_faults.heal()
        await house.settle()
        assert len(world.sink.events) == 3


async def test_at_most_eight_events_are_unacknowledged() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        for number in range(20):
            house.ledger.post(book, None, draft(str(number)))
            await wait_quiet()
        assert book.unacknowledged == RECENT_EVENTS
        assert house.ledger.busy
        world.sink_faults.heal()
        await house.settle()
        assert texts(world) == [str(number) for number in range(20)]
        assert (book.unacknowledged, house.ledger.busy) == (0, False)


async def test_what_overflows_is_counted_and_told() -> None:
    world = World()
    world.store_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        for number in range(600):
            house.ledger.post(book, None, draft(str(number)))
        world.store_faults.heal()
        await house.settle()
        events = world.lifecycle()
        assert data_of(events[0])["events_dropped"] == 88
        assert not any("events_dropped" in data_of(event) for event in events[1:])
        assert texts(world)[-1] == "599"
        assert_no_holes(events)


async def test_what_overflows_during_a_save_is_told_by_the_next() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("first"))
        await hold.arrived.wait()
        for number in range(520):
            house.ledger.post(book, None, draft(str(number)))
        hold.release()
        await house.settle()
        told = [data_of(event).get("events_dropped") for event in world.lifecycle()]
        assert told[:3] == [None, 8, None]


async def test_waiting_for_idle_ends_when_all_is_saved() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        await house.ledger.wait_idle()
        house.ledger.post(book, None, draft())
        waiting = asyncio.create_task(house.ledger.wait_idle())
        await hold.arrived.wait()
        assert not waiting.done()
        hold.release()
        await waiting
        assert not house.ledger.busy


async def test_waiting_for_idle_ends_when_the_last_unsaved_book_is_buried() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, *[draft(str(number)) for number in range(9)])
        await wait_quiet()
        waiting = asyncio.create_task(house.ledger.wait_idle())
        await wait_quiet()
        await house.ledger.bury(book, draft("last"))
        await wait_quiet()
        assert waiting.done()


async def test_records_that_are_refused_do_not_stop_the_others() -> None:
    world = World()
    world.store_faults.fail("save", DOWN, times=40)  # more than saves in flight
    async with office(world) as house:
        refused = [
            open_book(record_of(world, id=ConnectionId(f"refused-{number}")))[0]
            for number in range(40)
        ]
        for book in refused:
            house.ledger.post(book)
        await wait_quiet()  # all wait for their next attempt, none of them in a slot

        book, told = open_book(record_of(world))
        house.ledger.post(book)
        await wait_quiet()
        assert [saved.id for saved in told.saved] == ["c1"]


async def test_a_lifecycle_topic_that_is_refused_stops_nothing() -> None:
    world = World()
    world.sink.refused_topics = {LIFECYCLE_TOPIC}
    async with office(world) as house:
        book, told = open_book(record_of(world))
        for number in range(20):
            house.ledger.post(book, lambda r: replace(r, session=r.session + 1), draft(str(number)))
        await house.settle()
        assert told.saved[-1].session == 20
        assert len(house.journal.of(LifecycleEventsDropped)) == 20
