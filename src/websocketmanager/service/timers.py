"""One heap of timers for all connections, and one task that waits for the earliest.

A detector that looks once in a minute must not cost a task per connection.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable

from websocketmanager.domain.facts import TimerCrashed
from websocketmanager.ports import Clock, Journal

#: Cancelled timers may make up this much of the heap before it is rebuilt.
_MAX_GARBAGE = 0.5
_MIN_REBUILD = 64
#: The moments at which callbacks come that need not be punctual, seconds apart.
ABOUT_SECONDS = 0.05


class Timer:
    """One callback to come; `cancel` takes it back."""

    __slots__ = ("_owner", "callback")

    def __init__(self, owner: Timers, callback: Callable[[], None]) -> None:
        self._owner = owner
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Takes it back; safe to repeat, and after it fired."""
        if self.callback is not None:
            self.callback = None
            self._owner.count_garbage()


class Timers:
    """Calls back at times of the monotonic clock."""

    def __init__(self, clock: Clock, journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._garbage = 0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._heap) - self._garbage

    def call_at(self, at: float, callback: Callable[[], None]) -> Timer:
        """Has a callback run at a monotonic time, or soon if that has passed. Must not block."""
        timer = Timer(self, callback)
        heapq.heappush(self._heap, (at, next(self._numbers), timer))
        if self._heap[0][2] is timer:
            self._wake.set()
        return timer

    def call_about(self, at: float, callback: Callable[[], None]) -> Timer:
        """As `call_at`, up to `ABOUT_SECONDS` later: what is due about the same time comes at once.

        Thousands of connections that each ping now and then wake the process a few times a
        second, and not for each ping and each pong: that is half of what they cost.
        """
        return self.call_at(math.ceil(at / ABOUT_SECONDS) * ABOUT_SECONDS, callback)

    def count_garbage(self) -> None:
        """Notes a cancelled timer; the heap is rebuilt when it holds many."""
        self._garbage += 1
        if len(self._heap) >= _MIN_REBUILD and self._garbage > len(self._heap) * _MAX_GARBAGE:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._garbage = 0

    async def run(self) -> None:
        """Calls back until cancelled."""
        while True:
            self._wake.clear()
            self._fire_due()
            if not self._heap:
                await self._wake.wait()
                continue
            delay = self._heap[0][0] - self._clock.monotonic()
            try:
                async with self._clock.timeout(max(delay, 0.0)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _fire_due(self) -> None:
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is None:
                self._garbage -= 1
                continue
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - one connection's fault stops no other's timers
                self._journal.emit(TimerCrashed(repr(error)))
