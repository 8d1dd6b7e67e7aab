"""Sources of messages at a pace: the one place of these tests where time passes by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed

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


@dataclass
class Flood:
    """Sends each session numbers from 1 in 200 bytes, in bursts, until `stop` is set.

    Frames are made here and written past the library, which would be too slow for the service.

    Attributes:
        per_second: how many messages.
        counts: how many each session was sent, oldest first.
    """

    per_second: int
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    counts: list[int] = field(default_factory=list)

    async def __call__(self, session: PeerSession) -> None:
        index = len(self.counts)
        self.counts.append(0)
        transport = session.connection.transport
        loop = asyncio.get_running_loop()
        start = loop.time()
        # A reader that waits pauses the flood: the transport says so, and nothing piles up here.
        while not self.stop.is_set() and not transport.is_closing():
            due = int((loop.time() - start) * self.per_second) - self.counts[index]
            if due > 0 and transport.get_write_buffer_size() < 1_000_000:
                first = self.counts[index] + 1
                numbers = range(first, first + min(due, 1000))
                # FIN and Text; a length of 126 stands for the 16 bits behind it (RFC 6455 §5.2).
                transport.write(b"".join(b"\x81\x7e\x00\xc8%0200d" % n for n in numbers))
                self.counts[index] += len(numbers)
            await asyncio.sleep(0.005)  # the pace of the flood
        try:
            while True:
                await session.recv()
        except ConnectionClosed:
            return
