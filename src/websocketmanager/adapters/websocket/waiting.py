"""What waits on one connection of the driver: writers for room."""

from __future__ import annotations

import asyncio


def wake(*waiters: asyncio.Future[None] | None) -> None:
    """Lets those go on that still wait."""
    for waiter in waiters:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class WriteGate:
    """Holds writers while the transport has more than the peer takes."""

    __slots__ = ("_shut", "_waiters")

    def __init__(self) -> None:
        self._shut = False
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    def shut(self) -> None:
        """Makes writers wait from now on."""
        self._shut = True

    def open(self) -> None:
        """Lets all writers go on."""
        self._shut = False
        wake(*self._waiters)

    async def wait_open(self) -> None:
        """Waits while the gate is shut. Cancelling leaves nothing behind."""
        while self._shut:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters = (*self._waiters, waiter)
            try:
                await waiter
            finally:
                self._waiters = tuple(one for one in self._waiters if one is not waiter)
