"""The catalogue of facts worth logging, counting or tracing: one frozen class each.

`adapters/telemetry.py` turns them into log records and metrics; tests assert facts, not text.
`SENTENCE` is a format string over the fields, `LEVEL` the log level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Fact:
    """Base of all facts."""

    LEVEL: ClassVar[str] = "info"
    SENTENCE: ClassVar[str] = ""


# --- the process -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServiceStarting(Fact):
    """The process begins, before it is reachable."""

    SENTENCE = "websocketmanager {version} starts as {instance_id}, API at {api_address}"
    version: str
    instance_id: str
    incarnation: str
    api_address: str


@dataclass(frozen=True, slots=True)
class ServiceListening(Fact):
    """Both faces are bound."""

    SENTENCE = "listening: gRPC {grpc_address}, HTTP {http_address}"
    grpc_address: str
    http_address: str


@dataclass(frozen=True, slots=True)
class RecoveryStarted(Fact):
    """Records were read; their connections are dialled now."""

    SENTENCE = "recovery: {connections} connections to dial"
    connections: int


@dataclass(frozen=True, slots=True)
class RecoveryFinished(Fact):
    """Every recovered connection was tried, or the deadline passed."""

    SENTENCE = "recovery done in {seconds:.2f} s: {tried} tried, {remaining} still to try"
    tried: int
    remaining: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RecoveryDelayed(Fact):
    """The store cannot be read yet; recovery tries again."""

    LEVEL = "warning"
    SENTENCE = "recovery waits for the API: {problem}"
    problem: str


@dataclass(frozen=True, slots=True)
class ReadinessChanged(Fact):
    """Readiness opened or closed; `missing` says what is missing."""

    SENTENCE = "ready: {ready}, missing: {missing}"
    ready: bool
    missing: str


@dataclass(frozen=True, slots=True)
class ServiceStopping(Fact):
    """A stop was asked."""

    SENTENCE = "stopping ({reason}), at most {grace_seconds:g} s"
    reason: str
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class ServiceStopped(Fact):
    """The stop is complete; `dropped` messages could not be flushed in time."""

    SENTENCE = "stopped; {dropped} messages could not be flushed"
    dropped: int


# --- connections -------------------------------------------------------------------------


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


# --- publishing and state ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EventsPublished(Fact):
    """One publish call was answered."""

    LEVEL = "debug"
    SENTENCE = "published {count} events, {size} bytes in {seconds:.4f} s"
    count: int
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PublishingStalled(Fact):
    """The API takes no events; they wait in the buffers."""

    LEVEL = "warning"
    SENTENCE = "publishing waits for the API: {problem}"
    problem: str


@dataclass(frozen=True, slots=True)
class PublishingResumed(Fact):
    """The API takes events again."""

    SENTENCE = "publishing resumed after {seconds:.1f} s"
    seconds: float


@dataclass(frozen=True, slots=True)
class LifecycleEventsDropped(Fact):
    """The outbox overflowed or the lifecycle topic was refused."""

    LEVEL = "error"
    SENTENCE = "{count} lifecycle events dropped: {cause}"
    count: int
    cause: str


@dataclass(frozen=True, slots=True)
class RecordSaveDelayed(Fact):
    """Records wait for the API; their events wait behind them."""

    LEVEL = "warning"
    SENTENCE = "saving records waits for the API: {problem}"
    problem: str


@dataclass(frozen=True, slots=True)
class RecordIgnored(Fact):
    """A persisted value could not be used and was left untouched."""

    LEVEL = "error"
    SENTENCE = "{key} left untouched: {problem}"
    key: str
    problem: str


@dataclass(frozen=True, slots=True)
class OwnershipLost(Fact):
    """A record shows another owner or epoch: this process stops acting for it."""

    LEVEL = "error"
    SENTENCE = "connection {connection_id} belongs to another: {problem}"
    connection_id: str
    problem: str


@dataclass(frozen=True, slots=True)
class ApiCallRetried(Fact):
    """A call to the virtufin-api failed and is tried again."""

    LEVEL = "debug"
    SENTENCE = "virtufin-api {operation} failed ({problem}), attempt {attempt}"
    operation: str
    problem: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ApiCallEnded(Fact):
    """A call to the virtufin-api ended: outcome is ok or an error's class name."""

    LEVEL = "debug"
    SENTENCE = "virtufin-api {operation}: {outcome} in {seconds:.4f} s"
    operation: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class BreakerChanged(Fact):
    """The circuit breaker towards the API changed its state."""

    LEVEL = "warning"
    SENTENCE = "circuit breaker {target}: {state}"
    target: str
    state: str


@dataclass(frozen=True, slots=True)
class PublishModeChosen(Fact):
    """How events reach the API.

    By stream (PublishStream), batch (PublishEvents), unary (PublishEvent), or direct: a call.
    """

    SENTENCE = "publishing by {mode}"
    mode: str


@dataclass(frozen=True, slots=True)
class HeartbeatFailed(Fact):
    """The heartbeat record could not be written."""

    LEVEL = "warning"
    SENTENCE = "heartbeat not written: {problem}"
    problem: str


# --- faces -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RpcEnded(Fact):
    """One call of our own gRPC face was answered."""

    LEVEL = "debug"
    SENTENCE = "{method} {code} in {seconds:.4f} s"
    method: str
    code: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RpcCrashed(Fact):
    """Our own fault in a call; the caller got INTERNAL without details."""

    LEVEL = "error"
    SENTENCE = "{method} crashed: {error}"
    method: str
    error: str
    trace: str


@dataclass(frozen=True, slots=True)
class SubscriberCut(Fact):
    """The embedded API ended a subscriber that read too slowly."""

    LEVEL = "warning"
    SENTENCE = "subscriber of {topics} cut: {waiting} events waited"
    topics: str
    waiting: int
