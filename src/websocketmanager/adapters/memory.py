"""Reference twins of the ports in memory: for tests and comparison only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import replace

from websocketmanager.domain.envelope import Event, Parcel, each_event
from websocketmanager.domain.overflow import LogEntry, LogRun, gap_of_entries
from websocketmanager.domain.secrets import SecretValues
from websocketmanager.errors import SecretMissing, StateConflict
from websocketmanager.ports import (
    LogExtent,
    LogListener,
    PublishResult,
    Refusal,
    Trim,
    Versioned,
)


class MemoryStateStore:
    """`ports.StateStore` as the virtufin-api behaves when nothing goes wrong.

    One store given to two services stands for two processes on one API.
    """

    def __init__(self) -> None:
        self.values: dict[str, Versioned] = {}
        self.registered: set[str] = set()
        self._last_etag = 0

    async def get(self, key: str) -> Versioned | None:
        """Returns the current value, or None when the key is absent."""
        return self.values.get(key)

    async def save(self, key: str, value: str, *, etag: str | None = None) -> None:
        """Saves; without etag the last write wins.

        Raises:
            StateConflict: the etag is not current; also for an absent key.
        """
        if etag:
            current = self.values.get(key)
            if current is None or current.etag != etag:
                raise StateConflict("State.SaveState", f"the etag {etag} of {key} is not current")
        self._last_etag += 1
        self.values[key] = Versioned(value, str(self._last_etag))

    async def delete(self, key: str) -> None:
        """Removes the key; an absent key is no error."""
        self.values.pop(key, None)

    async def register(self, keys: Sequence[str]) -> None:
        """Makes keys visible to `get_all`."""
        self.registered.update(keys)

    async def get_all(self) -> Mapping[str, str]:
        """Returns the values of registered keys: possibly not all there are."""
        return {key: kept.value for key, kept in self.values.items() if key in self.registered}

    def restart(self) -> None:
        """Forgets which keys were registered, as an API that starts again does."""
        self.registered.clear()


class MemoryEventSink:
    """`ports.EventSink` that keeps what it accepts in `events`, in order."""

    def __init__(
        self,
        *,
        refused_topics: Container[str] = frozenset(),
        max_batch: int = 1024,
        max_in_flight: int = 1,
        ordered: bool = False,
    ) -> None:
        self.events: list[Event] = []
        self.refused_topics = refused_topics
        self._max_batch = max_batch
        self._max_in_flight = max_in_flight
        self._ordered = ordered

    @property
    def max_batch(self) -> int:
        """Events in one call at most."""
        return self._max_batch

    @property
    def max_in_flight(self) -> int:
        """Calls at a time that make sense."""
        return self._max_in_flight

    @property
    def ordered(self) -> bool:
        """Whether calls that overlap keep their order: no call here ever waits for anything."""
        return self._ordered

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        """Accepts events in order, stopping at the first on a refused topic."""
        apart = each_event(events)
        for index, event in enumerate(apart):
            if event.route.topic in self.refused_topics:
                refusal = Refusal(definite=True, problem=f"topic {event.route.topic} is refused")
                return PublishResult(index, refusal)
            self.events.append(event)
        return PublishResult(len(apart))


class MemorySecrets:
    """`ports.Secrets` from a mapping, which may change between two readings."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    async def read(self, names: Collection[str]) -> SecretValues:
        """Returns the present values of exactly these secrets.

        Raises:
            SecretMissing: with every name that has none.
        """
        missing = {name: "has no value" for name in names if not self.values.get(name)}
        if missing:
            raise SecretMissing(missing)
        return SecretValues({name: self.values[name] for name in names})


class MemoryMessageLog:
    """`ports.MessageLog` as a disk behaves: what is `stored` is in `kept` when a process dies.

    One dictionary given to two logs stands for two processes on one disk. As long as `problem`
    is set the disk fails.
    """

    def __init__(self, kept: dict[str, list[tuple[int, LogEntry]]] | None = None) -> None:
        self.kept = {} if kept is None else kept
        self.problem = ""
        self._last = {name: (rows[-1][0] if rows else 0) for name, rows in self.kept.items()}
        self._acknowledged: dict[str, int] = {}
        self._listeners: dict[str, LogListener] = {}
        self._waiting: deque[Callable[[], None]] = deque()
        self._asked = False
        self.extents = {name: _extent(rows) for name, rows in self.kept.items()}

    def open(self, stream: str, listener: LogListener) -> None:
        """Opens a stream; answered by `opened`."""
        self._listeners[stream] = listener
        self._waiting.append(lambda: self._begin(stream))
        self._ask(stream, lambda one: one.opened(replace(_extent(self.kept[stream]), last=(0, 0))))

    def append(self, stream: str, entries: LogRun, *, room: int = 0) -> None:
        """Appends entries; answered by `stored`."""

        def store(listener: LogListener) -> None:
            first = self._last.get(stream, 0) + room + 1
            rows = list(enumerate(entries.entries(), first))
            self._last[stream] = rows[-1][0]
            self.kept[stream] += rows
            listener.stored([position for position, _ in rows])

        self._ask(stream, store)

    def insert(self, stream: str, after: int, entries: Sequence[LogEntry]) -> None:
        """Puts entries behind a position; answered by `inserted`."""

        def put(listener: LogListener) -> None:
            place = max(after, self._acknowledged.get(stream, 0))
            rows = [*self.kept[stream], *enumerate(entries, place + 1)]
            self.kept[stream] = sorted(rows, key=lambda row: row[0])
            self._last[stream] = max(self._last.get(stream, 0), rows[-1][0])
            listener.inserted(entries)

        self._ask(stream, put)

    def acknowledge(self, stream: str, position: int) -> None:
        """Forgets the entries up to a position."""

        def forget(_: LogListener) -> None:
            self._acknowledged[stream] = position
            self.kept[stream] = [row for row in self.kept[stream] if row[0] > position]

        self._ask(stream, forget)

    def read(self, stream: str, after: int, *, max_entries: int, max_bytes: int) -> None:
        """Reads entries behind a position; answered by `fetched`."""

        def fetch(listener: LogListener) -> None:
            found: list[tuple[int, LogEntry]] = []
            size = 0
            rows = [row for row in self.kept[stream] if row[0] > after]
            for row in rows:
                if len(found) >= max_entries or size >= max_bytes:
                    break
                found.append(row)
                size += len(row[1].data)
            listener.fetched(found, complete=len(found) == len(rows))

        self._ask(stream, fetch)

    def trim(self, stream: str, after: int, *, size: int, cause: str, at: float) -> None:
        """Gives up the oldest entries behind a position; answered by `trimmed`."""

        def drop(listener: LogListener) -> None:
            kept = [row for row in self.kept[stream] if row[0] <= after]
            rest = deque(row for row in self.kept[stream] if row[0] > after)
            gone: list[tuple[int, LogEntry]] = []
            freed = 0
            while rest and freed < size + (512 if cause else 0):
                gone.append(rest.popleft())
                freed += gone[-1][1].size
            count, entries = len(gone), [entry for _, entry in gone]
            if cause and (gap := gap_of_entries(entries, cause=cause, at=at)):
                rest.appendleft((gone[-1][0], gap))
                count, freed = count - 1, freed - gap.size
            self.kept[stream] = [*kept, *rest]
            listener.trimmed(Trim(count, freed, sum(entry.is_message for entry in entries)))

        self._ask(stream, drop)

    def remove(self, stream: str) -> None:
        """Forgets a stream with all that it holds, and its listener."""
        self._listeners.pop(stream, None)
        self._waiting.append(lambda: self._end(stream))
        self._wake()

    def heal(self) -> None:
        """Makes the disk work again."""
        self.problem = ""
        self._work()

    def _ask(self, stream: str, act: Callable[[LogListener], None]) -> None:
        def answer() -> None:
            listener = self._listeners.get(stream)
            if listener is not None and stream in self.kept:
                act(listener)

        self._waiting.append(answer)
        if self.problem and (listener := self._listeners.get(stream)):
            problem = self.problem
            asyncio.get_running_loop().call_soon(lambda: listener.failed(problem))
        else:
            self._wake()

    def _begin(self, stream: str) -> None:
        self.kept.setdefault(stream, [])

    def _end(self, stream: str) -> None:
        self.kept.pop(stream, None)

    def _wake(self) -> None:
        if not self._asked:
            self._asked = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        self._asked = False
        while self._waiting and not self.problem:
            self._waiting.popleft()()


def _extent(rows: Sequence[tuple[int, LogEntry]]) -> LogExtent:
    last = rows[-1][1].place if rows else (0, 0)
    return LogExtent(len(rows), sum(entry.size for _, entry in rows), last)
