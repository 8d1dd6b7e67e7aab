"""The database of the log: its settings, its tables and its rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import Topic
from websocketmanager.domain.overflow import LogEntry, LogRun, entry_bytes

_SCHEMA_VERSION: Final = 1
#: Of a row in `entries`, behind stream, position and size.
COLUMNS: Final = "session, sequence, at, owner_epoch, topic, kind, marker, data"

Row: TypeAlias = tuple[int, int, float, int, str, str, str, bytes]


def prepare(database: sqlite3.Connection) -> None:
    """Makes a database durable, exclusive and of our schema.

    Raises:
        sqlite3.Error: it cannot be, or is of a newer version.
    """
    # Exclusive: no second process may take the same messages for its own.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    # FULL: with WAL, NORMAL would lose stored messages to a power failure.
    database.execute("PRAGMA synchronous = FULL")
    # On macOS an ordinary fsync leaves data in the drive's cache; elsewhere this does nothing.
    database.execute("PRAGMA fullfsync = ON")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == _SCHEMA_VERSION:
        return
    if version != 0:
        raise sqlite3.DatabaseError(f"its version is {version}, known is {_SCHEMA_VERSION}")
    database.executescript(
        f"""
        BEGIN IMMEDIATE;
        CREATE TABLE streams (
            stream INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL UNIQUE,
            acknowledged INTEGER NOT NULL
        );
        CREATE TABLE entries (
            stream INTEGER NOT NULL,
            position INTEGER NOT NULL,
            size INTEGER NOT NULL,
            session INTEGER NOT NULL,
            sequence INTEGER NOT NULL,
            at REAL NOT NULL,
            owner_epoch INTEGER NOT NULL,
            topic TEXT NOT NULL,
            kind TEXT NOT NULL,
            marker TEXT NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (stream, position)
        ) WITHOUT ROWID;
        PRAGMA user_version = {_SCHEMA_VERSION};
        COMMIT;
        """
    )


def row_of(entry: LogEntry) -> Row:
    """Returns an entry as it is stored."""
    return (
        entry.session,
        entry.sequence,
        entry.at,
        entry.owner_epoch,
        entry.topic,
        entry.kind.value,
        entry.marker,
        entry.data,
    )


def rows_of(run: LogRun, stream: int, first: int) -> list[tuple[object, ...]]:
    """Returns entries as they are stored: stream, position from `first` on, size, and the rest."""
    beside, session, at, epoch = entry_bytes(run.topic), run.session, run.at, run.owner_epoch
    topic, kind, marker = run.topic, run.kind.value, run.marker
    number = run.first - first
    return [
        (
            stream,
            position,
            len(data) + beside,
            session,
            position + number,
            at,
            epoch,
            topic,
            kind,
            marker,
            data,
        )
        for position, data in enumerate(run.payloads, first)
    ]


def entry_of(row: Sequence[Any]) -> LogEntry:
    """Returns the entry in a stored row."""
    session, sequence, at, owner_epoch, topic, kind, marker, data = row
    return LogEntry(session, sequence, at, owner_epoch, Topic(topic), Kind(kind), marker, data)
