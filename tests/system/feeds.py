"""Sources of messages at a pace: the one place of these tests where time passes by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tests.kit.peer import PeerSession


@dataclass
class Ticker:
    """Sends each session the numbers from 1, `per_second` of them, until `stop` is set.

    Attributes:
        sent: how many messages each session was sent, by the session's path, oldest first.
    """

    per_second: float
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    sent: dict[str, list[int]] = field(default_factory=dict)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def total(self) -> int:
        """All messages sent so far."""
        return sum(map(sum, self.sent.values()))

    async def wait_total(self, count: int) -> None:
        """Waits until so many messages were sent."""
        while self.total < count:
            self._more.clear()
            await self._more.wait()

    async def __call__(self, session: PeerSession) -> None:
        counts = self.sent.setdefault(session.path, [])
        index = len(counts)
        counts.append(0)
        loop = asyncio.get_running_loop()
        start = loop.time()
        while not self.stop.is_set():
            await session.send(b"%d" % (counts[index] + 1))
            counts[index] += 1
            self._more.set()
            pause = start + counts[index] / self.per_second - loop.time()
            if pause > 0:
                await asyncio.sleep(pause)
        while True:
            await session.recv()
