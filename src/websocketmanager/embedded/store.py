"""State on SQLite: string values with etags, on disk before a save is answered."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from websocketmanager.embedded.group_commits import GroupCommits
from websocketmanager.errors import StateConflict
from websocketmanager.ports import Versioned


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Counts since the store was opened."""

    saves: int
    commits: int


class Store:
    """Values by service and key. Of the event loop that opened it.

    A call that is cancelled may still take effect. Every method but `register` may raise
    ApiUnavailable: the database failed, and a save's effect is unknown.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._database = GroupCommits(path)
        self._registered: dict[str, set[str]] = {}
        self._saves = 0

    def __repr__(self) -> str:
        return f"<Store {self._path} saves={self._saves} commits={self._database.commits}>"

    async def open(self) -> None:
        """Starts the thread and waits for the database.

        Raises:
            OSError: the database cannot be used.
        """
        await self._database.open()

    async def close(self) -> None:
        """Completes what was asked before, then closes the database."""
        await self._database.close()

    def statistics(self) -> StoreStatistics:
        """Returns the counts of now."""
        return StoreStatistics(self._saves, self._database.commits)

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

        return await self._database.ask(act, writes=False)

    async def get_all(self, service: str) -> Mapping[str, str]:
        """Returns the values of the keys that were registered since the store was opened."""
        registered = frozenset(self._registered.get(service, ()))

        def act(database: sqlite3.Connection) -> dict[str, str]:
            rows = database.execute("SELECT key, value FROM state WHERE service = ?", (service,))
            return {key: value for key, value in rows if key in registered}

        return await self._database.ask(act, writes=False)

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

        await self._database.ask(act, writes=True)

    async def delete(self, service: str, key: str) -> None:
        """Removes the key; an absent key is no error."""

        def act(database: sqlite3.Connection) -> None:
            database.execute("DELETE FROM state WHERE service = ? AND key = ?", (service, key))

        await self._database.ask(act, writes=True)


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
