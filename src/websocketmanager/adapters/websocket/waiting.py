"""What waits on one connection of the driver: writers for room, pings for their pongs."""

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


class Pings:
    """Pings that wait for their pongs, in the order in which they were sent.

    One that waits is the most, mostly; between two pings nothing is held.
    """

    __slots__ = ("_last", "_waiting")

    def __init__(self) -> None:
        self._last = 0
        self._waiting: tuple[tuple[bytes, asyncio.Future[bool]], ...] = ()

    def begin(self) -> bytes:
        """Returns the payload of a new ping."""
        self._last += 1
        payload = self._last.to_bytes(8, "big")
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting = (*self._waiting, (payload, waiter))
        return payload

    async def wait(self, payload: bytes) -> bool:
        """Waits for the pong; returns whether it came. Cancelling leaves nothing behind."""
        try:
            return await next(waiter for sent, waiter in self._waiting if sent == payload)
        finally:
            self._waiting = tuple(one for one in self._waiting if one[0] != payload)

    def answer(self, payload: bytes) -> None:
        """A pong came. It answers the last ping, and those before it (RFC 6455 §5.5.3)."""
        for index, (sent, _) in enumerate(self._waiting):
            if sent == payload:
                answered = self._waiting[: index + 1]
                self._waiting = self._waiting[index + 1 :]
                for _, waiter in answered:
                    _settle(waiter, answered=True)
                return

    def end(self) -> None:
        """No pong comes any more."""
        for _, waiter in self._waiting:
            _settle(waiter, answered=False)


def _settle(waiter: asyncio.Future[bool], *, answered: bool) -> None:
    if not waiter.done():
        waiter.set_result(answered)
