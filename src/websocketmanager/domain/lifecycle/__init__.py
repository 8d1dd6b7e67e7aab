"""The life of a connection: one pure state machine with its table in view.

`step()` takes a machine and an event and returns the next machine with the commands to carry
out, left to right. A change that the store must know yields `Persist` before `Announce`: a
record first, then its events. Frames never pass through here.

Each dial has a generation; events of an older generation are stale and dropped before the
table is asked.
"""

from __future__ import annotations

from websocketmanager.domain.lifecycle.machine import Machine, Policy, cause_of
from websocketmanager.domain.lifecycle.table import (
    IGNORED,
    ILLEGAL,
    TABLE,
    IllegalEvent,
    Rule,
    step,
)
from websocketmanager.domain.lifecycle.words import (
    AbandonDial,
    Abort,
    Announce,
    Close,
    Command,
    Degrade,
    Dial,
    DialFailed,
    Dialled,
    DialSuccessor,
    EndReason,
    EndSession,
    Event,
    EventName,
    Finish,
    Lost,
    OpenSession,
    PeerClosed,
    Persist,
    Promote,
    Retire,
    RotationAsked,
    Started,
    StartTimer,
    State,
    StopAsked,
    SuccessorFailed,
    SuccessorReady,
    Timer,
    TimerFired,
)

__all__ = [
    "IGNORED",
    "ILLEGAL",
    "TABLE",
    "AbandonDial",
    "Abort",
    "Announce",
    "Close",
    "Command",
    "Degrade",
    "Dial",
    "DialFailed",
    "DialSuccessor",
    "Dialled",
    "EndReason",
    "EndSession",
    "Event",
    "EventName",
    "Finish",
    "IllegalEvent",
    "Lost",
    "Machine",
    "OpenSession",
    "PeerClosed",
    "Persist",
    "Policy",
    "Promote",
    "Retire",
    "RotationAsked",
    "Rule",
    "StartTimer",
    "Started",
    "State",
    "StopAsked",
    "SuccessorFailed",
    "SuccessorReady",
    "Timer",
    "TimerFired",
    "cause_of",
    "step",
]
