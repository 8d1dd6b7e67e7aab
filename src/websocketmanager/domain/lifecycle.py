"""The life of a connection: one pure state machine with its table in view.

`step()` takes a machine and an event and returns the next machine with the commands to carry
out, left to right. A change that the store must know yields `Persist` before `Announce`: a
record first, then its events. Frames never pass through here.

Each dial has a generation; events of an older generation are stale and dropped before the
table is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from websocketmanager.domain.failure import Failure
from websocketmanager.domain.model import Cause, FirstDial, Status
from websocketmanager.domain.retry import Advice, BackoffPolicy, classify, is_orderly


class State(StrEnum):
    """Where a connection is."""

    IDLE = "idle"
    DIALING = "dialing"
    OPEN = "open"
    WAITING = "waiting"
    CLOSING = "closing"
    DONE = "done"


class Timer(StrEnum):
    """What a timer is for."""

    RETRY = "retry"
    """Time for the next attempt."""
    STABLE = "stable"
    """The session has been open long enough: attempts count from one again."""
    GRACE = "grace"
    """The closing handshake has had its time."""


class EventName(StrEnum):
    """What a lifecycle event says; the last part of its `ce-type`."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    ERROR = "error"
    DEGRADED = "degraded"
    DISCONNECTED = "disconnected"


class EndReason(StrEnum):
    """Why a connection is done."""

    REQUESTED = "requested"
    """A caller asked for it."""
    SHUTDOWN = "shutdown"
    """This process stops; the record stays and is resumed."""
    LEASE_LOST = "lease_lost"
    """Another process owns it now."""
    FIRST_DIAL_FAILED = "first_dial_failed"
    NOT_RECONNECTING = "not_reconnecting"
    """It was lost and does not reconnect by intent."""
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    FATAL = "fatal"
    """The failure's class is `never`."""


# --- events -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The connection may act. `resumed`: it was alive in an earlier process."""

    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Dialled:
    """The socket of this generation is open."""

    generation: int


@dataclass(frozen=True, slots=True)
class DialFailed:
    """The dial of this generation failed."""

    generation: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class Lost:
    """The open socket of this generation ended without a closing handshake by the peer."""

    generation: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The peer closed the socket of this generation."""

    generation: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer of this generation is over."""

    generation: int
    timer: Timer


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The connection shall end, for this reason."""

    reason: EndReason
    close_code: int = 1000


Event = Started | Dialled | DialFailed | Lost | PeerClosed | TimerFired | StopAsked


# --- commands ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a socket as this generation."""

    generation: int
    attempt: int


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Number the socket of this generation as a new session and read it."""

    generation: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """The session is over: account for it, in the stream as well."""

    failure: Failure | None


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Send TimerFired after the delay, unless the generation has passed."""

    generation: int
    timer: Timer
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class AbandonDial:
    """Cancel the dial of this generation; a socket it opened is dropped."""

    generation: int


@dataclass(frozen=True, slots=True)
class Close:
    """Begin the closing handshake on the socket of this generation."""

    generation: int
    code: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Drop the socket of this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class Persist:
    """The record must show this status before the announcements behind it go out."""

    status: Status
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the world."""

    name: EventName
    attempt: int = 0
    delay_seconds: float = 0.0
    failure: Failure | None = None
    reason: str = ""
    resumed: bool = False
    final: bool = False


@dataclass(frozen=True, slots=True)
class Finish:
    """The runner ends."""

    reason: EndReason


Command = (
    Dial
    | OpenSession
    | EndSession
    | StartTimer
    | AbandonDial
    | Close
    | Abort
    | Persist
    | Announce
    | Finish
)


# --- the machine ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Policy:
    """What the caller's intent means for the rules.

    Attributes:
        auto_reconnect: dial again after a loss.
        first_dial: whether a failed first dial ends the connection.
        backoff: delays and attempts.
        close_grace_seconds: how long a closing handshake may take.
    """

    auto_reconnect: bool
    first_dial: FirstDial
    backoff: BackoffPolicy
    close_grace_seconds: float


@dataclass(frozen=True, slots=True)
class Machine:
    """All that the rules remember of one connection.

    Attributes:
        state: where it is.
        generation: number of the last dial.
        attempt: number of the last attempt in this row, from 1; 0 once a session was stable.
        ever_open: whether it was open before, in any process.
        end: why it is closing or done.
    """

    state: State = State.IDLE
    generation: int = 0
    attempt: int = 0
    ever_open: bool = False
    end: EndReason | None = None

    @property
    def status(self) -> Status:
        """The wire status: a projection of the state."""
        if self.state is State.OPEN:
            return Status.CONNECTED
        if self.state in {State.CLOSING, State.DONE}:
            return Status.DISCONNECTED
        if self.state is State.WAITING or self.ever_open or self.attempt > 1:
            return Status.RECONNECTING
        return Status.CONNECTING


class IllegalEvent(Exception):
    """An event that cannot happen in this state: our own fault; the machine is unchanged."""

    def __init__(self, state: State, event: Event) -> None:
        self.state = state
        self.event = event
        super().__init__(f"{type(event).__name__} in state {state}")


Commands = tuple[Command, ...]
Outcome = tuple[Machine, Commands]


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
    if generation != machine.generation:
        return machine, ()
    rule = TABLE[machine.state, type(event)]
    return rule.apply(machine, event, policy, dice)


# --- rules ------------------------------------------------------------------------------------


def _start(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    assert isinstance(event, Started)  # noqa: S101 - by the table
    following = replace(
        machine,
        state=State.DIALING,
        generation=machine.generation + 1,
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


def _open(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    # The first dial is no reconnect: whatever follows it counts from one.
    attempt = machine.attempt if machine.ever_open else 0
    following = replace(machine, state=State.OPEN, ever_open=True, attempt=attempt)
    return following, (
        OpenSession(machine.generation),
        Persist(Status.CONNECTED),
        Announce(EventName.CONNECTED, attempt=machine.attempt, resumed=machine.ever_open),
        StartTimer(machine.generation, Timer.STABLE, policy.backoff.stable_after_seconds),
    )


def _stable(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    return replace(machine, attempt=0), ()


def _dial_failed(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    assert isinstance(event, DialFailed)  # noqa: S101 - by the table
    first = machine.attempt == 1 and not machine.ever_open
    if first and policy.first_dial is FirstDial.FAIL:
        return _end(machine, EndReason.FIRST_DIAL_FAILED, event.failure, ())
    return _after_failure(machine, event.failure, policy, dice, ())


def _lost(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    assert isinstance(event, Lost | PeerClosed)  # noqa: S101 - by the table
    return _after_failure(machine, event.failure, policy, dice, (EndSession(event.failure),))


def _after_failure(
    machine: Machine, failure: Failure, policy: Policy, dice: float, before: Commands
) -> Outcome:
    # A session that dies before it was stable goes on with the row: backoff grows.
    attempt = machine.attempt + 1
    if not policy.auto_reconnect:
        return _end(machine, EndReason.NOT_RECONNECTING, failure, before)
    if classify(failure) is Advice.NEVER:
        return _end(machine, EndReason.FATAL, failure, before)
    if policy.backoff.exhausted(failure, attempt=attempt):
        return _end(machine, EndReason.ATTEMPTS_EXHAUSTED, failure, before)
    delay = policy.backoff.delay(failure, attempt=attempt, dice=dice)
    following = replace(machine, state=State.WAITING, attempt=attempt)
    return following, (
        *before,
        Persist(following.status, cause_of(failure)),
        *_error(failure),
        Announce(
            EventName.RECONNECTING,
            attempt=attempt,
            delay_seconds=delay,
            failure=failure,
            reason=failure.kind.value,
        ),
        StartTimer(machine.generation, Timer.RETRY, delay),
    )


def _end(machine: Machine, reason: EndReason, failure: Failure, before: Commands) -> Outcome:
    following = replace(machine, state=State.DONE, end=reason)
    return following, (
        *before,
        Persist(Status.DISCONNECTED, cause_of(failure)),
        *_error(failure),
        Announce(EventName.DISCONNECTED, failure=failure, reason=reason.value, final=True),
        Finish(reason),
    )


def _error(failure: Failure) -> Commands:
    return () if is_orderly(failure) else (Announce(EventName.ERROR, failure=failure),)


def _redial(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    if not (isinstance(event, TimerFired) and event.timer is Timer.RETRY):
        return machine, ()
    generation = machine.generation + 1
    following = replace(machine, state=State.DIALING, generation=generation)
    return following, (Dial(generation, machine.attempt),)


def _stop_at_once(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    assert isinstance(event, StopAsked)  # noqa: S101 - by the table
    following = replace(machine, state=State.DONE, end=event.reason)
    return following, (*_farewell(event.reason), Finish(event.reason))


def _abandon(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    following, commands = _stop_at_once(machine, event, policy, dice)
    return following, (AbandonDial(machine.generation), *commands)


def _close(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    assert isinstance(event, StopAsked)  # noqa: S101 - by the table
    following = replace(machine, state=State.CLOSING, end=event.reason)
    return following, (
        Close(machine.generation, event.close_code),
        StartTimer(machine.generation, Timer.GRACE, policy.close_grace_seconds),
    )


def _closed(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    return _closing_over(machine, ())


def _close_timeout(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    if not (isinstance(event, TimerFired) and event.timer is Timer.GRACE):
        return machine, ()
    return _closing_over(machine, (Abort(machine.generation),))


def _closing_over(machine: Machine, before: Commands) -> Outcome:
    reason = machine.end or EndReason.REQUESTED
    following = replace(machine, state=State.DONE)
    return following, (*before, EndSession(None), *_farewell(reason), Finish(reason))


def _farewell(reason: EndReason) -> Commands:
    """What a connection says that was stopped: nothing on a shutdown, as it will come back."""
    if reason is not EndReason.REQUESTED:
        return ()
    return (
        Persist(Status.DISCONNECTED),
        Announce(EventName.DISCONNECTED, reason=reason.value, final=True),
    )


def _illegal(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    raise IllegalEvent(machine.state, event)


def _ignored(machine: Machine, event: Event, policy: Policy, dice: float) -> Outcome:
    return machine, ()


def cause_of(failure: Failure) -> Cause:
    """Returns what is shown and stored of a failure."""
    return Cause(failure.kind.value, failure.message, failure.close_code, failure.close_reason)


class Rule(NamedTuple):
    """One cell of the table: what happens, in words for the document, and the function."""

    text: str
    apply: Callable[[Machine, Event, Policy, float], Outcome]


ILLEGAL = Rule("illegal", _illegal)
IGNORED = Rule("ignored", _ignored)

_S = State
#: Every pair of state and event. Illegal: our fault, raises. Ignored: may happen, means nothing.
TABLE: dict[tuple[State, type[Event]], Rule] = {
    (_S.IDLE, Started): Rule("Dial → dialing", _start),
    (_S.IDLE, Dialled): ILLEGAL,
    (_S.IDLE, DialFailed): ILLEGAL,
    (_S.IDLE, Lost): ILLEGAL,
    (_S.IDLE, PeerClosed): ILLEGAL,
    (_S.IDLE, TimerFired): ILLEGAL,
    (_S.IDLE, StopAsked): Rule("Finish → done", _stop_at_once),
    (_S.DIALING, Started): ILLEGAL,
    (_S.DIALING, Dialled): Rule("OpenSession, StartTimer(stable) → open", _open),
    (_S.DIALING, DialFailed): Rule(
        "by class: StartTimer(retry) → waiting, or Finish → done", _dial_failed
    ),
    (_S.DIALING, Lost): ILLEGAL,
    (_S.DIALING, PeerClosed): ILLEGAL,
    (_S.DIALING, TimerFired): IGNORED,
    (_S.DIALING, StopAsked): Rule("AbandonDial, Finish → done", _abandon),
    (_S.OPEN, Started): ILLEGAL,
    (_S.OPEN, Dialled): ILLEGAL,
    (_S.OPEN, DialFailed): ILLEGAL,
    (_S.OPEN, Lost): Rule("EndSession; by class: → waiting or done", _lost),
    (_S.OPEN, PeerClosed): Rule("EndSession; by close code: → waiting or done", _lost),
    (_S.OPEN, TimerFired): Rule("attempts count from one", _stable),
    (_S.OPEN, StopAsked): Rule("Close, StartTimer(grace) → closing", _close),
    (_S.WAITING, Started): ILLEGAL,
    (_S.WAITING, Dialled): IGNORED,
    (_S.WAITING, DialFailed): IGNORED,
    (_S.WAITING, Lost): IGNORED,
    (_S.WAITING, PeerClosed): IGNORED,
    (_S.WAITING, TimerFired): Rule("retry: Dial → dialing; else ignored", _redial),
    (_S.WAITING, StopAsked): Rule("Finish → done", _stop_at_once),
    (_S.CLOSING, Started): ILLEGAL,
    (_S.CLOSING, Dialled): IGNORED,
    (_S.CLOSING, DialFailed): IGNORED,
    (_S.CLOSING, Lost): Rule("EndSession, Finish → done", _closed),
    (_S.CLOSING, PeerClosed): Rule("EndSession, Finish → done", _closed),
    (_S.CLOSING, TimerFired): Rule(
        "grace: Abort, EndSession, Finish → done; else ignored", _close_timeout
    ),
    (_S.CLOSING, StopAsked): IGNORED,
    (_S.DONE, Started): ILLEGAL,
    (_S.DONE, Dialled): IGNORED,
    (_S.DONE, DialFailed): IGNORED,
    (_S.DONE, Lost): IGNORED,
    (_S.DONE, PeerClosed): IGNORED,
    (_S.DONE, TimerFired): IGNORED,
    (_S.DONE, StopAsked): IGNORED,
}
