"""How fast something comes: averages that fade, in constant space. Pure.

Fed with a running count now and then, not with every event: once a second is enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """The average growth of a count per second, recent growth counting more.

    Attributes:
        window_seconds: growth so long ago counts a little more than a third (1/e).
        since: when counting began; before that nothing is assumed.
        at: when the count was last looked at.
        count: what it was then.
    """

    window_seconds: float
    since: float
    at: float
    count: int = 0
    _faded: float = 0.0

    @classmethod
    def begin(cls, window_seconds: float, at: float, count: int = 0) -> Rate:
        """Returns a rate that counts from now on."""
        return cls(window_seconds, at, at, count)

    def advanced(self, count: int, at: float) -> Rate:
        """Returns the rate after a look at the count; time that runs back begins it anew."""
        if at < self.at:
            return Rate.begin(self.window_seconds, at, count)
        elapsed = at - self.at
        if not elapsed:
            return self
        kept = math.exp(-elapsed / self.window_seconds)
        faded = self._faded * kept + (count - self.count) / elapsed * (1 - kept)
        return Rate(self.window_seconds, self.since, at, count, faded)

    @property
    def per_second(self) -> float:
        """The average at the last look; zero before any time has passed."""
        # What was before the beginning has no share: without this a young rate is far too low.
        share = 1 - math.exp(-(self.at - self.since) / self.window_seconds)
        return self._faded / share if share else 0.0
