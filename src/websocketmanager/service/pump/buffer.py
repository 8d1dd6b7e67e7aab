"""What waits in memory between one connection and the lane, its bounds, and the room it has.

Counts events and bytes, those in flight included, also for the budget of the process.
"""

from __future__ import annotations

from collections.abc import Sequence

from websocketmanager.domain.envelope import Event, MessageRun, Parcel, count_events
from websocketmanager.domain.overflow import begun_within
from websocketmanager.service.budget import Budget
from websocketmanager.service.flag import Flag
from websocketmanager.service.lane import Feed

#: What a waiting event costs beside its data, roughly; counts against the process budget.
_EVENT_BYTES = 512


class Buffer:
    """Of one connection.

    Args:
        feed: where its events wait.
        budget: shared by all buffers.
        max_messages: bound of waiting messages.
        max_bytes: bound of waiting bytes.

    Attributes:
        feed, budget, max_messages, max_bytes: as given.
        size: bytes of the events' data.
        room: set while the reader may go on, as far as the buffer alone knows.
    """

    __slots__ = ("budget", "feed", "max_bytes", "max_messages", "room", "size")

    def __init__(self, feed: Feed, budget: Budget, *, max_messages: int, max_bytes: int) -> None:
        self.feed = feed
        self.budget = budget
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.size = 0
        self.room = Flag()
        self.room.set()

    def push(self, parcel: Parcel) -> None:
        """Puts events behind all that waits."""
        self.size += parcel.size
        self.budget.take(parcel.size + _EVENT_BYTES * parcel.count)
        self.feed.push(parcel)

    def hold(self, event: Event) -> None:
        """Counts in an event that its owner puts into the feed itself."""
        self.size += len(event.data)
        self.budget.take(len(event.data) + _EVENT_BYTES)

    def release(self, parcels: Sequence[Parcel]) -> None:
        """Counts events out that are no longer there."""
        size = sum([parcel.size for parcel in parcels])
        self.size -= size
        self.budget.give(size + _EVENT_BYTES * count_events(parcels))

    @property
    def at_bounds(self) -> bool:
        """Whether as much waits as may."""
        return self.feed.load >= self.max_messages or self.size >= self.max_bytes

    @property
    def half_empty(self) -> bool:
        """Whether there is so much room that it is worth to wake the reader."""
        return self.feed.load * 2 <= self.max_messages and self.size * 2 <= self.max_bytes

    def room_for(self, payloads: Sequence[bytes], size: int) -> int:
        """Returns how many messages there are, from the front, until it is at its bounds.

        Args:
            payloads: of the messages.
            size: bytes of them all.
        """
        count = min(len(payloads), self.max_messages - self.feed.load)
        room = self.max_bytes - self.size
        if size < room or count <= 0:
            return max(count, 0)
        if room <= 0:
            return 0
        return min(count, begun_within(payloads, room))

    # --- for what comes from the log ----------------------------------------------------------

    def places_for(self, parcel: Parcel) -> int:
        """Returns how many events of a parcel it may take: none while the process has too many."""
        if self.budget.overdrawn:
            return 0
        payloads = parcel.payloads if isinstance(parcel, MessageRun) else (b"",)
        return self.room_for(payloads, parcel.size)

    @property
    def low(self) -> bool:
        """Whether it should be filled up."""
        return self.half_empty and (not self.feed.load or not self.budget.overdrawn)

    def reserve(self, size: int) -> None:
        """Counts bytes in (or out) that wait in memory for the disk."""
        if size > 0:
            self.budget.take(size)
        else:
            self.budget.give(-size)
