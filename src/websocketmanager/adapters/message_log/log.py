"""`ports.MessageLog` on SQLite: messages on the local disk, in order, before they count as stored.

One thread owns the database and works in group commits: what waited while the last commit was on
its way to the disk, and for a pause behind it, shares the next one. Acknowledgements are held back
for a moment and share one too. Answers go to the listeners only after the commit; the event loop
never waits for the disk. What the disk does not take is tried again, in the same order.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

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
from websocketmanager.adapters.message_log.schema import prepare
from websocketmanager.adapters.message_log.transaction import Answer, StreamState, Transaction
from websocketmanager.domain.facts import MessageLogFailing, MessageLogWorking
from websocketmanager.domain.overflow import LogEntry, LogRun
from websocketmanager.ports import Journal, LogExtent, LogListener

#: Entries and other requests that share one commit at most, but for what came together.
_MAX_GROUP: Final = 4096
#: Between two commits; one that follows an idle moment is made at once. Without a pause the disk
#: gets thousands of syncs a second, and answers some of them late: in 15 ms instead of 0.2.
_PAUSE_SECONDS: Final = 0.002
#: How long acknowledgements are held back: for that time a crash brings back what the API has.
_ACKNOWLEDGE_SECONDS: Final = 0.02
#: How long the thread waits for a busy event loop to give it the interpreter, which it needs a few
#: times for every commit; Python's own 5 ms are more than the disk takes. Holds for the process and
#: costs nothing while no thread waits.
_SWITCH_SECONDS: Final = 0.0005
_RETRY_SECONDS: Final = 0.5


class SqliteMessageLog:
    """Streams of messages in one SQLite file. Of the event loop that starts it.

    Args:
        path: of the file; its folder is made. Nobody else may use it meanwhile.
        journal: told when the disk fails, and when it works again.
        hold_seconds: how long acknowledgements are held back.
    """

    def __init__(
        self, path: Path, journal: Journal, *, hold_seconds: float = _ACKNOWLEDGE_SECONDS
    ) -> None:
        self._hold_seconds = hold_seconds
        self._path = path
        self._journal = journal
        self._loop: asyncio.AbstractEventLoop | None = None
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._started = asyncio.Event()
        self._ended = asyncio.Event()
        self._listeners: dict[str, LogListener] = {}
        self._acknowledged: dict[str, int] = {}
        self._acknowledging: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._work, name="message-log", daemon=True)
        # The thread's own.
        self._database: sqlite3.Connection | None = None
        self._streams: dict[str, StreamState | None] = {}
        self._loaded = False
        self._failing = False
        self.extents: Mapping[str, LogExtent] = {}

    async def start(self) -> None:
        """Opens the log, or has it tried again and again: `extents` is empty then.

        The threads of the process hand the interpreter over more readily from then on.
        """
        self._loop = asyncio.get_running_loop()
        sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
        self._thread.start()
        await self._started.wait()

    async def close(self) -> None:
        """Completes what was asked before, unless the disk fails; safe to repeat."""
        if self._loop is None:
            return
        if not self._stopping.is_set():
            self._stopping.set()
            self._acknowledge_all()
            self._requests.put(None)
        await self._ended.wait()
        self._thread.join()  # its last act was to say so: this takes microseconds

    def open(self, stream: str, listener: LogListener) -> None:
        """Opens a stream; answered by `opened`."""
        self._acknowledge_before(stream)
        self._listeners[stream] = listener
        self._requests.put(Open(stream, listener))

    def append(self, stream: str, entries: LogRun, *, room: int = 0) -> None:
        """Appends entries; answered by `stored`, many at a time."""
        self._requests.put(Append(stream, entries, room))

    def insert(self, stream: str, after: int, entries: Sequence[LogEntry]) -> None:
        """Puts entries where an append has left room; answered by `inserted`."""
        self._requests.put(Insert(stream, after, entries))

    def acknowledge(self, stream: str, position: int) -> None:
        """Forgets the entries up to a position, at some time: a crash may bring some back."""
        self._acknowledged[stream] = position
        if self._acknowledging is None:
            assert self._loop is not None  # noqa: S101 - `start` comes first
            # Later, and for all at once: what waits for the disk must not wait for this as well.
            self._acknowledging = self._loop.call_later(self._hold_seconds, self._acknowledge_all)

    def read(self, stream: str, after: int, *, max_entries: int, max_bytes: int) -> None:
        """Reads entries behind a position, at least one if there is one; answered by `fetched`."""
        self._acknowledge_before(stream)
        self._requests.put(Read(stream, after, max_entries, max_bytes))

    def trim(self, stream: str, after: int, *, size: int, cause: str, at: float) -> None:
        """Gives up the oldest entries behind a position, until so many bytes are freed."""
        self._acknowledge_before(stream)
        self._requests.put(TrimRequest(stream, after, size, cause, at))

    def remove(self, stream: str) -> None:
        """Forgets a stream with all that it holds, and its listener."""
        self._listeners.pop(stream, None)
        self._acknowledged.pop(stream, None)
        self._requests.put(Remove(stream))

    def _acknowledge_before(self, stream: str) -> None:
        """Lets go of what is held back: what is done with must not be found any more."""
        if stream in self._acknowledged:
            self._acknowledge_all()

    def _acknowledge_all(self) -> None:
        if self._acknowledging is not None:
            self._acknowledging.cancel()
            self._acknowledging = None
        acknowledged, self._acknowledged = self._acknowledged, {}
        for stream, position in acknowledged.items():
            self._requests.put(Acknowledge(stream, position))

    # --- the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._try_group([])  # opens the database
            self._call(self._started.set)
            while (group := self._next_group()) is not None:
                while not self._try_group(group):
                    if self._stopping.wait(_RETRY_SECONDS):
                        return
                self._stopping.wait(_PAUSE_SECONDS)
        finally:
            if self._database is not None:
                self._database.close()
            self._call(self._started.set)
            self._call(self._ended.set)

    def _next_group(self) -> list[Request] | None:
        """Waits for work; returns all there is, or None at the end."""
        request = self._requests.get()
        group: list[Request] = []
        size = 0
        while request is not None:
            group.append(request)
            size += request.entries.count if isinstance(request, Append) else 1
            if size >= _MAX_GROUP:
                return group
            try:
                request = self._requests.get_nowait()
            except Empty:
                return group
        if group:
            self._requests.put(None)  # again, behind the last work
        return group or None

    def _try_group(self, group: list[Request]) -> bool:
        """Does all that is asked in one transaction, or nothing of it."""
        try:
            if self._database is None:
                self._database = self._opened_database()
            answers = self._execute(self._database, group) if group else []
        except (sqlite3.Error, OSError) as error:
            self._give_up_database()
            self._fail(group, str(error))
            return False
        if self._failing:
            self._failing = False
            self._journal_later(MessageLogWorking(str(self._path)))
        if answers:
            self._call(lambda: [answer() for answer in answers])
        return True

    def _give_up_database(self) -> None:
        """Closes it, which undoes what is not committed; it is opened anew."""
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except sqlite3.Error as error:
                self._journal_later(MessageLogFailing(str(self._path), str(error)))

    def _fail(self, group: list[Request], problem: str) -> None:
        if not self._failing:
            self._failing = True
            self._journal_later(MessageLogFailing(str(self._path), problem))
        waiting = {request.stream for request in group}

        def tell() -> None:
            for stream in waiting:
                if listener := self._listeners.get(stream):
                    listener.failed(problem)

        self._call(tell)

    def _journal_later(self, fact: MessageLogFailing | MessageLogWorking) -> None:
        self._call(lambda: self._journal.emit(fact))

    def _call(self, what: Callable[[], object]) -> None:
        assert self._loop is not None  # noqa: S101 - `start` comes first
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            return  # the loop is closed: nobody waits for an answer

    # --- the database -------------------------------------------------------------------------

    def _opened_database(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Messages may be confidential: a new file is for its owner only.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        database = sqlite3.connect(self._path, timeout=0.0, isolation_level=None)
        try:
            prepare(database)
            self._load(database)
        except BaseException:
            database.close()
            raise
        return database

    def _load(self, database: sqlite3.Connection) -> None:
        self._streams = {}
        extents = {}
        rows = database.execute("SELECT stream, name, acknowledged FROM streams").fetchall()
        for number, name, acknowledged in rows:
            count, size, last = database.execute(
                "SELECT count(*), coalesce(sum(size), 0), max(position)"
                " FROM entries WHERE stream = ? AND position > ?",
                (number, acknowledged),
            ).fetchone()
            self._streams[name] = StreamState(number, max(last or 0, acknowledged), acknowledged, 0)
            place = database.execute(
                "SELECT session, sequence FROM entries WHERE stream = ? AND position = ?",
                (number, last),
            ).fetchone()
            extents[name] = LogExtent(count, size, place or (0, 0))
        if not self._loaded:
            self._loaded = True
            self.extents = extents  # of the first time: later ones hold our own entries

    def _execute(self, database: sqlite3.Connection, group: list[Request]) -> list[Answer]:
        work = Transaction(database, ChainMap({}, self._streams), self._listeners)
        database.execute("BEGIN IMMEDIATE")
        for request in group:
            work.do(request)
        work.finish()
        database.execute("COMMIT")
        for name, stream in work.streams.maps[0].items():
            if stream is None:
                self._streams.pop(name, None)
            else:
                self._streams[name] = stream
        return work.answers
