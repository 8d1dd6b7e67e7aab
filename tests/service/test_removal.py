"""Each connection is removed once, and nothing of it is left: not even after an outage."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.service.house import World, running_house, spec_of
from websocketmanager.domain.facts import ConnectionRemoved
from websocketmanager.domain.model import FirstDial
from websocketmanager.errors import ConnectionNotFound

RETRY = spec_of(first_dial=FirstDial.RETRY)
NAMED = spec_of("ticker", first_dial=FirstDial.RETRY)
ONCE = spec_of(auto_reconnect=False)


async def test_what_has_ended_is_removed_after_the_retention_time() -> None:
    world = World()
    async with running_house(world, disconnected_retention_seconds=100.0) as house:
        _, first = await house.connected(ONCE)
        living, _ = await house.connected(RETRY)
        first.lose()
        await house.settle()
        house.clock.advance(90.0)
        await wait_quiet()
        assert len(house.registry.entries) == 2
        house.clock.advance(31.0)
        await house.settle()
        assert list(house.registry.entries) == [living]
        assert [record.id for record in world.records] == [living]
        assert world.indexed() == [living]
        assert world.states().count("disconnected") == 1, "its end is told once"
        assert [fact.reason for fact in house.journal.of(ConnectionRemoved)] == [
            "retention is over"
        ]


async def test_an_outage_does_not_pile_up_removals() -> None:
    world = World()
    async with running_house(world, disconnected_retention_seconds=10.0) as house:
        _, socket = await house.connected(ONCE)
        socket.lose()
        await house.settle()
        world.break_api()
        for _ in range(20):
            house.clock.advance(30.0)
            await wait_quiet()
        assert house.clock.sleepers <= 4
        world.heal_api()
        await let_time_pass(house.clock, lambda: not house.registry.entries)
        await house.settle()
        assert world.records == []


async def test_a_connection_that_is_begun_again_while_it_is_swept_leaves_no_ghost() -> None:
    world = World()
    spec = replace(NAMED, auto_reconnect=False)
    async with running_house(world, disconnected_retention_seconds=10.0) as house:
        _, socket = await house.connected(spec)
        socket.lose()
        await house.settle()
        hold = world.store_faults.hold("save")
        house.clock.advance(20.0)
        await wait_quiet()
        assert hold.arrived.is_set(), "the tombstone is on its way"
        again = asyncio.create_task(house.supervisor.connect(spec))
        await wait_quiet()
        hold.release()
        await asyncio.wait([again])
        await house.settle()
        known = [entry for entry in house.registry.entries.values() if entry.running]
        alive = [s for s in world.dialer.sockets if not (s.closes or s.aborted)]
        assert len(alive) == len(known), "no socket without an entry"
        house.registry.stop()
        await let_time_pass(house.clock, lambda: all(s.aborted for s in world.dialer.sockets))


async def test_a_disconnect_that_finds_another_owner_lets_go_as_well() -> None:
    world = World()
    async with running_house(world) as house:
        connection, socket = await house.connected()
        await house.settle()
        [ours] = world.records
        theirs = replace(ours, owner_epoch=2, incarnation="another")
        await world.put(theirs, indexed=False)
        with pytest.raises(ConnectionNotFound):
            await house.supervisor.disconnect(connection)
        await wait_quiet()
        assert world.record(connection) == theirs
        assert socket.aborted
        assert dict(house.registry.entries) == {}


async def test_a_stop_waits_for_a_disconnect_in_flight() -> None:
    world = World()
    async with running_house(world) as house:
        connection, _ = await house.connected()
        await house.settle()
        hold = world.store_faults.hold("save")
        leaving = asyncio.create_task(house.supervisor.disconnect(connection))
        await hold.arrived.wait()
        house.registry.stop()
        await wait_quiet()
        assert not leaving.done()
        hold.release()
        await leaving
        await house.settle()
        assert world.records == []
