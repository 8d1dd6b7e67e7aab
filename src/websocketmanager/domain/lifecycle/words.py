"""The words of the lifecycle: states, timers, what can happen, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from websocketmanager.domain.failure import Failure
from websocketmanager.domain.model import Cause, Status


class State(StrEnum):
    """Where a connection is."""

    IDLE = "idle"
    DIALING = "dialing"
    OPEN = "open"
    ROTATING = "rotating"
    """Open, and a successor is being made."""
    HANDING_OVER = "handing_over"
    """The successor is ready; what the old session still has is read to its end."""
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
    ROTATE = "rotate"
    """Time to try a rotation that failed again."""


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


@dataclass(frozen=True, slots=True)
class RotationAsked:
    """The session of this generation shall be replaced. `forced`: by a caller, at once."""

    generation: int
    reason: str
    forced: bool = False


@dataclass(frozen=True, slots=True)
class SuccessorReady:
    """The successor of this generation has done its dialogue and delivers data."""

    generation: int


@dataclass(frozen=True, slots=True)
class SuccessorFailed:
    """The successor of this generation could not be made, or ended before it was ready."""

    generation: int
    failure: Failure


Event = (
    Started
    | Dialled
    | DialFailed
    | Lost
    | PeerClosed
    | TimerFired
    | StopAsked
    | RotationAsked
    | SuccessorReady
    | SuccessorFailed
)


# --- commands ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a socket as this generation."""

    generation: int
    attempt: int


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Number the socket of this generation as a new session and deliver what it reads.

    `seamless`: it continues the session before it, and nothing can be missing in between.
    """

    generation: int
    seamless: bool = False


@dataclass(frozen=True, slots=True)
class EndSession:
    """The session of this generation is over: account for it, in the stream as well."""

    generation: int
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
class DialSuccessor:
    """Open a second socket as this generation, beside the one that delivers."""

    generation: int


@dataclass(frozen=True, slots=True)
class Promote:
    """The successor of this generation is the only one now: its dialogue is enough."""

    generation: int


@dataclass(frozen=True, slots=True)
class Retire:
    """Close the socket of this generation with 1000 and read it to its end."""

    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Degrade:
    """Say that a rotation failed; it is taken back with the next session."""

    failure: Failure


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
    | DialSuccessor
    | Promote
    | Retire
    | Degrade
    | Persist
    | Announce
    | Finish
)
