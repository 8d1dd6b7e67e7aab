"""Bytes that all buffers of the process hold together: when they are too many, readers wait."""

from __future__ import annotations

import asyncio


class Budget:
    """Shared by all buffers.

    Attributes:
        used: bytes that they hold.
        overdrawn: whether every reader of the process must wait.
    """

    __slots__ = ("_max_bytes", "_room", "overdrawn", "used")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._room = asyncio.Event()
        self._room.set()
        self.used = 0
        self.overdrawn = False

    def take(self, count: int) -> None:
        """Counts bytes in; the last message may overdraw."""
        self.used += count
        if self.used >= self._max_bytes:
            self.overdrawn = True
            self._room.clear()

    def give(self, count: int) -> None:
        """Counts bytes out."""
        self.used -= count
        # With a margin: readers that wake for each freed byte would stutter.
        if self.overdrawn and self.used * 4 <= self._max_bytes * 3:
            self.overdrawn = False
            self._room.set()

    async def wait_room(self) -> None:
        """Waits while the budget is overdrawn."""
        await self._room.wait()
