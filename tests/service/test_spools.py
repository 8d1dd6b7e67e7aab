"""Connections with a log on the local disk, over crashes of the whole process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.service.house import DOWN, TOPIC, House, World, data_of, running_house, spec_of
from tests.service.sessions import advance, degradations, entered, errors, reconnected
from websocketmanager.domain.envelope import MESSAGE_TYPE, Event, event_place
from websocketmanager.domain.facts import MessageLogDiscarded, MessagesDropped
from websocketmanager.domain.identity import stream_name
from websocketmanager.domain.model import BufferOptions, ConnectionSpec, FirstDial, InstanceId
from websocketmanager.domain.options import Overflow
from websocketmanager.service.pump import DROPPING, LOG_UNAVAILABLE, PUBLISHING_BEHIND


def with_disk() -> World:
    world = World()
    world.disk = {}
    return world


def spec(buffer: BufferOptions, **given: Any) -> ConnectionSpec:
    return spec_of(first_dial=FirstDial.RETRY, buffer=buffer, **given)


DURABLE = spec(BufferOptions(durable=True), markers=True)
SPILL = spec(BufferOptions(max_messages=4, overflow=Overflow.SPILL))


def messages(world: World) -> list[Event]:
    return [e for e in world.sink.events if e.metadata["ce-type"] == MESSAGE_TYPE]


def places(world: World) -> list[tuple[int, int]]:
    return [event_place(event) for event in messages(world)]


async def drained(house: House) -> None:
    await let_time_pass(
        house.clock, lambda: not (house.lane.pending or house.ledger.busy), step=0.5
    )


async def test_after_a_crash_what_the_disk_holds_comes_before_anything_new() -> None:
    world = with_disk()
    async with running_house(world) as house:
        entry = await entered(house, DURABLE)
        house.dialer.sockets[-1].push("1", "2")
        await drained(house)
        world.sink_faults.break_all(DOWN)
        house.dialer.sockets[-1].push("3", "4")
        await wait_quiet()
        assert house.registry.unflushed < house.lane.pending
    assert [e.data for e in messages(world)] == [b"1", b"2"]
    world.sink_faults.heal()
    async with running_house(world, recover=True) as house:
        house.dialer.sockets[-1].push("new")
        await drained(house)
        entry = next(iter(house.registry.entries.values()))
        assert entry.pump.statistics().messages_received == 1
        assert [e.data for e in messages(world)] == [b"1", b"2", b"3", b"4", b"new"]
        assert places(world) == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1)]
        assert [e.metadata["ce-ownerepoch"] for e in messages(world)] == [*"1111", "2"]
        gap = data_of(next(e for e in world.sink.events if e.metadata["ce-type"].endswith("gap")))
        assert (gap["from_session"], gap["from_sequence"]) == (1, 4), "exactly what the disk had"
        assert degradations(world) == [(PUBLISHING_BEHIND, True), (PUBLISHING_BEHIND, False)]
    assert list(world.disk or {}) == [stream_name(entry.record.id, entry.record.created_at)]


async def test_a_session_that_only_the_disk_knows_is_counted_on() -> None:
    world = with_disk()
    async with running_house(world) as house:
        entry = await entered(house, DURABLE)
        await drained(house)
        world.break_api()
        house.dialer.sockets[-1].lose()
        await reconnected(house, 2)
        house.dialer.sockets[-1].push("of the second")
        await wait_quiet()
        record = world.record(entry.record.id)
        assert record is not None
        assert record.session == 1, "the store never learnt of the second session"
    world.heal_api()
    async with running_house(world, recover=True) as house:
        house.dialer.sockets[-1].push("of the third")
        await drained(house)
        assert places(world) == [(2, 1), (3, 1)]
        assert [e.data for e in messages(world)] == [b"of the second", b"of the third"]
        events = [e for e in world.sink.events if e.route.topic == TOPIC]
        ids = [e.metadata["ce-id"] for e in events]
        assert len(set(ids)) == len(ids)


async def test_nothing_of_the_disk_goes_out_before_the_store_shows_our_epoch() -> None:
    world = with_disk()
    async with running_house(world) as house:
        await entered(house, DURABLE)
        await drained(house)
        world.sink_faults.break_all(DOWN)
        house.dialer.sockets[-1].push("1")
        await wait_quiet()
    world.sink_faults.heal()
    hold = world.store_faults.hold("save")
    async with running_house(world, recover=True) as house:
        await hold.arrived.wait()
        await wait_quiet()
        assert messages(world) == []
        hold.release()
        await drained(house)
        assert places(world) == [(1, 1)]


async def test_what_was_left_of_an_ended_connection_is_published_without_a_session() -> None:
    world = with_disk()
    async with running_house(world) as house:
        await entered(
            house,
            replace(
                DURABLE,
                auto_reconnect=False,
                options=replace(
                    DURABLE.options,
                    reconnect=replace(DURABLE.options.reconnect, first_dial=FirstDial.FAIL),
                ),
            ),
        )
        await drained(house)
        world.sink_faults.break_all(DOWN)
        house.dialer.sockets[-1].push("1", "2")
        await wait_quiet()
        house.dialer.sockets[-1].close_from_peer(1000)
        await let_time_pass(house.clock, lambda: not house.ledger.busy)
    world.sink_faults.heal()
    async with running_house(world, recover=True) as house:
        await drained(house)
        assert len(house.dialer.sockets) == 1
        assert places(world) == [(1, 1), (1, 2)]


async def test_disconnect_removes_what_the_disk_holds_and_says_what_nobody_gets() -> None:
    world = with_disk()
    async with running_house(world) as house:
        entry = await entered(house, SPILL)
        await drained(house)
        world.sink_faults.break_all(DOWN)
        house.dialer.sockets[-1].push(*map(str, range(20)))
        await wait_quiet()
        assert entry.pump.statistics().spilled_messages > 10
        world.sink_faults.heal()
        world.sink_faults.hold("publish")
        await house.supervisor._registry.removal.remove(entry, "requested", patience_seconds=0.0)
        await wait_quiet()
        assert world.disk == {}
        dropped = [f for f in house.journal.facts if isinstance(f, MessagesDropped)]
        assert [fact.cause for fact in dropped] == ["disconnected"]
        assert entry.pump.statistics().dropped == dropped[0].count > 10


async def test_what_belongs_to_another_instance_is_removed_and_told() -> None:
    world = with_disk()
    async with running_house(world) as house:
        entry = await entered(house, DURABLE)
        await drained(house)
        world.sink_faults.break_all(DOWN)
        house.dialer.sockets[-1].push("1", "2")
        await wait_quiet()
    world.sink_faults.heal()
    record = world.record(entry.record.id)
    assert record is not None
    await world.put(replace(record, instance_id=InstanceId("two")), indexed=False)
    async with running_house(world, recover=True) as house:
        await drained(house)
        told = [f for f in house.journal.facts if isinstance(f, MessageLogDiscarded)]
        # Beside the messages, the marker of the end that the fall of the house has made.
        assert [(fact.connection_id, fact.count) for fact in told] == [(entry.record.id, 3)]
        assert messages(world) == []
        assert world.disk == {}


async def test_what_belongs_to_an_unreadable_record_is_kept() -> None:
    world = with_disk()
    async with running_house(world) as house:
        entry = await entered(house, DURABLE)
        await drained(house)
        world.sink_faults.break_all(DOWN)
        house.dialer.sockets[-1].push("1")
        await wait_quiet()
    world.sink_faults.heal()
    await world.values.save(entry.record.key, '{"schema": 99}')
    async with running_house(world, recover=True):
        await wait_quiet()
        kept = [[e.data for _, e in rows] for rows in (world.disk or {}).values()]
        assert [data[0] for data in kept] == [b"1"]


async def test_without_a_folder_a_stored_connection_goes_on_and_says_so() -> None:
    world = with_disk()
    async with running_house(world) as house:
        await entered(house, SPILL)
        await drained(house)
    world.disk = None
    async with running_house(world, recover=True) as house:
        house.dialer.sockets[-1].push("1")
        await drained(house)
        assert degradations(world) == [(LOG_UNAVAILABLE, True)]
        assert [e.data for e in messages(world)] == [b"1"]


async def test_a_buffer_that_closes_reconnects_later_with_its_own_error() -> None:
    world = World()
    closing = spec(BufferOptions(max_messages=4, overflow=Overflow.CLOSE))
    async with running_house(world) as house:
        await entered(house, closing)
        await drained(house)
        world.sink_faults.break_all(DOWN)
        house.dialer.sockets[-1].push(*map(str, range(9)))
        await wait_quiet()
        assert house.dialer.sockets[-1].aborted
        world.sink_faults.heal()
        await drained(house)
        assert [kind for kind, _ in errors(world)] == ["buffer_overflow"]
        again = [data_of(e) for e in world.lifecycle() if "delay_ms" in data_of(e)]
        assert again[0]["delay_ms"] >= 15_000, "the API shall catch up first"
        await reconnected(house, 2)
        assert [e.data for e in messages(world)] == [b"0", b"1", b"2", b"3"]


async def test_drops_are_told_once_with_their_count() -> None:
    world = World()
    async with running_house(world) as house:
        await entered(house, spec(BufferOptions(max_messages=4, overflow=Overflow.DROP_OLDEST)))
        await drained(house)
        for _ in range(3):
            world.sink_faults.break_all(DOWN)
            house.dialer.sockets[-1].push(*map(str, range(20)))
            await wait_quiet()
            world.sink_faults.heal()
            await advance(house, 1.5, step=0.5)
        await advance(house, 8.0, step=0.5)
        assert degradations(world) == [(DROPPING, True), (DROPPING, False)]
        last = data_of(world.lifecycle()[-1])
        entry = next(iter(house.registry.entries.values()))
        assert last["dropped"] == entry.pump.statistics().dropped > 40
