"""Saves what is posted in the background, and commits what a caller waits for.

Changes of the lifecycle are posted, several to one save; changes that a caller waits for are
committed at once or fail as a whole. An API outage delays saves and the events behind them, never
the connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

from websocketmanager.domain.facts import OwnershipLost, RecordSaveDelayed
from websocketmanager.domain.record import RECENT_EVENTS, Record, RecordedEvent
from websocketmanager.errors import ApiError
from websocketmanager.ports import Clock, Dice, Journal, StateStore
from websocketmanager.service.ledger.book import Book, Change, Draft, RecordLost
from websocketmanager.service.ledger.writing import RecordWriter
from websocketmanager.service.outbox import Outbox

_SAVES_IN_FLIGHT = 32
_FIRST_PAUSE_SECONDS = 0.1
_MAX_PAUSE_SECONDS = 2.0

#: Told the events that a record holds from now on, with the record.
Listener = Callable[[Record, Sequence[RecordedEvent]], None]


class Ledger:
    """Saves books through the state store and hands their events to the outbox."""

    def __init__(
        self, store: StateStore, outbox: Outbox, clock: Clock, dice: Dice, journal: Journal
    ) -> None:
        self._writer = RecordWriter(store, clock, dice)
        self._outbox = outbox
        self._clock = clock
        self._dice = dice
        self._journal = journal
        self._dirty: deque[Book] = deque()
        self._unsaved: set[Book] = set()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._in_flight = 0
        self._delayed = False
        self._listeners: list[Listener] = []
        # Kept alive by those who hold or await one: a book has none while nobody writes it.
        self._locks: WeakValueDictionary[Book, asyncio.Lock] = WeakValueDictionary()

    def listen(self, listener: Listener) -> None:
        """Tells it every event once a record holds it, those of one connection in order."""
        self._listeners.append(listener)

    # --- posting ------------------------------------------------------------------------------

    def post(self, book: Book, change: Change | None = None, *drafts: Draft) -> None:
        """Changes the record in memory and has it saved, then publishes the drafts' events."""
        if book.closed:
            return
        if change is not None:
            book.record = change(book.record)
        book.add(drafts)
        book.dirty = True
        self._unsaved.add(book)
        self._enqueue(book)

    async def run(self) -> None:
        """Saves what is posted until cancelled."""
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - the ledger owns its saves
            while True:
                self._wake.clear()
                while self._dirty and self._in_flight < _SAVES_IN_FLIGHT:
                    self._in_flight += 1
                    tasks.create_task(self._save_in_turn(self._dirty.popleft()))
                await self._wake.wait()

    @property
    def busy(self) -> bool:
        """Whether a posted change is not saved yet."""
        return bool(self._unsaved or self._in_flight)

    @property
    def waiting(self) -> int:
        """Lifecycle events that are not saved yet."""
        return sum(len(book.drafts) for book in self._unsaved)

    async def wait_idle(self) -> None:
        """Waits until every posted change is saved."""
        while self.busy:
            self._idle.clear()
            await self._idle.wait()

    # --- committing ---------------------------------------------------------------------------

    async def commit(self, book: Book, change: Change) -> None:
        """Saves a change at once; memory shows it only when the store does.

        Raises:
            ApiError: the store did not take it; the record is as it was, in memory at least.
            RecordLost: the record belongs to another, or is buried.
        """
        async with self._lock(book):
            book.refuse_closed()
            written = change(book.record)
            try:
                await self._writer.write(book, written)
            except ApiError:
                # Its effect is unknown: the next save brings the store back to what memory says.
                self.post(book)
                raise
            except RecordLost as error:
                self._lose(book, error)
                raise
            book.record = change(book.record)
            book.owner.note_saved(written)

    async def open(self, book: Book) -> None:
        """Saves a new record for the first time.

        Raises:
            ApiError: the store may or may not have it; the book is closed, nothing follows.
            RecordLost: somebody else has the key.
        """
        async with self._lock(book):
            try:
                await self._writer.write(book, book.record)
            except BaseException:
                self._close(book)
                raise

    async def scrub(self, book: Book) -> None:
        """Deletes what a failed `open` may have left. Raises ApiError when it cannot be done."""
        await self._writer.delete(book)

    async def bury(self, book: Book, draft: Draft | None) -> Callable[[], None] | None:
        """Saves a tombstone with a last event; nothing of the book is saved afterwards.

        Returns what publishes the events that the tombstone holds: to be called when what they
        say is true. None: it was buried before, and whoever did that does the rest.

        Raises:
            ApiError: the store did not take it; nothing has changed.
            RecordLost: the record belongs to another.
        """
        async with self._lock(book):
            if book.closed and book.record.deleted:
                return None
            book.refuse_closed()
            events = book.numbered([*book.drafts, *([draft] if draft else [])])
            # All that is unpublished, however much: there is no later save to hold the rest.
            keep = max(RECENT_EVENTS, book.unacknowledged + len(events))
            recent = (*book.record.recent_events, *events)[-keep:]
            number = book.record.event + len(events)
            tombstone = replace(book.record, event=number, recent_events=recent, deleted=True)
            try:
                await self._writer.write(book, tombstone)
                await self._writer.confirm(book)
            except ApiError:
                self.post(book)  # as in `commit`: a tombstone of the living must not stay
                raise
            except RecordLost as error:
                self._lose(book, error)
                raise
            self._close(book)
            book.record = tombstone
            book.owner.note_saved(tombstone)
            acknowledge = self._acknowledger(book)
            return lambda: self._publish(tombstone, events, acknowledge)

    async def erase(self, book: Book, *, patience_seconds: float | None) -> None:
        """Deletes a buried record, once its last events are published or patience is over.

        Without an end to patience a crash meanwhile leaves the tombstone, and with it the events.

        Raises:
            ApiError: the store did not delete it; a recovery will.
        """
        try:
            async with self._clock.timeout(patience_seconds):
                await book.wait_acknowledged()
        except TimeoutError:
            pass  # the events are in the outbox all the same; only a crash could lose them
        await self._writer.delete(book)

    def announce_again(self, book: Book) -> None:
        """Publishes the events that a crash may have left unpublished; equal ids, equal bytes."""
        record = book.record
        book.acknowledged = record.event - len(record.recent_events)
        self._publish(record, record.recent_events, self._acknowledger(book))

    # --- inside -------------------------------------------------------------------------------

    def _lock(self, book: Book) -> asyncio.Lock:
        return self._locks.setdefault(book, asyncio.Lock())

    def _close(self, book: Book) -> None:
        book.close()
        self._unsaved.discard(book)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if not self.busy:
            self._idle.set()

    def _lose(self, book: Book, error: RecordLost) -> None:
        self._close(book)
        self._journal.emit(OwnershipLost(book.record.id, str(error)))
        book.owner.note_lost(str(error))

    def _enqueue(self, book: Book) -> None:
        if book.savable and not book.queued:
            book.queued = True
            self._dirty.append(book)
            self._wake.set()

    async def _save_in_turn(self, book: Book) -> None:
        try:
            pause = _FIRST_PAUSE_SECONDS
            while not await self._try_save(book):
                # Its slot is free meanwhile: a record that the API refuses must not stop others.
                self._in_flight -= 1
                self._wake.set()
                try:
                    await self._clock.sleep(pause * (0.5 + 0.5 * self._dice.uniform()))
                finally:
                    self._in_flight += 1
                pause = min(pause * 2.0, _MAX_PAUSE_SECONDS)
        finally:
            book.queued = False
            self._in_flight -= 1
            self._enqueue(book)
            self._wake.set()
            self._tell_idle()

    async def _try_save(self, book: Book) -> bool:
        """Saves what the book has; returns False when it must be tried again."""
        async with self._lock(book):
            if not book.savable:
                return True
            # What has no room now waits: acknowledgements queue the book again.
            room = max(RECENT_EVENTS - book.unacknowledged, 0)
            # Taken out, so that what is posted during the write stays behind them.
            drafts = [book.drafts.pop(0) for _ in range(min(room, len(book.drafts)))]
            dropped = book.dropped_drafts
            events = book.numbered(drafts)
            record = book.record.with_events(events)
            book.dirty = False
            try:
                await self._writer.write(book, record)
            except RecordLost as error:
                self._lose(book, error)
                return True
            except ApiError as error:
                # Put back in front: they get the same numbers again, should the write have worked.
                book.drafts[:0] = drafts
                book.dirty = True
                self._delay(error)
                return False
            self._delayed = False
            if drafts:
                book.dropped_drafts -= dropped  # told now; what was dropped since is not
            # Changes posted during the write stay: only what the events changed is taken over.
            book.record = book.record.with_events(events)
            if not (book.dirty or book.drafts):
                self._unsaved.discard(book)
            self._publish(record, events, self._acknowledger(book))
            book.owner.note_saved(record)
            return True

    def _publish(
        self,
        record: Record,
        events: Sequence[RecordedEvent],
        acknowledge: Callable[[int], None],
    ) -> None:
        self._outbox.publish(record, events, acknowledge)
        for listener in self._listeners:
            listener(record, events)

    def _acknowledger(self, book: Book) -> Callable[[int], None]:
        def acknowledge(number: int) -> None:
            book.acknowledge(number)
            self._enqueue(book)

        return acknowledge

    def _delay(self, error: ApiError) -> None:
        if not self._delayed:
            self._delayed = True
            self._journal.emit(RecordSaveDelayed(error.problem))
