"""Facts of the process: its start, its readiness, its stop."""

from __future__ import annotations

from dataclasses import dataclass

from websocketmanager.domain.facts.fact import Fact


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
