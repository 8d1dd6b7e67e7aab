"""What a caller waits for is saved at once, or has not happened."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.service.house import DOWN, World
from tests.service.office import draft, office, open_book, record_of
from websocketmanager.domain.model import Status
from websocketmanager.domain.record import Record
from websocketmanager.errors import ApiUnavailable


async def test_a_commit_is_seen_when_the_store_has_it() -> None:
    world = World()
    async with office(world) as house:
        book, told = open_book(record_of(world))
        hold = world.store_faults.hold("save")
        committing = asyncio.create_task(house.ledger.commit(book, lambda r: replace(r, session=4)))
        await hold.arrived.wait()
        assert book.record.session == 0
        hold.release()
        await committing
        assert book.record.session == 4
        stored = world.record("c1")
        assert stored is not None
        assert stored.session == 4
        assert [saved.session for saved in told.saved] == [4]


@pytest.mark.parametrize("after", [False, True])
async def test_a_failed_commit_leaves_nothing_behind(after: bool) -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        await house.ledger.open(book)
        world.store_faults.fail("save", DOWN, after=after)
        with pytest.raises(ApiUnavailable):
            await house.ledger.commit(book, lambda r: replace(r, session=4))
        assert book.record.session == 0
        await house.settle()
        stored = world.record("c1")
        assert stored is not None
        assert stored.session == 0


async def test_what_is_posted_during_a_commit_stays() -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        hold = world.store_faults.hold("save")
        committing = asyncio.create_task(
            house.ledger.commit(book, lambda r: replace(r, status=Status.CONNECTED))
        )
        await hold.arrived.wait()
        house.ledger.post(book, lambda r: replace(r, session=5), draft())
        hold.release()
        await committing
        await house.settle()
        stored = world.record("c1")
        assert stored is not None
        assert (stored.session, stored.status) == (5, Status.CONNECTED)


async def test_a_refused_change_saves_nothing() -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))

        def refuse(record: Record) -> Record:
            raise ValueError("refused")

        with pytest.raises(ValueError, match="refused"):
            await house.ledger.commit(book, refuse)
        assert world.record("c1") is None
        await house.ledger.commit(book, lambda r: r)


@pytest.mark.parametrize("after", [False, True])
async def test_a_failed_first_save_is_not_repeated(after: bool) -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        world.store_faults.fail("save", DOWN, after=after)
        with pytest.raises(ApiUnavailable):
            await house.ledger.open(book)
        house.ledger.post(book, None, draft())
        await house.settle()
        assert (world.record("c1") is not None) == after
        await house.ledger.scrub(book)
        assert world.record("c1") is None
        assert world.sink.events == []
