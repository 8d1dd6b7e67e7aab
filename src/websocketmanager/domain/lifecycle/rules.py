"""The rules of the lifecycle: opening, losing, trying again, ending."""

from __future__ import annotations

from dataclasses import replace

from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.lifecycle.machine import Commands, Machine, Outcome, Policy, cause_of
from websocketmanager.domain.lifecycle.words import (
    AbandonDial,
    Abort,
    Announce,
    Close,
    Dial,
    DialFailed,
    EndReason,
    EndSession,
    Event,
    EventName,
    Finish,
    Lost,
    OpenSession,
    PeerClosed,
    Persist,
    Started,
    StartTimer,
    State,
    StopAsked,
    SuccessorFailed,
    Timer,
    TimerFired,
)
from websocketmanager.domain.model import FirstDial, Status
from websocketmanager.domain.retry import Advice, classify, is_orderly


def start(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The first dial of this process."""
    assert isinstance(event, Started)  # noqa: S101 - by the table
    generation = machine.next_generation
    following = replace(
        machine,
        state=State.DIALING,
        generation=generation,
        last_generation=generation,
        attempt=1,
        ever_open=machine.ever_open or event.resumed,
    )
    name = EventName.RECONNECTING if event.resumed else EventName.CONNECTING
    reason = "recovered" if event.resumed else ""
    return following, (
        Persist(following.status),
        Announce(name, attempt=1, reason=reason),
        Dial(following.generation, 1),
    )


def open_session(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The socket is open and its dialogue done."""
    # The first dial is no reconnect: whatever follows it counts from one.
    attempt = machine.attempt if machine.ever_open else 0
    following = replace(
        machine, state=State.OPEN, ever_open=True, attempt=attempt, rotation_attempt=0
    )
    return following, (
        OpenSession(machine.generation),
        Persist(Status.CONNECTED),
        Announce(EventName.CONNECTED, attempt=machine.attempt, resumed=machine.ever_open),
        StartTimer(machine.generation, Timer.STABLE, policy.backoff.stable_after_seconds),
    )


def dial_failed(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """A dial failed: the first one may end the connection."""
    assert isinstance(event, DialFailed | SuccessorFailed)  # noqa: S101 - by the table
    first = machine.attempt == 1 and not machine.ever_open
    if first and policy.first_dial is FirstDial.FAIL:
        return end(machine, EndReason.FIRST_DIAL_FAILED, event.failure, ())
    return after_failure(machine, event.failure, policy, dice, ())


def lost(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The session ended, by its own fault or by the peer."""
    assert isinstance(event, Lost | PeerClosed)  # noqa: S101 - by the table
    return after_failure(
        machine, event.failure, policy, dice, (EndSession(machine.generation, event.failure),)
    )


def after_failure(
    machine: Machine, failure: Failure, policy: Policy, dice: float, before: Commands
) -> Outcome:
    """What follows a failure by its class: another attempt after a delay, or the end."""
    # A session that dies before it was stable goes on with the row: backoff grows.
    attempt = machine.attempt + 1
    if not policy.auto_reconnect and failure.kind is not FailureKind.ROTATED:
        return end(machine, EndReason.NOT_RECONNECTING, failure, before)
    if classify(failure) is Advice.NEVER:
        return end(machine, EndReason.FATAL, failure, before)
    if policy.backoff.exhausted(failure, attempt=attempt):
        return end(machine, EndReason.ATTEMPTS_EXHAUSTED, failure, before)
    delay = policy.backoff.delay(failure, attempt=attempt, dice=dice)
    following = replace(machine, state=State.WAITING, attempt=attempt)
    return following, (
        *before,
        Persist(following.status, cause_of(failure)),
        *error_first(failure),
        Announce(
            EventName.RECONNECTING,
            attempt=attempt,
            delay_seconds=delay,
            failure=failure,
            reason=failure.kind.value,
        ),
        StartTimer(machine.generation, Timer.RETRY, delay),
    )


def end(machine: Machine, reason: EndReason, failure: Failure, before: Commands) -> Outcome:
    """The connection ends by itself."""
    following = replace(machine, state=State.DONE, end=reason)
    return following, (
        *before,
        Persist(Status.DISCONNECTED, cause_of(failure)),
        *error_first(failure),
        Announce(EventName.DISCONNECTED, failure=failure, reason=reason.value, final=True),
        Finish(reason),
    )


def error_first(failure: Failure) -> Commands:
    """The `error` that goes before the change it causes; none for an end in good order."""
    return () if is_orderly(failure) else (Announce(EventName.ERROR, failure=failure),)


def redial(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The delay is over."""
    if not (isinstance(event, TimerFired) and event.timer is Timer.RETRY):
        return machine, ()
    generation = machine.next_generation
    following = replace(
        machine, state=State.DIALING, generation=generation, last_generation=generation
    )
    return following, (Dial(generation, machine.attempt),)


def stop_at_once(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """Nothing is open: a stop ends it now."""
    assert isinstance(event, StopAsked)  # noqa: S101 - by the table
    following = replace(machine, state=State.DONE, end=event.reason)
    return following, (*farewell(event.reason), Finish(event.reason))


def abandon(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """A stop during a dial."""
    following, commands = stop_at_once(machine, event, policy, dice)
    return following, (AbandonDial(machine.generation), *commands)


def close(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """A stop while a session is open."""
    assert isinstance(event, StopAsked)  # noqa: S101 - by the table
    following = replace(machine, state=State.CLOSING, end=event.reason)
    return following, (
        Close(machine.generation, event.close_code),
        StartTimer(machine.generation, Timer.GRACE, policy.close_grace_seconds),
    )


def closed(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The closing handshake is over."""
    return closing_over(machine, ())


def close_timeout(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The closing handshake took too long."""
    if not (isinstance(event, TimerFired) and event.timer is Timer.GRACE):
        return machine, ()
    return closing_over(machine, (Abort(machine.generation),))


def closing_over(machine: Machine, before: Commands) -> Outcome:
    """The end of a connection that was asked to stop."""
    reason = machine.end or EndReason.REQUESTED
    following = replace(machine, state=State.DONE)
    return following, (
        *before,
        EndSession(machine.generation, None),
        *farewell(reason),
        Finish(reason),
    )


def farewell(reason: EndReason) -> Commands:
    """What a connection says that was stopped: nothing on a shutdown, as it will come back."""
    if reason is not EndReason.REQUESTED:
        return ()
    return (
        Persist(Status.DISCONNECTED),
        Announce(EventName.DISCONNECTED, reason=reason.value, final=True),
    )
