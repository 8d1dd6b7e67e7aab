"""The desired set of subscriptions on scripted sockets: written once, paced, acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.kit.quiet import wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import World, data_of, running_house, spec_of
from tests.service.sessions import (
    advance,
    degradations,
    entered,
    errors,
    login_spec,
    reconnected,
    said,
    status,
    with_key,
)
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.model import FirstDial, Kind, Message, Status
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    Liveness,
    Match,
    Opening,
    Pattern,
    Payload,
    Step,
    Subscription,
)
from websocketmanager.service.entry import Entry

REGEX_ONE = Pattern(Match.REGEX, regex="ok 1")
REGEX_TWO = Pattern(Match.REGEX, regex="ok 2")


def ack(number: int) -> Pattern:
    return Pattern(Match.POINTER, pointer="/ack", value=str(number))


def subscription(number: int, *, acknowledged: bool = True) -> Subscription:
    return Subscription(
        str(number),
        Payload(f"+{number}"),
        Payload(f"-{number}"),
        ack(number) if acknowledged else None,
    )


THREE = tuple(subscription(number) for number in (3, 1, 2))


async def test_subscriptions_are_written_once_per_session_in_order() -> None:
    world = World()
    async with running_house(world) as house:
        await entered(house, spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE))
        first = house.dialer.sockets[0]
        assert said(first) == ["+3", "+1", "+2"]
        first.push('{"ack":3}', '{"ack":1}', "tick", '{"ack":2}', '{"ack":2}')
        await advance(house, 60.0, step=1.0)
        await house.settle()
        assert said(first) == ["+3", "+1", "+2"]
        # An acknowledgement is consumed once; a second one is the server's own business.
        assert world.messages() == [b"tick", b'{"ack":2}']
        assert degradations(world) == []
        first.lose()
        second = await reconnected(house, 2)
        assert said(second) == ["+3", "+1", "+2"]


async def test_subscriptions_follow_the_dialogue() -> None:
    world = with_key()
    async with running_house(world) as house:
        await entered(house, login_spec(subscriptions=THREE))
        socket = house.dialer.sockets[0]
        assert len(socket.sent) == 1
        socket.push('{"login":"ok"}')
        await wait_quiet()
        assert said(socket)[1:] == ["+3", "+1", "+2"]


async def test_a_missing_acknowledgement_degrades_until_it_comes() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE))
        socket = house.dialer.sockets[0]
        socket.push('{"ack":3}', '{"ack":2}')
        await advance(house, 9.9)
        await house.settle()
        assert degradations(world) == []
        await advance(house, 1.0)
        await house.settle()
        assert degradations(world) == [("subscription_unacknowledged", True)]
        told = [data for data in map(data_of, world.lifecycle()) if "active" in data]
        assert told[0]["detail"] == "1: no acknowledgement within 10 s"
        assert entry.view().degraded == ("subscription_unacknowledged",)
        assert status(entry) is Status.CONNECTED, "the others may well deliver"
        socket.push('{"ack":1}')
        await house.settle()
        assert degradations(world)[1:] == [("subscription_unacknowledged", False)]
        assert entry.view().degraded == ()
        assert world.messages() == []


async def test_what_an_earlier_session_lacked_is_taken_back_by_a_later_one() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE))
        await advance(house, 11.0)
        await house.settle()
        assert {cause for cause, _ in degradations(world)} == {"subscription_unacknowledged"}
        house.dialer.sockets[0].lose()
        second = await reconnected(house, 2)
        second.push('{"ack":3}', '{"ack":2}')
        await house.settle()
        assert all(active for _, active in degradations(world))
        second.push('{"ack":1}')
        await house.settle()
        assert degradations(world)[-1] == ("subscription_unacknowledged", False)
        assert entry.view().degraded == ()


async def test_everything_is_written_at_the_pace_of_the_spacing() -> None:
    world = World()
    spec = spec_of(
        first_dial=FirstDial.RETRY,
        send_spacing_ms=500,
        opening=Opening((Step(send=Payload("hello")),)),
        subscriptions=THREE,
        liveness=Liveness(heartbeat=ApplicationHeartbeat(Payload("ping"), interval_ms=1000)),
    )
    writes: list[tuple[float, str]] = []

    class Timed(ScriptedSocket):
        async def send(self, data: bytes, kind: Kind) -> None:
            writes.append((round(world.clock.monotonic(), 3), data.decode()))
            await super().send(data, kind)

        def send_ping(self) -> None:
            writes.append((round(world.clock.monotonic(), 3), "PING"))
            super().send_ping()

    async with running_house(world, ping_interval_seconds=2.0) as house:
        dial = house.dialer.hang()
        dial.socket = Timed()
        dial.succeed()
        entry = await entered(house, spec)
        sends = [
            asyncio.create_task(
                entry.runner.sender.send(f"user {number}".encode(), Kind.TEXT, timeout_seconds=30.0)
            )
            for number in range(3)
        ]
        await advance(house, 10.0, step=0.05)
        await asyncio.gather(*sends)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(writes)]
    assert min(gaps) >= 0.499, writes
    texts = [text for _, text in writes]
    assert texts[0] == "hello"
    assert [text for text in texts if text.startswith("+")] == ["+3", "+1", "+2"]
    assert [text for text in texts if text.startswith("user")] == ["user 0", "user 1", "user 2"]
    assert {"ping", "PING"} <= set(texts)
    assert len(writes) >= 15, "the turns are used"


async def test_times_in_a_message_are_those_of_its_own_turn() -> None:
    world = World()
    wanted = tuple(Subscription(str(number), Payload("${time.ms}")) for number in range(3))
    async with running_house(world) as house:
        spec = spec_of(first_dial=FirstDial.RETRY, send_spacing_ms=2000, subscriptions=wanted)
        await entered(house, spec)
        await advance(house, 5.0)
        times = [int(text) - 1_700_000_000_000 for text in said(house.dialer.sockets[0])]
        assert times == pytest.approx([0, 2000, 4000], abs=101)


def change(entry: Entry, *wanted: Subscription) -> None:
    """Changes the desired set as `Update` does, without the store."""
    record = entry.book.record
    options = replace(record.spec.options, subscriptions=wanted)
    entry.book.record = replace(record, spec=replace(record.spec, options=options))
    entry.runner.change_subscriptions()


async def test_a_live_session_is_brought_to_another_set() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE))
        first = house.dialer.sockets[0]
        first.push('{"ack":3}', '{"ack":1}', '{"ack":2}')
        await wait_quiet()
        change(entry, subscription(1), subscription(4))
        await wait_quiet()
        assert said(first)[3:] == ["-3", "-2", "+4"]
        first.push('{"ack":4}')
        await advance(house, 15.0, step=1.0)
        await house.settle()
        assert degradations(world) == []
        assert world.messages() == []
        first.lose()
        second = await reconnected(house, 2)
        assert said(second) == ["+1", "+4"], "the current set, never the history"


async def test_a_change_while_the_first_set_is_still_being_written() -> None:
    world = World()
    async with running_house(world) as house:
        spec = spec_of(first_dial=FirstDial.RETRY, send_spacing_ms=1000, subscriptions=THREE)
        entry = await entered(house, spec)
        socket = house.dialer.sockets[0]
        assert said(socket) == ["+3"]
        change(entry, subscription(1), subscription(4))
        change(entry, subscription(4), subscription(3))
        await advance(house, 20.0)
        held: set[str] = set()
        for text in said(socket):
            (held.add if text[0] == "+" else held.discard)(text[1:])
        assert held == {"4", "3"}
        assert len(said(socket)) == len(set(said(socket)) - {"+3"}) + said(socket).count("+3")
        assert "+2" not in said(socket), "what left before it was written is not written"


async def test_a_subscription_that_changes_is_left_before_it_is_made_again() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE))
        change(entry, replace(subscription(3), subscribe=Payload("+3b")), *THREE[1:])
        await wait_quiet()
        assert said(house.dialer.sockets[0])[3:] == ["-3", "+3b"]


async def test_a_subscription_that_leaves_owes_no_acknowledgement() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE))
        house.dialer.sockets[0].push('{"ack":3}', '{"ack":2}')
        await advance(house, 11.0)
        assert entry.view().degraded == ("subscription_unacknowledged",)
        change(entry, subscription(3), subscription(2))
        await house.settle()
        assert degradations(world)[-1] == ("subscription_unacknowledged", False)
        assert entry.view().degraded == ()


async def test_changes_at_the_moment_of_opening_are_written_in_their_order() -> None:
    class Calling(ScriptedSocket):
        """Calls back when its session is being numbered."""

        def __init__(self) -> None:
            super().__init__()
            self.calls: list[Callable[[], None]] = []

        @property
        def address(self) -> str:
            while self.calls:
                asyncio.get_running_loop().call_soon(self.calls.pop())
            return super().address

    world = with_key()
    async with running_house(world) as house:
        dial = house.dialer.hang()
        dial.socket = socket = Calling()
        dial.succeed()
        entry = await entered(house, login_spec(subscriptions=THREE))
        change(entry, subscription(1), subscription(4))
        socket.calls = [lambda: change(entry, subscription(1), subscription(5))]
        socket.push('{"login":"ok"}')
        await wait_quiet()
        assert socket.calls == []
        assert said(socket)[1:] == ["+1", "+4", "-4", "+5"]


async def test_a_subscription_may_bring_a_new_secret() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE))
        world.secrets.values["LATE"] = "hidden-late"
        change(entry, *THREE, Subscription("s", Payload("+${secret:LATE}")))
        await wait_quiet()
        assert said(house.dialer.sockets[0])[3:] == ["+hidden-late"]
        house.dialer.sockets[0].close_from_peer(1011, "hidden-late?")
        await wait_quiet()
        await house.settle()
        assert "hidden-late" not in str(errors(world))


async def test_a_subscription_whose_secret_lacks_says_so() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE))
        change(entry, *THREE, Subscription("s", Payload("+${secret:LATE}")))
        await house.settle()
        assert errors(world)[0][0] == "secret_missing"


async def test_nothing_of_a_session_is_left_when_it_ends() -> None:
    world = World()
    liveness = Liveness(
        read_idle_ms=60_000,
        heartbeat=ApplicationHeartbeat(Payload("ping"), interval_ms=5000, expect=ack(9)),
    )
    async with running_house(world) as house:
        spec = spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE, liveness=liveness)
        entry = await entered(house, spec)
        assert len(house.timers) > 0
        await house.supervisor.disconnect(entry.record.id)
        await wait_quiet()
        assert len(house.timers) == 0
        before = Message(Kind.TEXT, b"+3")
        assert house.dialer.sockets[0].sent[0] == before
        await advance(house, 100.0, step=1.0)
        assert len(house.dialer.sockets[0].sent) == 3


async def test_sessions_that_die_young_leave_no_timers() -> None:
    world = World()
    async with running_house(world) as house:
        liveness = Liveness(read_idle_ms=600_000, first_data_ms=600_000)
        spec = spec_of(first_dial=FirstDial.RETRY, subscriptions=THREE, liveness=liveness)
        await entered(house, spec)
        expected = len(house.timers)
        for count in range(1, 20):
            house.dialer.sockets[count - 1].lose(FailureKind.CONNECTION_LOST)
            await reconnected(house, count + 1)
            assert len(house.timers) == expected


async def test_one_message_may_acknowledge_several_that_wait_for_different_answers() -> None:
    world = World()
    wanted = tuple(
        Subscription(str(n), subscribe=Payload(f"+{n}"), acknowledge=wait_for)
        for n, wait_for in ((1, REGEX_ONE), (2, REGEX_TWO), (3, REGEX_TWO))
    )
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, subscriptions=wanted))
        socket = house.dialer.sockets[0]
        socket.push("ok 1, ok 2")
        await advance(house, 11.0)
        assert degradations(world) == [("subscription_unacknowledged", True)]
        assert data_of(world.lifecycle()[-1])["detail"].startswith("3: ")
        socket.push("ok 2", "ok 2")
        await house.settle()
        assert degradations(world)[1:] == [("subscription_unacknowledged", False)]
        assert world.messages() == [b"ok 2"]  # the third one answers nobody
        assert entry.pump.degraded == set()
