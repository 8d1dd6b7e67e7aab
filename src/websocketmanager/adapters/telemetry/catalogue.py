"""The table of metrics: which fact moves which instrument. Data only.

A fact without a row is logged and not measured; it stands in LOG_ONLY, so that a test can
prove that none was forgotten. `docs/operations.md` lists the same names for operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

from websocketmanager.domain import facts
from websocketmanager.domain.facts import Fact

Kind = Literal["counter", "gauge", "histogram"]
#: Reads a fact's number. The fact's class is fixed by the row that holds the reader.
Reader = Callable[[Any], float]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG_SECONDS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)
_BATCH = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


def _one(_fact: Fact) -> float:
    return 1


def _zero(_fact: Fact) -> float:
    return 0


def _breaker_state(fact: facts.BreakerChanged) -> float:
    """Returns 0 for closed, 1 for half-open, 2 for open, however the library spells them."""
    state = fact.state.lower()
    return 1 if state.startswith("half") else 2 if state.startswith("open") else 0


@dataclass(frozen=True, slots=True)
class Metric:
    """One instrument and how a fact moves it.

    Attributes:
        name: without the prefix `websocketmanager.`.
        unit: in UCUM (https://ucum.org); an annotation in braces names what is counted.
        value: what to add, set or record.
        labels: fields of the fact, each from a small closed set; never an id.
        bounds: upper bounds of a histogram's buckets.
    """

    kind: Kind
    name: str
    unit: str
    description: str
    value: Reader = _one
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


def _counter(
    name: str, unit: str, description: str, *labels: str, value: Reader = _one
) -> tuple[Metric, ...]:
    return (Metric("counter", name, unit, description, value, labels),)


def _gauge(
    name: str, unit: str, description: str, *labels: str, value: Reader
) -> tuple[Metric, ...]:
    return (Metric("gauge", name, unit, description, value, labels),)


def _seconds(
    name: str, description: str, *labels: str, bounds: tuple[float, ...] = _SECONDS
) -> tuple[Metric, ...]:
    return (Metric("histogram", name, "s", description, attrgetter("seconds"), labels, bounds),)


_STALLED = "Whether events wait because the API takes none: 1 or 0"
_LOG_FAILING = "Whether the log on the local disk takes nothing: 1 or 0"

METRICS: Mapping[type[Fact], tuple[Metric, ...]] = {
    facts.RecoveryFinished: (
        *_seconds("recovery.duration", "Time until recovery was done", bounds=_LONG_SECONDS),
        *_gauge(
            "recovery.remaining",
            "{connection}",
            "Recovered connections that were not tried before the deadline",
            value=attrgetter("remaining"),
        ),
    ),
    facts.RecoveryDelayed: _counter(
        "recovery.delays", "{attempt}", "Attempts to read the records that failed"
    ),
    facts.ConnectionCreated: _counter(
        "connections.created", "{connection}", "Connections whose first record was written"
    ),
    facts.ConnectionRemoved: _counter(
        "connections.removed", "{connection}", "Connections whose record was deleted"
    ),
    facts.ConnectionDone: _counter(
        "connections.ended", "{connection}", "Connections that ended and are not dialled again"
    ),
    facts.DialStarted: _counter("dials", "{dial}", "Attempts to open a socket"),
    facts.PlaceAwaited: _counter(
        "place.waits", "{wait}", "Waits of more than 5 s before a dial", "kind"
    ),
    facts.SessionOpened: _counter("sessions.opened", "{session}", "Sockets that were opened"),
    facts.AttemptFailed: _counter(
        "failures", "{failure}", "Dials that failed and sessions that ended unasked", "error_type"
    ),
    facts.Degraded: _counter(
        "degradations", "{degradation}", "Times an open connection stopped delivering", "cause"
    ),
    facts.Restored: _counter(
        "restorations", "{restoration}", "Times a degraded connection delivered again", "cause"
    ),
    facts.MessagesDropped: _counter(
        "messages.dropped",
        "{message}",
        "Received messages that were given up",
        "cause",
        value=attrgetter("count"),
    ),
    facts.MessageLogFailing: (
        *_gauge("message_log.failing", "", _LOG_FAILING, value=_one),
        *_counter("message_log.failures", "{failure}", "Times the log on disk stopped working"),
    ),
    facts.MessageLogWorking: _gauge("message_log.failing", "", _LOG_FAILING, value=_zero),
    facts.MessageLogDiscarded: _counter(
        "message_log.discarded",
        "{message}",
        "Logged messages of connections that this process does not have",
        value=attrgetter("count"),
    ),
    facts.RunnerCrashed: _counter(
        "runner.crashes", "{crash}", "Internal faults in a connection's loop"
    ),
    facts.TrialCrashed: _counter("trial.crashes", "{crash}", "Internal faults in tests of targets"),
    facts.TimerCrashed: _counter("timer.crashes", "{crash}", "Internal faults in a timer"),
    facts.OwnershipLost: _counter(
        "ownership.lost", "{connection}", "Connections given up because another owns them"
    ),
    facts.EventsPublished: (
        *_counter(
            "events.published", "{event}", "Events that the API took", value=attrgetter("count")
        ),
        *_counter("events.published.size", "By", "Bytes of data in them", value=attrgetter("size")),
        Metric(
            "histogram",
            "publish.batch.size",
            "{event}",
            "Events in one publish call",
            attrgetter("count"),
            bounds=_BATCH,
        ),
    ),
    facts.PublishingStalled: (
        *_gauge("publishing.stalled", "", _STALLED, value=_one),
        *_counter("publishing.stalls", "{stall}", "Times publishing had to wait for the API"),
    ),
    facts.PublishingResumed: (
        *_gauge("publishing.stalled", "", _STALLED, value=_zero),
        *_seconds("publishing.stall.duration", "How long publishing waited", bounds=_LONG_SECONDS),
    ),
    facts.LifecycleEventsDropped: _counter(
        "lifecycle.events.dropped",
        "{event}",
        "Lifecycle events that were given up",
        "cause",
        value=attrgetter("count"),
    ),
    facts.RecordSaveDelayed: _counter(
        "record.saves.delayed", "{delay}", "Times saving records had to wait for the API"
    ),
    facts.RecordIgnored: _counter(
        "records.ignored", "{record}", "Persisted values that could not be used"
    ),
    facts.HeartbeatFailed: _counter(
        "heartbeats.failed", "{heartbeat}", "Heartbeats that could not be written"
    ),
    facts.ApiCallRetried: _counter(
        "api.retries", "{attempt}", "Repeated calls to the virtufin-api", "operation"
    ),
    facts.ApiCallEnded: _seconds(
        "api.call.duration", "Calls to the virtufin-api", "operation", "outcome"
    ),
    facts.BreakerChanged: _gauge(
        "api.breaker.state",
        "",
        "Circuit breaker: 0 closed, 1 half-open, 2 open",
        "target",
        value=_breaker_state,
    ),
    facts.RpcEnded: _seconds("rpc.server.duration", "Calls of our gRPC face", "method", "code"),
    facts.RpcCrashed: _counter(
        "rpc.server.crashes", "{crash}", "Calls that ended with an internal fault", "method"
    ),
    facts.SubscriberCut: _counter(
        "embedded.subscribers.cut", "{subscriber}", "Subscribers of the embedded API cut as slow"
    ),
}

LOG_ONLY: frozenset[type[Fact]] = frozenset(
    {
        facts.ReadinessChanged,  # app/gauges.py shows readiness itself, whenever it is read
        facts.ServiceStarting,
        facts.ServiceListening,
        facts.ServiceStopping,
        facts.ServiceStopped,
        facts.RecoveryStarted,
        facts.PublishModeChosen,
    }
)
