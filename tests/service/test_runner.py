"""One connection's life on scripted sockets: every transition, sends, replies, keepalive."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import DOWN, House, World, assert_no_holes, data_of, running_house, spec_of
from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.facts import AttemptFailed, ConnectionDone, RunnerCrashed
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.model import (
    BufferOptions,
    ConnectionId,
    ConnectionSpec,
    FirstDial,
    Kind,
    Status,
)
from websocketmanager.domain.record import Record
from websocketmanager.service.entry import Entry

RETRY = spec_of(first_dial=FirstDial.RETRY)


async def enter(house: House, spec: ConnectionSpec = RETRY, **given: Any) -> Entry:
    """Admits a new connection and waits until it waits."""
    record = Record(
        ConnectionId(house.tools.dice.uuid()),
        spec,
        Status.CONNECTING,
        house.clock.now(),
        house.policy.instance_id,
        incarnation=house.policy.incarnation,
        **given,
    )
    entry = house.registry.make_entry(record, etag=None, stored=False, resumed=False)
    await house.ledger.open(entry.book)
    house.registry.admit(entry)
    await wait_quiet()
    return entry


def status(entry: Entry) -> Status:
    return entry.runner.status


def socket_of(house: House) -> ScriptedSocket:
    return house.dialer.sockets[-1]


# --- transitions ----------------------------------------------------------------------------------


async def test_it_dials_connects_reads_and_publishes() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        socket_of(house).push("one", b"two")
        await house.settle()

        assert world.messages() == [b"one", b"two"]
        assert world.states() == ["connecting", "connected"]
        assert status(entry) is Status.CONNECTED
        stored = world.record(entry.record.id)
        assert stored is not None
        assert (stored.status, stored.session, stored.answered) == (Status.CONNECTED, 1, True)
        connected = data_of(world.lifecycle()[-1])
        assert connected["address"] == "192.0.2.1:443"
        assert (connected["attempt"], connected["downtime_ms"], connected["resumed"]) == (
            1,
            0,
            False,
        )


async def test_a_failed_first_dial_ends_it_when_it_shall() -> None:
    world = World()
    world.dialer.fail()
    async with running_house(world) as house:
        entry = await enter(house, spec_of())
        await house.settle()
        assert entry.runner.end is life.EndReason.FIRST_DIAL_FAILED
        assert entry.runner.tried.is_set()
        assert entry.runner.first_failure is not None
        assert world.states() == ["connecting", "error", "disconnected"]
        assert len(world.dialer.targets) == 1


async def test_a_failed_first_dial_is_tried_again_when_it_shall() -> None:
    world = World()
    world.dialer.fail(times=3)
    async with running_house(world) as house:
        entry = await enter(house)
        assert status(entry) is Status.RECONNECTING
        assert entry.runner.next_attempt_at == pytest.approx(house.clock.now() + 1.0)
        await let_time_pass(house.clock, lambda: entry.runner.status is Status.CONNECTED)
        await house.settle()
        assert world.states() == [
            "connecting",
            *("error", "reconnecting") * 3,
            "connected",
        ]
        assert [data_of(e)["attempt"] for e in world.lifecycle() if "delay_ms" in data_of(e)] == [
            2,
            3,
            4,
        ]
        assert_no_holes(world.lifecycle())
        assert entry.runner.next_attempt_at is None


ENDS = {
    "lost": lambda socket: socket.lose(),
    "closed for a restart": lambda socket: socket.close_from_peer(1012, "restart"),
    "closed in order": lambda socket: socket.close_from_peer(1000),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_a_lost_session_is_followed_by_the_next(end: Any) -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        first = socket_of(house)
        first.push("a", "b")
        await wait_quiet()
        first.push("c")
        end(first)
        await wait_quiet()
        assert status(entry) is Status.RECONNECTING
        assert first.aborted
        await let_time_pass(house.clock, lambda: entry.runner.status is Status.CONNECTED)
        socket_of(house).push("d")
        await house.settle()

        assert world.messages() == [b"a", b"b", b"c", b"d"]
        again = [data_of(e) for e in world.lifecycle() if "delay_ms" in data_of(e)]
        assert [(event["last_sequence"], event["session"]) for event in again] == [(3, 1)]
        last = data_of(world.lifecycle()[-1])
        assert (last["session"], last["resumed"]) == (2, True)
        assert last["downtime_ms"] >= 500
        assert entry.record.session == 2


@pytest.mark.parametrize(
    ("spec", "end", "reason"),
    [
        (spec_of(auto_reconnect=False), "lost", life.EndReason.NOT_RECONNECTING),
        (spec_of(max_attempts=1), "lost", life.EndReason.ATTEMPTS_EXHAUSTED),
        (spec_of(), "forbidden", life.EndReason.FATAL),
    ],
)
async def test_an_end_that_is_final(spec: ConnectionSpec, end: str, reason: life.EndReason) -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house, spec)
        world.dialer.break_down()
        if end == "lost":
            socket_of(house).lose()
        else:
            socket_of(house).close_from_peer(3003)
        await let_time_pass(house.clock, entry.runner.finished.is_set)
        await house.settle()
        assert entry.runner.end is reason
        assert world.states()[-1] == "disconnected"
        last = data_of(world.lifecycle()[-1])
        assert (last["reason"], last["final"]) == (reason.value, True)
        stored = world.record(entry.record.id)
        assert stored is not None
        assert (stored.status, stored.disconnected_at is not None) == (Status.DISCONNECTED, True)
        assert len(house.journal.of(ConnectionDone)) == 1


async def test_attempts_count_on_until_a_session_is_stable() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        for count in range(2, 5):
            socket_of(house).lose()
            await let_time_pass(house.clock, lambda c=count: len(world.dialer.sockets) == c)  # type: ignore[misc] # bound now
        await wait_quiet()
        house.clock.advance(30.0)
        await wait_quiet()
        socket_of(house).lose()
        await house.settle()
        attempts = [data_of(e)["attempt"] for e in world.lifecycle() if "delay_ms" in data_of(e)]
        assert attempts == [1, 2, 3, 1]
        assert entry.runner.dials == 4


# --- stops ----------------------------------------------------------------------------------------


async def test_a_stop_while_dialling_cancels_the_dial() -> None:
    world = World()
    dial = world.dialer.hang()
    async with running_house(world) as house:
        entry = await enter(house)
        entry.runner.stop(life.EndReason.REQUESTED)
        await wait_quiet()
        assert entry.runner.finished.is_set()
        assert dial.cancelled
        assert dial.socket.aborted
        await house.settle()
        assert world.states() == ["connecting", "disconnected"]


async def test_a_socket_that_comes_too_late_is_aborted() -> None:
    world = World()
    dial = world.dialer.hang()
    async with running_house(world) as house:
        entry = await enter(house)
        socket = dial.succeed()
        entry.runner.stop(life.EndReason.REQUESTED)
        await wait_quiet()
        assert entry.runner.finished.is_set()
        assert (socket.aborted, entry.record.session) == (True, 0)
        assert not house.journal.of(RunnerCrashed)


async def test_a_stop_while_waiting_is_at_once() -> None:
    world = World()
    world.dialer.break_down()
    async with running_house(world) as house:
        entry = await enter(house)
        assert house.clock.sleepers
        entry.runner.stop(life.EndReason.REQUESTED)
        await wait_quiet()
        assert entry.runner.finished.is_set()
        assert entry.runner.next_attempt_at is None
        house.clock.advance(100.0)
        await wait_quiet()
        assert len(world.dialer.targets) == 1


async def test_a_stop_while_open_closes_by_handshake() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        socket = socket_of(house)
        socket.push("last")
        entry.runner.stop(life.EndReason.REQUESTED)
        entry.runner.stop(life.EndReason.REQUESTED)
        await wait_quiet()
        assert (entry.runner.finished.is_set(), socket.closes) == (True, [1000])
        await house.settle()
        assert world.messages() == [b"last"]
        assert world.states() == ["connecting", "connected", "disconnected"]
        assert not house.journal.of(AttemptFailed)


async def test_a_peer_that_does_not_close_is_dropped_after_a_grace() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        socket = socket_of(house)
        socket.answers_close = False
        entry.runner.stop(life.EndReason.REQUESTED)
        await wait_quiet()
        assert status(entry) is Status.DISCONNECTED
        house.clock.advance(4.9)
        await wait_quiet()
        assert not entry.runner.finished.is_set()
        house.clock.advance(0.1)
        await wait_quiet()
        assert entry.runner.finished.is_set()
        assert socket.aborted


async def test_a_shutdown_says_goodbye_to_the_peer_alone() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        entry.runner.stop(life.EndReason.SHUTDOWN, close_code=1001)
        await house.settle()
        assert socket_of(house).closes == [1001]
        assert world.states() == ["connecting", "connected"]
        stored = world.record(entry.record.id)
        assert stored is not None
        assert stored.status is Status.CONNECTED


async def test_a_stop_before_the_start() -> None:
    world = World()
    async with running_house(world) as house:
        record = Record(ConnectionId("c"), RETRY, Status.CONNECTING, 0.0, house.policy.instance_id)
        entry = house.registry.make_entry(record, etag=None, stored=False, resumed=False)
        entry.runner.stop(life.EndReason.SHUTDOWN)
        house.registry.admit(entry)
        await wait_quiet()
        assert entry.runner.finished.is_set()
        assert entry.runner.tried.is_set()
        assert world.dialer.targets == []


# --- a full buffer --------------------------------------------------------------------------------


SMALL = spec_of(first_dial=FirstDial.RETRY, buffer=BufferOptions(max_messages=4))


async def test_a_full_buffer_blocks_the_reader_and_nothing_else() -> None:
    world = World()
    async with running_house(world, ping_interval_seconds=10.0) as house:
        entry = await enter(house, SMALL)
        await house.settle()
        world.sink_faults.break_all(DOWN)
        socket = socket_of(house)
        socket.push(*[str(number) for number in range(10)])
        await wait_quiet()
        assert entry.pump.sequence == 4
        assert entry.pump.degraded == {"publishing_behind"}
        await entry.runner.sender.send(b"x", Kind.BINARY, timeout_seconds=1.0)
        house.clock.advance(10.0)
        await wait_quiet()
        assert socket.pings == 1
        world.sink_faults.heal()
        await house.settle()
        assert world.messages() == [str(number).encode() for number in range(10)]
        degraded = [data_of(event) for event in world.lifecycle() if "active" in data_of(event)]
        # Full three times over; told once, and taken back once it stays away.
        assert [event["active"] for event in degraded] == [True]
        house.clock.advance(5.0)
        await house.settle()
        degraded = [data_of(event) for event in world.lifecycle() if "active" in data_of(event)]
        assert [event["active"] for event in degraded] == [True, False]


async def test_a_connection_with_a_full_buffer_can_be_closed() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house, SMALL)
        await house.settle()
        world.sink_faults.break_all(DOWN)
        socket = socket_of(house)
        socket.push(*[str(number) for number in range(10)])
        await wait_quiet()
        entry.runner.stop(life.EndReason.REQUESTED)
        await let_time_pass(house.clock, entry.runner.finished.is_set, at_most=6.0)
        assert socket.closes == [1000]
        world.sink_faults.heal()
        await house.settle()
        assert world.messages() == [b"0", b"1", b"2", b"3"]


# --- keepalive ------------------------------------------------------------------------------------


async def test_a_peer_that_answers_pings_lives() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        for _ in range(5):
            house.clock.advance(20.0)
            await wait_quiet()
        assert socket_of(house).pings == 5
        assert status(entry) is Status.CONNECTED


async def test_a_silent_peer_is_lost() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        socket = socket_of(house)
        socket.answers_pings = False
        house.clock.advance(20.0)
        await wait_quiet()
        assert status(entry) is Status.CONNECTED
        house.clock.advance(20.0)
        await wait_quiet()
        assert status(entry) is Status.RECONNECTING
        assert socket.aborted
        assert entry.record.cause is not None
        assert entry.record.cause.error_type == FailureKind.PING_TIMEOUT


async def test_a_message_is_a_sign_of_life() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        socket = socket_of(house)
        socket.answers_pings = False
        for _ in range(4):
            house.clock.advance(20.0)
            await wait_quiet()
            socket.push("tick")
            await wait_quiet()
        assert status(entry) is Status.CONNECTED


async def test_silence_proves_nothing_while_the_reader_waits() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house, SMALL)
        await house.settle()
        world.sink_faults.break_all(DOWN)
        socket = socket_of(house)
        socket.answers_pings = False
        socket.push(*["x"] * 4)
        await wait_quiet()
        for _ in range(3):
            house.clock.advance(20.0)
            await wait_quiet()
        assert status(entry) is Status.CONNECTED
        assert socket.pings == 2
        # The reader comes free within the ping's time; nothing could be read before.
        world.sink_faults.heal()
        house.clock.advance(2.0)
        await wait_quiet()
        assert not entry.pump.full
        house.clock.advance(18.0)
        await wait_quiet()
        assert status(entry) is Status.CONNECTED
        for _ in range(2):
            house.clock.advance(20.0)
            await wait_quiet()
        assert status(entry) is Status.RECONNECTING


async def test_no_pings_where_none_are_wanted() -> None:
    world = World()
    async with running_house(world, ping_interval_seconds=0.0) as house:
        await enter(house)
        house.clock.advance(1000.0)
        await wait_quiet()
        assert socket_of(house).pings == 0


# --- our own faults -------------------------------------------------------------------------------


async def test_a_dialer_that_crashes_is_a_failed_dial() -> None:
    world = World()
    world.dialer.crash(ValueError("ours"))
    async with running_house(world) as house:
        entry = await enter(house)
        assert house.journal.of(RunnerCrashed)
        assert entry.runner.first_failure is not None
        assert entry.runner.first_failure.kind is FailureKind.INTERNAL
        assert status(entry) is Status.RECONNECTING


async def test_an_illegal_event_is_told_and_changes_nothing() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        entry.runner.post(life.Started())
        await wait_quiet()
        assert len(house.journal.of(RunnerCrashed)) == 1
        assert status(entry) is Status.CONNECTED


async def test_a_stale_event_changes_nothing() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await enter(house)
        socket_of(house).lose()
        await let_time_pass(house.clock, lambda: len(world.dialer.sockets) == 2)
        entry.runner.post(life.TimerFired(1, life.Timer.RETRY))
        await wait_quiet()
        assert status(entry) is Status.CONNECTED


async def test_a_crashed_runner_says_in_the_stream_that_its_session_is_over() -> None:
    class Crashing(ScriptedSocket):
        def send_ping(self) -> None:
            raise ValueError("ours")

    world = World()
    async with running_house(world) as house:
        dial = world.dialer.hang()
        dial.socket = Crashing()
        dial.succeed()
        # Its pings wait for their turn in a task, whose fault is the runner's.
        spec = spec_of(first_dial=FirstDial.RETRY, markers=True, send_spacing_ms=1)
        entry = await enter(house, spec)
        await wait_quiet()
        house.clock.advance(20.0)
        await wait_quiet()
        assert house.journal.of(RunnerCrashed)
        assert dial.socket.aborted
        assert entry.status is Status.RECONNECTING
        await let_time_pass(house.clock, lambda: len(world.dialer.sockets) == 2)
        await house.settle()
        markers = [
            event.metadata["ce-type"].rpartition(".")[2]
            for event in world.sink.events
            if "stream" in event.metadata["ce-type"]
        ]
        assert markers == ["started", "ended", "gap", "started"]
        assert entry.runner.dials == 2
        assert_no_holes(world.lifecycle())


async def test_an_idle_connection_has_no_task_beside_its_reader() -> None:
    async with running_house(World()) as house:
        before = len(asyncio.all_tasks())
        await enter(house)
        await enter(house)
        await house.settle()
        assert len(asyncio.all_tasks()) == before + 2
