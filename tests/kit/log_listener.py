"""A stream's owner that writes down what the message log answers, and can be waited on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import Topic
from websocketmanager.domain.overflow import LogEntry, LogRun
from websocketmanager.ports import LogExtent, MessageLog, Trim


class Listening:
    """One stream of a log, and everything that it answered."""

    def __init__(self, log: MessageLog, stream: str = "one/1") -> None:
        self._log = log
        self._more = asyncio.Event()
        self.stream = stream
        self.extents: list[LogExtent] = []
        self.positions: list[int] = []
        self.reads: list[tuple[list[tuple[int, LogEntry]], bool]] = []
        self.trims: list[Trim] = []
        self.inserts: list[LogEntry] = []
        self.problems: list[str] = []
        log.open(stream, self)

    def append(self, *sequences: int, session: int = 1, data: bytes = b"x") -> None:
        """Appends messages with these numbers."""
        for sequence in sequences:
            self._log.append(self.stream, run_of(sequence, session=session, datas=(data,)))

    async def read(
        self, after: int = 0, *, max_entries: int = 1000, max_bytes: int = 1_000_000
    ) -> tuple[list[tuple[int, LogEntry]], bool]:
        """Reads and waits for the answer."""
        count = len(self.reads)
        self._log.read(self.stream, after, max_entries=max_entries, max_bytes=max_bytes)
        await self.wait(lambda: len(self.reads) > count)
        return self.reads[-1]

    async def sequences(self) -> list[int]:
        """Returns the numbers of all that is there."""
        return [entry.sequence for _, entry in (await self.read())[0]]

    async def trim(self, after: int, size: int, cause: str = "spill") -> Trim:
        """Trims and waits for the answer."""
        count = len(self.trims)
        self._log.trim(self.stream, after, size=size, cause=cause, at=9.5)
        await self.wait(lambda: len(self.trims) > count)
        return self.trims[-1]

    async def wait(self, holds: Callable[[], bool]) -> None:
        """Waits until the answers so far are enough."""
        async with asyncio.timeout(20):
            while not holds():
                self._more.clear()
                await self._more.wait()

    async def wait_stored(self, count: int) -> None:
        """Waits until so many entries are on the disk."""
        await self.wait(lambda: len(self.positions) >= count)

    def opened(self, extent: LogExtent) -> None:
        self.extents.append(extent)
        self._more.set()

    def stored(self, positions: Sequence[int]) -> None:
        self.positions += positions
        self._more.set()

    def inserted(self, entries: Sequence[LogEntry]) -> None:
        self.inserts += entries
        self._more.set()

    def fetched(self, entries: Sequence[tuple[int, LogEntry]], *, complete: bool) -> None:
        self.reads.append((list(entries), complete))
        self._more.set()

    def trimmed(self, trim: Trim) -> None:
        self.trims.append(trim)
        self._more.set()

    def failed(self, problem: str) -> None:
        self.problems.append(problem)
        self._more.set()


def entry_of(sequence: int, *, session: int = 1, data: bytes = b"x", marker: str = "") -> LogEntry:
    """Returns an entry."""
    return LogEntry(session, sequence, 1.25, 3, Topic("a.b"), Kind.BINARY, marker, data)


def run_of(
    first: int, *, session: int = 1, datas: Sequence[bytes] = (b"x",), marker: str = ""
) -> LogRun:
    """Returns entries that came together."""
    return LogRun(session, first, 1.25, 3, Topic("a.b"), Kind.BINARY, marker, datas)
