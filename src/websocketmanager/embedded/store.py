"""State on SQLite: string values with etags, on disk before a save is answered.

One thread owns the database and works in group commits: whatever waited while the last commit
was on its way to the disk shares the next one, so that many callers cost one fsync. Answers go
back to the event loop only after the commit; the loop itself never waits for the disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, TypeVar, cast

from websocketmanager.errors import ApiUnavailable, StateConflict
from websocketmanager.ports import Versioned

MEMORY: Final = ":memory:"
_SCHEMA_VERSION: Final = 1
#: Requests that share one commit at most.
_MAX_GROUP: Final = 1024
#: How long to wait for another process that writes to the same file.
_BUSY_SECONDS: Final = 5.0

T = TypeVar("T")
Settlement = tuple["asyncio.Future[object]", object]


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counts since the store was opened."""

    saves: int
    commits: int


@dataclass(frozen=True, slots=True)
class _Request:
    act: Callable[[sqlite3.Connection], object]
    writes: bool
    answer: asyncio.Future[object]


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


class Store:
    """Values by service and key. Of the event loop that opened it.

    A call that is cancelled may still take effect. Every method but `register` may raise
    ApiUnavailable: the database failed, and a save's effect is unknown.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self._registered: dict[str, set[str]] = {}
        self._saves = 0
        self._commits = 0
        self._closing = False
        self._opened: asyncio.Future[object] = self._loop.create_future()
        self._closed: asyncio.Future[object] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name="embedded-store", daemon=True)

    def __repr__(self) -> str:
        return f"<Store {self._path} saves={self._saves} commits={self._commits}>"

    async def open(self) -> None:
        """Starts the thread and waits for the database.

        Raises:
            OSError: the database cannot be used.
        """
        self._thread.start()
        await self._opened

    async def close(self) -> None:
        """Completes what was asked before, then closes the database."""
        if not self._closing:
            self._closing = True
            self._requests.put(None)
        await self._closed
        self._thread.join()  # its last act was to say so: this takes microseconds

    def statistics(self) -> StoreStatistics:
        """Returns the counts of now."""
        return StoreStatistics(self._saves, self._commits)

    async def get(self, service: str, key: str) -> Versioned | None:
        """Returns the committed value, or None when the key is absent."""
        (found,) = await self.get_each([(service, key)])
        return found

    async def get_each(self, places: Sequence[tuple[str, str]]) -> list[Versioned | None]:
        """Returns the committed value of each (service, key), None for absent ones."""

        def act(database: sqlite3.Connection) -> list[Versioned | None]:
            rows = (
                database.execute(
                    "SELECT value, etag FROM state WHERE service = ? AND key = ?", place
                ).fetchone()
                for place in places
            )
            return [row and Versioned(row[0], str(row[1])) for row in rows]

        return await self._ask(act, writes=False)

    async def get_all(self, service: str) -> Mapping[str, str]:
        """Returns the values of the keys that were registered since the store was opened."""
        registered = frozenset(self._registered.get(service, ()))

        def act(database: sqlite3.Connection) -> dict[str, str]:
            rows = database.execute("SELECT key, value FROM state WHERE service = ?", (service,))
            return {key: value for key, value in rows if key in registered}

        return await self._ask(act, writes=False)

    def register(self, service: str, keys: Iterable[str]) -> None:
        """Makes keys visible to `get_all`, whether they have a value or not."""
        self._registered.setdefault(service, set()).update(keys)

    async def save(
        self,
        service: str,
        key: str,
        value: str,
        *,
        etag: str | None = None,
        only_if_absent: bool = False,
    ) -> None:
        """Saves under a new etag; returns once the value is on disk.

        Raises:
            StateConflict: the etag is not the current one, or the key has a value though
                `only_if_absent`. Judged within the transaction that would save.
        """

        def act(database: sqlite3.Connection) -> None:
            if etag is not None or only_if_absent:
                row = database.execute(
                    "SELECT etag FROM state WHERE service = ? AND key = ?", (service, key)
                ).fetchone()
                _judge(key, row and str(row[0]), etag=etag, only_if_absent=only_if_absent)
            database.execute(
                "REPLACE INTO state (service, key, value) VALUES (?, ?, ?)", (service, key, value)
            )
            self._saves += 1

        await self._ask(act, writes=True)

    async def delete(self, service: str, key: str) -> None:
        """Removes the key; an absent key is no error."""

        def act(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM state WHERE service = ? AND key = ?", (service, key))

        await self._ask(act, writes=True)

    async def _ask(self, act: Callable[[sqlite3.Connection], T], *, writes: bool) -> T:
        if self._closing:
            raise ApiUnavailable("State", "the store is closed")
        answer: asyncio.Future[object] = self._loop.create_future()
        self._requests.put(_Request(act, writes, answer))
        return cast("T", await answer)

    # --- below: in the store's own thread --------------------------------------------------

    def _work(self) -> None:
        try:
            database = open_database(self._path)
        except OSError as error:
            self._settle([(self._closed, None), (self._opened, error)])
            return
        self._settle([(self._opened, None)])
        going_on = True
        while going_on:
            group, going_on = self._next_group()
            self._settle(self._perform(database, group))
        with suppress(sqlite3.Error):  # all is committed: the next opening cleans up what is left
            database.close()
        self._settle([(self._closed, None)])

    def _next_group(self) -> tuple[list[_Request], bool]:
        """Waits for a request and takes all that stand behind it; False after the last."""
        group: list[_Request] = []
        request = self._requests.get()
        with suppress(Empty):
            while request is not None:
                group.append(request)
                if len(group) == _MAX_GROUP:
                    return group, True
                request = self._requests.get_nowait()
        return group, request is not None

    def _perform(
        self, database: sqlite3.Connection, group: Sequence[_Request]
    ) -> Collection[Settlement]:
        """Performs a group in order, within one transaction if any of it writes."""
        writes = any(request.writes for request in group)
        results: list[Settlement] = []
        try:
            if writes:
                database.execute("BEGIN IMMEDIATE")
            for request in group:
                try:
                    results.append((request.answer, request.act(database)))
                except StateConflict as conflict:
                    results.append((request.answer, conflict))
            if writes:
                database.execute("COMMIT")
                self._commits += 1
        except Exception as error:  # noqa: BLE001 - the thread must live; all callers are told
            if database.in_transaction:
                with suppress(sqlite3.Error):  # the next BEGIN fails and tells its callers
                    database.execute("ROLLBACK")
            failure = ApiUnavailable("State", f"the store failed: {error}")
            return [(request.answer, failure) for request in group]
        return results

    def _settle(self, settlements: Collection[Settlement]) -> None:
        # A loop that was closed over our head has nobody left to tell.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_set_results, settlements)


@asynccontextmanager
async def opened_store(path: str) -> AsyncIterator[Store]:
    """Opens a store and closes it, complete, on leaving.

    Args:
        path: of the database file, or `:memory:`.

    Raises:
        OSError: the database cannot be used.
    """
    store = Store(path)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


def _judge(key: str, current: str | None, *, etag: str | None, only_if_absent: bool) -> None:
    if only_if_absent and current is not None:
        raise StateConflict("State.SaveState", f"{key} has a value already")
    if etag is not None and etag != current:
        raise StateConflict("State.SaveState", f"the etag of {key} is not current")


def _set_results(settlements: Iterable[Settlement]) -> None:
    for future, result in settlements:
        if future.done():  # its caller was cancelled
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
