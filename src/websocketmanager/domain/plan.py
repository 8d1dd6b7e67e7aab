"""A connection's options made ready: templates parsed, patterns compiled, milliseconds turned.

Made once for all connections with the same options; what it says is evaluated anew for each
attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from weakref import WeakKeyDictionary

from websocketmanager.domain import template
from websocketmanager.domain.detectors import SilenceLimits
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import ConnectionOptions, ConnectionSpec, Message
from websocketmanager.domain.options import ApplicationHeartbeat, Pattern, Payload, Subscription
from websocketmanager.domain.pattern import CompiledPattern, CompileRegex, compile_pattern
from websocketmanager.domain.quiet import QuietWindows
from websocketmanager.domain.retry import Advice
from websocketmanager.domain.secrets import secret_names
from websocketmanager.domain.sharing import NO_NAMES
from websocketmanager.domain.template import EvaluationContext, Template


@dataclass(frozen=True, slots=True)
class Speech:
    """One message to send."""

    kind: Kind
    text: Template | None
    binary: bytes

    def said(self, context: EvaluationContext) -> bytes:
        """Returns the bytes to send now.

        Raises:
            EvaluationFailed: a secret lacks or the result is too large.
        """
        return self.binary if self.text is None else self.text.evaluate(context).encode()


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of the opening dialogue; a timeout of zero is the service's default."""

    send: Speech | None
    expect: CompiledPattern | None
    timeout_seconds: float
    forward: bool


@dataclass(frozen=True, slots=True)
class PlannedRefusal:
    """How the server says no, and what follows."""

    pattern: CompiledPattern
    advice: Advice
    name: str


@dataclass(frozen=True, slots=True)
class PlannedSubscription:
    """One subscription of the desired set."""

    key: str
    subscribe: Speech
    unsubscribe: Speech | None
    acknowledge: CompiledPattern | None
    acknowledge_source: Pattern | None = None
    """What `acknowledge` was made of: two subscriptions may wait for the same."""


@dataclass(frozen=True, slots=True)
class PlannedHeartbeat:
    """The application's own ping."""

    send: Speech
    expect: CompiledPattern | None
    interval_seconds: float
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a session of one connection must do beside reading."""

    spec: ConnectionSpec
    secrets: frozenset[str]
    headers: tuple[tuple[str, Template], ...]
    tls: Mapping[str, Template]
    steps: tuple[PlannedStep, ...]
    refusals: tuple[PlannedRefusal, ...]
    subscriptions: tuple[PlannedSubscription, ...]
    silence: SilenceLimits
    quiet: QuietWindows
    data: CompiledPattern | None
    heartbeat: PlannedHeartbeat | None
    notices: tuple[CompiledPattern, ...] = ()
    max_age_seconds: float = 0.0
    age_jitter_seconds: float = 0.0
    send_spacing_seconds: float = 0.0
    exclusive: str = field(default="", repr=False)

    def is_heartbeat_reply(self, message: Message) -> bool:
        """Whether a message is the server's reply to the application heartbeat."""
        beat = self.heartbeat
        return beat is not None and beat.expect is not None and beat.expect.matches(message)

    @property
    def answers_heartbeat(self) -> bool:
        """Whether a message may be the server's reply to the application heartbeat."""
        return self.heartbeat is not None and self.heartbeat.expect is not None


#: Stands for the connection in a plan that is any connection's.
_NOBODY: Final = ConnectionSpec("")
#: What was made of options, and with what, as long as a connection has them: both may hold
#: credentials. No plan in here refers to its options: it would keep them.
_PLANS: Final[WeakKeyDictionary[ConnectionOptions, tuple[CompileRegex, Plan]]] = WeakKeyDictionary()


def compile_plan(spec: ConnectionSpec, compile_regex: CompileRegex) -> Plan:
    """Returns the plan of validated options.

    Raises:
        ValueError: they are not valid after all (a record of another version).
    """
    made_with, plan = _PLANS.get(spec.options, (None, None))
    if plan is None or made_with is not compile_regex:
        plan = _plan_of(spec.options, compile_regex)
        _PLANS[spec.options] = compile_regex, plan
    return replace(plan, spec=spec, secrets=secret_names(spec) or NO_NAMES)


def _plan_of(options: ConnectionOptions, compile_regex: CompileRegex) -> Plan:
    """Returns the plan of a connection with these options, whatever else it is."""
    liveness, handshake = options.liveness, options.handshake

    def pattern(wanted: Pattern | None) -> CompiledPattern | None:
        return None if wanted is None else compile_pattern(wanted, compile_regex)

    return Plan(
        spec=_NOBODY,
        secrets=NO_NAMES,
        headers=tuple((one.name, template.parse(one.value)) for one in handshake.headers),
        tls={
            name: template.parse(getattr(handshake.tls, name))
            for name in ("ca_pem", "certificate_pem", "key_pem")
        },
        steps=tuple(
            PlannedStep(
                send=_speech(step.send),
                expect=pattern(step.expect),
                timeout_seconds=step.timeout_ms / 1000,
                forward=step.forward,
            )
            for step in options.opening.steps
        ),
        refusals=tuple(
            PlannedRefusal(compile_pattern(rule.pattern, compile_regex), rule.advice, rule.name)
            for rule in options.opening.refusals
        ),
        subscriptions=tuple(planned(one, compile_regex) for one in options.subscriptions),
        silence=SilenceLimits(
            read_idle_seconds=liveness.read_idle_ms / 1000,
            first_data_seconds=liveness.first_data_ms / 1000,
            data_age_seconds=liveness.data_age_ms / 1000,
        ),
        quiet=QuietWindows(liveness.quiet),
        data=pattern(liveness.data),
        heartbeat=_heartbeat(liveness.heartbeat, compile_regex),
        notices=tuple(compile_pattern(one, compile_regex) for one in options.rotation.notices),
        max_age_seconds=options.rotation.max_age_ms / 1000,
        age_jitter_seconds=(options.rotation.jitter_ms or options.rotation.max_age_ms / 20) / 1000,
        send_spacing_seconds=options.send_spacing_ms / 1000,
        exclusive=options.exclusive,
    )


def planned(subscription: Subscription, compile_regex: CompileRegex) -> PlannedSubscription:
    """Returns one subscription made ready. Raises ValueError as `compile_plan`."""
    acknowledge = subscription.acknowledge
    subscribe = _speech(subscription.subscribe)
    assert subscribe is not None  # noqa: S101 - a payload gives a speech
    return PlannedSubscription(
        key=subscription.key,
        subscribe=subscribe,
        unsubscribe=_speech(subscription.unsubscribe),
        acknowledge=None if acknowledge is None else compile_pattern(acknowledge, compile_regex),
        acknowledge_source=acknowledge,
    )


def _heartbeat(
    wanted: ApplicationHeartbeat | None, compile_regex: CompileRegex
) -> PlannedHeartbeat | None:
    if wanted is None:
        return None
    send = _speech(wanted.send)
    assert send is not None  # noqa: S101 - a payload gives a speech
    interval = wanted.interval_ms / 1000
    return PlannedHeartbeat(
        send=send,
        expect=None if wanted.expect is None else compile_pattern(wanted.expect, compile_regex),
        interval_seconds=interval,
        timeout_seconds=wanted.timeout_ms / 1000 or interval,
    )


def _speech(payload: Payload | None) -> Speech | None:
    if payload is None:
        return None
    if payload.binary:
        return Speech(Kind.BINARY, None, payload.binary)
    return Speech(Kind.TEXT, template.parse(payload.text), b"")
