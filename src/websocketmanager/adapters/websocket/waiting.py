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
        self._waiters: list[asyncio.Future[None]] = []

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
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)


class Pings:
    """Pings that wait for their pongs, in the order in which they were sent."""

    __slots__ = ("_last", "_waiting")

    def __init__(self) -> None:
        self._last = 0
        self._waiting: dict[bytes, asyncio.Future[bool]] = {}

    def begin(self) -> bytes:
        """Returns the payload of a new ping."""
        self._last += 1
        payload = self._last.to_bytes(8, "big")
        self._waiting[payload] = asyncio.get_running_loop().create_future()
        return payload

    async def wait(self, payload: bytes) -> bool:
        """Waits for the pong; returns whether it came. Cancelling leaves nothing behind."""
        try:
            return await self._waiting[payload]
        finally:
            self._waiting.pop(payload, None)

    def answer(self, payload: bytes) -> None:
        """A pong came. It answers the last ping, and those before it (RFC 6455 §5.5.3)."""
        if payload not in self._waiting:
            return
        for earlier in list(self._waiting):
            _settle(self._waiting.pop(earlier), answered=True)
            if earlier == payload:
                return

    def end(self) -> None:
        """No pong comes any more."""
        for waiter in self._waiting.values():
            _settle(waiter, answered=False)


def _settle(waiter: asyncio.Future[bool], *, answered: bool) -> None:
    if not waiter.done():
        waiter.set_result(answered)
