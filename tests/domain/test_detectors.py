"""Silence is judged by each limit alone, to the second, and never while it is normal."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.detectors import (
    Judgement,
    Signs,
    SilenceLimits,
    end_of_quiet,
    judge_silence,
)
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.options import QuietWindow
from websocketmanager.domain.quiet import QuietWindows

ALL = SilenceLimits(read_idle_seconds=10.0, first_data_seconds=20.0, data_age_seconds=30.0)
OPENED = Signs(opened_at=100.0, read_at=100.0)


def judged(
    limits: SilenceLimits, signs: Signs, now: float, *, quiet: bool = False
) -> FailureKind | float | None:
    """Returns the kind of failure, or else when to look again."""
    judgement = judge_silence(limits, signs, now=now, quiet=quiet)
    assert judgement.failure is None or judgement.look_again_at is None
    return judgement.failure.kind if judgement.failure else judgement.look_again_at


@pytest.mark.parametrize(
    ("limits", "signs", "deadline", "kind"),
    [
        (SilenceLimits(read_idle_seconds=10.0), OPENED, 110.0, FailureKind.READ_IDLE),
        (SilenceLimits(first_data_seconds=10.0), OPENED, 110.0, FailureKind.FIRST_DATA_MISSING),
        # What is read and no data does not help.
        (
            SilenceLimits(first_data_seconds=10.0),
            Signs(100.0, read_at=109.0),
            110.0,
            FailureKind.FIRST_DATA_MISSING,
        ),
        (
            SilenceLimits(data_age_seconds=10.0),
            Signs(100.0, read_at=125.0, data_at=120.0),
            130.0,
            FailureKind.DATA_STALE,
        ),
        # Data that came keeps the reader from being idle, and the other way round not.
        (
            SilenceLimits(read_idle_seconds=10.0, data_age_seconds=30.0),
            Signs(100.0, read_at=125.0, data_at=100.0),
            130.0,
            FailureKind.DATA_STALE,
        ),
    ],
)
def test_each_limit_is_kept_to_the_second(
    limits: SilenceLimits, signs: Signs, deadline: float, kind: FailureKind
) -> None:
    assert judged(limits, signs, deadline - 0.001) == deadline
    assert judged(limits, signs, deadline) is kind
    assert judged(limits, signs, deadline + 1000.0) is kind


def test_of_several_limits_the_first_that_was_exceeded_is_named() -> None:
    assert judged(ALL, OPENED, 109.0) == 110.0
    assert judged(ALL, OPENED, 500.0) is FailureKind.READ_IDLE
    late_reader = Signs(100.0, read_at=115.0)
    assert judged(ALL, late_reader, 119.0) == 120.0
    assert judged(ALL, late_reader, 120.0) is FailureKind.FIRST_DATA_MISSING
    # Once data came, the limit of the first has no say.
    assert judged(ALL, Signs(100.0, read_at=145.0, data_at=119.0), 148.0) == 149.0


def test_the_sentence_names_the_limit() -> None:
    judgement = judge_silence(
        SilenceLimits(data_age_seconds=2.5), Signs(0.0, 0.0, data_at=0.0), now=3.0, quiet=False
    )
    assert judgement.failure is not None
    assert judgement.failure.message == "the last data is older than 2.5 s"


def test_without_limits_nothing_is_judged() -> None:
    assert not SilenceLimits().wanted
    assert judge_silence(SilenceLimits(), OPENED, now=1e9, quiet=False) == Judgement()
    for limits in (SilenceLimits(1.0), SilenceLimits(0.0, 1.0), SilenceLimits(0.0, 0.0, 1.0)):
        assert limits.wanted


def test_the_age_of_data_is_judged_although_the_first_may_take_for_ever() -> None:
    limits = SilenceLimits(data_age_seconds=30.0)
    assert judged(limits, OPENED, 100.0) == 130.0
    assert judged(limits, OPENED, 130.0) == 160.0, "it must look again, for data may have come"
    assert judged(limits, Signs(100.0, 140.0, data_at=140.0), 160.0) == 170.0


def test_the_first_data_alone_ends_its_own_watch() -> None:
    heard = Signs(100.0, 101.0, data_at=101.0)
    assert judged(SilenceLimits(first_data_seconds=30.0), heard, 1e6) is None


def test_quiet_silences_the_data_detectors_and_not_the_reader() -> None:
    quiet = Signs(100.0, read_at=100.0, quiet_at=5000.0)
    data = SilenceLimits(first_data_seconds=20.0, data_age_seconds=30.0)
    again = judged(data, quiet, 5000.0, quiet=True)
    assert isinstance(again, float)
    assert 5000.0 < again <= 5020.0
    assert judged(ALL, quiet, 5000.0, quiet=True) is FailureKind.READ_IDLE


def test_silence_counts_anew_from_the_end_of_quiet() -> None:
    data = SilenceLimits(data_age_seconds=30.0)
    signs = Signs(100.0, read_at=100.0, data_at=100.0, quiet_at=5000.0)
    assert judged(data, signs, 5001.0) == 5030.0
    assert judged(data, signs, 5030.0) is FailureKind.DATA_STALE
    # Data from after the end counts as ever.
    assert judged(data, Signs(100.0, 5010.0, data_at=5010.0, quiet_at=5000.0), 5030.0) == 5040.0


_seconds = st.floats(0.0, 1000.0)
_limits = st.just(0.0) | st.floats(0.01, 1000.0)


@given(_limits, _limits, _limits, st.none() | _seconds, _seconds, st.booleans())
def test_a_look_is_never_set_to_the_past(
    read_idle: float, first: float, age: float, data_at: float | None, now: float, quiet: bool
) -> None:
    limits = SilenceLimits(read_idle, first, age)
    judgement = judge_silence(limits, Signs(0.0, 0.0, data_at), now=now, quiet=quiet)
    if judgement.look_again_at is not None:
        assert judgement.look_again_at > now
    if judgement.failure is not None:
        assert judgement.failure.kind in {
            FailureKind.READ_IDLE,
            FailureKind.FIRST_DATA_MISSING,
            FailureKind.DATA_STALE,
        }
        assert not (quiet and judgement.failure.kind is not FailureKind.READ_IDLE)


# --- the end of quiet -----------------------------------------------------------------------------

#: A Tuesday.
NOON = datetime(2023, 11, 14, 12, 0, tzinfo=UTC).timestamp()
LUNCH = QuietWindows([QuietWindow((0, 1, 2, 3, 4, 5, 6), "12:00", "12:30")])


def test_within_quiet_its_end_is_now() -> None:
    assert end_of_quiet(LUNCH.covers, since=NOON - 3600, now=NOON + 61.5) == NOON + 61.5


def test_the_end_of_quiet_is_found_to_the_second() -> None:
    for late in (0.0, 0.1, 59.9, 60.0, 3599.0):
        now = NOON + 1800 + late
        assert end_of_quiet(LUNCH.covers, since=NOON - 7200, now=now) == NOON + 1800


def test_a_quiet_time_between_two_looks_is_found() -> None:
    moment = QuietWindows([QuietWindow((1,), "12:07", "12:08")])
    assert end_of_quiet(moment.covers, since=NOON, now=NOON + 3600) == NOON + 480


def test_quiet_that_ended_before_is_no_news() -> None:
    assert end_of_quiet(LUNCH.covers, since=NOON + 1800, now=NOON + 3600) is None
    assert end_of_quiet(LUNCH.covers, since=NOON - 3600, now=NOON - 0.001) is None
