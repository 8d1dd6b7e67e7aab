"""A place where a call waits until the test lets it go on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass
class Hold:
    """`arrived` is set once a call waits here; `release` lets it and later ones pass."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        self._released.set()

    async def pass_through(self) -> None:
        """Waits for `release`; for the double's side."""
        self.arrived.set()
        await self._released.wait()
