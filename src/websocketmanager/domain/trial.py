"""What a test of a target tells: its steps in one order, and which of them a failure is of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.plan import Plan

#: Characters of a detail or an error message: parts of both are a server's words.
MAX_TEXT = 500


class Phase(StrEnum):
    """What opening a connection consists of, in its order."""

    RESOLVE = "resolve"
    POLICY = "policy"
    PROXY = "proxy"
    TCP = "tcp"
    TLS = "tls"
    HANDSHAKE = "handshake"
    DIALOGUE = "dialogue"
    SUBSCRIPTIONS = "subscriptions"
    FIRST_DATA = "first_data"


class Outcome(StrEnum):
    """How a step went; skipped: it was not needed, or one before it failed."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class TrialStep:
    """How one phase went.

    Attributes:
        phase: which.
        outcome: how.
        seconds: since the step before it.
        detail: what was found, or why it was skipped.
        error_type: of a failure, from the closed vocabulary; else empty.
        error_message: likewise.
    """

    phase: Phase
    outcome: Outcome
    seconds: float = 0.0
    detail: str = ""
    error_type: str = ""
    error_message: str = ""


_ORDER = tuple(Phase)
#: Failures that are of one phase, whatever was under way when they were found out.
_OWN_PHASES = {
    FailureKind.SECRET_MISSING: Phase.RESOLVE,
    FailureKind.DNS_FAILED: Phase.RESOLVE,
    FailureKind.ADDRESS_REFUSED: Phase.POLICY,
    FailureKind.PROXY_FAILED: Phase.PROXY,
    FailureKind.TLS_FAILED: Phase.TLS,
}
_NOT_NEEDED = {
    Phase.RESOLVE: "the proxy resolves the name",
    Phase.PROXY: "none is asked for",
    Phase.TCP: "the proxy opens it",
    Phase.TLS: "the URL is ws://",
    Phase.DIALOGUE: "there is none",
    Phase.SUBSCRIPTIONS: "there are none",
}


def needed_phases(plan: Plan) -> frozenset[Phase]:
    """Returns the phases that a target with this plan has."""
    handshake = plan.spec.options.handshake
    conditions = {
        Phase.RESOLVE: not handshake.proxy.startswith("socks5h:"),
        Phase.PROXY: bool(handshake.proxy),
        Phase.TCP: not handshake.proxy,
        Phase.TLS: plan.spec.url[:4].lower() == "wss:",
        Phase.DIALOGUE: bool(plan.steps),
        Phase.SUBSCRIPTIONS: bool(plan.subscriptions),
    }
    return frozenset(phase for phase in Phase if conditions.get(phase, True))


class Course:
    """The steps of one trial: each phase is told once, in order, with those left out before it.

    Args:
        started_at: monotonic seconds.
        needed: the phases that this target has.
    """

    def __init__(self, started_at: float, needed: Collection[Phase]) -> None:
        self._at = started_at
        self._needed = frozenset(needed)
        self._told = 0

    @property
    def ended(self) -> bool:
        """Whether every phase was told."""
        return self._told == len(_ORDER)

    def passed(self, phase: Phase, now: float, detail: str = "") -> list[TrialStep]:
        """Returns the step, behind those that were left out; nothing when it was told before.

        A dial goes through a phase again when it tries another address.
        """
        return self._to(TrialStep(phase, Outcome.OK, detail=detail), now)

    def skipped(self, phase: Phase, now: float, detail: str) -> list[TrialStep]:
        """Returns the step as one that was not needed after all."""
        return self._to(TrialStep(phase, Outcome.SKIPPED, detail=detail), now)

    def failed(self, failure: Failure, now: float) -> list[TrialStep]:
        """Returns the step that the failure is of, and all that are left as skipped.

        That is the failure's own phase, unless that has passed, or the one that is under way.
        """
        own = _OWN_PHASES.get(failure.kind)
        if own is None or _ORDER.index(own) < self._told:
            own = next(one for one in _ORDER[self._told :] if one in self._needed)
        words = [failure.message, failure.close_reason]
        return self.failed_at(own, failure.kind, ": ".join(filter(None, words)), now)

    def failed_at(
        self, phase: Phase, error_type: str, error_message: str, now: float
    ) -> list[TrialStep]:
        """Returns the failed step of a phase that is left, and all behind it as skipped."""
        step = TrialStep(
            phase,
            Outcome.FAILED,
            error_type=str(error_type),
            error_message=_clipped(error_message),
        )
        steps = self._to(step, now)
        steps += [
            TrialStep(one, Outcome.SKIPPED, detail=f"{phase} failed")
            for one in _ORDER[self._told :]
        ]
        self._told = len(_ORDER)
        return steps

    def _to(self, step: TrialStep, now: float) -> list[TrialStep]:
        place = _ORDER.index(step.phase)
        if place < self._told:
            return []
        steps = [
            TrialStep(one, Outcome.SKIPPED, detail=self._why_left_out(one))
            for one in _ORDER[self._told : place]
        ]
        self._told = place + 1
        seconds, self._at = now - self._at, now
        steps.append(replace(step, seconds=seconds, detail=_clipped(step.detail)))
        return steps

    def _why_left_out(self, phase: Phase) -> str:
        return "not reached" if phase in self._needed else _NOT_NEEDED.get(phase, "not needed")


def _clipped(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
