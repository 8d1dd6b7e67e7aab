"""The disk that the logs of all connections share, and who gives something up when it is full."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol


class Giver(Protocol):
    """A connection's log, as its share of the disk."""

    @property
    def trims(self) -> bool:
        """Whether it gives messages up for the budget, now or soon."""

    @property
    def trimmable(self) -> bool:
        """Whether it can give messages up now."""

    @property
    def spilled_bytes(self) -> int:
        """What the disk alone has of it."""

    def trim(self, size: int) -> None:
        """Gives so many bytes of the oldest messages up."""

    def tell_room(self) -> None:
        """The budget has room again."""

    def keep(self) -> None:
        """Has the log take what memory alone holds."""


class DiskBudget:
    """Bytes that the logs of all connections may hold together.

    Above it the connection that holds the most gives its oldest messages up, among those that
    may; where none may, readers wait.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._spools: set[Giver] = set()
        self.used = 0

    @property
    def over(self) -> bool:
        """Whether it is used up."""
        return self.used >= self._max_bytes

    @property
    def helpless(self) -> bool:
        """Whether it is used up and nobody may give anything up."""
        return self.over and not any(spool.trims for spool in self._spools)

    @property
    def spools(self) -> Collection[Giver]:
        """Those that count with it."""
        return self._spools

    def join(self, spool: Giver) -> None:
        """Counts with a connection."""
        self._spools.add(spool)

    def leave(self, spool: Giver) -> None:
        """Counts with it no longer."""
        self._spools.discard(spool)

    def take(self, size: int) -> None:
        """Counts bytes in; never refuses, but has the oldest given up."""
        self.used += size
        self.look()

    def look(self) -> None:
        """Has the connection that holds the most give up what is too much, once it can."""
        if self.used <= self._max_bytes:
            return
        givers = [spool for spool in self._spools if spool.trims]
        largest = max(givers, key=lambda spool: spool.spilled_bytes, default=None)
        # One that is busy is asked when it is not: no smaller one shall pay in its place.
        if largest is not None and largest.trimmable:
            # A little more than must go: each time costs a transaction and a marker.
            largest.trim(self.used - self._max_bytes + self._max_bytes // 64)

    def give(self, size: int) -> None:
        """Counts bytes out."""
        was_over = self.over
        self.used -= size
        if was_over and not self.over:
            for spool in list(self._spools):
                spool.tell_room()
