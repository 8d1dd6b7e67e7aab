"""What follows from failures: total classification, and delays within their bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.retry import (
    MAX_RETRY_AFTER_SECONDS,
    MAX_UNKNOWN_ATTEMPTS,
    Advice,
    BackoffPolicy,
    classify,
    is_orderly,
)

failures = st.builds(
    Failure,
    st.sampled_from(FailureKind),
    st.text(),
    close_code=st.integers(0, 4999),
    http_status=st.integers(0, 599),
    retry_after_seconds=st.none() | st.floats(0, 1e9),
)


@given(failures)
def test_every_failure_has_a_class(failure: Failure) -> None:
    assert classify(failure) in Advice


def closed(code: int) -> Failure:
    return Failure(FailureKind.PEER_CLOSED, "", close_code=code)


def answered(status: int, retry_after: float | None = None) -> Failure:
    return Failure(
        FailureKind.HANDSHAKE_REJECTED, "", http_status=status, retry_after_seconds=retry_after
    )


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        *((closed(code), Advice.AGAIN) for code in (1000, 1001, 1005, 1006, 1011, 1012, 1014)),
        *(
            (closed(code), Advice.LATER)
            for code in (1002, 1003, 1007, 1008, 1009, 1013, 4000, 4999)
        ),
        *((closed(code), Advice.NEVER) for code in (3000, 3003)),
        *((answered(status), Advice.AGAIN) for status in (408, 500, 502, 503, 504, 200)),
        *((answered(status), Advice.LATER) for status in (404, 418, 429)),
        *((answered(status), Advice.NEVER) for status in (301, 302, 400, 401, 403, 410, 426)),
        (answered(503, 7.0), Advice.LATER),
        (Failure(FailureKind.DNS_FAILED, ""), Advice.AGAIN),
        (Failure(FailureKind.PROXY_FAILED, ""), Advice.AGAIN),
        (Failure(FailureKind.ADDRESS_REFUSED, ""), Advice.LATER),
        (Failure(FailureKind.UNKNOWN, ""), Advice.LATER),
        (Failure(FailureKind.MESSAGE_TOO_BIG, ""), Advice.LATER),
    ],
)
def test_classes(failure: Failure, advice: Advice) -> None:
    assert classify(failure) is advice


@pytest.mark.parametrize(
    ("code", "orderly"), [(1000, True), (1001, True), (1006, False), (0, False)]
)
def test_orderly_closes(code: int, orderly: bool) -> None:
    assert is_orderly(closed(code)) is orderly
    assert not is_orderly(Failure(FailureKind.CONNECTION_LOST, "", close_code=code))


POLICY = BackoffPolicy(base_seconds=1.0, max_seconds=30.0)
LOST = Failure(FailureKind.CONNECTION_LOST, "")


@pytest.mark.parametrize(
    ("attempt", "dice", "delay"),
    [
        (1, 0.0, 0.0),
        (1, 0.5, 0.5),
        (2, 0.5, 1.0),
        (3, 0.5, 2.0),
        (6, 0.5, 15.0),
        (10_000, 0.5, 15.0),
    ],
)
def test_full_jitter_below_a_capped_exponential(attempt: int, dice: float, delay: float) -> None:
    assert POLICY.delay(LOST, attempt=attempt, dice=dice) == delay


def test_later_is_the_upper_half_of_the_cap() -> None:
    assert POLICY.delay(closed(1013), attempt=1, dice=0.0) == 15.0
    assert POLICY.delay(closed(1013), attempt=1, dice=0.5) == 22.5


def test_retry_after_is_honoured_and_spread() -> None:
    assert POLICY.delay(answered(429, 120.0), attempt=1, dice=0.0) == 120.0
    assert POLICY.delay(answered(429, 120.0), attempt=1, dice=0.5) == 126.0
    assert POLICY.delay(answered(429, 0.0), attempt=1, dice=0.0) == 15.0


@given(failures, st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_delays_are_bounded(failure: Failure, attempt: int, dice: float) -> None:
    delay = POLICY.delay(failure, attempt=attempt, dice=dice)
    assert 0.0 <= delay <= max(30.0, MAX_RETRY_AFTER_SECONDS * 1.1)


@pytest.mark.parametrize(
    ("failure", "max_attempts", "attempt", "exhausted"),
    [
        (LOST, 0, 10**6, False),
        (LOST, 5, 5, False),
        (LOST, 5, 6, True),
        (Failure(FailureKind.UNKNOWN, ""), 0, MAX_UNKNOWN_ATTEMPTS, False),
        (Failure(FailureKind.UNKNOWN, ""), 0, MAX_UNKNOWN_ATTEMPTS + 1, True),
    ],
)
def test_exhaustion(failure: Failure, max_attempts: int, attempt: int, exhausted: bool) -> None:
    policy = BackoffPolicy(max_attempts=max_attempts)
    assert policy.exhausted(failure, attempt=attempt) is exhausted
