"""The verbs: what callers are promised, also at once, twice, and when the API is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.service.house import (
    DOWN,
    TOPIC,
    House,
    World,
    assert_no_holes,
    data_of,
    running_house,
    spec_of,
)
from websocketmanager.domain.facts import ConnectionRemoved, RunnerCrashed
from websocketmanager.domain.identity import connection_id_of_name
from websocketmanager.domain.model import (
    ConnectionId,
    ConnectionSpec,
    FirstDial,
    Kind,
    Status,
    Topic,
)
from websocketmanager.errors import (
    ApiUnavailable,
    ConnectionEnded,
    ConnectionNotFound,
    InvalidArgument,
    NotConnected,
    ServiceUnavailable,
    TagNotFound,
)

NAMED = spec_of("ticker", tags={"venue": "x"})
RETRY = spec_of(first_dial=FirstDial.RETRY)
GHOST = ConnectionId("00000000-0000-4000-8000-00000000ffff")


def assert_nothing_left(world: World, house: House) -> None:
    assert world.records == []
    assert world.indexed() == []
    assert dict(house.registry.entries) == {}
    assert not house.journal.of(RunnerCrashed)


async def started(work: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.create_task(work)
    await wait_quiet()
    return task


# --- disconnect ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["dialling", "waiting", "open"])
@pytest.mark.parametrize("callers", [1, 2, 5])
async def test_disconnect_is_final_in_every_state(state: str, callers: int) -> None:
    world = World()
    async with running_house(world) as house:
        if state == "dialling":
            world.dialer.hang()
        elif state == "waiting":
            world.dialer.break_down()
        view = await house.supervisor.connect(RETRY)
        await wait_quiet()
        dials = len(world.dialer.targets)
        calls = [asyncio.create_task(house.supervisor.disconnect(view.id)) for _ in range(callers)]
        assert await asyncio.gather(*calls) == [None] * callers
        await house.settle()
        assert_nothing_left(world, house)
        assert world.states()[-1] == "disconnected"
        assert world.states().count("disconnected") == 1
        last = data_of(world.lifecycle()[-1])
        assert (last["reason"], last["final"]) == ("requested", True)
        assert len(house.journal.of(ConnectionRemoved)) == 1
        world.dialer.heal()
        house.clock.advance(1000.0)
        await wait_quiet()
        assert len(world.dialer.targets) == dials
        with pytest.raises(ConnectionNotFound):
            await house.supervisor.disconnect(view.id)
    async with running_house(world, recover=True) as house:
        assert house.supervisor.list_connections(()) == ()


@pytest.mark.parametrize("after", [False, True])
async def test_a_disconnect_that_the_store_does_not_take_changes_nothing(after: bool) -> None:
    world = World()
    async with running_house(world) as house:
        connection, socket = await house.connected()
        await house.settle()
        world.store_faults.fail("save", DOWN, after=after)
        with pytest.raises(ApiUnavailable):
            await house.supervisor.disconnect(connection)
        socket.push("still here")
        await house.settle()
        assert world.messages() == [b"still here"]
        assert socket.closes == []
        assert [v.status for v in house.supervisor.list_connections(())] == [Status.CONNECTED]
    async with running_house(world, recover=True) as house:
        assert [v.id for v in house.supervisor.list_connections(())] == [connection]
        await house.settle()
    assert_no_holes(world.lifecycle())


async def test_a_disconnect_goes_on_when_its_caller_goes_away() -> None:
    world = World()
    async with running_house(world) as house:
        connection, _ = await house.connected()
        await house.settle()
        hold = world.store_faults.hold("save")
        leaving = await started(house.supervisor.disconnect(connection))
        leaving.cancel()
        await asyncio.wait([leaving])
        hold.release()
        await house.settle()
        assert_nothing_left(world, house)


async def test_what_was_received_before_a_disconnect_is_published() -> None:
    world = World()
    async with running_house(world) as house:
        connection, socket = await house.connected()
        await house.settle()
        world.sink_faults.break_all(DOWN)
        socket.push("1", "2")
        await wait_quiet()
        leaving = await started(house.supervisor.disconnect(connection))
        await let_time_pass(house.clock, leaving.done, at_most=10.0)
        world.sink_faults.heal()
        await house.settle()
        assert world.messages() == [b"1", b"2"]
        assert_nothing_left(world, house)


async def test_messages_of_a_session_that_was_never_saved_go_with_the_tombstone() -> None:
    world = World()
    async with running_house(world) as house:
        dial = world.dialer.hang()
        view = await house.supervisor.connect(RETRY)
        await house.settle()
        hold = world.store_faults.hold("save")
        dial.succeed().push("early")
        await wait_quiet()
        leaving = await started(house.supervisor.disconnect(view.id))
        hold.release()
        await leaving
        await house.settle()
        assert world.messages() == [b"early"]
        assert house.lane.pending == 0


async def test_a_dial_that_succeeds_behind_the_tombstone_leaves_nothing_stuck() -> None:
    world = World()
    async with running_house(world) as house:
        dial = world.dialer.hang()
        view = await house.supervisor.connect(RETRY)
        await house.settle()
        hold = world.store_faults.hold("get")  # the read-back of the tombstone, or before it
        leaving = await started(house.supervisor.disconnect(view.id))
        dial.succeed().push("late")
        await wait_quiet()
        hold.release()
        await leaving
        await house.settle()
        assert house.lane.pending == 0
        assert_nothing_left(world, house)


async def test_a_name_can_be_used_again_after_disconnect() -> None:
    world = World()
    async with running_house(world) as house:
        for turn in range(3):
            house.clock.advance(1.0)
            view = await house.supervisor.connect(NAMED)
            assert view.session == 1
            world.dialer.sockets[-1].push(f"{turn}")
            await wait_quiet()
            await house.supervisor.disconnect(view.id)
        await house.settle()
        ids = [event.metadata["ce-id"] for event in world.sink.events]
        assert len(set(ids)) == len(ids)
        assert_nothing_left(world, house)
        assert_no_holes(world.lifecycle())


async def test_a_name_that_is_used_while_it_goes_waits_for_its_end() -> None:
    world = World()
    async with running_house(world) as house:
        await house.connected(NAMED)
        await house.settle()
        hold = world.store_faults.hold("delete")
        leaving = await started(house.supervisor.disconnect(connection_id_of_name("ticker")))
        house.clock.advance(0.1)
        again = await started(house.supervisor.connect(NAMED))
        assert not again.done()
        hold.release()
        await leaving
        view = await again
        await house.settle()
        assert view.status is Status.CONNECTED
        assert world.record(view.id) is not None
        assert world.indexed() == [view.id]
        assert_no_holes(world.lifecycle())


async def test_a_connect_whose_connection_is_disconnected_by_another_ends() -> None:
    world = World()
    world.dialer.hang()
    async with running_house(world) as house:
        connecting = await started(house.supervisor.connect(NAMED))
        await house.supervisor.disconnect(connection_id_of_name("ticker"))
        with pytest.raises(ConnectionEnded):
            await connecting


# --- tags and topics ----------------------------------------------------------------------------


async def test_tags_that_are_set_at_once_are_all_there() -> None:
    world = World()
    async with running_house(world) as house:
        connection, _ = await house.connected()
        await asyncio.gather(
            *(house.supervisor.set_tag(connection, f"k{n}", str(n)) for n in range(30))
        )
        expected = {f"k{n}": str(n) for n in range(30)}
        assert house.supervisor.get_tags(connection) == expected
        stored = world.record(connection)
        assert stored is not None
        assert stored.spec.tags == expected
        assert house.supervisor.get_tag(connection, "k7") == "7"
        await house.supervisor.set_tags(connection, {"only": "one"})
        assert house.supervisor.get_tags(connection) == {"only": "one"}
        with pytest.raises(TagNotFound):
            house.supervisor.get_tag(connection, "k7")


async def test_too_many_tags_are_refused_as_a_whole() -> None:
    world = World()
    async with running_house(world) as house:
        connection, _ = await house.connected(spec_of(tags={f"k{n}": "" for n in range(50)}))
        with pytest.raises(InvalidArgument):
            await house.supervisor.set_tag(connection, "one more", "")
        await house.supervisor.set_tag(connection, "k1", "changed")


@pytest.mark.parametrize("after", [False, True])
async def test_a_tag_that_the_store_does_not_take_is_not_set(after: bool) -> None:
    world = World()
    async with running_house(world) as house:
        connection, _ = await house.connected()
        await house.settle()
        world.store_faults.fail("save", DOWN, after=after)
        with pytest.raises(ApiUnavailable):
            await house.supervisor.set_tag(connection, "a", "b")
        assert house.supervisor.get_tags(connection) == {}
        await house.settle()
        stored = world.record(connection)
        assert stored is not None
        assert stored.spec.tags == {}


async def test_publishing_begins_moves_and_ends_durably() -> None:
    world = World()
    other = Topic("websocketmanager.other")
    async with running_house(world) as house:
        connection, socket = await house.connected(spec_of(topic=None))
        socket.push("0")
        await wait_quiet()
        await house.supervisor.start_publish(connection, TOPIC)
        socket.push("1")
        await wait_quiet()
        await house.supervisor.start_publish(connection, other)
        socket.push("2")
        await wait_quiet()
        assert [v.topic for v in house.supervisor.list_connections(())] == [other]
        stored = world.record(connection)
        assert stored is not None
        assert stored.spec.topic == other
        await house.supervisor.stop_publish(connection)
        socket.push("3")
        await house.settle()
        [view] = house.supervisor.list_connections(())
        assert view.topic is None
        assert view.statistics.unrouted == 2
        assert (world.messages(), world.messages(other)) == ([b"1"], [b"2"])


async def test_the_list_is_filtered_by_all_tags() -> None:
    world = World()
    async with running_house(world) as house:
        for tags in ({"a": "1"}, {"a": "1", "b": "2"}, {"b": "2"}):
            await house.supervisor.connect(spec_of(tags=tags))
        listed = house.supervisor.list_connections

        assert [dict(v.tags) for v in listed([("a", "1")])] == [{"a": "1"}, {"a": "1", "b": "2"}]
        assert [dict(v.tags) for v in listed([("a", "1"), ("b", "2")])] == [{"a": "1", "b": "2"}]
        assert listed([("a", "9")]) == ()
        assert len(listed(())) == 3


async def test_unknown_ids_are_not_found() -> None:
    async with running_house(World()) as house:
        verbs = house.supervisor
        for work in (
            verbs.disconnect(GHOST),
            verbs.start_publish(GHOST, TOPIC),
            verbs.stop_publish(GHOST),
            verbs.send(GHOST, b"", Kind.TEXT, None),
            verbs.send_raw(GHOST, b"", Kind.TEXT),
            verbs.set_tag(GHOST, "a", "b"),
            verbs.set_tags(GHOST, {}),
        ):
            with pytest.raises(ConnectionNotFound):
                await work
        with pytest.raises(ConnectionNotFound):
            verbs.get_tag(GHOST, "a")
        with pytest.raises(ConnectionNotFound):
            verbs.get_tags(GHOST)


async def test_sending_goes_to_the_open_session_or_says_why_not() -> None:
    world = World()
    async with running_house(world) as house:
        connection, socket = await house.connected(spec_of(auto_reconnect=False))
        await house.supervisor.send_raw(connection, b"x", Kind.TEXT)
        asking = await started(house.supervisor.send(connection, b"q", Kind.TEXT, None))
        socket.push(socket.sent[-1].data[:16] + b"answer")
        assert await asking == b"answer"
        socket.lose()
        await house.settle()
        with pytest.raises(NotConnected) as caught:
            await house.supervisor.send_raw(connection, b"x", Kind.TEXT)
        assert caught.value.status == "disconnected"


# --- the process --------------------------------------------------------------------------------


async def test_before_and_after_its_time_it_says_so() -> None:
    world = World()
    async with running_house(world) as house:
        connection, _ = await house.connected()
        house.registry.stop()
        await wait_quiet()
        verbs = house.supervisor
        assert verbs.state == "stopping"
        for work in (
            verbs.connect(RETRY),
            verbs.disconnect(connection),
            verbs.set_tag(connection, "a", "b"),
            verbs.start_publish(connection, TOPIC),
        ):
            with pytest.raises(ServiceUnavailable) as caught:
                await work
            assert caught.value.state == "stopping"


@pytest.mark.parametrize("spec", [RETRY, NAMED, spec_of()], ids=["retry", "named", "unnamed"])
@pytest.mark.parametrize("operation", ["save", "get"])
async def test_a_stop_in_the_middle_of_a_creation_ends_all(
    spec: ConnectionSpec, operation: str
) -> None:
    world = World()
    async with running_house(world) as house:
        if operation == "get" and not spec.name:
            return
        hold = world.store_faults.hold(operation)
        connecting = await started(house.supervisor.connect(spec))
        await hold.arrived.wait()
        house.registry.stop()
        await wait_quiet()
        hold.release()
        await let_time_pass(house.clock, connecting.done)
        if connecting.exception() is not None:
            assert isinstance(connecting.exception(), ServiceUnavailable)
        assert all(not entry.running for entry in house.registry.entries.values())
        assert not house.journal.of(RunnerCrashed)


async def test_a_stop_frees_who_waits_for_a_name() -> None:
    world = World()
    async with running_house(world) as house:
        await house.connected(NAMED)
        await house.settle()
        hold = world.store_faults.hold("delete")
        leaving = await started(house.supervisor.disconnect(connection_id_of_name("ticker")))
        again = await started(house.supervisor.connect(NAMED))
        house.registry.stop()
        await wait_quiet()
        with pytest.raises(ServiceUnavailable):
            await again
        hold.release()
        await leaving
