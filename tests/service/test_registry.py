"""The registry keeps its connections running, removes them once, and stops them all."""

from __future__ import annotations

import asyncio

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
from websocketmanager.domain.facts import RunnerCrashed
from websocketmanager.domain.model import FirstDial, Kind, Status
from websocketmanager.errors import FirstDialFailed, ServiceUnavailable
from websocketmanager.service.entry import Entry

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
        assert entry.status is Status.CONNECTED
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
            await house.registry.errands.carry(wait_quiet())


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
        assert entry.status is Status.CONNECTED


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
            await house.registry.errands.carry(wait_quiet())
    world.dialer.heal()
    async with running_house(world, recover=True) as house:
        await wait_quiet()
        assert len(house.supervisor.list_connections(())) == 5
        await house.settle()
    assert_no_holes(world.lifecycle())


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
            await house.registry.errands.carry(wait_quiet())


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
