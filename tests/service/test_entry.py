"""One connection's parts tell each other what happens to it, and it tells what is seen of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.kit.quiet import let_time_pass
from tests.service.house import World, running_house, spec_of
from websocketmanager.domain.facts import OwnershipLost
from websocketmanager.domain.model import Status
from websocketmanager.errors import ConnectionNotFound

ONCE = spec_of(auto_reconnect=False)


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


async def test_what_is_seen_follows_what_happens() -> None:
    world = World()
    async with running_house(world) as house:
        connection, socket = await house.connected(ONCE)
        entry = house.registry.entries[connection]
        socket.push("a", "bc")
        await house.settle()
        view = entry.view()
        assert (view.status, view.statistics.bytes_received) == (Status.CONNECTED, 3)
        assert entry.statistics() == view.statistics
        assert (entry.running, entry.ending, entry.removed) == (True, False, False)
        socket.lose()
        await house.settle()
        assert (entry.status, entry.running) == (Status.DISCONNECTED, False)
        await house.supervisor.disconnect(connection)
        assert (entry.removed, entry.ending, entry.gone.is_set()) == (True, True, True)
