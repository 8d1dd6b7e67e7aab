"""The rules of rotation: a session is replaced by one that is proven to deliver.

The old session goes on until its successor is ready; if the successor fails, nothing has happened.
"""

from __future__ import annotations

from dataclasses import replace

from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.lifecycle.machine import Machine, Outcome, Policy, cause_of
from websocketmanager.domain.lifecycle.rules import after_failure, close, error_first
from websocketmanager.domain.lifecycle.words import (
    AbandonDial,
    Announce,
    Degrade,
    DialSuccessor,
    EndSession,
    Event,
    EventName,
    Lost,
    OpenSession,
    PeerClosed,
    Persist,
    Promote,
    Retire,
    RotationAsked,
    StartTimer,
    State,
    SuccessorFailed,
    Timer,
    TimerFired,
)
from websocketmanager.domain.model import Status
from websocketmanager.domain.retry import Advice, classify


def rotation_asked(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The session is to be replaced."""
    assert isinstance(event, RotationAsked)  # noqa: S101 - by the table
    if machine.rotation_attempt and not event.forced:
        return machine, ()  # one failed, and its next attempt has its time
    return rotate(machine, event.reason, policy)


def rotate(machine: Machine, reason: str, policy: Policy) -> Outcome:
    """Begins a rotation: a second socket, or the end of the only one."""
    if not policy.make_before_break:
        return machine, (Retire(machine.generation, reason),)
    successor = machine.next_generation
    following = replace(
        machine, state=State.ROTATING, successor=successor, last_generation=successor
    )
    return following, (DialSuccessor(successor),)


def successor_ready(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The successor delivers: the old session may end."""
    following = replace(machine, state=State.HANDING_OVER)
    return following, (Retire(machine.generation, "its successor delivers"),)


def roll_back(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The old session goes on, and the rotation is tried again later."""
    assert isinstance(event, SuccessorFailed)  # noqa: S101 - by the table
    failure, attempt = event.failure, machine.rotation_attempt + 1
    following = replace(machine, state=State.OPEN, successor=0, rotation_attempt=attempt)
    commands = (AbandonDial(machine.successor), Degrade(failure))
    if classify(failure) is Advice.NEVER:
        return following, commands
    # A first dial is no retry, a first rotation is none either: the delay is that of the next.
    delay = policy.backoff.delay(failure, attempt=attempt + 1, dice=dice)
    return following, (*commands, StartTimer(machine.generation, Timer.ROTATE, delay))


def lost_while_rotating(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The old session ends too early: its successor, half made, is the next attempt."""
    assert isinstance(event, Lost | PeerClosed)  # noqa: S101 - by the table
    failure, successor = event.failure, machine.successor
    alone = replace(machine, successor=0)
    attempt = machine.attempt + 1
    at_once = (
        policy.auto_reconnect
        and classify(failure) is Advice.AGAIN
        and not policy.backoff.exhausted(failure, attempt=attempt)
    )
    if not at_once:
        before = (AbandonDial(successor), EndSession(machine.generation, failure))
        return after_failure(alone, failure, policy, dice, before)
    following = replace(alone, state=State.DIALING, generation=successor, attempt=attempt)
    return following, (
        EndSession(machine.generation, failure),
        Persist(following.status, cause_of(failure)),
        *error_first(failure),
        Announce(
            EventName.RECONNECTING, attempt=attempt, failure=failure, reason=failure.kind.value
        ),
        Promote(successor),
    )


def hand_over(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """The old session has ended: its successor takes over."""
    assert isinstance(event, Lost | PeerClosed)  # noqa: S101 - by the table
    failure = event.failure
    following = replace(
        machine,
        state=State.OPEN,
        generation=machine.successor,
        successor=0,
        attempt=0,
        rotation_attempt=0,
    )
    # Only the peer's answer to our close proves that it had nothing more to say.
    seamless = failure.kind is FailureKind.ROTATED and failure.close_code != 0
    return following, (
        EndSession(machine.generation, failure),
        OpenSession(following.generation, seamless),
        Persist(Status.CONNECTED),
        Announce(EventName.CONNECTED, attempt=1, reason=FailureKind.ROTATED.value, resumed=True),
        StartTimer(following.generation, Timer.STABLE, policy.backoff.stable_after_seconds),
    )


def close_both(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """A stop during a rotation."""
    following, commands = close(replace(machine, successor=0), event, policy, dice)
    return following, (AbandonDial(machine.successor), *commands)


def open_timer(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    """A timer of an open session."""
    assert isinstance(event, TimerFired)  # noqa: S101 - by the table
    if event.timer is Timer.STABLE:
        return replace(machine, attempt=0), ()
    if event.timer is Timer.ROTATE and machine.state is State.OPEN:
        return rotate(machine, "tried again", policy)
    return machine, ()
