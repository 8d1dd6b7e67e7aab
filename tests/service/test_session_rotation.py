"""Rotation: a session is replaced before the server ends it, by one that is proven to deliver."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.kit.quiet import wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import World, assert_no_holes, data_of, running_house, spec_of
from tests.service.sessions import (
    LOGIN,
    advance,
    degradations,
    entered,
    errors,
    login_spec,
    reconnected,
    said,
    with_key,
)
from websocketmanager.domain.change import ConnectionChange, SubscriptionsChange
from websocketmanager.domain.envelope import Event
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.model import FirstDial, Kind, Status
from websocketmanager.domain.options import (
    Liveness,
    Match,
    Opening,
    Overlap,
    Pattern,
    Payload,
    QuietWindow,
    RefusalRule,
    Rotation,
    Subscription,
)
from websocketmanager.domain.retry import Advice
from websocketmanager.errors import NotConnected, RotationFailed

NOTICE = Pattern(Match.POINTER, pointer="/event", value='"serverShutdown"')
BY_NOTICE = Rotation(notices=(NOTICE,))
SHUTDOWN = '{"event":"serverShutdown"}'


def markers(world: World) -> list[tuple[str, dict[str, Any]]]:
    """Returns the markers on the topic, in order."""
    kinds = [(event, event.metadata["ce-type"].rpartition(".")[2]) for event in stream(world)]
    return [(kind, data_of(event)) for event, kind in kinds if kind != "message"]


def stream(world: World) -> list[Event]:
    return [event for event in world.sink.events if event.route.topic.endswith("ticks")]


def delivered(world: World) -> list[tuple[int, int, bytes]]:
    """Returns session, sequence and data of what was published."""
    return [
        (int(e.metadata["ce-session"]), int(e.metadata["ce-sequence"]), e.data)
        for e in stream(world)
        if e.metadata["ce-type"].endswith(".message")
    ]


async def test_a_session_is_replaced_at_its_age_without_an_error() -> None:
    world = World()
    spec = spec_of(rotation=Rotation(max_age_ms=60_000, jitter_ms=20_000), markers=True)
    async with running_house(world) as house:
        view_id, first = await house.connected(spec)
        first.push(b"one")
        await advance(house, 49.0, step=1.0)
        assert len(house.dialer.sockets) == 1
        await advance(house, 2.0)  # 60 s less half of the jitter
        second = house.dialer.sockets[1]
        assert first.closes == []  # it goes on until the other one delivers
        first.push(b"two")
        await wait_quiet()
        second.push(b"two", b"three")
        await wait_quiet()
        assert first.closes == [1000]
        await house.settle()
        assert delivered(world) == [
            (1, 1, b"one"),
            (1, 2, b"two"),
            (2, 1, b"two"),
            (2, 2, b"three"),
        ]
        assert [kind for kind, _ in markers(world)] == ["started", "ended", "started"]
        assert markers(world)[1][1]["cause"] == "rotated"
        assert errors(world) == []
        assert world.states() == ["connecting", "connected", "connected"]
        last = data_of(world.lifecycle()[-1])
        assert (last["reason"], last["session"], last["downtime_ms"]) == ("rotated", 2, 0)
        assert house.supervisor.get(view_id).view.status is Status.CONNECTED
        assert_no_holes(world.lifecycle())
        # And the new one grows old as well.
        await advance(house, 51.0, step=1.0)
        assert len(house.dialer.sockets) == 3


@pytest.mark.parametrize("notices", [1, 3])
async def test_a_notice_is_delivered_and_the_session_replaced_once(notices: int) -> None:
    world = World()
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=BY_NOTICE))
        first.push('{"event":"trade"}')
        await wait_quiet()
        assert len(house.dialer.sockets) == 1
        for _ in range(notices):
            first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        second.push(b"new")
        await house.settle()
        assert first.closes == [1000]
        assert world.messages()[:2] == [b'{"event":"trade"}', SHUTDOWN.encode()]
        assert world.messages()[-1] == b"new"
        assert len(house.dialer.sockets) == 2


async def test_a_notice_to_the_successor_replaces_that_one_as_well() -> None:
    world = World()
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=BY_NOTICE))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        second.push(SHUTDOWN)
        third = await reconnected(house, 3)
        third.push(b"here")
        await house.settle()
        assert (first.closes, second.closes, third.closes) == ([1000], [1000], [])


def ack(number: int) -> Pattern:
    return Pattern(Match.POINTER, pointer="/ok", value=str(number))


async def test_the_old_session_goes_on_until_dialogue_subscriptions_and_data_are_there() -> None:
    world = with_key()
    wanted = tuple(
        Subscription(str(n), subscribe=Payload(f"+{n}"), acknowledge=ack(n)) for n in (1, 2)
    )
    spec = login_spec(rotation=BY_NOTICE, subscriptions=wanted)
    async with running_house(world) as house:
        await entered(house, spec)
        first = house.dialer.sockets[0]
        first.push('{"login":"ok"}')
        await wait_quiet()
        first.push('{"ok":1}', '{"ok":2}', "a", SHUTDOWN)
        second = await reconnected(house, 2)
        assert (len(said(second)), first.closes) == (1, [])
        second.push('{"login":"ok"}')
        await wait_quiet()
        assert said(second)[1:] == ["+1", "+2"]
        second.push("data", '{"ok":1}')
        await wait_quiet()
        assert first.closes == []  # one acknowledgement lacks
        first.push("b")
        await wait_quiet()
        second.push('{"ok":2}')
        await house.settle()
        assert first.closes == [1000]
        assert world.messages() == [b"a", SHUTDOWN.encode(), b"b", b"data"]


async def test_an_acknowledgement_that_is_given_up_does_not_keep_a_successor_waiting() -> None:
    world = World()
    wanted = tuple(
        Subscription(str(n), subscribe=Payload(f"+{n}"), acknowledge=ack(n)) for n in (1, 2)
    )
    spec = spec_of(rotation=BY_NOTICE, subscriptions=wanted, send_spacing_ms=5000)
    async with running_house(world) as house:
        _, first = await house.connected(spec)
        await advance(house, 6.0)
        first.push('{"ok":1}', '{"ok":2}', SHUTDOWN)
        second = await reconnected(house, 2)
        await advance(house, 6.0)
        assert said(second) == ["+1", "+2"]
        second.push("data")
        await advance(house, 5.0)  # the first one's is overdue, the second one's not yet
        assert first.closes == []
        second.push('{"ok":2}')
        await wait_quiet()
        assert first.closes == [1000]


async def test_what_the_old_session_still_has_comes_first() -> None:
    world = World()
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=BY_NOTICE, markers=True))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        first.answers_close = False
        second.push("n1")
        await wait_quiet()
        assert first.closes == [1000]
        first.push("o1")
        second.push("n2")
        await wait_quiet()
        first.push("o2")
        await wait_quiet()
        assert world.messages()[-1] == b"o2"
        first.close_from_peer(1000)
        await house.settle()
        assert [data for _, _, data in delivered(world)][1:] == [b"o1", b"o2", b"n1", b"n2"]
        assert "gap" not in [kind for kind, _ in markers(world)]


async def test_an_old_session_that_is_lost_while_it_closes_leaves_a_gap() -> None:
    world = World()
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=BY_NOTICE, markers=True))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        first.answers_close = False
        second.push("n1")
        await wait_quiet()
        first.lose()
        await house.settle()
        assert [kind for kind, _ in markers(world)] == ["started", "ended", "gap", "started"]
        gap = markers(world)[2][1]
        assert (gap["cause"], gap["from_sequence"], gap["lost"]) == ("rotated", 1, None)


@pytest.mark.parametrize("end", ["lose", "refuse"])
async def test_a_successor_that_fails_changes_nothing_and_is_tried_again(end: str) -> None:
    world = World()
    refusal = RefusalRule(ack(406), Advice.LATER, name="limit")
    rotation = replace(BY_NOTICE, overlap=Overlap.CONTENT)
    spec = spec_of(rotation=rotation, opening=Opening(refusals=(refusal,)), markers=True)
    async with running_house(world) as house:
        view_id, first = await house.connected(spec)
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        if end == "lose":
            second.lose()
        else:
            second.push('{"ok":406}')
        await wait_quiet()
        first.push("still here")
        await house.settle()
        assert first.closes == []
        assert second.aborted
        assert all(
            one.intake._noted is None
            for one, _ in house.registry.entries[view_id].runner._executor._sessions
        )
        assert world.messages()[-1] == b"still here"
        assert degradations(world) == [("rotation_failed", True)]
        assert "rotation_failed" in house.supervisor.get(view_id).view.degraded
        assert world.states() == ["connecting", "connected", "degraded"]
        third = await reconnected(house, 3)
        third.push("new")
        await house.settle()
        assert degradations(world)[-1] == ("rotation_failed", False)
        assert first.closes == [1000]
        assert [kind for kind, _ in markers(world)] == ["started", "ended", "started"]


async def test_a_successor_without_data_is_given_up() -> None:
    world = World()
    rotation = replace(BY_NOTICE, data_timeout_ms=4000)
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=rotation))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        await advance(house, 3.8)
        assert degradations(world) == []
        await advance(house, 0.4)
        assert second.aborted
        assert first.closes == []
        assert degradations(world) == [("rotation_failed", True)]


async def test_data_that_comes_before_the_last_subscription_proves_nothing() -> None:
    world = World()
    wanted = tuple(Subscription(str(n), subscribe=Payload(f"+{n}")) for n in (1, 2))
    spec = spec_of(rotation=BY_NOTICE, subscriptions=wanted, send_spacing_ms=1000)
    async with running_house(world) as house:
        _, first = await house.connected(spec)
        await advance(house, 1.1)
        first.push(SHUTDOWN)
        second = await reconnected(house, 2, step=0.0)
        second.push("data of 1")
        await wait_quiet()
        assert (said(second), first.closes) == (["+1"], [])
        await advance(house, 1.1)
        assert (said(second), first.closes) == (["+1", "+2"], [])
        second.push("data")
        await wait_quiet()
        assert first.closes == [1000]


async def test_data_is_what_the_pattern_says() -> None:
    world = World()
    data = Pattern(Match.POINTER, pointer="/event", value='"trade"')
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=BY_NOTICE, liveness=Liveness(data=data)))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        second.push('{"event":"hello"}')
        await wait_quiet()
        assert first.closes == []
        second.push('{"event":"trade"}')
        await wait_quiet()
        assert first.closes == [1000]


async def test_no_data_is_needed_while_none_is_expected() -> None:
    world = World()
    always = (QuietWindow(tuple(range(7)), "00:00", "00:00"),)
    async with running_house(world) as house:
        _, first = await house.connected(
            spec_of(rotation=BY_NOTICE, liveness=Liveness(quiet=always))
        )
        first.push(SHUTDOWN)
        await reconnected(house, 2)
        assert first.closes == [1000]


async def test_a_session_that_is_lost_meanwhile_is_followed_by_the_one_being_made() -> None:
    world = with_key()
    async with running_house(world) as house:
        await entered(house, login_spec(rotation=BY_NOTICE, markers=True))
        first = house.dialer.sockets[0]
        first.push('{"login":"ok"}', SHUTDOWN)
        second = await reconnected(house, 2)
        first.close_from_peer(1001)
        await wait_quiet()
        assert len(house.dialer.sockets) == 2
        second.push('{"login":"ok"}')  # that is enough: nobody else delivers
        await house.settle()
        assert world.states()[-2:] == ["reconnecting", "connected"]
        assert [kind for kind, _ in markers(world)] == ["started", "ended", "gap", "started"]
        assert len(house.dialer.sockets) == 2
        assert_no_holes(world.lifecycle())


async def test_a_successor_that_dies_during_the_hand_over_delivers_what_it_has() -> None:
    world = World()
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=BY_NOTICE, markers=True))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        first.answers_close = False
        second.push("n1")
        await wait_quiet()
        second.push("n2")
        await wait_quiet()
        second.lose()
        await wait_quiet()
        first.push("o1")
        await wait_quiet()
        first.close_from_peer(1000)
        third = await reconnected(house, 3)
        third.push("m1")
        await house.settle()
        assert [data for _, _, data in delivered(world)][1:] == [b"o1", b"n1", b"n2", b"m1"]
        assert [kind for kind, _ in markers(world)] == [
            "started", "ended", "started", "ended", "gap", "started",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("overlap", "old", "new", "published"),
    [
        (Overlap.CUT, ["a", "b"], ["a", "b", "c"], ["a", "b", "a", "b", "c"]),
        (Overlap.CONTENT, ["a", "b"], ["a", "b", "c"], ["a", "b", "c"]),
        (Overlap.CONTENT, ["a", "a"], ["a", "a", "a", "c"], ["a", "a", "a", "c"]),
        (Overlap.POINTER, ['{"t":1}', '{"t":2,"x":1}'], ['{"t":2}', '{"t":3}'],
         ['{"t":1}', '{"t":2,"x":1}', '{"t":3}']),
        (Overlap.POINTER, ['{"x":1}'], ['{"x":1}', "no json"], ['{"x":1}', '{"x":1}', "no json"]),
    ],
)  # fmt: skip
async def test_the_overlap_is_compared_as_chosen(
    overlap: Overlap, old: list[str], new: list[str], published: list[str]
) -> None:
    world = World()
    rotation = replace(
        BY_NOTICE, overlap=overlap, overlap_pointer="/t" if overlap is Overlap.POINTER else ""
    )
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=rotation))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        first.push(*old)
        await wait_quiet()
        second.push(*new)
        await house.settle()
        messages = delivered(world)[1:]
        assert [data.decode() for _, _, data in messages] == published
        # A repetition that is dropped leaves no hole in the numbers.
        numbers = [sequence for session, sequence, _ in messages if session == 2]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_what_comes_later_than_the_window_is_no_repetition() -> None:
    world = World()
    rotation = replace(BY_NOTICE, overlap=Overlap.CONTENT, overlap_window_ms=2000)
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=rotation))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        first.push("a", "b")
        await wait_quiet()
        second.push("x")
        await wait_quiet()
        await advance(house, 1.9)
        second.push("a")
        await wait_quiet()
        await advance(house, 0.2)
        second.push("b")
        await house.settle()
        assert world.messages()[1:] == [b"a", b"b", b"x", b"b"]


async def test_an_exclusive_connection_breaks_before_it_makes() -> None:
    world = World()
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=BY_NOTICE, exclusive="key", markers=True))
        first.push(SHUTDOWN)
        await wait_quiet()
        assert (first.closes, len(house.dialer.sockets)) == ([1000], 1)
        second = await reconnected(house, 2)
        second.push("new")
        await house.settle()
        assert "reconnecting" in world.states()
        assert [kind for kind, _ in markers(world)] == ["started", "ended", "gap", "started"]


async def test_a_caller_rotates_and_learns_how_it_went() -> None:
    world = World()
    async with running_house(world) as house:
        view_id, first = await house.connected(spec_of())
        rotating = asyncio.create_task(house.supervisor.rotate(view_id))
        second = await reconnected(house, 2)
        assert not rotating.done()
        second.push("new")
        await wait_quiet()
        assert (await rotating).session == 2
        house.dialer.fail(FailureKind.CONNECT_REFUSED, times=1)
        with pytest.raises(RotationFailed, match=r"connect_refused: .*; the old session goes on"):
            await house.supervisor.rotate(view_id)
        assert second.closes == []
        # A failed one does not keep a caller from the next, whatever its timer says.
        again = asyncio.create_task(house.supervisor.rotate(view_id))
        third = await reconnected(house, 3, step=0.0)
        third.push("newer")
        await wait_quiet()
        assert (await again).session == 3
        assert first.aborted
        third.lose()
        await wait_quiet()
        with pytest.raises(NotConnected):
            await house.supervisor.rotate(view_id)


async def test_a_rotation_of_an_exclusive_connection_answers_when_it_is_back() -> None:
    world = World()
    async with running_house(world) as house:
        view_id, _ = await house.connected(spec_of(exclusive="key"))
        rotating = asyncio.create_task(house.supervisor.rotate(view_id))
        await reconnected(house, 2)
        assert (await rotating).session == 2


async def test_a_rotation_of_an_exclusive_connection_that_fails_says_that_it_reconnects() -> None:
    world = World()
    async with running_house(world) as house:
        view_id, _ = await house.connected(spec_of(exclusive="key"))
        house.dialer.fail(FailureKind.CONNECT_REFUSED, times=1)
        rotating = asyncio.create_task(house.supervisor.rotate(view_id))
        await advance(house, 1.5)
        with pytest.raises(RotationFailed, match="it reconnects"):
            await rotating


async def test_a_reply_may_come_while_the_old_session_closes() -> None:
    world = World()
    async with running_house(world) as house:
        view_id, first = await house.connected(spec_of(rotation=BY_NOTICE))
        asking = asyncio.create_task(house.supervisor.send(view_id, b"q", Kind.TEXT, 30.0))
        await wait_quiet()
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        first.answers_close = False
        second.push("n1")
        await wait_quiet()
        later = asyncio.create_task(house.supervisor.send(view_id, b"r", Kind.TEXT, 30.0))
        await wait_quiet()
        assert len(second.sent) == 1  # what is asked now goes to the new one
        first.push(first.sent[0].data[:16] + b"answer")
        await wait_quiet()
        assert await asking == b"answer"
        first.close_from_peer(1000)
        await wait_quiet()
        assert not later.done()
        second.push(second.sent[0].data[:16] + b"another")
        await wait_quiet()
        assert await later == b"another"


@pytest.mark.parametrize("handing_over", [False, True])
async def test_a_disconnect_during_a_rotation_ends_both(handing_over: bool) -> None:
    world = World()
    async with running_house(world) as house:
        view_id, first = await house.connected(spec_of(rotation=BY_NOTICE))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        if handing_over:
            first.answers_close = False
            second.push("n1")
            await wait_quiet()
            first.answers_close = True
        ending = asyncio.create_task(house.supervisor.disconnect(view_id))
        await advance(house, 6.0)
        await ending
        assert second.aborted
        assert first.aborted
        assert world.states()[-1] == "disconnected"
        assert house.timers._heap == [] or len(house.timers) == 0


async def test_a_successor_that_is_flooded_before_it_is_ready_is_given_up() -> None:
    world = World()
    data = Pattern(Match.POINTER, pointer="/event", value='"trade"')
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=BY_NOTICE, liveness=Liveness(data=data)))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        second.push(*["noise"] * 10_001)
        await house.settle()
        assert second.aborted
        assert first.closes == []


async def test_a_successor_that_is_ready_waits_with_what_it_cannot_hold() -> None:
    world = World()
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=BY_NOTICE))
        first.push(SHUTDOWN)
        second = await reconnected(house, 2)
        first.answers_close = False
        second.push(*[f"n{number}" for number in range(12_000)])
        await wait_quiet()
        before = second.unread
        second.push("one more")
        await wait_quiet()
        assert (before, second.unread) == (2000, 2001), "it holds so many and reads no further"
        first.close_from_peer(1000)
        await house.settle()
        numbers = [json.loads(data.decode()[1:]) for _, _, data in delivered(world)[1:-1]]
        assert numbers == list(range(12_000))


async def test_the_desired_set_may_change_during_a_rotation() -> None:
    world = with_key()
    wanted = (Subscription("1", subscribe=Payload("+1"), unsubscribe=Payload("-1")),)
    added = (*wanted, Subscription("2", subscribe=Payload("+2")))
    async with running_house(world) as house:
        entry = await entered(house, login_spec(LOGIN, rotation=BY_NOTICE, subscriptions=wanted))
        first = house.dialer.sockets[0]
        first.push('{"login":"ok"}', SHUTDOWN)
        second = await reconnected(house, 2)
        record = entry.record
        options = replace(record.spec.options, subscriptions=added)
        entry.book.record = replace(record, spec=replace(record.spec, options=options))
        entry.runner.change_subscriptions()
        await wait_quiet()
        assert said(first)[1:] == ["+1", "+2"]
        second.push('{"login":"ok"}')
        await wait_quiet()
        assert said(second)[1:] == ["+1", "+2"]


async def test_a_socket_is_never_left_behind() -> None:
    world = World()
    async with running_house(world) as house:
        view_id, first = await house.connected(spec_of())
        sockets: list[ScriptedSocket] = [first]
        for number in range(2, 6):
            rotating = asyncio.create_task(house.supervisor.rotate(view_id))
            socket = await reconnected(house, number)
            socket.push(f"{number}")
            await wait_quiet()
            await rotating
            sockets.append(socket)
        assert [socket.aborted for socket in sockets] == [True] * 4 + [False]
        runner = house.registry.entries[view_id].runner
        assert len(runner._executor._sessions) == 1


async def test_a_session_that_is_given_up_is_dropped_also_after_a_dial_that_failed() -> None:
    world = World()
    world.dialer.fail(FailureKind.CONNECT_REFUSED)
    liveness = Liveness(ping_interval_ms=1000, ping_timeout_ms=1000)
    spec = spec_of(first_dial=FirstDial.RETRY, exclusive="key", liveness=liveness)
    async with running_house(world) as house:
        await house.supervisor.connect(spec)
        first = await reconnected(house, 1)
        first.answers_pings = False
        await advance(house, 2.5)
        assert first.aborted  # else it goes on delivering, and keeps the key for ever
        second = await reconnected(house, 2)
        second.push(b"new")
        await house.settle()
        assert world.messages() == [b"new"]


async def test_the_reply_to_an_unsubscribe_is_no_data() -> None:
    world = World()
    wanted = tuple(Subscription(str(n), Payload(f"+{n}"), Payload(f"-{n}"), ack(n)) for n in (1, 2))
    async with running_house(world) as house:
        view_id, first = await house.connected(spec_of(rotation=BY_NOTICE, subscriptions=wanted))
        first.push('{"ok":1}', '{"ok":2}', '{"event":"serverShutdown"}')
        second = await reconnected(house, 2)
        second.push('{"ok":1}', '{"ok":2}')
        await advance(house, 0.2)
        change = SubscriptionsChange(remove=("2",))
        await house.supervisor.update(ConnectionChange(view_id, subscriptions=change))
        await advance(house, 0.2)
        assert said(second)[-1] == "-2"
        second.push('{"ok":2}')  # the answer to the unsubscribe looks as that to the subscribe
        await house.settle()
        assert first.closes == []  # no data came yet
        second.push("data")
        await house.settle()
        assert first.closes == [1000]
        assert b'{"ok":2}' not in world.messages()


async def test_a_gap_reaches_to_where_all_feeds_are_there_again() -> None:
    world = World()
    wanted = tuple(Subscription(str(n), Payload(f"+{n}"), acknowledge=ack(n)) for n in (1, 2))
    spec = spec_of(subscriptions=wanted, send_spacing_ms=1000, markers=True)
    async with running_house(world) as house:
        _, first = await house.connected(spec)
        await advance(house, 1.1)
        first.push('{"ok":1}', "a", '{"ok":2}', "b")
        await wait_quiet()
        first.lose()
        second = await reconnected(house, 2, step=0.1)
        second.push('{"ok":1}', "c")
        await advance(house, 1.1)
        second.push("d", '{"ok":2}', "e")
        await house.settle()
        told = [
            (kind, facts.get("cause"), facts.get("to_sequence")) for kind, facts in markers(world)
        ]
        assert told == [
            ("started", None, None),
            ("ended", "connection_lost", None),
            ("gap", "connection_lost", 1),
            ("started", None, None),
            ("gap", "subscribing", 3),
        ]
        gap = markers(world)[-1][1]
        assert (gap["from_session"], gap["from_sequence"], gap["session"]) == (1, 2, 2)
        # It stands where it says that it ends.
        kinds = [event.metadata["ce-type"].rpartition(".")[2] for event in stream(world)]
        assert kinds[-4:] == ["message", "message", "gap", "message"]
