"""The catalogue of facts worth logging, counting or tracing: one frozen class each.

`adapters/telemetry` turns them into log records and metrics; tests assert facts, not text.
`SENTENCE` is a format string over the fields, `LEVEL` the log level. Whoever states a fact finds
it here, in whichever module it stands.
"""

from __future__ import annotations

from websocketmanager.domain.facts.connections import (
    AttemptFailed,
    ConnectionCreated,
    ConnectionDone,
    ConnectionRemoved,
    Degraded,
    DialStarted,
    MessageLogDiscarded,
    MessageLogFailing,
    MessageLogWorking,
    MessagesDropped,
    PlaceAwaited,
    Restored,
    RunnerCrashed,
    SessionOpened,
    TimerCrashed,
    TrialCrashed,
)
from websocketmanager.domain.facts.faces import RpcCrashed, RpcEnded, SubscriberCut
from websocketmanager.domain.facts.fact import Fact
from websocketmanager.domain.facts.process import (
    ReadinessChanged,
    RecoveryDelayed,
    RecoveryFinished,
    RecoveryStarted,
    ServiceListening,
    ServiceStarting,
    ServiceStopped,
    ServiceStopping,
)
from websocketmanager.domain.facts.publishing import (
    ApiCallEnded,
    ApiCallRetried,
    BreakerChanged,
    EventsPublished,
    HeartbeatFailed,
    LifecycleEventsDropped,
    OwnershipLost,
    PublishingResumed,
    PublishingStalled,
    PublishModeChosen,
    RecordIgnored,
    RecordSaveDelayed,
)

__all__ = [
    "ApiCallEnded",
    "ApiCallRetried",
    "AttemptFailed",
    "BreakerChanged",
    "ConnectionCreated",
    "ConnectionDone",
    "ConnectionRemoved",
    "Degraded",
    "DialStarted",
    "EventsPublished",
    "Fact",
    "HeartbeatFailed",
    "LifecycleEventsDropped",
    "MessageLogDiscarded",
    "MessageLogFailing",
    "MessageLogWorking",
    "MessagesDropped",
    "OwnershipLost",
    "PlaceAwaited",
    "PublishModeChosen",
    "PublishingResumed",
    "PublishingStalled",
    "ReadinessChanged",
    "RecordIgnored",
    "RecordSaveDelayed",
    "RecoveryDelayed",
    "RecoveryFinished",
    "RecoveryStarted",
    "Restored",
    "RpcCrashed",
    "RpcEnded",
    "RunnerCrashed",
    "ServiceListening",
    "ServiceStarting",
    "ServiceStopped",
    "ServiceStopping",
    "SessionOpened",
    "SubscriberCut",
    "TimerCrashed",
    "TrialCrashed",
]
