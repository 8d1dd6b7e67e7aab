"""Rates: right for a steady stream at once, fading after it, begun anew when time runs back."""

from __future__ import annotations

import math

import pytest

from websocketmanager.domain.rates import Rate


def steady(per_second: int, seconds: int, window: float = 10.0) -> Rate:
    rate = Rate.begin(window, 100.0)
    for second in range(1, seconds + 1):
        rate = rate.advanced(second * per_second, 100.0 + second)
    return rate


@pytest.mark.parametrize("seconds", [1, 5, 60])
def test_a_steady_stream_is_told_as_it_is_even_when_young(seconds: int) -> None:
    assert steady(50, seconds).per_second == pytest.approx(50)
    assert steady(50, seconds, window=60.0).per_second == pytest.approx(50)


def test_before_any_time_has_passed_there_is_no_rate() -> None:
    rate = Rate.begin(10.0, 100.0)
    assert rate.per_second == 0.0
    assert rate.advanced(7, 100.0).per_second == 0.0


def test_silence_fades_with_the_window() -> None:
    rate = steady(50, 600)
    assert rate.advanced(rate.count, rate.at + 10).per_second == pytest.approx(50 / math.e)
    assert rate.advanced(rate.count, rate.at + 1000).per_second == pytest.approx(0, abs=1e-9)


def test_how_often_it_looks_does_not_matter_to_a_steady_stream() -> None:
    rate = Rate.begin(10.0, 0.0).advanced(5, 0.1).advanced(2000, 40.0)
    assert rate.per_second == pytest.approx(50, rel=0.01)


def test_a_clock_that_runs_back_begins_anew() -> None:
    rate = steady(50, 20).advanced(1000, 90.0)
    assert rate.per_second == 0.0
    assert rate.advanced(1030, 91.0).per_second == pytest.approx(30)
