"""Group commit: one thread owns the database, and what waits shares the next commit.

Whatever waited while the last commit was on its way to the disk shares the next one, so that many
callers cost one fsync. Answers go back to the event loop only after the commit; the loop itself
never waits for the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, TypeVar, cast

from websocketmanager.embedded.database import open_database
from websocketmanager.errors import ApiUnavailable, StateConflict

#: Requests that share one commit at most.
_MAX_GROUP: Final = 1024

T = TypeVar("T")
Settlement = tuple["asyncio.Future[object]", object]


@dataclass(frozen=True, slots=True)
class _Request:
    act: Callable[[sqlite3.Connection], object]
    writes: bool
    answer: asyncio.Future[object]


class GroupCommits:
    """The thread of one database, and the requests to it. Of the event loop that made it.

    Args:
        path: of the database file, or `:memory:`.

    Attributes:
        commits: transactions on disk since it was opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._requests: SimpleQueue[_Request | None] = SimpleQueue()
        self.commits = 0
        self._closing = False
        self._opened: asyncio.Future[object] = self._loop.create_future()
        self._closed: asyncio.Future[object] = self._loop.create_future()
        self._thread = threading.Thread(target=self._work, name="embedded-store", daemon=True)

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

    async def ask(self, act: Callable[[sqlite3.Connection], T], *, writes: bool) -> T:
        """Has something done in the thread, within a transaction if it `writes`.

        A call that is cancelled may still take effect.

        Raises:
            StateConflict: raised by `act`; it must not have written anything then.
            ApiUnavailable: the database failed, and the effect of a write is unknown; or it is
                closed.
        """
        if self._closing:
            raise ApiUnavailable("State", "the store is closed")
        answer: asyncio.Future[object] = self._loop.create_future()
        self._requests.put(_Request(act, writes, answer))
        return cast("T", await answer)

    # --- below: in its own thread ---------------------------------------------------------------

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
                self.commits += 1
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


def _set_results(settlements: Iterable[Settlement]) -> None:
    for future, result in settlements:
        if future.done():  # its caller was cancelled
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
