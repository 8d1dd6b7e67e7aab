"""Counts and rates of one connection."""

from __future__ import annotations

import pytest

from websocketmanager.domain.rates import Rate
from websocketmanager.service.meter import Meter


def test_counts_add_up() -> None:
    meter = Meter(100.0)
    meter.count(3, 600, 100.5)
    meter.count(1, 0, 100.75)

    assert (meter.received, meter.received_bytes, meter.last_message_at) == (4, 600, 100.75)


def test_there_was_no_message_before_the_first() -> None:
    assert Meter(100.0).last_message_at is None


def test_rates_follow_a_steady_stream() -> None:
    meter = Meter(0.0)
    for tenth in range(1, 6001):
        meter.count(5, 1_000, tenth / 10)
    meter.look(600.0)

    assert meter.messages_per_second == pytest.approx((50, 50), rel=0.02)
    assert meter.bytes_per_second == pytest.approx((10_000, 10_000), rel=0.02)


def test_rates_fall_when_nothing_comes() -> None:
    meter = Meter(0.0)
    for tenth in range(1, 601):
        meter.count(5, 1_000, tenth / 10)
    before = meter.messages_per_second
    meter.look(90.0)

    short, long = meter.messages_per_second
    assert short < before[0] / 10
    assert short < long < before[1]


def test_a_clock_that_jumps_back_does_no_harm() -> None:
    meter = Meter(1_000.0)
    meter.count(1, 1, 1_001.0)
    meter.count(1, 1, 5.0)
    meter.look(6.0)

    assert all(rate >= 0.0 for rate in meter.messages_per_second)
    assert meter.received == 2


@pytest.mark.parametrize(
    "idle",
    [(), (100.5,), (103.0, 160.0), (103.0, 50.0), (40.0,), (40.0, 41.0, 20.0, 30.0)],
    ids=lambda times: "-".join(map(str, times)) or "none",
)
def test_rates_are_those_of_someone_who_looked_from_the_beginning(idle: tuple[float, ...]) -> None:
    meter = Meter(100.0)
    wanted = Rate.begin(10.0, 100.0)
    for at in idle:
        meter.look(at)
        wanted = wanted.advanced(0, at)
        assert meter.messages_per_second[0] == wanted.per_second == 0.0
    now = idle[-1] if idle else 100.0
    for number in range(1, 20):
        meter.count(5, 100, now)
        now += 1.5
        meter.look(now)
        wanted = wanted.advanced(5 * number, now)
        assert meter.messages_per_second[0] == wanted.per_second > 0.0
