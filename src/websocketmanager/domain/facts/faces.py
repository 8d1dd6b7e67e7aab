"""Facts of our own faces: calls answered, subscribers cut."""

from __future__ import annotations

from dataclasses import dataclass

from websocketmanager.domain.facts.fact import Fact


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
