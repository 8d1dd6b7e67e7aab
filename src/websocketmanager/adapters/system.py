"""The machine's own time and dice, behind the ports. The one place that sleeps."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from contextlib import AbstractAsyncContextManager

_source = secrets.SystemRandom()


class SystemClock:
    """`ports.Clock` on the machine's clocks and the running event loop."""

    def now(self) -> float:
        """Returns the wall clock as Unix seconds; may jump."""
        return time.time()

    def monotonic(self) -> float:
        """Returns seconds that only grow, from an unknown origin."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits; zero yields once. Cancelling leaves nothing behind."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Bounds a block: cancels it and raises TimeoutError when the time is over."""
        return asyncio.timeout(seconds)


class SystemDice:
    """`ports.Dice` on the operating system's secure source."""

    def uniform(self) -> float:
        """Returns a number from 0 (included) to 1 (excluded)."""
        return _source.random()

    def token_bytes(self, count: int) -> bytes:
        """Returns `count` bytes from a secure source."""
        return secrets.token_bytes(count)

    def uuid(self) -> str:
        """Returns a new random UUID (RFC 9562, version 4) in its usual spelling."""
        return str(uuid.uuid4())
