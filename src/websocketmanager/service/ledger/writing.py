"""Writes a record over the value that is ours, and over no other: fencing.

Each save names the etag of the value it replaces, once it has seen that the value is its own. A
record that shows another owner ends the book.
"""

from __future__ import annotations

from dataclasses import replace

from websocketmanager.domain.record import Record, from_json, to_json
from websocketmanager.errors import ApiUnavailable, RecordUnreadable, StateConflict
from websocketmanager.ports import Clock, Dice, StateStore
from websocketmanager.service.ledger.book import Book, RecordLost


class RecordWriter:
    """Writes books' records to the state store; `write` and `confirm` under the book's lock."""

    def __init__(self, store: StateStore, clock: Clock, dice: Dice) -> None:
        self._store = store
        self._clock = clock
        self._dice = dice

    async def write(self, book: Book, record: Record) -> None:
        """Saves the record over the value that is ours, and over no other.

        Raises:
            RecordLost: the stored value belongs to another owner or is a tombstone of one.
            ApiError: not saved, or not known to be.
        """
        if book.etag is None and book.stored:
            await self._read_etag(book)
        value = replace(
            record,
            writer=self._dice.uuid(),
            last_heartbeat=self._clock.now(),
            last_sequence=book.owner.position(),
        )
        etag, book.etag = book.etag or None, None
        try:
            await self._store.save(record.key, to_json(value), etag=etag)
        except StateConflict as conflict:
            # An outage may look like a conflict, and a repeated call conflicts with itself.
            if not await self._was_written(book, value):
                raise ApiUnavailable(conflict.operation, conflict.problem) from conflict
        book.stored = True

    async def confirm(self, book: Book) -> None:
        """Reads back a write that must win.

        Raises:
            RecordLost: another owner's value is there.
            ApiError: nobody knows.
        """
        stored = await self._store.get(book.record.key)
        if stored is not None:
            _check_owner(book.record, stored.value)
            book.etag = stored.etag

    async def delete(self, book: Book) -> None:
        """Deletes the record, whatever it says. Raises ApiError when it cannot be done."""
        await self._store.delete(book.record.key)

    async def _read_etag(self, book: Book) -> None:
        stored = await self._store.get(book.record.key)
        if stored is None:
            book.etag, book.stored = None, False  # the store lost it; it is written anew
            return
        _check_owner(book.record, stored.value)
        book.etag = stored.etag

    async def _was_written(self, book: Book, value: Record) -> bool:
        stored = await self._store.get(value.key)
        if stored is None:
            return False
        if _check_owner(book.record, stored.value).writer == value.writer:
            return True
        book.etag = stored.etag
        return False


def _check_owner(ours: Record, text: str) -> Record:
    """Returns the stored record; raises RecordLost when it is of another owner."""
    try:
        theirs = from_json(ours.key, text)
    except RecordUnreadable as error:
        raise RecordLost(str(error)) from error
    if theirs.owner_epoch > ours.owner_epoch or theirs.created_at > ours.created_at:
        raise RecordLost(
            f"owned by {theirs.instance_id} at epoch {theirs.owner_epoch}, not {ours.owner_epoch}"
        )
    if theirs.owner_epoch == ours.owner_epoch and theirs.incarnation != ours.incarnation:
        raise RecordLost(f"owned by another process of {theirs.instance_id}")
    return theirs
