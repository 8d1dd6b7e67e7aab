"""Cancelled at every point where it waits, a verb leaves nothing half-done behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.service.house import TOPIC, House, World, assert_no_holes, running_house, spec_of
from websocketmanager.adapters.memory import MemoryStateStore
from websocketmanager.domain.facts import RunnerCrashed
from websocketmanager.domain.model import ConnectionId, FirstDial, Kind, Status
from websocketmanager.ports import Versioned

RETRY = spec_of(first_dial=FirstDial.RETRY)


class SlowStore(MemoryStateStore):
    """Each call takes a turn before its effect and one after."""

    async def get(self, key: str) -> Versioned | None:
        await asyncio.sleep(0)
        kept = await super().get(key)
        await asyncio.sleep(0)
        return kept

    async def save(self, key: str, value: str, *, etag: str | None = None) -> None:
        await asyncio.sleep(0)
        await super().save(key, value, etag=etag)
        await asyncio.sleep(0)

    async def delete(self, key: str) -> None:
        await asyncio.sleep(0)
        await super().delete(key)
        await asyncio.sleep(0)


@asynccontextmanager
async def slow_house() -> AsyncIterator[House]:
    world = World()
    world.values = SlowStore()
    async with running_house(world) as house:
        yield house


async def cut(work: Awaitable[object], turns: int) -> bool:
    """Runs the work for some turns of the loop, then cancels it; returns whether it was cut."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        if task.done():
            break
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


async def check(house: House) -> None:
    """Asserts that memory, store and sockets agree, and that a restart agrees with them."""
    world = house.world
    await wait_quiet()
    await house.settle()
    entries = house.registry.entries
    assert not house.journal.of(RunnerCrashed)
    assert {record.id for record in world.records} == set(entries)
    # An id without a record is harmless: recovery drops it with the next save.
    assert set(world.indexed()) >= set(entries)
    assert all(not record.deleted for record in world.records)
    for record in world.records:
        assert record.spec == entries[record.id].record.spec
        assert record.session == entries[record.id].record.session
    alive = [socket for socket in world.dialer.sockets if not (socket.closes or socket.aborted)]
    connected = [status for status in house.registry.statuses() if status is Status.CONNECTED]
    assert len(alive) == len(connected)
    assert house.lane.pending == 0
    assert_no_holes(world.lifecycle())


Verb = Callable[[House, ConnectionId], Awaitable[object]]
VERBS: dict[str, Verb] = {
    "connect": lambda house, _: house.supervisor.connect(spec_of()),
    "connect retry": lambda house, _: house.supervisor.connect(RETRY),
    "connect named": lambda house, _: house.supervisor.connect(spec_of("name")),
    "disconnect": lambda house, known: house.supervisor.disconnect(known),
    "start": lambda house, known: house.supervisor.start_publish(known, TOPIC),
    "stop": lambda house, known: house.supervisor.stop_publish(known),
    "tag": lambda house, known: house.supervisor.set_tag(known, "a", "b"),
    "tags": lambda house, known: house.supervisor.set_tags(known, {"c": "d"}),
    "send raw": lambda house, known: house.supervisor.send_raw(known, b"x", Kind.TEXT),
    "send": lambda house, known: house.supervisor.send(known, b"x", Kind.TEXT, None),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
async def test_a_cancelled_verb_is_done_or_undone(verb: Verb) -> None:
    points = 0
    for turns in range(200):
        async with slow_house() as house:
            known, _ = await house.connected()
            await house.settle()
            was_cut = await cut(verb(house, known), turns)
            await check(house)
            # It works all the same, right after.
            if known in house.registry.entries:
                await house.supervisor.set_tag(known, "after", "all")
                await house.supervisor.send_raw(known, b"y", Kind.TEXT)
                await house.supervisor.disconnect(known)
            await check(house)
        points += was_cut
        if not was_cut or turns > 60:
            break
    assert points > 0


@pytest.mark.parametrize("dial", ["fails", "waits"])
async def test_a_cancelled_connect_whose_dial_does_not_succeed(dial: str) -> None:
    for turns in range(60):
        async with slow_house() as house:
            if dial == "fails":
                house.dialer.fail()
            else:
                house.dialer.hang()
            was_cut = await cut(house.supervisor.connect(spec_of()), turns)
            await check(house)
            assert dict(house.registry.entries) == {}
        if not was_cut:
            break


async def test_a_caller_cut_at_any_point_leaves_the_others_of_its_name() -> None:
    for turns in range(40):
        async with slow_house() as house:
            other = asyncio.create_task(house.supervisor.connect(spec_of("name")))
            await cut(house.supervisor.connect(spec_of("name")), turns)
            view = await other
            await check(house)
            assert list(house.registry.entries) == [view.id]
            assert len(house.dialer.targets) == 1


LIVES: dict[str, Callable[[House], Awaitable[None]]] = {}


def life(
    function: Callable[[House], Awaitable[None]],
) -> Callable[[House], Awaitable[None]]:
    LIVES[function.__name__] = function
    return function


@life
async def loses_and_reconnects(house: House) -> None:
    await house.supervisor.connect(RETRY)
    socket = await house.dialer.wait_socket(1)
    socket.push("a", "b")
    await asyncio.sleep(0)
    socket.lose()
    while len(house.dialer.sockets) < 2:
        house.clock.advance(0.5)
        await asyncio.sleep(0)
    house.dialer.sockets[1].push("c")
    await asyncio.sleep(0)


@life
async def connects_and_disconnects(house: House) -> None:
    view = await house.supervisor.connect(RETRY)
    await house.supervisor.send_raw(view.id, b"x", Kind.TEXT)
    await house.supervisor.disconnect(view.id)


@life
async def stops(house: House) -> None:
    await house.supervisor.connect(spec_of())
    house.registry.stop()
    await asyncio.sleep(0)


@pytest.mark.parametrize("name", LIVES)
async def test_a_process_killed_at_any_point_drops_its_sockets_and_comes_back(name: str) -> None:
    for turns in range(120):
        world = World()
        world.values = SlowStore()
        async with running_house(world) as house:
            was_cut = await cut(LIVES[name](house), turns)
        assert all(socket.aborted for socket in world.dialer.sockets), "the hammer drops all"
        async with running_house(world, recover=True) as house:
            await let_time_pass(house.clock, house.recovery.finished.is_set)
            await check(house)
        if not was_cut:
            break
    else:
        pytest.fail("it never ended by itself")
