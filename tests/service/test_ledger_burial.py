"""A burial is the last save of a record, and loses none of its events."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.quiet import wait_quiet
from tests.service.house import DOWN, World, assert_no_holes
from tests.service.office import draft, office, open_book, record_of, texts
from websocketmanager.errors import ApiUnavailable
from websocketmanager.service.ledger import RecordLost


async def test_a_burial_saves_the_last_event_and_publishes_when_told() -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        release = await house.ledger.bury(book, draft("last"))
        stored = world.record("c1")
        assert stored is not None
        assert (stored.deleted, stored.event) == (True, 2)
        await wait_quiet()
        assert texts(world) == ["1"]
        assert release is not None
        release()
        await house.ledger.erase(book, patience_seconds=2.0)
        assert texts(world) == ["1", "last"]
        assert world.record("c1") is None
        house.ledger.post(book, None, draft("late"))
        with pytest.raises(RecordLost):
            await house.ledger.commit(book, lambda r: r)
        await house.settle()
        assert world.record("c1") is None
        assert await house.ledger.bury(book, draft("again")) is None


async def test_a_burial_takes_along_what_waits() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, *[draft(str(number)) for number in range(12)])
        await wait_quiet()
        assert book.unacknowledged == 8
        release = await house.ledger.bury(book, draft("last"))
        stored = world.record("c1")
        assert stored is not None
        numbers = [event.number for event in stored.recent_events]
        assert numbers == list(range(1, 14)), "all that a crash now could lose"
        assert release is not None
        release()
        world.sink_faults.heal()
        await house.settle()
        assert_no_holes(world.lifecycle())
        assert texts(world)[-1] == "last"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("operation", ["save", "get"])
async def test_a_failed_burial_changes_nothing(operation: str, after: bool) -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        if operation == "save":
            world.store_faults.fail("save", DOWN, after=after)
        else:
            await house.ledger.commit(book, lambda r: r)
            house.ledger.post(book, None)  # has the etag read
            await house.settle()
            world.store_faults.fail("get", DOWN, times=1)
            if after:  # the read-back fails, the tombstone is stored
                book.etag = world.values.values[book.record.key].etag
        with pytest.raises(ApiUnavailable):
            await house.ledger.bury(book, draft("last"))
        await house.settle()
        stored = world.record("c1")
        assert stored is not None
        assert not stored.deleted, "a crash now would end a living connection"
        house.ledger.post(book, None, draft("2"))
        await house.settle()
        assert texts(world) == ["1", "2"]
        assert_no_holes(world.lifecycle())


async def test_erasing_waits_for_the_last_event_but_not_for_ever() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        release = await house.ledger.bury(book, draft("last"))
        assert release is not None
        release()
        erasing = asyncio.create_task(house.ledger.erase(book, patience_seconds=2.0))
        await wait_quiet()
        assert not erasing.done()
        assert world.record("c1") is not None
        world.clock.advance(2.0)
        await erasing
        assert world.record("c1") is None
        world.sink_faults.heal()
        await house.settle()
        assert texts(world) == ["last"]
