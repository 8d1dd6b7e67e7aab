"""The course of a trial: every phase once, in order, whatever happens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.adapters.regex import compile_regex
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.model import ConnectionOptions, ConnectionSpec
from websocketmanager.domain.options import (
    HandshakeOptions,
    Opening,
    Payload,
    Step,
    Subscription,
)
from websocketmanager.domain.plan import compile_plan
from websocketmanager.domain.trial import (
    MAX_TEXT,
    Course,
    Outcome,
    Phase,
    TrialStep,
    needed_phases,
)

ALL = frozenset(Phase)
PLAIN = frozenset({Phase.RESOLVE, Phase.POLICY, Phase.TCP, Phase.HANDSHAKE, Phase.FIRST_DATA})


def shown(steps: list[TrialStep]) -> list[tuple[str, str]]:
    return [(step.phase.value, step.outcome.value) for step in steps]


def test_what_is_not_needed_is_skipped_with_the_reason() -> None:
    course = Course(10.0, PLAIN)
    assert course.passed(Phase.RESOLVE, 10.5, "a") == [
        TrialStep(Phase.RESOLVE, Outcome.OK, 0.5, "a")
    ]
    assert course.passed(Phase.POLICY, 10.5) == [TrialStep(Phase.POLICY, Outcome.OK, 0.0)]
    assert course.passed(Phase.TCP, 12.0) == [
        TrialStep(Phase.PROXY, Outcome.SKIPPED, detail="none is asked for"),
        TrialStep(Phase.TCP, Outcome.OK, 1.5),
    ]
    assert not course.ended
    assert course.passed(Phase.FIRST_DATA, 13.0)[-1] == TrialStep(Phase.FIRST_DATA, Outcome.OK, 1.0)
    assert course.ended


def test_a_phase_that_comes_again_is_not_told_again() -> None:
    course = Course(0.0, ALL)
    course.passed(Phase.TCP, 1.0)
    assert course.passed(Phase.TCP, 2.0) == []
    assert course.passed(Phase.RESOLVE, 2.0) == []
    (step,) = course.passed(Phase.TLS, 3.0)
    assert step.seconds == 2.0


@pytest.mark.parametrize(
    ("kind", "behind", "needed", "phase"),
    [
        (FailureKind.DNS_FAILED, None, ALL, Phase.RESOLVE),
        (FailureKind.SECRET_MISSING, None, ALL, Phase.RESOLVE),
        (FailureKind.SECRET_MISSING, Phase.HANDSHAKE, ALL, Phase.DIALOGUE),
        (FailureKind.ADDRESS_REFUSED, None, ALL, Phase.POLICY),
        (FailureKind.ADDRESS_REFUSED, Phase.RESOLVE, ALL, Phase.POLICY),
        (FailureKind.PROXY_FAILED, Phase.RESOLVE, ALL, Phase.PROXY),
        (FailureKind.CONNECT_REFUSED, Phase.POLICY, PLAIN, Phase.TCP),
        (FailureKind.TLS_FAILED, None, ALL, Phase.TLS),
        (FailureKind.TLS_FAILED, Phase.TCP, ALL, Phase.TLS),
        (FailureKind.TLS_FAILED, Phase.TLS, ALL, Phase.HANDSHAKE),
        (FailureKind.OPEN_TIMEOUT, None, ALL, Phase.RESOLVE),
        (FailureKind.OPEN_TIMEOUT, Phase.TCP, PLAIN, Phase.HANDSHAKE),
        (FailureKind.HANDSHAKE_REJECTED, Phase.TCP, PLAIN, Phase.HANDSHAKE),
        (FailureKind.DIALOGUE_TIMEOUT, Phase.HANDSHAKE, ALL, Phase.DIALOGUE),
        (FailureKind.PEER_CLOSED, Phase.HANDSHAKE, PLAIN, Phase.FIRST_DATA),
    ],
)
def test_a_failure_is_of_its_own_phase_or_of_the_one_under_way(
    kind: FailureKind, behind: Phase | None, needed: frozenset[Phase], phase: Phase
) -> None:
    course = Course(0.0, needed)
    told = [] if behind is None else course.passed(behind, 1.0)
    told += course.failed(Failure(kind, "why"), 2.0)
    (failed,) = [step for step in told if step.outcome is Outcome.FAILED]
    assert (failed.phase, failed.error_type, failed.error_message) == (phase, kind.value, "why")
    assert [step.phase for step in told] == list(Phase)
    assert {step.outcome for step in told[told.index(failed) + 1 :]} <= {Outcome.SKIPPED}
    assert all(step.detail == f"{phase} failed" for step in told[told.index(failed) + 1 :])


def test_a_close_reason_is_told() -> None:
    failure = Failure(FailureKind.PEER_CLOSED, "the peer closed", 1008, "bad login")
    (step, *_) = Course(0.0, ALL).failed(failure, 1.0)
    assert step.error_message == "the peer closed: bad login"


def test_texts_are_bounded() -> None:
    (step,) = Course(0.0, ALL).passed(Phase.RESOLVE, 1.0, "x" * 10_000)
    assert len(step.detail) == MAX_TEXT
    (step, *_) = Course(0.0, ALL).failed(Failure(FailureKind.UNKNOWN, "x" * 10_000), 1.0)
    assert len(step.error_message) == MAX_TEXT


@given(
    passes=st.lists(st.sampled_from(Phase)),
    needed=st.frozensets(st.sampled_from(Phase)).map(lambda some: some | {Phase.FIRST_DATA}),
    kind=st.sampled_from(FailureKind),
)
def test_every_phase_is_told_once_and_in_order(
    passes: list[Phase], needed: frozenset[Phase], kind: FailureKind
) -> None:
    course, told = Course(0.0, needed), []
    for at, phase in enumerate(passes):
        told += course.passed(phase, float(at))
    if not course.ended:
        told += course.failed(Failure(kind, "why"), 100.0)
        assert [step.outcome for step in told].count(Outcome.FAILED) == 1
    assert [step.phase for step in told] == list(Phase)
    assert sum(step.seconds for step in told) <= 100.0


@pytest.mark.parametrize(
    ("url", "options", "left_out"),
    [
        ("wss://h/", {}, {"proxy", "dialogue", "subscriptions"}),
        ("WS://h/", {}, {"proxy", "tls", "dialogue", "subscriptions"}),
        (
            "wss://h/",
            {"handshake": HandshakeOptions(proxy="http://p.test:1")},
            {"tcp", "dialogue", "subscriptions"},
        ),
        (
            "wss://h/",
            {"handshake": HandshakeOptions(proxy="socks5h://p.test:1")},
            {"resolve", "tcp", "dialogue", "subscriptions"},
        ),
        (
            "wss://h/",
            {
                "opening": Opening((Step(send=Payload("hi")),)),
                "subscriptions": (Subscription("a", Payload("+a")),),
            },
            {"proxy"},
        ),
    ],
)
def test_a_target_needs_the_phases_that_its_plan_has(
    url: str, options: dict[str, Any], left_out: set[str]
) -> None:
    plan = compile_plan(ConnectionSpec(url, options=ConnectionOptions(**options)), compile_regex)
    assert {str(phase) for phase in ALL - needed_phases(plan)} == left_out
