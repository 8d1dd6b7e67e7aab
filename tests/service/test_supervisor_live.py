"""`Get`, `Update`, `Watch` and `Tail` over a whole process on doubles."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import DOWN, TOPIC, House, World, data_of, running_house, spec_of
from websocketmanager.domain.change import ConnectionChange, SubscriptionsChange
from websocketmanager.domain.facts import RunnerCrashed
from websocketmanager.domain.model import ConnectionId, LifecycleNotice, Topic
from websocketmanager.domain.options import Match, Pattern, Payload, Subscription
from websocketmanager.errors import (
    ApiUnavailable,
    ConnectionNotFound,
    InvalidArgument,
    NameInUse,
    SecretMissing,
    ServiceUnavailable,
)
from websocketmanager.service.mailbox import Mailbox

GHOST = ConnectionId("00000000-0000-4000-8000-00000000ffff")


def sub(key: str, text: str = "") -> Subscription:
    return Subscription(key, Payload(text=text or f"+{key}"), Payload(text=f"-{key}"))


A, B, C = sub("a"), sub("b"), sub("c")


def said(socket: ScriptedSocket) -> list[str]:
    return [message.data.decode() for message in socket.sent]


def drained(box: Mailbox[LifecycleNotice]) -> list[LifecycleNotice]:
    notices, waiting = list(box.waiting), box.waiting
    waiting.clear()
    return notices


def change(which: ConnectionId, **subscriptions: Any) -> ConnectionChange:
    return ConnectionChange(which, subscriptions=SubscriptionsChange(**subscriptions))


# --- get ----------------------------------------------------------------------------------------


async def test_get_tells_statistics_and_transitions() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected()
        socket.push("x", "y")
        await house.settle()
        world.clock.advance(2.0)
        socket.close_from_peer(1012, "restart")
        await wait_quiet()
        await let_time_pass(world.clock, lambda: len(house.dialer.sockets) == 2)
        await house.settle()
        detail = house.supervisor.get(which)
    told = [(one.number, one.state, one.session) for one in detail.transitions]
    states = world.states(which)
    assert [state for _, state, _ in told] == states
    assert [number for number, _, _ in told] == list(range(1, len(states) + 1))
    reconnecting = next(one for one in detail.transitions if one.state == "reconnecting")
    assert (reconnecting.error_type, reconnecting.close_code) == ("peer_closed", 1012)
    assert (reconnecting.close_reason, reconnecting.attempt) == ("restart", 1)
    assert (detail.live.reconnects, detail.live.sessions) == (1, 2)
    assert detail.live.data_age_seconds is not None
    assert detail.live.data_age_seconds >= 2.0
    assert detail.view.statistics.messages_received == 2


async def test_the_last_error_stays_when_all_is_well_again() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected()
        assert house.supervisor.get(which).last_error is None
        socket.lose()
        await wait_quiet()
        await let_time_pass(world.clock, lambda: len(house.dialer.sockets) == 2)
        await house.settle()
        detail = house.supervisor.get(which)
    assert detail.view.cause is None
    assert detail.last_error is not None
    assert (detail.last_error.error_type, detail.last_error.state) == ("connection_lost", "error")


async def test_after_a_restart_get_knows_what_the_record_remembers() -> None:
    world = World()
    async with running_house(world) as house:
        which, _ = await house.connected()
        await house.settle()
    async with running_house(world, recover=True) as house:
        await house.settle()
        states = [one.state for one in house.supervisor.get(which).transitions]
    assert states == ["connecting", "connected", "reconnecting", "connected"]


async def test_what_is_not_there_is_not_found() -> None:
    async with running_house(World()) as house:
        for call in (
            lambda: house.supervisor.get(GHOST),
            lambda: house.supervisor.tail(GHOST, 0),
            lambda: house.supervisor.watch(GHOST, (), None),
        ):
            with pytest.raises(ConnectionNotFound):
                call()
        with pytest.raises(ConnectionNotFound):
            await house.supervisor.update(ConnectionChange(GHOST, reroute=True))


# --- update -------------------------------------------------------------------------------------


async def test_update_is_durable_and_in_force_at_once() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected(spec_of(subscriptions=(A, B)))
        assert said(socket) == ["+a", "+b"]
        view = await house.supervisor.update(
            ConnectionChange(
                which,
                reroute=True,
                topic=Topic("new.topic"),
                tags={"k": "v"},
                subscriptions=SubscriptionsChange(add=(C,), remove=("a",)),
            )
        )
        await wait_quiet()
        assert said(socket) == ["+a", "+b", "-a", "+c"]
        assert (view.topic, view.tags, view.options.subscriptions) == (
            "new.topic",
            {"k": "v"},
            (B, C),
        )
        socket.push("x")
        await house.settle()
        assert world.messages(Topic("new.topic")) == [b"x"]
        stored = world.record(which)
        assert stored is not None
        assert stored.spec.options.subscriptions == (B, C)
        assert (stored.spec.topic, stored.spec.tags) == ("new.topic", {"k": "v"})
        socket.lose()
        await wait_quiet()
        await let_time_pass(world.clock, lambda: len(house.dialer.sockets) == 2)
        assert said(house.dialer.sockets[1]) == ["+b", "+c"], "the set, not its history"
        assert not house.journal.of(RunnerCrashed)


async def test_what_was_changed_survives_a_restart() -> None:
    world = World()
    async with running_house(world) as house:
        which, _ = await house.connected(spec_of(subscriptions=(A,)))
        await house.supervisor.update(change(which, whole=(B,)))
    async with running_house(world, recover=True) as house:
        await house.settle()
        assert said(house.dialer.sockets[-1]) == ["+b"]


async def test_an_outage_changes_nothing_at_all() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected(spec_of(subscriptions=(A,), tags={"a": "1"}))
        await house.settle()
        world.break_api()
        with pytest.raises(ApiUnavailable):
            await house.supervisor.update(
                ConnectionChange(
                    which,
                    reroute=True,
                    tags={},
                    subscriptions=SubscriptionsChange(whole=(B,)),
                )
            )
        await wait_quiet()
        view = house.supervisor.get(which).view
        assert (view.topic, view.tags, view.options.subscriptions) == (TOPIC, {"a": "1"}, (A,))
        assert said(socket) == ["+a"]
        world.heal_api()
        await house.settle()


async def test_faults_of_the_whole_change_nothing() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected(spec_of(subscriptions=(A,)))
        many = tuple(sub(f"k{number}") for number in range(1024))
        with pytest.raises(InvalidArgument) as refused:
            await house.supervisor.update(change(which, add=many))
        assert refused.value.faults[0].path == "options.subscriptions"
        regexes = tuple(
            Subscription(
                f"k{number}",
                Payload(text="x"),
                acknowledge=Pattern(Match.REGEX, regex=f"r{number}"),
            )
            for number in range(65)
        )
        with pytest.raises(InvalidArgument):
            await house.supervisor.update(change(which, whole=regexes))
        secret = sub("s", "${secret:MISSING}")
        with pytest.raises(SecretMissing):
            await house.supervisor.update(change(which, add=(secret,)))
        await wait_quiet()
        assert house.supervisor.get(which).view.options.subscriptions == (A,)
        assert said(socket) == ["+a"]


async def test_a_new_secret_is_said_by_the_open_session() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected()
        world.secrets.values["TOKEN"] = "t0ken"
        await house.supervisor.update(change(which, add=(sub("s", "hi ${secret:TOKEN}"),)))
        await wait_quiet()
        assert said(socket) == ["hi t0ken"]


async def test_updates_at_once_all_count() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected()
        subs = [sub(f"k{number}") for number in range(20)]
        await asyncio.gather(*(house.supervisor.update(change(which, add=(s,))) for s in subs))
        await wait_quiet()
        keys = {one.key for one in house.supervisor.get(which).view.options.subscriptions}
        assert keys == {one.key for one in subs}
        assert sorted(said(socket)) == sorted(f"+{one.key}" for one in subs)


async def test_a_change_while_dialling_is_in_the_first_session() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected(spec_of(subscriptions=(A,)))
        dial = house.dialer.hang()
        socket.lose()
        await wait_quiet()
        await let_time_pass(world.clock, lambda: len(house.dialer.targets) == 2)
        await house.supervisor.update(change(which, whole=(B, C)))
        second = dial.succeed()
        await wait_quiet()
        assert said(second) == ["+b", "+c"]


async def test_a_name_with_its_first_intent_finds_the_changed_connection() -> None:
    world = World()
    first = spec_of("named", subscriptions=(A,))
    async with running_house(world) as house:
        which, _ = await house.connected(first)
        await house.supervisor.update(change(which, add=(B,)))
        await house.supervisor.update(change(which, add=(C,)))
        assert (await house.supervisor.connect(first)).id == which
        present = spec_of("named", subscriptions=(A, B, C))
        assert (await house.supervisor.connect(present)).id == which
        with pytest.raises(NameInUse) as refused:
            await house.supervisor.connect(spec_of("named", subscriptions=(A, B)))
        assert refused.value.fields == ("options.subscriptions",)
    async with running_house(world, recover=True) as house:
        await house.settle()
        assert (await house.supervisor.connect(first)).id == which


# --- watch --------------------------------------------------------------------------------------


async def test_watch_tells_what_is_published() -> None:
    world = World()
    async with running_house(world) as house:
        everything = house.supervisor.watch(None, (), None)
        tagged = house.supervisor.watch(None, (("venue", "x"),), None)
        which, _ = await house.connected()
        other, _ = await house.connected(spec_of(tags={"venue": "x"}))
        await house.supervisor.disconnect(other)
        await house.settle()
        seen = drained(everything)
        published = world.lifecycle()
    assert {(one.id, one.type, one.data) for one in seen} == {
        (event.metadata["ce-id"], event.metadata["ce-type"], event.data) for event in published
    }
    assert [one.state for one in seen if one.connection_id == which] == ["connecting", "connected"]
    assert [one.state for one in drained(tagged)] == ["connecting", "connected", "disconnected"]


async def test_watch_resumes_behind_a_number_and_ends_with_the_connection() -> None:
    world = World()
    async with running_house(world) as house:
        which, _ = await house.connected()
        await house.settle()
        stream = house.supervisor.watch(which, (), 1)
        await house.supervisor.disconnect(which)
        seen = [notice async for notice in stream]
    assert [(one.number, one.state) for one in seen] == [(2, "connected"), (3, "disconnected")]
    assert json.loads(seen[-1].data)["final"] is True


async def test_watch_waits_as_the_save_does() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected()
        await house.settle()
        stream = house.supervisor.watch(which, (), None)
        world.store_faults.break_all(DOWN)
        socket.lose()
        await wait_quiet()
        assert not stream.waiting
        world.heal_api()
        await let_time_pass(world.clock, lambda: len(house.dialer.sockets) == 2)
        await house.settle()
        numbers = [data_of(event)["event"] for event in world.lifecycle(which)]
        assert [one.number for one in drained(stream)] == numbers[2:]


async def _steal(world: World, house: House, which: ConnectionId) -> None:
    """Another process takes the connection over, and this one finds out."""
    record = world.record(which)
    assert record is not None
    await world.put(replace(record, owner_epoch=9, incarnation="other"), indexed=False)
    with pytest.raises(ConnectionNotFound):
        await house.supervisor.set_tag(which, "a", "b")


@pytest.mark.parametrize("error", [ServiceUnavailable, ConnectionNotFound])
async def test_streams_end_when_the_service_stops_or_another_owns_it(
    error: type[Exception],
) -> None:
    world = World()
    async with running_house(world) as house:
        which, _ = await house.connected()
        await house.settle()
        watching, tailing = house.supervisor.watch(which, (), None), house.supervisor.tail(which, 0)
        reading = [asyncio.create_task(anext(one)) for one in (watching, tailing)]
        await wait_quiet()
        if error is ServiceUnavailable:
            house.registry.stop()
        else:
            await _steal(world, house, which)
        ends = await asyncio.gather(*reading, return_exceptions=True)
        assert [type(one) for one in ends] == [error, error]
        with pytest.raises(error):
            house.supervisor.watch(which, (), None)


# --- tail ---------------------------------------------------------------------------------------


async def test_tail_shows_messages_and_ends_with_the_connection() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected()
        stream = house.supervisor.tail(which, 3)
        socket.push("hello", b"\x00\x01")
        await house.settle()
        await house.supervisor.disconnect(which)
        seen = [message async for message in stream]
    assert [(one.data, one.size, one.sequence) for one in seen] == [
        (b"hel", 5, 1),
        (b"\x00\x01", 2, 2),
    ]
    assert world.messages() == [b"hello", b"\x00\x01"], "the stream itself is whole"


async def test_nobody_who_looks_on_slows_the_stream() -> None:
    world = World()
    async with running_house(world) as house:
        which, socket = await house.connected()
        stream = house.supervisor.tail(which, 0)
        socket.push(*(b"%d" % number for number in range(5000)))
        await house.settle()
        assert len(world.messages()) == 5000
        first = await anext(stream)
        assert first.skipped == first.sequence - 1 == 5000 - 1024
