"""The registry keeps its connections running, removes them once, and stops them all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import (
    House,
    World,
    assert_no_holes,
    running_house,
    spec_of,
)
from websocketmanager.domain.facts import ConnectionRemoved, OwnershipLost, RunnerCrashed
from websocketmanager.domain.model import FirstDial, Kind, Status
from websocketmanager.errors import ConnectionNotFound, FirstDialFailed, ServiceUnavailable
from websocketmanager.service.registry import Entry

RETRY = spec_of(first_dial=FirstDial.RETRY)
NAMED = spec_of("ticker", first_dial=FirstDial.RETRY)
#: Its pings wait for their turn in a task, whose fault is the runner's.
SPACED = spec_of("ticker", first_dial=FirstDial.RETRY, send_spacing_ms=1)
ONCE = spec_of(auto_reconnect=False)


class Crashing(ScriptedSocket):
    """A socket whose ping raises what no socket may raise."""

    def send_ping(self) -> None:
        raise ValueError("ours")


async def crash(house: House, entry: Entry) -> None:
    """Has an entry's runner crash by our own fault; the next starts in a second."""
    house.clock.advance(house.policy.ping_interval_seconds)
    await wait_quiet()
    assert house.journal.of(RunnerCrashed)
    assert not entry.running


async def crashing(house: House) -> Entry:
    dial = house.dialer.hang()
    dial.socket = Crashing()
    dial.succeed()
    view = await house.supervisor.connect(SPACED)
    await house.settle()
    return house.registry.entries[view.id]


async def test_a_crashed_runner_is_started_again() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await crashing(house)
        await house.supervisor.send_raw(entry.record.id, b"123", Kind.TEXT)
        await crash(house, entry)
        house.clock.advance(1.0)
        await house.settle()
        assert entry.running
        assert house.registry.status(entry) is Status.CONNECTED
        assert entry.record.session == 2
        totals = house.registry.totals()
        assert (totals.reconnects, totals.bytes_sent) == (1, 3), "counters never go back"
        assert_no_holes(world.lifecycle())


async def test_a_crashed_runner_does_not_come_back_once_its_connection_is_removed() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await crashing(house)
        await crash(house, entry)
        await house.supervisor.disconnect(entry.record.id)
        house.clock.advance(5.0)
        await house.settle()
        assert len(world.dialer.targets) == 1
        house.registry.stop()
        await wait_quiet()
        with pytest.raises(ServiceUnavailable):
            await house.registry.carry(wait_quiet())


async def test_a_crashed_runner_does_not_come_back_after_a_stop() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await crashing(house)
        await crash(house, entry)
        house.registry.stop()
        house.clock.advance(5.0)
        await wait_quiet()
        assert len(world.dialer.targets) == 1


async def test_a_caller_that_begins_a_crashed_one_again_makes_no_second() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await crashing(house)
        await crash(house, entry)
        await house.supervisor.connect(SPACED)
        house.clock.advance(5.0)
        await house.settle()
        assert len(world.dialer.targets) == 2
        assert world.dialer.sockets[-1].closes == []
        assert house.registry.status(entry) is Status.CONNECTED


# --- retention ------------------------------------------------------------------------------------


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


# --- ownership ------------------------------------------------------------------------------------


async def test_a_connection_that_another_owns_is_let_go() -> None:
    world = World()
    async with running_house(world) as house:
        connection, socket = await house.connected()
        await house.settle()
        entry = house.registry.entries[connection]
        [ours] = world.records
        theirs = replace(ours, owner_epoch=2, incarnation="another", session=2)
        await world.put(theirs, indexed=False)
        socket.lose()
        await let_time_pass(house.clock, entry.runner.finished.is_set)
        await house.settle()
        assert house.journal.of(OwnershipLost)
        assert dict(house.registry.entries) == {}
        assert world.record(connection) == theirs
        assert house.lane.pending == 0
        with pytest.raises(ConnectionNotFound):
            await house.supervisor.disconnect(connection)
        assert world.record(connection) == theirs


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


# --- shutdown -------------------------------------------------------------------------------------


async def test_a_stop_closes_every_socket_and_ends() -> None:
    world = World()
    async with running_house(world) as house:
        open_ones = [(await house.connected())[1] for _ in range(3)]
        dialling = world.dialer.hang()
        await house.supervisor.connect(RETRY)
        await wait_quiet()
        world.dialer.break_down()
        await house.supervisor.connect(RETRY)
        for socket in open_ones:
            socket.push("last")
        house.registry.stop()
        await house.settle()
        assert [socket.closes for socket in open_ones] == [[1001]] * 3
        assert dialling.cancelled
        assert world.messages() == [b"last"] * 3
        assert "disconnected" not in world.states()
        with pytest.raises(ServiceUnavailable):
            await house.registry.carry(wait_quiet())
    world.dialer.heal()
    async with running_house(world, recover=True) as house:
        await wait_quiet()
        assert len(house.supervisor.list_connections(())) == 5
        await house.settle()
    assert_no_holes(world.lifecycle())


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


async def test_a_stop_does_not_wait_for_the_api() -> None:
    world = World()
    async with running_house(world) as house:
        dial = world.dialer.hang()
        connecting = asyncio.create_task(house.supervisor.connect(spec_of()))
        await wait_quiet()
        world.break_api()
        dial.fail()
        await wait_quiet()
        assert not connecting.done()
        house.registry.stop()
        await let_time_pass(house.clock, connecting.done, at_most=2.0)
        with pytest.raises(FirstDialFailed):
            await connecting
        with pytest.raises(ServiceUnavailable):
            await house.registry.carry(wait_quiet())


async def test_work_goes_on_when_its_caller_goes_away_and_faults_are_told() -> None:
    world = World()
    async with running_house(world) as house:
        gate, done = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            await gate.wait()
            done.set()

        caller = asyncio.create_task(house.registry.carry(work()))
        await wait_quiet()
        caller.cancel()
        await asyncio.wait([caller])
        gate.set()
        await asyncio.wait_for(done.wait(), 5)

        async def fault() -> None:
            raise ValueError("ours")

        house.registry.spawn(fault())
        with pytest.raises(ValueError, match="ours"):
            await house.registry.carry(fault())
        await wait_quiet()
        assert len(house.journal.of(RunnerCrashed)) == 1


async def test_totals_include_what_is_gone() -> None:
    world = World()
    async with running_house(world) as house:
        connection, socket = await house.connected()
        socket.push("a", "bc")
        await house.settle()
        await house.supervisor.disconnect(connection)
        _, other = await house.connected()
        other.push("def")
        await house.settle()
        totals = house.registry.totals()
        assert (totals.messages_received, totals.bytes_received) == (3, 6)
        assert totals.messages_published == 3


async def test_statuses_follow_each_connection() -> None:
    world = World()
    async with running_house(world) as house:
        await house.connected()
        _, socket = await house.connected(ONCE)
        socket.lose()
        await wait_quiet()
        world.dialer.hang()
        await house.supervisor.connect(RETRY)
        world.dialer.break_down()
        await house.supervisor.connect(RETRY)
        await wait_quiet()
        assert list(house.registry.statuses()) == [
            Status.CONNECTED,
            Status.DISCONNECTED,
            Status.CONNECTING,
            Status.RECONNECTING,
        ]
