"""The table of the lifecycle, every pair of state and event in view, and `step` that asks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from websocketmanager.domain.lifecycle import rotation, rules
from websocketmanager.domain.lifecycle.machine import Machine, Outcome, Policy
from websocketmanager.domain.lifecycle.words import (
    DialFailed,
    Dialled,
    Event,
    Lost,
    PeerClosed,
    RotationAsked,
    Started,
    State,
    StopAsked,
    SuccessorFailed,
    SuccessorReady,
    TimerFired,
)


class IllegalEvent(Exception):
    """An event that cannot happen in this state: our own fault; the machine is unchanged."""

    def __init__(self, state: State, event: Event) -> None:
        self.state = state
        self.event = event
        super().__init__(f"{type(event).__name__} in state {state}")


def step(machine: Machine, event: Event, policy: Policy, *, dice: float) -> Outcome:
    """Returns the next machine and what to do, in order.

    Args:
        machine: the present one.
        event: what happened.
        policy: the connection's.
        dice: a number from 0 (included) to 1 (excluded), for jitter.

    Raises:
        IllegalEvent: the table has no rule; the caller keeps the old machine.
    """
    generation = getattr(event, "generation", machine.generation)
    if generation not in {machine.generation, machine.successor or machine.generation}:
        return machine, ()
    rule = TABLE[machine.state, type(event)]
    return rule.apply(machine, event, policy, dice)


def _illegal(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    raise IllegalEvent(machine.state, event)


def _ignored(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    return machine, ()


class Rule(NamedTuple):
    """One cell of the table: what happens, in words for the document, and the function."""

    text: str
    apply: Callable[[Machine, Event, Policy, float], Outcome]


ILLEGAL = Rule("illegal", _illegal)
IGNORED = Rule("ignored", _ignored)

_S = State
#: Every pair of state and event. Illegal: our fault, raises. Ignored: may happen, means nothing.
TABLE: dict[tuple[State, type[Event]], Rule] = {
    (_S.IDLE, Started): Rule("Dial → dialing", rules.start),
    (_S.IDLE, Dialled): ILLEGAL,
    (_S.IDLE, DialFailed): ILLEGAL,
    (_S.IDLE, Lost): ILLEGAL,
    (_S.IDLE, PeerClosed): ILLEGAL,
    (_S.IDLE, TimerFired): ILLEGAL,
    (_S.IDLE, StopAsked): Rule("Finish → done", rules.stop_at_once),
    (_S.IDLE, RotationAsked): IGNORED,
    (_S.IDLE, SuccessorReady): ILLEGAL,
    (_S.IDLE, SuccessorFailed): ILLEGAL,
    (_S.DIALING, Started): ILLEGAL,
    (_S.DIALING, Dialled): Rule("OpenSession, StartTimer(stable) → open", rules.open_session),
    (_S.DIALING, DialFailed): Rule(
        "by class: StartTimer(retry) → waiting, or Finish → done", rules.dial_failed
    ),
    (_S.DIALING, Lost): ILLEGAL,
    (_S.DIALING, PeerClosed): ILLEGAL,
    (_S.DIALING, TimerFired): IGNORED,
    (_S.DIALING, StopAsked): Rule("AbandonDial, Finish → done", rules.abandon),
    (_S.DIALING, RotationAsked): IGNORED,
    (_S.DIALING, SuccessorReady): Rule(
        "promoted: OpenSession, StartTimer(stable) → open", rules.open_session
    ),
    (_S.DIALING, SuccessorFailed): Rule("promoted: by class, as DialFailed", rules.dial_failed),
    (_S.OPEN, Started): ILLEGAL,
    (_S.OPEN, Dialled): ILLEGAL,
    (_S.OPEN, DialFailed): ILLEGAL,
    (_S.OPEN, Lost): Rule("EndSession; by class: → waiting or done", rules.lost),
    (_S.OPEN, PeerClosed): Rule("EndSession; by close code: → waiting or done", rules.lost),
    (_S.OPEN, TimerFired): Rule(
        "by cause: attempts count from one, or DialSuccessor → rotating", rotation.open_timer
    ),
    (_S.OPEN, StopAsked): Rule("Close, StartTimer(grace) → closing", rules.close),
    (_S.OPEN, RotationAsked): Rule(
        "DialSuccessor → rotating; by choice: Retire", rotation.rotation_asked
    ),
    (_S.OPEN, SuccessorReady): ILLEGAL,
    (_S.OPEN, SuccessorFailed): ILLEGAL,
    (_S.ROTATING, Started): ILLEGAL,
    (_S.ROTATING, Dialled): ILLEGAL,
    (_S.ROTATING, DialFailed): ILLEGAL,
    (_S.ROTATING, Lost): Rule(
        "EndSession; by class: Promote → dialing, or AbandonDial → waiting or done",
        rotation.lost_while_rotating,
    ),
    (_S.ROTATING, PeerClosed): Rule(
        "EndSession; by close code: Promote → dialing, or AbandonDial → waiting or done",
        rotation.lost_while_rotating,
    ),
    (_S.ROTATING, TimerFired): Rule("attempts count from one", rotation.open_timer),
    (_S.ROTATING, StopAsked): Rule(
        "AbandonDial, Close, StartTimer(grace) → closing", rotation.close_both
    ),
    (_S.ROTATING, RotationAsked): IGNORED,
    (_S.ROTATING, SuccessorReady): Rule("Retire → handing_over", rotation.successor_ready),
    (_S.ROTATING, SuccessorFailed): Rule(
        "AbandonDial, Degrade, StartTimer(rotate) → open", rotation.roll_back
    ),
    (_S.HANDING_OVER, Started): ILLEGAL,
    (_S.HANDING_OVER, Dialled): ILLEGAL,
    (_S.HANDING_OVER, DialFailed): ILLEGAL,
    (_S.HANDING_OVER, Lost): Rule(
        "EndSession, OpenSession, StartTimer(stable) → open", rotation.hand_over
    ),
    (_S.HANDING_OVER, PeerClosed): Rule(
        "EndSession, OpenSession, StartTimer(stable) → open", rotation.hand_over
    ),
    (_S.HANDING_OVER, TimerFired): Rule("attempts count from one", rotation.open_timer),
    (_S.HANDING_OVER, StopAsked): Rule(
        "AbandonDial, Close, StartTimer(grace) → closing", rotation.close_both
    ),
    (_S.HANDING_OVER, RotationAsked): IGNORED,
    (_S.HANDING_OVER, SuccessorReady): ILLEGAL,
    (_S.HANDING_OVER, SuccessorFailed): ILLEGAL,
    (_S.WAITING, Started): ILLEGAL,
    (_S.WAITING, Dialled): IGNORED,
    (_S.WAITING, DialFailed): IGNORED,
    (_S.WAITING, Lost): IGNORED,
    (_S.WAITING, PeerClosed): IGNORED,
    (_S.WAITING, TimerFired): Rule("retry: Dial → dialing; else ignored", rules.redial),
    (_S.WAITING, StopAsked): Rule("Finish → done", rules.stop_at_once),
    (_S.WAITING, RotationAsked): IGNORED,
    (_S.WAITING, SuccessorReady): IGNORED,
    (_S.WAITING, SuccessorFailed): IGNORED,
    (_S.CLOSING, Started): ILLEGAL,
    (_S.CLOSING, Dialled): IGNORED,
    (_S.CLOSING, DialFailed): IGNORED,
    (_S.CLOSING, Lost): Rule("EndSession, Finish → done", rules.closed),
    (_S.CLOSING, PeerClosed): Rule("EndSession, Finish → done", rules.closed),
    (_S.CLOSING, TimerFired): Rule(
        "grace: Abort, EndSession, Finish → done; else ignored", rules.close_timeout
    ),
    (_S.CLOSING, StopAsked): IGNORED,
    (_S.CLOSING, RotationAsked): IGNORED,
    (_S.CLOSING, SuccessorReady): IGNORED,
    (_S.CLOSING, SuccessorFailed): IGNORED,
    (_S.DONE, Started): ILLEGAL,
    (_S.DONE, Dialled): IGNORED,
    (_S.DONE, DialFailed): IGNORED,
    (_S.DONE, Lost): IGNORED,
    (_S.DONE, PeerClosed): IGNORED,
    (_S.DONE, TimerFired): IGNORED,
    (_S.DONE, StopAsked): IGNORED,
    (_S.DONE, RotationAsked): IGNORED,
    (_S.DONE, SuccessorReady): IGNORED,
    (_S.DONE, SuccessorFailed): IGNORED,
}
