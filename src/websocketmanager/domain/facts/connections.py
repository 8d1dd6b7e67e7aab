"""Facts of connections: what becomes of one, and of what it receives."""

from __future__ import annotations

from dataclasses import dataclass

from websocketmanager.domain.facts.fact import Fact


@dataclass(frozen=True, slots=True)
class ConnectionCreated(Fact):
    """A record was written for a new connection."""

    SENTENCE = "connection {connection_id} created for {url}"
    connection_id: str
    url: str


@dataclass(frozen=True, slots=True)
class ConnectionRemoved(Fact):
    """A record was deleted."""

    SENTENCE = "connection {connection_id} removed: {reason}"
    connection_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class DialStarted(Fact):
    """One attempt begins."""

    LEVEL = "debug"
    SENTENCE = "connection {connection_id} dials {url} (attempt {attempt})"
    connection_id: str
    url: str
    attempt: int


@dataclass(frozen=True, slots=True)
class PlaceAwaited(Fact):
    """A connection has waited for seconds for one of the places of its host or credential."""

    SENTENCE = (
        "connection {connection_id} waits for a place: the {places} of its {kind} are taken, "
        "{waiting} wait"
    )
    connection_id: str
    kind: str
    places: int
    waiting: int


@dataclass(frozen=True, slots=True)
class SessionOpened(Fact):
    """A socket is open."""

    SENTENCE = "connection {connection_id} connected: session {session} at {address}"
    connection_id: str
    session: int
    address: str


@dataclass(frozen=True, slots=True)
class AttemptFailed(Fact):
    """A dial failed or a session ended unasked."""

    LEVEL = "warning"
    SENTENCE = "connection {connection_id} {error_type}: {message}; {advice}"
    connection_id: str
    error_type: str
    message: str
    advice: str


@dataclass(frozen=True, slots=True)
class ConnectionDone(Fact):
    """A connection ended and is not dialled again."""

    SENTENCE = "connection {connection_id} disconnected: {reason}"
    connection_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Degraded(Fact):
    """A connection is open but does not deliver as promised."""

    LEVEL = "warning"
    SENTENCE = "connection {connection_id} degraded ({cause}): {detail}"
    connection_id: str
    cause: str
    detail: str


@dataclass(frozen=True, slots=True)
class Restored(Fact):
    """A degraded connection delivers again."""

    SENTENCE = "connection {connection_id} no longer degraded ({cause})"
    connection_id: str
    cause: str


@dataclass(frozen=True, slots=True)
class MessagesDropped(Fact):
    """Messages were given up, counted per cause."""

    LEVEL = "warning"
    SENTENCE = "connection {connection_id} dropped {count} messages: {cause}"
    connection_id: str
    count: int
    cause: str


@dataclass(frozen=True, slots=True)
class MessageLogFailing(Fact):
    """The log on the local disk takes nothing; what is for it waits."""

    LEVEL = "error"
    SENTENCE = "message log {path}: {problem}; it is tried again"
    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class MessageLogWorking(Fact):
    """The log on the local disk works again."""

    SENTENCE = "message log {path} works again"
    path: str


@dataclass(frozen=True, slots=True)
class MessageLogDiscarded(Fact):
    """The log held messages of a connection that this process does not have."""

    LEVEL = "error"
    SENTENCE = "connection {connection_id} is not of this process: {count} logged messages removed"
    connection_id: str
    count: int


@dataclass(frozen=True, slots=True)
class RunnerCrashed(Fact):
    """Our own fault in a connection's loop; it is started again."""

    LEVEL = "error"
    SENTENCE = "connection {connection_id}: internal fault {error}, started again"
    connection_id: str
    error: str
    trace: str


@dataclass(frozen=True, slots=True)
class TrialCrashed(Fact):
    """Our own fault in a test of a target; its caller is told that a step failed."""

    LEVEL = "error"
    SENTENCE = "test of a target: internal fault {error}"
    error: str
    trace: str


@dataclass(frozen=True, slots=True)
class TimerCrashed(Fact):
    """Our own fault in a timer's callback; the others go on."""

    LEVEL = "error"
    SENTENCE = "internal fault in a timer: {error}"
    error: str
