"""After any crash everything is back before the service calls itself ready."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.service.house import (
    DOWN,
    INSTANCE,
    TOPIC,
    World,
    assert_no_holes,
    data_of,
    running_house,
    spec_of,
)
from websocketmanager.domain.facts import (
    RecordIgnored,
    RecoveryDelayed,
    RecoveryFinished,
    RecoveryStarted,
)
from websocketmanager.domain.host_rules import HostRules
from websocketmanager.domain.identity import index_key, record_key
from websocketmanager.domain.model import ConnectionId, FirstDial, InstanceId, Status
from websocketmanager.domain.record import Record
from websocketmanager.errors import ConnectionNotFound, RecordUnreadable, ServiceUnavailable

RETRY = spec_of(first_dial=FirstDial.RETRY, tags={"venue": "x"})


def stored(number: int, world: World, **given: Any) -> Record:
    """Returns a record as an earlier process left it."""
    record = Record(
        ConnectionId(f"c{number}"),
        RETRY,
        Status.CONNECTED,
        world.clock.now() - 100 + number,
        INSTANCE,
        answered=True,
        session=3,
        event=2,
        owner_epoch=4,
        incarnation="earlier",
    )
    return replace(record, **given)


async def test_all_comes_back_with_id_topic_tags_and_the_next_numbers() -> None:
    world = World()
    async with running_house(world) as house:
        ids = [(await house.connected(spec_of(tags={"n": str(n)})))[0] for n in range(5)]
        await house.settle()
        before = house.supervisor.list_connections(())
    async with running_house(world, recover=True) as house:
        assert house.recovery.finished.is_set()
        assert house.journal.of(RecoveryFinished) == [RecoveryFinished(5, 0, 0.0)]
        after = house.supervisor.list_connections(())
        assert [view.id for view in after] == ids
        for old, new in zip(before, after, strict=True):
            assert (new.topic, new.tags, new.url) == (TOPIC, old.tags, old.url)
            assert (new.session, new.owner_epoch) == (old.session + 1, old.owner_epoch + 1)
            assert new.status is Status.CONNECTED
        await house.settle()
    assert_no_holes(world.lifecycle())
    assert world.states(ids[0])[-2:] == ["reconnecting", "connected"]
    last = data_of(world.lifecycle(ids[0])[-1])
    assert (last["resumed"], last["downtime_ms"], last["owner_epoch"]) == (True, None, 2)


async def test_a_removal_that_was_interrupted_is_finished() -> None:
    world = World()
    async with running_house(world) as house:
        connection, _ = await house.connected()
        await house.settle()
        world.sink_faults.break_all(DOWN)
        hold = world.store_faults.hold("delete")
        leaving = house.registry.errands.outcome(house.supervisor.disconnect(connection))
        await let_time_pass(house.clock, hold.arrived.is_set)
        assert not leaving.done()
    world.sink_faults.heal()
    dialled = len(world.dialer.targets)
    async with running_house(world, recover=True) as house:
        await house.settle()
        assert (world.records, world.indexed()) == ([], [])
        assert house.supervisor.list_connections(()) == ()
    assert len(world.dialer.targets) == dialled
    assert world.states()[-1] == "disconnected"
    assert_no_holes(world.lifecycle())


async def test_nothing_is_written_over_a_tombstone() -> None:
    world = World()
    tombstone = stored(1, world, deleted=True, answered=True)
    await world.put(tombstone)
    hold = world.store_faults.hold("delete")
    async with running_house(world, recover=True) as house:
        await hold.arrived.wait()
        with pytest.raises(ConnectionNotFound):
            await house.supervisor.set_tag(tombstone.id, "a", "b")
        assert world.record("c1") == tombstone
        leaving = [asyncio.create_task(house.supervisor.disconnect(tombstone.id)) for _ in range(2)]
        await wait_quiet()
        hold.release()
        await asyncio.gather(*leaving)
        await house.settle()
        assert (world.records, world.states()) == ([], [])
        assert world.store_faults.calls.count("delete") == 1


async def test_what_no_caller_can_know_of_is_removed() -> None:
    world = World()
    await world.put(stored(1, world, answered=False))
    await world.put(stored(2, world, answered=False, spec=replace(RETRY, name="known")))
    async with running_house(world, recover=True) as house:
        await house.settle()
        assert [view.id for view in house.supervisor.list_connections(())] == ["c2"]
        assert world.record("c1") is None
        assert world.indexed() == ["c2"]


async def test_what_had_ended_is_kept_and_not_dialled() -> None:
    world = World()
    ended = stored(1, world, status=Status.DISCONNECTED, disconnected_at=world.clock.now() - 10)
    await world.put(ended)
    async with running_house(world, recover=True, disconnected_retention_seconds=60.0) as house:
        [view] = house.supervisor.list_connections(())
        assert view.status is Status.DISCONNECTED
        assert world.dialer.targets == []
        assert house.recovery.finished.is_set()
        await let_time_pass(house.clock, lambda: not world.records, at_most=120.0)
        await house.settle()
        assert world.indexed() == []
        assert world.states() == []


@pytest.mark.parametrize("value", ["no json", '{"schema":2,"id":"c1"}', '{"schema":1}'])
async def test_what_cannot_be_read_is_left_untouched(value: str) -> None:
    world = World()
    await world.put(stored(1, world))
    await world.put(stored(2, world))
    key = record_key(ConnectionId("c1"))
    await world.values.save(key, value)
    async with running_house(world, recover=True) as house:
        assert house.recovery.finished.is_set()
        assert [view.id for view in house.supervisor.list_connections(())] == ["c2"]
        assert [fact.key for fact in house.journal.of(RecordIgnored)] == [key]
        await house.connected()  # has the index written
        await house.settle()
    assert world.values.values[key].value == value
    assert "c1" in world.indexed(), "somebody may mend it"


async def test_records_of_other_instances_are_theirs() -> None:
    world = World()
    theirs = stored(1, world, instance_id=InstanceId("two"))
    await world.put(theirs)
    await world.values.register([theirs.key])
    async with running_house(world, recover=True) as house:
        await house.settle()
        assert house.supervisor.list_connections(()) == ()
        assert world.record("c1") == theirs
        with pytest.raises(ConnectionNotFound):
            await house.supervisor.disconnect(theirs.id)


async def test_an_id_without_a_record_is_dropped() -> None:
    world = World()
    await world.put(stored(1, world))
    index = json.dumps({"schema": 1, "ids": ["ghost", "c1"]})
    await world.values.save(index_key(INSTANCE), index)
    async with running_house(world, recover=True) as house:
        assert house.recovery.finished.is_set()
        await house.connected()
    assert "ghost" not in world.indexed()


async def test_a_record_that_the_index_lost_is_found_and_listed_again() -> None:
    world = World()
    lost = stored(1, world)
    await world.put(lost, indexed=False)
    await world.values.register([lost.key])
    async with running_house(world, recover=True) as house:
        assert [view.id for view in house.supervisor.list_connections(())] == ["c1"]
        await house.settle()
    assert world.indexed() == ["c1"]


async def test_an_unreadable_index_stops_the_start() -> None:
    world = World()
    await world.values.save(index_key(INSTANCE), '{"schema":7,"ids":[]}')
    async with running_house(world) as house:
        with pytest.raises(RecordUnreadable):
            await house.recovery.run()
    assert world.values.values[index_key(INSTANCE)].value == '{"schema":7,"ids":[]}'


async def test_an_api_that_is_down_at_the_start_is_waited_for() -> None:
    world = World()
    await world.put(stored(1, world))
    world.break_api()
    async with running_house(world, recover=True, recovery_deadline_seconds=5.0) as house:
        for _ in range(30):
            house.clock.advance(2.0)
            await wait_quiet()
        assert not house.recovery.finished.is_set(), "the deadline is one for dials"
        assert house.supervisor.state == "recovering"
        with pytest.raises(ServiceUnavailable):
            await house.supervisor.connect(RETRY)
        with pytest.raises(ServiceUnavailable):
            house.supervisor.list_connections(())
        assert house.journal.of(RecoveryDelayed)
        world.heal_api()
        await let_time_pass(house.clock, house.recovery.finished.is_set)
        assert world.dialer.sockets


@pytest.mark.parametrize("operation", ["get", "get_all", "register"])
async def test_a_reading_that_fails_in_the_middle_begins_again(operation: str) -> None:
    world = World()
    for number in range(3):
        await world.put(stored(number, world))
    world.store_faults.fail(operation, DOWN, times=2)
    async with running_house(world, recover=True) as house:
        await let_time_pass(house.clock, house.recovery.finished.is_set)
        assert len(house.supervisor.list_connections(())) == 3
        assert len(world.dialer.sockets) == 3


async def test_the_deadline_opens_readiness_and_says_how_many_remain() -> None:
    world = World()
    for number in range(5):
        await world.put(stored(number, world))
    dials = [world.dialer.hang() for _ in range(5)]
    async with running_house(
        world, recover=True, dials_in_parallel=2, recovery_deadline_seconds=30.0
    ) as house:
        assert house.journal.of(RecoveryStarted) == [RecoveryStarted(5)]
        assert len(world.dialer.targets) == 2
        assert house.recovery.remaining == 5
        assert {view.status for view in house.supervisor.list_connections(())} == {
            Status.RECONNECTING
        }, "what is not dialled yet is not connected"
        dials[0].fail()
        await wait_quiet()
        assert (len(world.dialer.targets), house.recovery.remaining) == (3, 4)
        house.clock.advance(29.9)
        await wait_quiet()
        assert not house.recovery.finished.is_set()
        house.clock.advance(0.1)
        await wait_quiet()
        assert house.recovery.finished.is_set()
        [fact] = house.journal.of(RecoveryFinished)
        assert (fact.tried, fact.remaining) == (1, 4)
        for dial in dials[1:]:
            dial.succeed()
        await wait_quiet()
        assert house.recovery.remaining == 0
        assert len(house.journal.of(RecoveryFinished)) == 1


async def test_dials_to_one_host_are_spaced() -> None:
    world = World()
    for number in range(4):
        await world.put(stored(number, world))
    async with running_house(world, recover=True, dial_spacing_seconds=1.0) as house:
        assert len(world.dialer.targets) == 1
        for count in (2, 3, 4):
            house.clock.advance(0.999)
            await wait_quiet()
            assert len(world.dialer.targets) == count - 1
            house.clock.advance(0.201)
            await wait_quiet()
            assert len(world.dialer.targets) == count


async def test_a_slow_host_keeps_no_other_waiting() -> None:
    world = World()
    urls = [*["wss://slow.test/"] * 6, "wss://quick.test/", "wss://quick.test/"]
    for number, url in enumerate(urls):
        await world.put(stored(number, world, spec=spec_of(url=url)))
    rules = HostRules.of(["slow.test=1000"])
    policy: dict[str, Any] = {"dials_in_parallel": 2, "dial_spacing_rules": rules}
    async with running_house(world, recover=True, **policy):
        dialled = [target.url for target in world.dialer.targets]
        assert sorted(dialled) == ["wss://quick.test/", "wss://quick.test/", "wss://slow.test/"]


@pytest.mark.parametrize("exclusive", ["", "login"])
async def test_those_that_wait_for_a_place_do_not_delay_readiness(exclusive: str) -> None:
    world = World()
    for number in range(5):
        await world.put(stored(number, world, spec=spec_of(exclusive=exclusive)))
    cap = 0 if exclusive else 1
    policy: dict[str, Any] = {"dials_in_parallel": 1, "max_sockets_per_host": cap}
    async with running_house(world, recover=True, **policy) as house:
        assert house.recovery.finished.is_set()
        [fact] = house.journal.of(RecoveryFinished)
        assert (fact.tried, fact.remaining) == (5, 0)
        assert len(world.dialer.targets) == 1
        # They get their place as soon as there is one.
        await house.supervisor.disconnect(ConnectionId("c0"))
        await wait_quiet()
        assert len(world.dialer.targets) == 2
        states = {view.id: view.status for view in house.supervisor.list_connections(())}
        assert sorted(states.values()) == [Status.CONNECTED, *[Status.RECONNECTING] * 3]


async def test_a_disconnect_during_recovery_is_final() -> None:
    world = World()
    for number in range(2):
        await world.put(stored(number, world))
    dial = world.dialer.hang()
    async with running_house(world, recover=True, dials_in_parallel=1) as house:
        await house.supervisor.disconnect(ConnectionId("c1"))
        dial.succeed()
        await wait_quiet()
        assert house.recovery.finished.is_set()
        assert (len(world.dialer.targets), world.record("c1")) == (1, None)


async def test_a_stop_during_recovery_ends_it_quietly() -> None:
    world = World()
    for number in range(4):
        await world.put(stored(number, world))
    world.dialer.hang()
    async with running_house(world, recover=True, dials_in_parallel=1) as house:
        house.registry.stop()
        await wait_quiet()
        assert len(world.dialer.targets) == 1
        assert house.recovery.remaining == 0


async def test_a_stop_while_the_api_is_read_ends_it_quietly() -> None:
    world = World()
    await world.put(stored(1, world))
    await world.put(stored(2, world, deleted=True))
    hold = world.store_faults.hold("get_all")
    async with running_house(world, recover=True) as house:
        await hold.arrived.wait()
        house.registry.stop()
        await wait_quiet()
        hold.release()
        await wait_quiet()
        assert world.dialer.targets == []
    assert len(world.records) == 2


async def test_again_and_again_leaves_no_hole() -> None:
    world = World()
    async with running_house(world) as house:
        connection, _ = await house.connected()
    for turn in range(6):
        if turn % 2:
            world.sink_faults.break_all(DOWN)
        async with running_house(world, recover=True) as house:
            await wait_quiet()
            world.dialer.sockets[-1].lose()
            await wait_quiet()
            house.clock.advance(0.2 * turn)
            await wait_quiet()
        world.sink_faults.heal()
    async with running_house(world, recover=True) as house:
        await house.settle()
    record = world.record(connection)
    assert record is not None
    assert record.owner_epoch == 8
    assert_no_holes(world.lifecycle())
    assert world.lifecycle()[-1].tag == record.event


async def test_the_first_gap_after_a_crash_begins_at_the_last_saved_position() -> None:
    world = World()
    async with running_house(world) as house:
        connection_id, socket = await house.connected(spec_of(markers=True))
        for number in range(3):
            socket.push(b"%d" % number)
        await house.settle()
        await house.supervisor.set_tag(connection_id, "a", "b")  # any save takes it along
        for number in range(2):
            socket.push(b"unsaved %d" % number)
        await house.settle()
    for _ in range(2):
        async with running_house(world, recover=True) as house:
            await house.settle()
            record = world.record(connection_id)
            assert record is not None
    gaps = [
        data_of(event)
        for event in world.sink.events
        if event.metadata["ce-type"].endswith("stream.gap")
    ]
    assert [(gap["from_session"], gap["from_sequence"], gap["lost"]) for gap in gaps] == [
        (1, 3, None),
        (2, 0, None),
    ]
