"""An event and an inbox that cost next to nothing while nobody waits for them.

`asyncio.Event` and `asyncio.Queue` hold a deque from the beginning, 760 bytes each; a connection
needs a dozen of them, and nearly all are never waited on.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Flag:
    """As `asyncio.Event`: set and cleared, and waited for. Of one event loop."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[asyncio.Future[None]] | None = None

    def __repr__(self) -> str:
        return f"<Flag {'set' if self._is_set else 'clear'}>"

    def is_set(self) -> bool:
        """Whether waiting would be over at once."""
        return self._is_set

    def set(self) -> None:
        """Ends the waiting of all who wait; who comes later does not wait."""
        self._is_set = True
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Has whoever comes from now on wait."""
        self._is_set = False

    async def wait(self) -> None:
        """Waits until it is set, also if it is cleared right afterwards."""
        if self._is_set:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if self._waiters and waiter in self._waiters:
                self._waiters.remove(waiter)


class Inbox(Generic[T]):
    """As an `asyncio.Queue` without a bound, for one reader."""

    __slots__ = ("_arrived", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[T] = []
        self._arrived = Flag()

    def put(self, item: T) -> None:
        """Appends; never blocks."""
        self._waiting.append(item)
        self._arrived.set()

    async def get(self) -> T:
        """Returns the next in order; cancelling loses none."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.pop(0)
