"""Connect: judged, named once, durable before the answer, nothing left of a failure."""

from __future__ import annotations

import asyncio
from dataclasses import replace
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
from websocketmanager.domain.facts import RecordIgnored, RunnerCrashed
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.identity import connection_id_of_name, record_key
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import (
    ConnectionId,
    ConnectionSpec,
    FirstDial,
    InstanceId,
    Kind,
    Status,
    Topic,
)
from websocketmanager.errors import (
    AddressRefused,
    ApiUnavailable,
    FirstDialFailed,
    LimitReached,
    NameInUse,
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


# --- connect ------------------------------------------------------------------------------------


async def test_connect_answers_when_it_is_open_and_durable() -> None:
    world = World()
    async with running_house(world) as house:
        dial = world.dialer.hang()
        connecting = await started(house.supervisor.connect(spec_of(tags={"a": "b"})))
        [record] = world.records
        assert not record.answered
        assert world.indexed() == [record.id]
        assert not connecting.done()
        hold = world.store_faults.hold("save")
        dial.succeed()
        await wait_quiet()
        if not hold.arrived.is_set():
            hold.release()
        assert not connecting.done()
        hold.release()
        view = await connecting
        assert (view.status, view.session, view.topic) == (Status.CONNECTED, 1, TOPIC)
        assert view.tags == {"a": "b"}
        stored = world.record(view.id)
        assert stored is not None
        assert stored.answered


async def test_a_failed_first_dial_leaves_nothing() -> None:
    world = World()
    world.dialer.fail(FailureKind.TLS_FAILED)
    async with running_house(world) as house:
        with pytest.raises(FirstDialFailed) as caught:
            await house.supervisor.connect(spec_of(url="wss://feed.test/x?token=secret"))
        assert caught.value.error_type == "tls_failed"
        assert "secret" not in str(caught.value)
        await house.settle()
        assert_nothing_left(world, house)
        assert world.states() == ["connecting", "error", "disconnected"]


async def test_connect_with_retry_answers_at_once_and_goes_on() -> None:
    world = World()
    world.dialer.fail(times=2)
    async with running_house(world) as house:
        view = await house.supervisor.connect(RETRY)
        assert view.status is Status.CONNECTING
        await let_time_pass(house.clock, lambda: len(world.dialer.sockets) == 1)
        assert [v.status for v in house.supervisor.list_connections(())] == [Status.CONNECTED]
    async with running_house(world, recover=True) as house:
        assert [v.id for v in house.supervisor.list_connections(())] == [view.id]


async def test_connect_with_retry_answers_even_when_the_first_dial_was_final() -> None:
    world = World()
    world.dialer.fail(FailureKind.HANDSHAKE_REJECTED, http_status=403)
    async with running_house(world) as house:
        view = await house.supervisor.connect(RETRY)
        assert view.status is Status.CONNECTING
        await house.settle()
        [view] = house.supervisor.list_connections(())
        assert view.status is Status.DISCONNECTED
        assert view.cause is not None
        assert view.cause.error_type == "handshake_rejected"


async def test_a_refused_address_is_refused_before_anything_is_written() -> None:
    world = World()
    world.dialer.refused.add("10.0.0.1")
    async with running_house(world) as house:
        with pytest.raises(AddressRefused):
            await house.supervisor.connect(spec_of(url="ws://10.0.0.1/"))
        assert world.values.values == {}


async def test_twenty_callers_of_a_name_get_one_connection() -> None:
    world = World()
    dial = world.dialer.hang()
    async with running_house(world) as house:
        hold = world.store_faults.hold("get")  # whether the name is free
        calls = [asyncio.create_task(house.supervisor.connect(NAMED)) for _ in range(20)]
        await hold.arrived.wait()
        await wait_quiet()
        hold.release()
        await wait_quiet()
        dial.succeed()
        views = await asyncio.gather(*calls)
        assert {view.id for view in views} == {connection_id_of_name("ticker")}
        assert len(world.dialer.targets) == len(world.records) == 1
        assert world.indexed() == [views[0].id]
        await house.settle()
        assert world.states() == ["connecting", "connected"]


async def test_twenty_callers_of_a_name_whose_dial_fails_all_learn_it_and_may_try_again() -> None:
    world = World()
    dial = world.dialer.hang()
    async with running_house(world) as house:
        calls = [asyncio.create_task(house.supervisor.connect(NAMED)) for _ in range(20)]
        await wait_quiet()
        house.clock.advance(0.01)
        again: list[asyncio.Task[Any]] = []
        calls[0].add_done_callback(
            lambda _: again.append(asyncio.ensure_future(house.supervisor.connect(NAMED)))
        )
        dial.fail()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, FirstDialFailed) for error in errors)
        view = await again[0]
        await house.settle()
        assert world.record(view.id) is not None, "a late removal must not take the next one along"
        assert world.indexed() == [view.id]


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        (replace(NAMED, url="wss://other.test/"), ("url",)),
        (replace(NAMED, tags={}, auto_reconnect=False), ("auto_reconnect", "tags")),
        (replace(NAMED, topic=Topic("a.b")), ("topic",)),
        (spec_of("ticker", tags={"venue": "x"}, markers=True), ("options.markers",)),
    ],
)
async def test_a_name_with_another_intent_is_refused(
    other: ConnectionSpec, fields: tuple[str, ...]
) -> None:
    world = World()
    async with running_house(world) as house:
        view = await house.supervisor.connect(NAMED)
        with pytest.raises(NameInUse) as caught:
            await house.supervisor.connect(other)
        assert (caught.value.fields, caught.value.connection_id) == (fields, view.id)
        assert len(world.dialer.targets) == 1


async def test_a_name_of_another_instance_or_unreadable_is_refused_untouched() -> None:
    world = World()
    async with running_house(world, instance_id=InstanceId("two")) as house:
        await house.connected(NAMED)
        await house.settle()
    key = record_key(connection_id_of_name("ticker"))
    async with running_house(world) as house:
        before = world.values.values[key]
        with pytest.raises(NameInUse):
            await house.supervisor.connect(NAMED)
        assert world.values.values[key] == before
        await world.values.save(key, '{"schema":3}')
        with pytest.raises(NameInUse):
            await house.supervisor.connect(NAMED)
        assert world.values.values[key].value == '{"schema":3}'
        assert house.journal.of(RecordIgnored)
        assert world.indexed() == []


async def test_two_instances_that_create_a_name_at_once() -> None:
    world = World()
    async with (
        running_house(world) as one,
        running_house(world, instance_id=InstanceId("two")) as two,
    ):
        await one.connected(NAMED)
        await one.settle()
        world.sink_faults.break_all(DOWN)
        hold = world.store_faults.hold("delete")
        ending = await started(one.supervisor.disconnect(connection_id_of_name("ticker")))
        await let_time_pass(one.clock, hold.arrived.is_set)
        # A tombstone is stored; both would overwrite it.
        save = world.store_faults.hold("save")
        late = await started(two.supervisor.connect(NAMED))
        await save.arrived.wait()  # the index of two
        save.release()
        second = world.store_faults.hold("save")
        await wait_quiet()
        if second.arrived.is_set():
            await world.put(
                replace(world.records[0], owner_epoch=9, incarnation="x", deleted=False),
                indexed=False,
            )
        second.release()
        world.sink_faults.heal()
        hold.release()
        await ending
        result = await asyncio.gather(late, return_exceptions=True)
        assert not isinstance(result[0], BaseException) or isinstance(
            result[0], NameInUse | ApiUnavailable
        ), result


async def test_an_ended_connection_of_the_name_is_begun_again() -> None:
    world = World()
    spec = replace(NAMED, auto_reconnect=False)
    async with running_house(world) as house:
        connection, socket = await house.connected(spec)
        await house.supervisor.send_raw(connection, b"12345", Kind.BINARY)
        socket.push("one")
        await wait_quiet()
        socket.lose()
        await house.settle()
        assert [v.status for v in house.supervisor.list_connections(())] == [Status.DISCONNECTED]
        sent = house.registry.totals()
        house.clock.advance(5.0)

        view = await house.supervisor.connect(spec)
        assert (view.id, view.status, view.session) == (connection, Status.CONNECTED, 2)
        totals = house.registry.totals()
        assert totals.bytes_sent == sent.bytes_sent == 5, "counters never go back"
        assert totals.reconnects == 1
        world.dialer.sockets[-1].push("two")
        await house.settle()
        assert world.messages() == [b"one", b"two"]
        assert_no_holes(world.lifecycle())
        assert data_of(world.lifecycle()[-1])["downtime_ms"] == 5000


async def test_an_ended_connection_that_cannot_be_begun_again_says_so_and_stays() -> None:
    world = World()
    spec = replace(NAMED, auto_reconnect=False)
    async with running_house(world) as house:
        connection, socket = await house.connected(spec)
        socket.lose()
        await house.settle()
        world.dialer.fail()
        with pytest.raises(FirstDialFailed):
            await house.supervisor.connect(spec)
        assert [v.id for v in house.supervisor.list_connections(())] == [connection]
        assert world.record(connection) is not None


async def test_a_limit_of_connections() -> None:
    world = World()
    async with running_house(world, limits=Limits(max_connections=2)) as house:
        hold = world.store_faults.hold("save")
        first = await started(house.supervisor.connect(spec_of()))
        second = await started(house.supervisor.connect(spec_of()))
        with pytest.raises(LimitReached):
            await house.supervisor.connect(spec_of())
        hold.release()
        one, _ = await asyncio.gather(first, second)
        await house.supervisor.disconnect(one.id)
        await house.supervisor.connect(spec_of())


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("spec", [spec_of(), RETRY, NAMED], ids=["unnamed", "retry", "named"])
@pytest.mark.parametrize("failing", [("save", 1), ("save", 2), ("register", 1)])
async def test_an_api_that_fails_a_creation_leaves_nothing_that_lives(
    spec: ConnectionSpec, after: bool, failing: tuple[str, int]
) -> None:
    world = World()
    operation, count = failing
    async with running_house(world) as house:
        holds = [world.store_faults.hold(operation) for _ in range(count)]
        connecting = await started(house.supervisor.connect(spec))
        for hold in holds[:-1]:
            hold.release()
        await holds[-1].arrived.wait()
        world.store_faults.fail(operation, DOWN, after=after)
        holds[-1].release()
        with pytest.raises(ApiUnavailable):
            await connecting
        assert world.dialer.targets == []
        await let_time_pass(house.clock, lambda: house.clock.monotonic() > 5)
        assert dict(house.registry.entries) == {}
        if not spec.name:
            assert_nothing_left(world, house)
        view = await house.supervisor.connect(spec)
        await house.settle()
        assert [record.id for record in world.records] == [view.id]
        assert view.id in world.indexed()


async def test_a_record_that_cannot_be_saved_is_no_answer() -> None:
    world = World()
    dial = world.dialer.hang()
    async with running_house(world) as house:
        connecting = await started(house.supervisor.connect(spec_of()))
        world.store_faults.break_all(DOWN)
        dial.succeed()
        await let_time_pass(house.clock, connecting.done)
        with pytest.raises(ApiUnavailable):
            await connecting
        world.store_faults.heal()
        await let_time_pass(house.clock, lambda: not house.registry.entries)
        await house.settle()
        assert_nothing_left(world, house)
        assert dial.socket.closes == [1000]


@pytest.mark.parametrize("moment", ["creating", "dialling", "answering"])
async def test_a_caller_that_goes_away_takes_its_unnamed_connection_along(moment: str) -> None:
    world = World()
    async with running_house(world) as house:
        dial = world.dialer.hang()
        hold = world.store_faults.hold("save") if moment == "creating" else None
        connecting = await started(house.supervisor.connect(spec_of()))
        if moment == "answering":
            hold = world.store_faults.hold("save")
            dial.succeed()
            await wait_quiet()
        connecting.cancel()
        await asyncio.wait([connecting])
        assert connecting.cancelled()
        if hold:
            hold.release()
        await wait_quiet()
        await house.settle()
        assert_nothing_left(world, house)
        assert dial.cancelled or dial.socket.closes == [1000] or not world.dialer.targets


async def test_a_caller_that_goes_away_leaves_a_named_connection() -> None:
    world = World()
    dial = world.dialer.hang()
    async with running_house(world) as house:
        connecting = await started(house.supervisor.connect(NAMED))
        connecting.cancel()
        await asyncio.wait([connecting])
        dial.succeed()
        await wait_quiet()
        assert [v.name for v in house.supervisor.list_connections(())] == ["ticker"]


# --- disconnect ---------------------------------------------------------------------------------
