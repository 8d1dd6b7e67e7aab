"""Connections that share a credential which a server lets in once take turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Exclusives:
    """One session at a time per key, first come, first served."""

    def __init__(self) -> None:
        # Kept alive by those who hold or await one, and by nothing else.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Waits for the key's turn and keeps it for the block; the empty key has no turns."""
        if not key:
            yield
            return
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield
