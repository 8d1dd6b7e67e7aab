"""The lifecycle table: every pair, the order of obligations, and any sequence of events."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.lifecycle import (
    AbandonDial,
    Abort,
    Announce,
    Close,
    Degrade,
    Dial,
    DialFailed,
    Dialled,
    DialSuccessor,
    EndReason,
    EndSession,
    EventName,
    Finish,
    IllegalEvent,
    Lost,
    Machine,
    OpenSession,
    PeerClosed,
    Persist,
    Policy,
    Promote,
    Retire,
    RotationAsked,
    Started,
    StartTimer,
    State,
    StopAsked,
    SuccessorFailed,
    SuccessorReady,
    Timer,
    TimerFired,
    step,
)
from websocketmanager.domain.model import FirstDial, Status
from websocketmanager.domain.retry import BackoffPolicy

BACKOFF = BackoffPolicy(base_seconds=1.0, max_seconds=8.0, stable_after_seconds=30.0)
POLICY = Policy(
    auto_reconnect=True, first_dial=FirstDial.RETRY, backoff=BACKOFF, close_grace_seconds=5.0
)
REFUSED = Failure(FailureKind.CONNECT_REFUSED, "refused")
LOST = Failure(FailureKind.CONNECTION_LOST, "reset")
CLOSED = Failure(FailureKind.PEER_CLOSED, "restart", close_code=1012, close_reason="restart")
ORDERLY = Failure(FailureKind.PEER_CLOSED, "going away", close_code=1001)
ROTATED = Failure(FailureKind.ROTATED, "replaced", close_code=1000)
FORBIDDEN = Failure(FailureKind.HANDSHAKE_REJECTED, "no", http_status=403)

OPEN = Machine(State.OPEN, generation=1, attempt=0, ever_open=True)
DIALING = Machine(State.DIALING, generation=1, attempt=1)
ROTATING = Machine(State.ROTATING, generation=1, successor=2, last_generation=2, ever_open=True)
HANDING_OVER = replace(ROTATING, state=State.HANDING_OVER)
WAITING = Machine(State.WAITING, generation=1, attempt=1, ever_open=True)
CLOSING = Machine(State.CLOSING, generation=1, attempt=0, ever_open=True, end=EndReason.REQUESTED)
DONE = Machine(State.DONE, generation=1, attempt=0, ever_open=True, end=EndReason.REQUESTED)

MACHINES = {
    machine.state: machine
    for machine in (Machine(), DIALING, OPEN, ROTATING, HANDING_OVER, WAITING, CLOSING, DONE)
}


TIMERS = {
    State.OPEN: Timer.STABLE,
    State.ROTATING: Timer.STABLE,
    State.HANDING_OVER: Timer.STABLE,
    State.CLOSING: Timer.GRACE,
}


def event_for(kind: type[life.Event], generation: int, state: State) -> life.Event:
    successor = MACHINES[state].successor or generation
    made: dict[type[life.Event], life.Event] = {
        Started: Started(),
        StopAsked: StopAsked(EndReason.REQUESTED),
        TimerFired: TimerFired(generation, TIMERS.get(state, Timer.RETRY)),
        Dialled: Dialled(generation),
        DialFailed: DialFailed(generation, REFUSED),
        Lost: Lost(generation, LOST),
        PeerClosed: PeerClosed(generation, CLOSED),
        RotationAsked: RotationAsked(generation, "for a test"),
        SuccessorReady: SuccessorReady(successor),
        SuccessorFailed: SuccessorFailed(successor, REFUSED),
    }
    return made[kind]


@pytest.mark.parametrize(("state", "kind"), life.TABLE)
def test_every_cell_does_what_it_says(state: State, kind: type[life.Event]) -> None:
    machine = MACHINES[state]
    if machine.status is Status.CONNECTED and kind is TimerFired:
        machine = replace(machine, attempt=3)
    event = event_for(kind, machine.generation, state)
    rule = life.TABLE[state, kind]
    if rule is life.ILLEGAL:
        with pytest.raises(IllegalEvent, match=f"{kind.__name__} in state {state}"):
            step(machine, event, POLICY, dice=0.5)
        return
    following, commands = step(machine, event, POLICY, dice=0.5)
    if rule is life.IGNORED:
        assert (following, commands) == (machine, ())
    else:
        assert commands or following != machine
        if "by c" not in rule.text:
            promised = set(re.findall(r"\b[A-Z][A-Za-z]+", rule.text)) - {"StartTimer"}
            assert promised <= {type(command).__name__ for command in commands}


def test_the_table_is_complete() -> None:
    kinds = life.Event.__args__
    assert set(life.TABLE) == {(state, kind) for state in State for kind in kinds}


def test_first_dial_announces_before_it_dials() -> None:
    machine, commands = step(Machine(), Started(), POLICY, dice=0.0)
    assert commands == (
        Persist(Status.CONNECTING),
        Announce(EventName.CONNECTING, attempt=1),
        Dial(1, 1),
    )
    assert (machine.state, machine.status) == (State.DIALING, Status.CONNECTING)


def test_a_recovered_connection_reconnects() -> None:
    machine, commands = step(Machine(), Started(resumed=True), POLICY, dice=0.0)
    assert commands[1] == Announce(EventName.RECONNECTING, attempt=1, reason="recovered")
    assert machine.status is Status.RECONNECTING


def test_open_numbers_the_session_before_the_record_and_the_record_before_the_event() -> None:
    machine, commands = step(DIALING, Dialled(1), POLICY, dice=0.0)
    assert commands == (
        OpenSession(1),
        Persist(Status.CONNECTED),
        Announce(EventName.CONNECTED, attempt=1, resumed=False),
        StartTimer(1, Timer.STABLE, 30.0),
    )
    assert machine.status is Status.CONNECTED


def test_loss_announces_error_before_reconnecting() -> None:
    machine, commands = step(OPEN, Lost(1, LOST), POLICY, dice=0.5)
    assert commands == (
        EndSession(1, LOST),
        Persist(Status.RECONNECTING, life.cause_of(LOST)),
        Announce(EventName.ERROR, failure=LOST),
        Announce(
            EventName.RECONNECTING,
            attempt=1,
            delay_seconds=0.5,
            failure=LOST,
            reason="connection_lost",
        ),
        StartTimer(1, Timer.RETRY, 0.5),
    )
    assert machine.status is Status.RECONNECTING


def test_an_orderly_close_is_no_error() -> None:
    _, commands = step(OPEN, PeerClosed(1, ORDERLY), POLICY, dice=0.5)
    assert [c.name for c in commands if isinstance(c, Announce)] == [EventName.RECONNECTING]


def test_retry_dials_as_a_new_generation() -> None:
    machine, commands = step(WAITING, TimerFired(1, Timer.RETRY), POLICY, dice=0.5)
    assert commands == (Dial(2, 1),)
    assert machine.generation == 2


@pytest.mark.parametrize("timer", [Timer.STABLE, Timer.GRACE])
def test_other_timers_mean_nothing_while_waiting(timer: Timer) -> None:
    assert step(WAITING, TimerFired(1, timer), POLICY, dice=0.5) == (WAITING, ())


def test_other_timers_mean_nothing_while_closing() -> None:
    assert step(CLOSING, TimerFired(1, Timer.STABLE), POLICY, dice=0.5) == (CLOSING, ())


def test_backoff_grows_while_sessions_die_young_and_starts_anew_after_a_stable_one() -> None:
    machine = OPEN
    attempts = []
    for _ in range(3):
        machine, commands = step(machine, Lost(machine.generation, LOST), POLICY, dice=1.0)
        attempts.append([c.attempt for c in commands if isinstance(c, Announce)][-1])
        machine, _ = step(machine, TimerFired(machine.generation, Timer.RETRY), POLICY, dice=0.0)
        machine, _ = step(machine, Dialled(machine.generation), POLICY, dice=0.0)
    machine, _ = step(machine, TimerFired(machine.generation, Timer.STABLE), POLICY, dice=0.0)
    _, commands = step(machine, Lost(machine.generation, LOST), POLICY, dice=1.0)
    attempts.append([c.attempt for c in commands if isinstance(c, Announce)][-1])
    assert attempts == [1, 2, 3, 1]


def test_a_failed_first_dial_ends_it_when_so_chosen() -> None:
    policy = replace(POLICY, first_dial=FirstDial.FAIL)
    machine, commands = step(DIALING, DialFailed(1, REFUSED), policy, dice=0.5)
    assert commands == (
        Persist(Status.DISCONNECTED, life.cause_of(REFUSED)),
        Announce(EventName.ERROR, failure=REFUSED),
        Announce(EventName.DISCONNECTED, failure=REFUSED, reason="first_dial_failed", final=True),
        Finish(EndReason.FIRST_DIAL_FAILED),
    )
    assert machine.state is State.DONE


def test_a_failed_first_dial_of_a_recovered_connection_does_not_end_it() -> None:
    policy = replace(POLICY, first_dial=FirstDial.FAIL)
    machine, _ = step(Machine(), Started(resumed=True), policy, dice=0.0)
    machine, _ = step(machine, DialFailed(1, REFUSED), policy, dice=0.5)
    assert machine.state is State.WAITING


@pytest.mark.parametrize(
    ("policy", "failure", "reason"),
    [
        (replace(POLICY, auto_reconnect=False), LOST, EndReason.NOT_RECONNECTING),
        (POLICY, FORBIDDEN, EndReason.FATAL),
        (replace(POLICY, backoff=replace(BACKOFF, max_attempts=3)), LOST, None),
    ],
)
def test_what_ends_a_lost_connection(
    policy: Policy, failure: Failure, reason: EndReason | None
) -> None:
    machine, commands = step(OPEN, Lost(1, failure), policy, dice=0.5)
    assert machine.end is reason
    assert (commands[-1] == Finish(reason)) if reason else machine.state is State.WAITING


def test_attempts_run_out() -> None:
    policy = replace(POLICY, backoff=replace(BACKOFF, max_attempts=2))
    machine = replace(OPEN, attempt=2)
    machine, commands = step(machine, Lost(1, LOST), policy, dice=0.5)
    assert machine.end is EndReason.ATTEMPTS_EXHAUSTED
    assert [c.name for c in commands if isinstance(c, Announce)] == [
        EventName.ERROR,
        EventName.DISCONNECTED,
    ]


def test_a_stop_closes_an_open_socket_with_the_asked_code() -> None:
    machine, commands = step(OPEN, StopAsked(EndReason.SHUTDOWN, 1001), POLICY, dice=0.0)
    assert commands == (Close(1, 1001), StartTimer(1, Timer.GRACE, 5.0))
    machine, commands = step(machine, PeerClosed(1, ORDERLY), POLICY, dice=0.0)
    assert commands == (EndSession(1, None), Finish(EndReason.SHUTDOWN))
    assert machine.state is State.DONE


def test_a_close_that_takes_too_long_is_aborted() -> None:
    _, commands = step(CLOSING, TimerFired(1, Timer.GRACE), POLICY, dice=0.0)
    assert commands == (
        Abort(1),
        EndSession(1, None),
        Persist(Status.DISCONNECTED),
        Announce(EventName.DISCONNECTED, reason="requested", final=True),
        Finish(EndReason.REQUESTED),
    )


def test_a_stop_abandons_a_dial() -> None:
    _, commands = step(DIALING, StopAsked(EndReason.REQUESTED), POLICY, dice=0.0)
    assert commands[0] == AbandonDial(1)
    assert commands[-1] == Finish(EndReason.REQUESTED)


@pytest.mark.parametrize("state", [State.OPEN, State.WAITING, State.CLOSING, State.DIALING])
def test_stale_generations_are_dropped_before_the_table(state: State) -> None:
    machine = replace(MACHINES[state], generation=7)
    for kind in (Dialled, DialFailed, Lost, PeerClosed, TimerFired):
        assert step(machine, event_for(kind, 6, state), POLICY, dice=0.5) == (machine, ())


events = st.one_of(
    st.builds(Started, resumed=st.booleans()),
    st.builds(StopAsked, st.sampled_from(EndReason)),
    st.builds(Dialled, st.integers(0, 5)),
    st.builds(TimerFired, st.integers(0, 5), st.sampled_from(Timer)),
    st.builds(
        DialFailed,
        st.integers(0, 5),
        st.builds(
            Failure,
            st.sampled_from(FailureKind),
            st.just(""),
            close_code=st.sampled_from([0, 1000, 1006, 1008, 3000, 4000]),
            http_status=st.sampled_from([0, 302, 403, 404, 429, 500]),
        ),
    ),
    st.builds(Lost, st.integers(0, 5), st.sampled_from([LOST, ROTATED])),
    st.builds(RotationAsked, st.integers(0, 5), st.just(""), st.booleans()),
    st.builds(SuccessorReady, st.integers(0, 5)),
    st.builds(SuccessorFailed, st.integers(0, 5), st.sampled_from([REFUSED, FORBIDDEN])),
    st.builds(PeerClosed, st.integers(0, 5), st.sampled_from([CLOSED, ORDERLY])),
)


class Sockets:
    """What the commands make of sockets: no generation twice, one that delivers at most."""

    def __init__(self) -> None:
        self.alive: set[int] = set()
        self.delivering: set[int] = set()
        self.dialled: set[int] = set()

    def follow(
        self, event: life.Event, commands: tuple[life.Command, ...], *, changed: bool
    ) -> None:
        if changed and isinstance(event, DialFailed | SuccessorFailed):
            self.alive.discard(event.generation)
        for command in commands:
            match command:
                case Dial(generation=generation) | DialSuccessor(generation=generation):
                    assert generation not in self.dialled
                    self.dialled.add(generation)
                    self.alive.add(generation)
                case AbandonDial(generation=generation):
                    self.alive.discard(generation)
                case OpenSession(generation=generation):
                    assert not self.delivering
                    self.delivering.add(generation)
                case EndSession():
                    self.alive -= self.delivering
                    self.delivering.clear()
                case _:
                    pass


@given(st.lists(events, max_size=40), st.booleans(), st.sampled_from(FirstDial), st.booleans())
def test_any_sequence_ends_in_a_legal_state(
    sequence: list[life.Event], auto_reconnect: bool, first_dial: FirstDial, beside: bool
) -> None:
    policy = replace(
        POLICY, auto_reconnect=auto_reconnect, first_dial=first_dial, make_before_break=beside
    )
    machine = Machine()
    sockets = Sockets()
    stopped = False
    for event in sequence:
        before = machine
        try:
            machine, commands = step(machine, event, policy, dice=0.5)
        except IllegalEvent:
            assert machine == before
            continue
        if stopped:
            # A stop is final: nothing dials or opens afterwards.
            assert not any(isinstance(c, Dial | DialSuccessor | OpenSession) for c in commands)
        stopped = stopped or isinstance(event, StopAsked)
        sockets.follow(event, commands, changed=machine != before)
        rotating = machine.state in {State.ROTATING, State.HANDING_OVER}
        assert len(sockets.alive) <= (2 if rotating and beside else 1), (machine, sockets)
        assert bool(machine.successor) == rotating
        announced = [i for i, c in enumerate(commands) if isinstance(c, Announce)]
        persisted = [i for i, c in enumerate(commands) if isinstance(c, Persist)]
        if announced:
            assert persisted
            assert persisted[0] < announced[0]
        names = [c.name for c in commands if isinstance(c, Announce)]
        if EventName.ERROR in names:
            assert names[0] is EventName.ERROR
            assert len(names) == 2
        assert (machine.state is State.DONE) == (machine.end is not None) or (
            machine.state is State.CLOSING
        )


# --- rotation ---------------------------------------------------------------------------------


def test_a_rotation_dials_a_second_socket_and_changes_nothing_else() -> None:
    machine, commands = step(OPEN, RotationAsked(1, "old"), POLICY, dice=0.5)
    assert commands == (DialSuccessor(2),)
    assert (machine.status, machine.generation, machine.successor) == (Status.CONNECTED, 1, 2)
    machine, commands = step(machine, SuccessorReady(2), POLICY, dice=0.5)
    assert commands == (Retire(1, "its successor delivers"),)
    machine, commands = step(machine, Lost(1, ROTATED), POLICY, dice=0.5)
    assert commands == (
        EndSession(1, ROTATED),
        OpenSession(2, seamless=True),
        Persist(Status.CONNECTED),
        Announce(EventName.CONNECTED, attempt=1, reason="rotated", resumed=True),
        StartTimer(2, Timer.STABLE, 30.0),
    )
    assert (machine.state, machine.generation, machine.successor) == (State.OPEN, 2, 0)


@pytest.mark.parametrize("end", [Lost(1, LOST), Lost(1, replace(ROTATED, close_code=0))])
def test_only_an_answered_close_proves_that_nothing_is_missing(end: Lost) -> None:
    _, commands = step(HANDING_OVER, end, POLICY, dice=0.5)
    assert OpenSession(2, seamless=False) in commands


def test_where_one_session_is_allowed_it_ends_first() -> None:
    policy = replace(POLICY, make_before_break=False)
    machine, commands = step(OPEN, RotationAsked(1, "old"), policy, dice=0.5)
    assert (machine, commands) == (OPEN, (Retire(1, "old"),))
    machine, commands = step(machine, Lost(1, ROTATED), policy, dice=0.5)
    names = [c.name for c in commands if isinstance(c, Announce)]
    assert (machine.state, names) == (State.WAITING, [EventName.RECONNECTING])


def test_a_rotation_is_no_reconnect_by_choice() -> None:
    policy = replace(POLICY, make_before_break=False, auto_reconnect=False)
    machine, _ = step(OPEN, Lost(1, ROTATED), policy, dice=0.5)
    assert machine.state is State.WAITING


def test_a_rotation_that_fails_is_rolled_back_and_tried_again_ever_later() -> None:
    machine, delays = OPEN, []
    for number in (2, 3, 4):
        if machine.rotation_attempt:
            fired = TimerFired(1, Timer.ROTATE)
            machine, commands = step(machine, fired, POLICY, dice=0.5)
        else:
            machine, commands = step(machine, RotationAsked(1, "old"), POLICY, dice=0.5)
        assert commands == (DialSuccessor(number),)
        machine, commands = step(machine, SuccessorFailed(number, REFUSED), POLICY, dice=0.999)
        assert commands[:2] == (AbandonDial(number), Degrade(REFUSED))
        assert isinstance(commands[2], StartTimer)
        delays.append(commands[2].delay_seconds)
        assert (machine.state, machine.generation) == (State.OPEN, 1)
    assert delays == sorted(delays)
    assert len(set(delays)) == 3


def test_a_rotation_that_is_refused_for_good_waits_for_a_caller() -> None:
    machine, commands = step(ROTATING, SuccessorFailed(2, FORBIDDEN), POLICY, dice=0.5)
    assert commands == (AbandonDial(2), Degrade(FORBIDDEN))
    assert step(machine, RotationAsked(1, "age"), POLICY, dice=0.5) == (machine, ())
    _, commands = step(machine, RotationAsked(1, "asked", forced=True), POLICY, dice=0.5)
    assert commands == (DialSuccessor(3),)


def test_a_session_lost_during_its_rotation_leaves_its_successor_as_the_next_attempt() -> None:
    machine, commands = step(ROTATING, PeerClosed(1, ORDERLY), POLICY, dice=0.5)
    assert commands[0] == EndSession(1, ORDERLY)
    assert commands[-1] == Promote(2)
    assert not any(isinstance(c, AbandonDial | StartTimer) for c in commands)
    assert (machine.state, machine.status, machine.generation) == (
        State.DIALING,
        Status.RECONNECTING,
        2,
    )
    opened, commands = step(machine, SuccessorReady(2), POLICY, dice=0.5)
    assert opened.state is State.OPEN
    assert commands[0] == OpenSession(2)
    failed, _ = step(machine, SuccessorFailed(2, REFUSED), POLICY, dice=0.5)
    assert failed.state is State.WAITING


def test_a_server_that_wants_fewer_connections_gets_no_second_one() -> None:
    limited = Failure(FailureKind.PEER_CLOSED, "rate", close_code=1008)
    machine, commands = step(ROTATING, PeerClosed(1, limited), POLICY, dice=0.5)
    assert commands[:2] == (AbandonDial(2), EndSession(1, limited))
    assert machine.state in {State.WAITING, State.DONE}


@pytest.mark.parametrize("machine", [ROTATING, HANDING_OVER])
def test_a_stop_ends_both_sessions(machine: Machine) -> None:
    following, commands = step(machine, StopAsked(EndReason.REQUESTED), POLICY, dice=0.5)
    assert commands == (AbandonDial(2), Close(1, 1000), StartTimer(1, Timer.GRACE, 5.0))
    assert (following.state, following.successor) == (State.CLOSING, 0)
