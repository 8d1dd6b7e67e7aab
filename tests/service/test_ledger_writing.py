"""A record is written over the value that is ours, and over no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

import pytest

from tests.kit.quiet import wait_quiet
from tests.service.house import World
from tests.service.office import draft, office, open_book, record_of, texts
from websocketmanager.domain.facts import OwnershipLost
from websocketmanager.domain.model import InstanceId
from websocketmanager.errors import StateConflict
from websocketmanager.service.ledger import RecordLost

CONFLICT = StateConflict("State.SaveState", "scripted")


async def test_our_own_write_is_recognised_behind_a_conflict() -> None:
    world = World()
    world.store_faults.fail("save", CONFLICT, after=True)
    async with office(world) as house:
        book, told = open_book(record_of(world))
        await house.ledger.commit(book, lambda r: replace(r, session=2))
        assert (book.record.session, told.lost) == (2, [])


OTHERS = {
    "a higher epoch": {"owner_epoch": 2, "incarnation": "other"},
    "another process at our epoch": {"incarnation": "other"},
    "a newer connection of the name": {"created_at": 1_800_000_000.0},
}


@pytest.mark.parametrize("theirs", OTHERS.values(), ids=OTHERS)
async def test_a_record_of_another_ends_the_book(theirs: dict[str, object]) -> None:
    world = World()
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        other = replace(book.record, instance_id=InstanceId("two"), **theirs)  # type: ignore[arg-type] # any
        await world.put(other, indexed=False)
        house.ledger.post(book, None, draft("2"), draft("3"))
        await house.settle()

        assert len(told.lost) == 1
        assert len(house.journal.of(OwnershipLost)) == 1
        assert texts(world) == ["1"]
        assert world.record("c1") == other
        house.ledger.post(book, None, draft("4"))
        await house.settle()
        assert world.record("c1") == other


async def test_a_commit_and_a_burial_find_out_too() -> None:
    for verb in ("commit", "bury"):
        world = World()
        async with office(world) as house:
            book, told = open_book(record_of(world))
            house.ledger.post(book, None, draft("1"))
            await house.settle()
            other = replace(book.record, owner_epoch=5, incarnation="other")
            await world.put(other, indexed=False)
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "commit": partial(house.ledger.commit, book, lambda r: replace(r, session=3)),
                "bury": partial(house.ledger.bury, book, draft("2")),
            }
            with pytest.raises(RecordLost):
                await verbs[verb]()
            assert world.record("c1") == other
            assert len(told.lost) == 1, "it stops acting for the connection"
            with pytest.raises(RecordLost):
                await house.ledger.commit(book, lambda r: replace(r, session=3))


async def test_an_older_owner_is_overwritten() -> None:
    world = World()
    older = record_of(world, owner_epoch=1, incarnation="older", event=3)
    await world.put(older, indexed=False)
    async with office(world) as house:
        entry = house.registry.adopt(older, world.values.values[older.key].etag)
        house.ledger.post(entry.book, None, draft())
        await house.settle()
        stored = world.record("c1")
        assert stored is not None
        assert (stored.owner_epoch, stored.incarnation, stored.event) == (2, "process-1", 4)


async def test_two_processes_at_once_and_one_wins() -> None:
    world = World()
    older = record_of(world, incarnation="older")
    await world.put(older, indexed=False)
    etag = world.values.values[older.key].etag
    async with office(world) as one, office(world) as other:
        first, second = one.registry.adopt(older, etag), other.registry.adopt(older, etag)
        hold = world.store_faults.hold("save")
        one.ledger.post(first.book, None, draft("one"))
        await hold.arrived.wait()
        other.ledger.post(second.book, None, draft("other"))
        await wait_quiet()
        hold.release()
        await one.settle()
        await other.settle()
        assert texts(world) == ["other"]
        assert first.removed
        assert not second.removed


async def test_a_record_that_the_store_lost_is_written_anew() -> None:
    world = World()
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        world.values.values.clear()
        house.ledger.post(book, None, draft("2"))
        await house.settle()
        assert not told.lost
        stored = world.record("c1")
        assert stored is not None
        assert stored.event == 2


async def test_an_unreadable_record_is_left_untouched() -> None:
    world = World()
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        await world.values.save(book.record.key, '{"schema":99}')
        house.ledger.post(book, None, draft("2"))
        await house.settle()
        assert told.lost
        assert world.values.values[book.record.key].value == '{"schema":99}'
