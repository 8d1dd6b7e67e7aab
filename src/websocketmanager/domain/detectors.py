"""Judges the silence of an open session: each detector alone, none fooled by another's sign.

Protocol pings are not judged here: their pongs prove that somebody is there, not that it sends.
All times are seconds on a monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from websocketmanager.domain.failure import Failure, FailureKind


@dataclass(frozen=True, slots=True)
class SilenceLimits:
    """How long which silence may last; zero: as long as it likes."""

    read_idle_seconds: float = 0.0
    first_data_seconds: float = 0.0
    data_age_seconds: float = 0.0

    @property
    def wanted(self) -> bool:
        """Whether anything is to be judged."""
        return bool(self.read_idle_seconds or self.first_data_seconds or self.data_age_seconds)


@dataclass(slots=True)
class Signs:
    """What was heard of a session; noted with every wake-up of its reader.

    Attributes:
        opened_at: when it was open.
        read_at: when anything last arrived.
        data_at: when data last arrived; None before the first.
        quiet_at: when silence was last normal; None: never yet.
    """

    opened_at: float
    read_at: float
    data_at: float | None = None
    quiet_at: float | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is wrong, or when to look again."""

    failure: Failure | None = None
    look_again_at: float | None = None


def judge_silence(limits: SilenceLimits, signs: Signs, *, now: float, quiet: bool) -> Judgement:
    """Returns the first limit that is exceeded, or the next time when one could be.

    Args:
        limits: of the connection.
        signs: of its session, `quiet_at` included.
        now: the present.
        quiet: whether the data detectors are silent now.
    """
    deadlines: list[tuple[float, FailureKind, float]] = []
    if limits.read_idle_seconds:
        at = signs.read_at + limits.read_idle_seconds
        deadlines.append((at, FailureKind.READ_IDLE, limits.read_idle_seconds))
    data_limit = limits.first_data_seconds if signs.data_at is None else limits.data_age_seconds
    kind = FailureKind.FIRST_DATA_MISSING if signs.data_at is None else FailureKind.DATA_STALE
    if not data_limit and signs.data_at is None and limits.data_age_seconds:
        # Data may come at any moment, and then it ages.
        deadlines.append((now + limits.data_age_seconds, kind, 0.0))
    if data_limit:
        if quiet:
            # Silence counts anew from the end of the quiet time, which the next look finds.
            deadlines.append((now + data_limit, kind, 0.0))
        else:
            heard = signs.opened_at if signs.data_at is None else signs.data_at
            since = max(heard, signs.quiet_at if signs.quiet_at is not None else heard)
            deadlines.append((since + data_limit, kind, data_limit))
    if not deadlines:
        return Judgement()
    at, kind, limit = min(deadlines)
    if at > now:
        return Judgement(look_again_at=at)
    return Judgement(failure=Failure(kind, _SENTENCES[kind].format(limit)))


def end_of_quiet(covers: Callable[[float], bool], *, since: float, now: float) -> float | None:
    """Returns when silence was last normal between two times; None: at no time.

    Quiet windows begin and end with a minute: looking at each minute misses none.

    Args:
        covers: says whether silence is normal at a time, in Unix seconds.
        since: Unix seconds.
        now: Unix seconds.
    """
    if covers(now):
        return now
    begin = math.floor(now / 60) * 60.0
    while begin > since:
        if covers(begin - 60):
            return begin
        begin -= 60
    return None


_SENTENCES = {
    FailureKind.READ_IDLE: "nothing arrived for {:g} s",
    FailureKind.FIRST_DATA_MISSING: "no data arrived within {:g} s of opening",
    FailureKind.DATA_STALE: "the last data is older than {:g} s",
}
