"""One commit of the log: does what is asked, in order, and collects the answers."""

from __future__ import annotations

import sqlite3
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from websocketmanager.adapters.message_log.requests import (
    Acknowledge,
    Append,
    Insert,
    Open,
    Read,
    Remove,
    Request,
    TrimRequest,
)
from websocketmanager.adapters.message_log.schema import COLUMNS, entry_of, row_of, rows_of
from websocketmanager.domain.overflow import LogEntry, gap_of_entries
from websocketmanager.ports import LogExtent, LogListener, Trim

#: Acknowledged entries that may stay on the disk: deleting in bulk is cheaper, but what is stored
#: meanwhile waits for it.
_DELETE_EVERY: Final = 256
#: A gap's marker takes this much at most.
_GAP_BYTES: Final = 512

Answer: TypeAlias = Callable[[], None]


@dataclass(slots=True)
class StreamState:
    """What the thread knows of a stream without asking the database."""

    number: int
    last: int
    acknowledged: int
    deleted: int


class Transaction:
    """What one commit holds: what it changes, and what is answered once it is committed.

    Attributes:
        streams: as they will be; a removed one is None.
        answers: in order.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        streams: ChainMap[str, StreamState | None],
        listeners: Mapping[str, LogListener],
    ) -> None:
        self.streams = streams
        self.answers: list[Answer] = []
        self._database = database
        self._listeners = listeners
        self._rows: list[tuple[object, ...]] = []
        self._stored: dict[str, list[int]] = {}
        self._acknowledged: set[str] = set()

    def do(self, request: Request) -> None:
        """Does one thing."""
        if isinstance(request, Append):
            self._append(request)
        elif isinstance(request, Acknowledge):
            stream = self._stream(request.stream)
            if stream is not None and request.position > stream.acknowledged:
                stream.acknowledged = request.position
                self._acknowledged.add(request.stream)
        else:
            self._write_rows()
            match request:
                case Open():
                    self._open(request)
                case Insert():
                    self._insert_between(request)
                case Read():
                    self._read(request)
                case TrimRequest():
                    self._trim(request)
                case Remove():
                    self._remove(request)

    def finish(self) -> None:
        """Writes what was only collected."""
        self._write_rows()
        for name in self._acknowledged:
            self._write_acknowledged(name)

    def _stream(self, name: str) -> StreamState | None:
        """Returns a stream that this transaction may change."""
        found = self.streams.get(name)
        if found is not None and name not in self.streams.maps[0]:
            found = StreamState(found.number, found.last, found.acknowledged, found.deleted)
            self.streams[name] = found
        return found

    def _append(self, request: Append) -> None:
        stream = self._stream(request.stream)
        if stream is None:
            return  # removed meanwhile
        entries, first = request.entries, stream.last + request.room + 1
        stream.last = first + entries.count - 1
        self._rows += rows_of(entries, stream.number, first)
        self._stored.setdefault(request.stream, []).extend(range(first, stream.last + 1))

    def _insert_between(self, request: Insert) -> None:
        stream = self._stream(request.stream)
        if stream is None:
            return
        place = max(request.after, stream.acknowledged)
        self._insert(
            [
                (stream.number, position, entry.size, *row_of(entry))
                for position, entry in enumerate(request.entries, place + 1)
            ]
        )
        stream.last = max(stream.last, place + len(request.entries))
        self._answer(request.stream, lambda listener: listener.inserted(request.entries))

    def _write_rows(self) -> None:
        if not self._rows:
            return
        self._insert(self._rows)
        self._rows = []
        stored, self._stored = self._stored, {}
        for name, positions in stored.items():
            self._answer(name, partial(_tell_stored, positions))

    def _insert(self, rows: list[tuple[object, ...]]) -> None:
        self._database.executemany(
            f"INSERT INTO entries (stream, position, size, {COLUMNS})"  # noqa: S608 - constants
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def _answer(self, name: str, tell: Callable[[LogListener], None]) -> None:
        def answer() -> None:
            # Of this moment: a stream that was removed has none.
            if listener := self._listeners.get(name):
                tell(listener)

        self.answers.append(answer)

    def _open(self, request: Open) -> None:
        stream = self._stream(request.stream)
        if stream is None:
            cursor = self._database.execute(
                "INSERT INTO streams (name, acknowledged) VALUES (?, 0)", (request.stream,)
            )
            stream = self.streams[request.stream] = StreamState(cursor.lastrowid or 0, 0, 0, 0)
        count, size = self._database.execute(
            "SELECT count(*), coalesce(sum(size), 0)"
            " FROM entries WHERE stream = ? AND position > ?",
            (stream.number, stream.acknowledged),
        ).fetchone()
        extent = LogExtent(count, size)
        self._answer(request.stream, lambda listener: listener.opened(extent))

    def _write_acknowledged(self, name: str) -> None:
        stream = self._stream(name)
        if stream is None:
            return
        position = stream.acknowledged
        self._database.execute(
            "UPDATE streams SET acknowledged = ? WHERE stream = ?", (position, stream.number)
        )
        if position == stream.last or position - stream.deleted >= _DELETE_EVERY:
            stream.deleted = position
            self._database.execute(
                "DELETE FROM entries WHERE stream = ? AND position <= ?", (stream.number, position)
            )

    def _read(self, request: Read) -> None:
        stream = self._stream(request.stream)
        if stream is None:
            return
        entries: list[tuple[int, LogEntry]] = []
        size, complete = 0, True
        for position, *row in self._rows_behind(stream, request.after):
            if len(entries) >= request.max_entries or size >= request.max_bytes:
                complete = False
                break
            entries.append((position, entry_of(row)))
            size += len(row[-1])
        self._answer(request.stream, lambda listener: listener.fetched(entries, complete=complete))

    def _trim(self, request: TrimRequest) -> None:
        stream = self._stream(request.stream)
        if stream is None:
            return
        gone: list[LogEntry] = []
        size = last = 0
        wanted = request.size + (_GAP_BYTES if request.cause else 0)
        for position, *row in self._rows_behind(stream, request.after):
            if size >= wanted:
                break
            gone.append(entry_of(row))
            size += gone[-1].size
            last = position
        count, lost = len(gone), sum(entry.is_message for entry in gone)
        self._database.execute(
            "DELETE FROM entries WHERE stream = ? AND position > ? AND position <= ?",
            (stream.number, max(request.after, stream.acknowledged), last),
        )
        gap = gap_of_entries(gone, cause=request.cause, at=request.at) if request.cause else None
        if gap is not None:
            self._insert([(stream.number, last, gap.size, *row_of(gap))])
            count, size = count - 1, size - gap.size
        trim = Trim(count, size, lost)
        self._answer(request.stream, lambda listener: listener.trimmed(trim))

    def _rows_behind(self, stream: StreamState, after: int) -> sqlite3.Cursor:
        return self._database.execute(
            f"SELECT position, {COLUMNS} FROM entries"  # noqa: S608 - constants
            " WHERE stream = ? AND position > ? ORDER BY position",
            (stream.number, max(after, stream.acknowledged)),
        )

    def _remove(self, request: Remove) -> None:
        stream = self._stream(request.stream)
        self._acknowledged.discard(request.stream)
        if stream is not None:
            for table in ("entries", "streams"):
                self._database.execute(
                    f"DELETE FROM {table} WHERE stream = ?",  # noqa: S608 - constants
                    (stream.number,),
                )
            self.streams[request.stream] = None


def _tell_stored(positions: list[int], listener: LogListener) -> None:
    listener.stored(positions)
