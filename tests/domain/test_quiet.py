"""Quiet windows: weeks, midnights, daylight saving, and faults."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.options import QuietWindow
from websocketmanager.domain.quiet import QuietWindows, quiet_window_faults

NEW_YORK = "America/New_York"
MINUTES = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in range(60)]
WINDOWS = st.builds(
    QuietWindow,
    weekdays=st.lists(st.integers(0, 6), min_size=1, max_size=7).map(tuple),
    start=st.sampled_from(MINUTES),
    end=st.sampled_from(MINUTES),
    time_zone=st.sampled_from(["UTC", NEW_YORK, "Asia/Kathmandu", "Australia/Lord_Howe"]),
)


def at(text: str, zone: str = "UTC", *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize(
    ("local", "answer"),
    [
        # 2024-06-07 is a Friday.
        ("2024-06-07T16:59:59", False),
        ("2024-06-07T17:00:00", True),
        ("2024-06-07T23:59:59", True),
        ("2024-06-08T00:00:00", True),
        ("2024-06-08T03:59:59", True),
        ("2024-06-08T04:00:00", False),
        ("2024-06-08T17:00:00", False),
        ("2024-06-06T18:00:00", False),
    ],
)
def test_over_midnight(local: str, answer: bool) -> None:
    windows = QuietWindows([QuietWindow((4,), "17:00", "04:00", NEW_YORK)])
    assert windows.covers(at(local, NEW_YORK)) is answer


def test_over_the_end_of_the_week() -> None:
    windows = QuietWindows([QuietWindow((6,), "23:00", "01:00")])
    # 2024-06-09 is a Sunday.
    readings = ["09T22:59", "09T23:00", "10T00:59", "10T01:00"]
    answers = [windows.covers(at(f"2024-06-{reading}")) for reading in readings]
    assert answers == [False, True, True, False]


def test_equal_times_are_a_whole_day() -> None:
    windows = QuietWindows([QuietWindow((5,), "12:00", "12:00")])
    readings = ["08T11:59", "08T12:00", "09T11:59", "09T12:00"]
    answers = [windows.covers(at(f"2024-06-{reading}")) for reading in readings]
    assert answers == [False, True, True, False]


def test_a_weekend_in_three_windows_has_no_hole() -> None:
    windows = QuietWindows(
        [
            QuietWindow((4,), "17:00", "00:00", NEW_YORK),
            QuietWindow((5,), "00:00", "00:00", NEW_YORK),
            QuietWindow((6,), "00:00", "18:00", NEW_YORK),
        ]
    )
    start, end = at("2024-06-07T17:00", NEW_YORK), at("2024-06-09T18:00", NEW_YORK)
    assert all(windows.covers(start + 60 * minute) for minute in range(49 * 60))
    assert not windows.covers(start - 1)
    assert not windows.covers(end)


def test_a_start_that_daylight_saving_skips() -> None:
    # On Sunday 2024-03-10 New York goes from 01:59:59 to 03:00:00.
    windows = QuietWindows([QuietWindow((6,), "02:30", "04:00", NEW_YORK)])
    before = at("2024-03-10T01:59:59", NEW_YORK)
    assert not windows.covers(before)
    assert windows.covers(before + 1)
    assert windows.covers(before + 3600)
    assert not windows.covers(before + 3601)


def test_an_hour_that_comes_twice() -> None:
    # On Sunday 2024-11-03 New York goes from 01:59:59 back to 01:00:00.
    windows = QuietWindows([QuietWindow((6,), "01:00", "01:30", NEW_YORK)])
    first, second = (at("2024-11-03T01:00", NEW_YORK, fold=fold) for fold in (0, 1))
    assert second - first == 3600
    for begin in (first, second):
        assert windows.covers(begin)
        assert windows.covers(begin + 1799)
        assert not windows.covers(begin + 1800)


def test_none_covers_nothing() -> None:
    assert not QuietWindows([]).covers(0.0)


@given(WINDOWS, st.floats(0, 4e9))
def test_as_a_slow_reading_of_the_clock(window: QuietWindow, moment: float) -> None:
    local = datetime.fromtimestamp(moment, ZoneInfo(window.time_zone))
    reading = f"{local:%H:%M}"
    yesterday = (local.weekday() - 1) % 7
    if window.start < window.end:
        expected = local.weekday() in window.weekdays and window.start <= reading < window.end
    else:
        expected = (local.weekday() in window.weekdays and reading >= window.start) or (
            yesterday in window.weekdays and reading < window.end
        )
    assert QuietWindows([window]).covers(moment) is expected


@given(st.lists(WINDOWS, max_size=4), st.floats(0, 4e9))
def test_many_are_the_union_of_each(windows: list[QuietWindow], moment: float) -> None:
    together = QuietWindows(windows).covers(moment)
    assert together is any(QuietWindows([window]).covers(moment) for window in windows)


@given(WINDOWS.map(lambda window: [window]), st.floats())
def test_any_number_is_answered(windows: list[QuietWindow], moment: float) -> None:
    assert QuietWindows(windows).covers(moment) in {True, False}


@pytest.mark.parametrize("moment", [float("nan"), float("inf"), -1e300, 1e20])
def test_what_is_no_time_is_not_covered(moment: float) -> None:
    assert not QuietWindows([QuietWindow(tuple(range(7)), "00:00", "00:00")]).covers(moment)


@pytest.mark.parametrize(
    ("window", "paths"),
    [
        (QuietWindow((0,), "00:00", "23:59"), []),
        (QuietWindow((), "00:00", "23:59"), ["weekdays"]),
        (QuietWindow((0, 7, -1), "00:00", "23:59"), ["weekdays[1]", "weekdays[2]"]),
        (QuietWindow((0,), "24:00", "9:00"), ["start", "end"]),
        (QuietWindow((0,), "12:60", "12:00\n"), ["start", "end"]),
        (QuietWindow((0,), "\u0661\u0662:00", ""), ["start", "end"]),
        (QuietWindow((7,), "x", "y", "z"), ["weekdays[0]", "start", "end", "time_zone"]),
    ],
)
def test_faults(window: QuietWindow, paths: list[str]) -> None:
    faults = quiet_window_faults(window)
    assert [fault.path for fault in faults] == paths
    assert all(fault.problem for fault in faults)
    if paths:
        with pytest.raises(ValueError, match=r"weekdays|start"):
            QuietWindows([window])


@pytest.mark.parametrize(
    "zone",
    ["", "America", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "zone.tab", "a\0b",
     "leapseconds", "x" * 5000, "\ud800", "UTC\n", "America//New_York/", "-", "A" * 64],
)  # fmt: skip
def test_bad_zones(zone: str) -> None:
    faults = quiet_window_faults(QuietWindow((0,), "00:00", "01:00", zone))
    assert [fault.path for fault in faults] == ["time_zone"]


@given(st.tuples(st.integers()), st.text(), st.text(), st.text())
def test_validation_is_total(days: tuple[int], start: str, end: str, zone: str) -> None:
    window = QuietWindow(days, start, end, zone)
    if not quiet_window_faults(window):
        QuietWindows([window]).covers(0.0)


def test_repr_tells_how_many() -> None:
    assert repr(QuietWindows([QuietWindow((5, 6), "22:00", "02:00")])) == "<QuietWindows spans=3>"


def test_windows_in_two_zones() -> None:
    windows = QuietWindows(
        [QuietWindow((0,), "10:00", "11:00"), QuietWindow((0,), "10:00", "11:00", NEW_YORK)]
    )
    monday = datetime(2024, 6, 10, tzinfo=UTC)
    hours = [h for h in range(24) if windows.covers((monday + timedelta(hours=h)).timestamp())]
    assert hours == [10, 14]
