"""What a crash left unpublished is published again: equal events, and none skipped."""

from __future__ import annotations

from tests.kit.quiet import wait_quiet
from tests.service.house import DOWN, World, assert_no_holes
from tests.service.office import draft, office, open_book, record_of, texts
from websocketmanager.domain.record import RECENT_EVENTS


async def test_what_a_crash_left_unpublished_is_published_with_equal_bytes() -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, *[draft(str(number)) for number in range(3)])
        await house.settle()
        world.sink_faults.break_all(DOWN)
        house.ledger.post(book, None, *[draft(str(number)) for number in range(3, 9)])
        await wait_quiet()
    world.sink_faults.heal()
    stored = world.record("c1")
    assert stored is not None
    async with office(world) as house:
        entry = house.registry.adopt(stored, world.values.values[stored.key].etag)
        house.ledger.post(entry.book, None, draft("after"))
        await house.settle()

    assert_no_holes(world.lifecycle())
    assert len(world.lifecycle()) == 3 + 8 + 1
    assert texts(world)[-1] == "after"


async def test_a_second_crash_before_anything_is_published_leaves_no_hole() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, *[draft(str(number)) for number in range(6)])
        await wait_quiet()
    for _ in range(2):
        stored = world.record("c1")
        assert stored is not None
        async with office(world) as house:
            entry = house.registry.adopt(stored, world.values.values[stored.key].etag)
            house.ledger.post(entry.book, None, *[draft("more")] * 6)
            await wait_quiet()
            assert entry.book.unacknowledged == RECENT_EVENTS
            if entry.record.owner_epoch == 3:
                world.sink_faults.heal()
                await house.settle()
    assert_no_holes(world.lifecycle())
    assert world.lifecycle()[-1].tag == 14
