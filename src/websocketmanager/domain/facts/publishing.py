"""Facts of the way to the virtufin-api: events, records, calls."""

from __future__ import annotations

from dataclasses import dataclass

from websocketmanager.domain.facts.fact import Fact


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
