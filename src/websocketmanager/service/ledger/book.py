"""One connection's record in memory, with what is not saved yet. The ledger saves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from websocketmanager.domain.record import RECENT_EVENTS, Record, RecordedEvent
from websocketmanager.service.flag import Flag

#: Events that may wait for a save per connection; the oldest beyond are counted and dropped.
_MAX_DRAFTS = 512

Change = Callable[[Record], Record]


class RecordLost(Exception):
    """The stored record belongs to another owner: stop acting for the connection."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A lifecycle event that has no number yet: it gets one with the save that holds it."""

    name: str
    at: float
    data: Mapping[str, Any]


class Owner(Protocol):
    """Whose record a book holds."""

    def note_saved(self, durably: Record) -> None:
        """This record is durable now."""

    def note_lost(self, problem: str) -> None:
        """Another owner has the record."""

    def position(self) -> int:
        """Returns the last message's number in the present session."""


class Book:
    """One connection's record and what waits to be saved.

    Args:
        record: as it is stored, or as it will be first.
        owner: is told what becomes of it.
        etag: of the stored value, when it is known.
        stored: whether the store has a value.
    """

    __slots__ = (
        "acknowledged",
        "closed",
        "dirty",
        "drafts",
        "dropped_drafts",
        "etag",
        "owner",
        "progress",
        "queued",
        "record",
        "stored",
    )

    def __init__(
        self,
        record: Record,
        owner: Owner,
        *,
        etag: str | None = None,
        stored: bool = False,
    ) -> None:
        self.record = record
        self.owner = owner
        self.etag = etag
        self.stored = stored
        self.drafts: list[Draft] = []  # few, and mostly none
        self.dropped_drafts = 0
        self.dirty = False
        self.queued = False
        self.closed = record.deleted
        self.acknowledged = record.event
        self.progress = Flag()

    @property
    def unacknowledged(self) -> int:
        """Saved events that the API has not accepted yet."""
        return self.record.event - self.acknowledged

    @property
    def savable(self) -> bool:
        """Whether a save would bring the store closer to what is in memory."""
        has_room = self.unacknowledged < RECENT_EVENTS
        return not self.closed and (self.dirty or bool(self.drafts and has_room))

    def add(self, drafts: Sequence[Draft]) -> None:
        """Has events wait for the next save."""
        self.drafts.extend(drafts)
        while len(self.drafts) > _MAX_DRAFTS:
            self.drafts.pop(0)
            self.dropped_drafts += 1

    def numbered(self, drafts: Sequence[Draft]) -> tuple[RecordedEvent, ...]:
        """Returns the events that a save with these drafts holds."""
        events = []
        for number, draft in enumerate(drafts, self.record.event + 1):
            data = {**draft.data, "event": number}
            if self.dropped_drafts and number == self.record.event + 1:
                data["events_dropped"] = self.dropped_drafts
            events.append(RecordedEvent.of(number, draft.name, draft.at, data))
        return tuple(events)

    def acknowledge(self, number: int) -> None:
        """Takes note that the API accepted the events up to this one."""
        self.acknowledged = max(self.acknowledged, number)
        self.progress.set()

    async def wait_acknowledged(self) -> None:
        """Waits until the API has accepted every saved event."""
        while self.unacknowledged:
            self.progress.clear()
            await self.progress.wait()

    def refuse_closed(self) -> None:
        """Raises RecordLost once nothing of the book is saved any more."""
        if self.closed:
            raise RecordLost("nothing is saved of it any more")

    def close(self) -> None:
        """Drops what is not saved; nothing will be any more."""
        self.closed = True
        self.dirty = False
        self.drafts.clear()
