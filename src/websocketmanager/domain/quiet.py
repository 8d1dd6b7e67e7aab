"""Says when silence is normal: weekly windows of local time. Pure; stdlib only.

A window holds while the local clock reads a time within it. So it begins at the first reading
after a start that daylight saving skips, and holds in both turns of an hour that comes twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from websocketmanager.domain.options import QuietWindow
from websocketmanager.errors import Fault

_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
#: What IANA names look like; keeps paths and other surprises away from the zone files.
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}")
_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY


class QuietWindows:
    """The quiet windows of one connection.

    Raises:
        ValueError: a window has faults (see `quiet_window_faults`).
    """

    __slots__ = ("_spans",)

    def __init__(self, windows: Iterable[QuietWindow]) -> None:
        spans: dict[str, list[range]] = {}
        for window in windows:
            if faults := quiet_window_faults(window):
                raise ValueError("; ".join(map(str, faults)))
            spans.setdefault(window.time_zone, []).extend(_spans(window))
        self._spans = tuple((ZoneInfo(name), tuple(own)) for name, own in spans.items())

    def __repr__(self) -> str:
        return f"<QuietWindows spans={sum(len(spans) for _, spans in self._spans)}>"

    def covers(self, unix_seconds: float) -> bool:
        """Says whether a window holds at this time; False for what is no time. Never raises."""
        for zone, spans in self._spans:
            try:
                local = datetime.fromtimestamp(unix_seconds, zone)
            except (ValueError, OverflowError, OSError):
                return False
            minute = local.weekday() * _DAY + local.hour * 60 + local.minute
            if any(minute in span for span in spans):
                return True
        return False


def quiet_window_faults(window: QuietWindow) -> tuple[Fault, ...]:
    """Returns what is wrong with a window, by its fields; never raises."""
    faults: list[Fault] = []
    if not window.weekdays:
        faults.append(Fault("weekdays", "names no day"))
    for number, day in enumerate(window.weekdays):
        if not 0 <= day <= 6:
            faults.append(Fault(f"weekdays[{number}]", f"is 0 (Monday) to 6 (Sunday), not {day}"))
    for path, text in (("start", window.start), ("end", window.end)):
        if not _TIME.fullmatch(text):
            faults.append(Fault(path, "is a time of day as HH:MM, from 00:00 to 23:59"))
    if not _is_zone(window.time_zone):
        faults.append(Fault("time_zone", "is no time zone known here, such as America/New_York"))
    return tuple(faults)


def _spans(window: QuietWindow) -> Iterator[range]:
    """Yields minutes of the week, from Monday; a span over Sunday's midnight comes as two."""
    start, end = _minute(window.start), _minute(window.end)
    length = end - start if end > start else end - start + _DAY
    for day in window.weekdays:
        first = day * _DAY + start
        last = first + length
        yield range(first, min(last, _WEEK))
        if last > _WEEK:
            yield range(last - _WEEK)


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _is_zone(name: str) -> bool:
    if not _ZONE.fullmatch(name):
        return False
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Unknown, a file that is no zone, or a folder such as "America".
        return False
    return True
