"""Opens the database file of the embedded API: its schema, and how safely it commits."""

from __future__ import annotations

import os
import sqlite3
from typing import Final

MEMORY: Final = ":memory:"
_SCHEMA_VERSION: Final = 1
#: How long to wait for another process that writes to the same file.
_BUSY_SECONDS: Final = 5.0


def open_database(path: str) -> sqlite3.Connection:
    """Opens or creates the database, for the calling thread; `:memory:` is supported.

    A commit on the returned connection is on disk when it returns. A new file is readable by
    its owner only: values may hold what a caller put into a URL.

    Raises:
        OSError: it cannot be opened, is no database of ours, or is of a newer version.
    """
    if path != MEMORY:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    try:
        database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise OSError(f"the database {path} cannot be opened: {error}") from error
    try:
        _prepare(database)
    except sqlite3.Error as error:
        database.close()
        raise OSError(f"the database {path} cannot be used: {error}") from error
    return database


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    # FULL: with WAL, NORMAL would lose acknowledged commits to a power failure.
    database.execute("PRAGMA synchronous = FULL")
    # On macOS an ordinary fsync leaves data in the drive's cache; elsewhere this does nothing.
    database.execute("PRAGMA fullfsync = ON")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == _SCHEMA_VERSION:
        return
    if version != 0:
        raise sqlite3.DatabaseError(f"its version is {version}, known is {_SCHEMA_VERSION}")
    # AUTOINCREMENT never gives a number twice, also not after a delete or a restart; REPLACE
    # takes a new one. So the row number is the etag.
    database.executescript(
        f"""
        BEGIN IMMEDIATE;
        CREATE TABLE IF NOT EXISTS state (
            etag INTEGER PRIMARY KEY AUTOINCREMENT,
            service TEXT NOT NULL,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            UNIQUE (service, key)
        );
        PRAGMA user_version = {_SCHEMA_VERSION};
        COMMIT;
        """
    )
