"""An event that costs next to nothing while nobody waits for it.

`asyncio.Event` holds a deque from the beginning, 760 bytes each; a connection
needs a dozen of them, and nearly all are never waited on.
"""

from __future__ import annotations

import asyncio


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
