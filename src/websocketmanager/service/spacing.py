"""Evenly spaced sends on one socket: servers count every frame, and bursts cost connections."""

from __future__ import annotations

import asyncio

from websocketmanager.ports import Clock


class Spacer:
    """Hands out turns in the order of asking, never closer than the spacing.

    A turn counts from when it really came: one that comes late, on a busy machine, does not bring
    the next one near. A cancelled turn costs nothing.
    """

    __slots__ = ("_clock", "_next", "_queue", "_spacing_seconds")

    def __init__(self, clock: Clock, *, spacing_seconds: float) -> None:
        self._clock = clock
        self._spacing_seconds = spacing_seconds
        self._next = 0.0
        self._queue = asyncio.Lock()

    async def wait_turn(self) -> None:
        """Waits until the next frame may be written."""
        if not self._spacing_seconds:
            return
        async with self._queue:
            pause = self._next - self._clock.monotonic()
            if pause > 0:
                await self._clock.sleep(pause)
            self._next = max(self._next, self._clock.monotonic()) + self._spacing_seconds
