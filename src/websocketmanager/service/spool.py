"""One connection's way through the log on the local disk, between its socket and its lane.

Policy `spill`: messages go there while the buffer is full or the API is away, and until what is
there is drained. Option `durable`: every message does, and goes on only once it is on the disk.
Either way the order of receipt holds, and what the API has accepted leaves the log.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from websocketmanager.domain.envelope import (
    Event,
    Route,
    StreamIdentity,
    marker_event,
    marker_route,
    message_event,
    message_route,
)
from websocketmanager.domain.model import Format, Message, Topic
from websocketmanager.domain.options import Overflow
from websocketmanager.domain.overflow import LogEntry
from websocketmanager.ports import LogExtent, MessageLog, Trim
from websocketmanager.service.overflow import Bounds
from websocketmanager.service.unlogged import Unlogged

#: What one read brings at most.
_READ_ENTRIES = 1024
_READ_BYTES = 1024 * 1024


class DiskBudget:
    """Bytes that the logs of all connections may hold together.

    Above it the connection that holds the most gives its oldest messages up, among those that
    may; where none may, readers wait.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._spools: set[Spool] = set()
        self.used = 0

    @property
    def over(self) -> bool:
        """Whether it is used up."""
        return self.used >= self._max_bytes

    @property
    def helpless(self) -> bool:
        """Whether it is used up and nobody may give anything up."""
        return self.over and not any(spool.trims for spool in self._spools)

    @property
    def spools(self) -> Collection[Spool]:
        """Those that count with it."""
        return self._spools

    def join(self, spool: Spool) -> None:
        """Counts with a connection."""
        self._spools.add(spool)

    def leave(self, spool: Spool) -> None:
        """Counts with it no longer."""
        self._spools.discard(spool)

    def take(self, size: int) -> None:
        """Counts bytes in; never refuses, but has the oldest given up."""
        self.used += size
        self.look()

    def look(self) -> None:
        """Has the connection that holds the most give up what is too much, once it can."""
        if self.used <= self._max_bytes:
            return
        givers = [spool for spool in self._spools if spool.trims]
        largest = max(givers, key=lambda spool: spool.spilled_bytes, default=None)
        # One that is busy is asked when it is not: no smaller one shall pay in its place.
        if largest is not None and largest.trimmable:
            # A little more than must go: each time costs a transaction and a marker.
            largest.trim(self.used - self._max_bytes + self._max_bytes // 64)

    def give(self, size: int) -> None:
        """Counts bytes out."""
        was_over = self.over
        self.used -= size
        if was_over and not self.over:
            for spool in list(self._spools):
                spool.tell_room()


@dataclass(frozen=True, slots=True)
class SpoolHands:
    """What the buffer does for its spool.

    Attributes:
        push: appends an event to the feed.
        drop: told an event that is given up instead: the API refuses its topic.
        rejects: whether it does.
        has_room: whether the feed may take one more.
        is_low: whether the feed should be filled up.
        load: events of the feed, those in flight included, and their bytes.
        stalled: whether the API is away.
        reserve: counts bytes in (or out) that wait in memory for the disk.
        changed: told after every change of what waits.
        lost: told how many messages the disk budget has cost.
        degrade, restore: told that the log fails, and that it works again.
        now: Unix seconds.
    """

    push: Callable[[Event], None]
    drop: Callable[[Event], None]
    rejects: Callable[[Topic], bool]
    has_room: Callable[[], bool]
    is_low: Callable[[], bool]
    load: Callable[[], tuple[int, int]]
    stalled: Callable[[], bool]
    reserve: Callable[[int], None]
    changed: Callable[[], None]
    lost: Callable[[int], None]
    degrade: Callable[[str], None]
    restore: Callable[[], None]
    now: Callable[[], float]


class Spool:
    """One stream of the log; a `ports.LogListener`.

    Args:
        log: of the process.
        stream: its name in there.
        disk: shared by all spools.
        identity: of the connection; its session is the last one that the store knows.
        format: what an event's data holds.
        markers: whether a gap is told in the stream.
        durable: whether every message goes through the log.
        blocking: whether the reader waits at the bounds; else the log takes what comes.
        bounds: of what waits: in memory for the disk, and if `blocking` in all.
        hands: what the buffer does for it.
    """

    def __init__(
        self,
        log: MessageLog,
        stream: str,
        disk: DiskBudget,
        *,
        identity: StreamIdentity,
        format: Format,
        markers: bool,
        durable: bool,
        blocking: bool,
        bounds: Bounds,
        hands: SpoolHands,
    ) -> None:
        self._log = log
        self._stream = stream
        self._disk = disk
        self._identity = identity
        self._format = format
        self._cause = Overflow.SPILL.value if markers else ""
        self._durable = durable
        self._blocking = blocking
        self._bounds = bounds
        self._hands = hands
        self._routes: dict[tuple[int, int, Topic, str], tuple[Route, StreamIdentity]] = {}
        self._unstored: deque[tuple[Event, int]] = deque()
        self._unstored_bytes = 0
        self._outstanding: deque[tuple[Event, int, int]] = deque()
        self._logged: set[Event] = set()
        self._unlogged = Unlogged()
        self._behind = True  # until it is known that nothing is there
        self._cursor = 0
        self._reading = False
        self._trimming = False
        self._keeping = False
        self._closed = False
        self.failing = False
        self.spilled = 0
        self.spilled_bytes = 0
        disk.join(self)
        log.open(stream, self)

    # --- messages -----------------------------------------------------------------------------

    def take(self, event: Event, entry: LogEntry) -> None:
        """Takes a message or marker, the event and what the log needs of it."""
        if self._closed:
            self._hands.drop(event)
            return
        is_direct = not (self._durable or self._behind or self._unstored or self._keeping)
        if is_direct and self._hands.has_room() and not self._hands.stalled():
            self._unlogged.take(event, entry, self._cursor)
            self._hands.push(event)
            return
        size = entry.size
        self._unstored.append((event, size))
        self._unstored_bytes += size
        self._hands.reserve(size)
        self._log.append(self._stream, entry, room=self._unlogged.close())
        self._disk.take(size)
        self._hands.changed()

    def settled(self, events: Sequence[Event]) -> None:
        """Lets go of events that the API has accepted or refused for good."""
        self._unlogged.settle(events)
        if self._logged:
            self._logged.difference_update(events)
        if self._outstanding:
            self._advance()
        self._pull()
        self._hands.changed()

    def keep(self) -> None:
        """Has the log take what memory alone holds, in its place, and whatever still comes.

        Of the end of a process: what the API takes meanwhile is published again by the next one.
        """
        if self._closed or self._keeping:
            return
        self._keeping = True
        for after, entries in self._unlogged.rest():
            self._log.insert(self._stream, after, entries)

    def remove(self) -> int:
        """Forgets everything, on the disk as well; returns how many entries nobody gets."""
        if self._closed:
            return 0
        self._closed = True
        self._log.remove(self._stream)
        self._disk.leave(self)
        self._disk.give(
            self._unstored_bytes + self.spilled_bytes + sum(s for _, _, s in self._outstanding)
        )
        self._hands.reserve(-self._unstored_bytes)
        count = self.unstored + self.spilled
        self._unstored.clear()
        self._outstanding.clear()
        self._logged.clear()
        self._unlogged.clear()
        self._unstored_bytes = self.spilled = self.spilled_bytes = 0
        return count

    # --- what it holds ------------------------------------------------------------------------

    @property
    def unstored(self) -> int:
        """Entries that wait for the disk."""
        return len(self._unstored)

    @property
    def unstored_bytes(self) -> int:
        """Bytes of them."""
        return self._unstored_bytes

    @property
    def logged(self) -> int:
        """Events of the feed that the disk has, too."""
        return len(self._logged)

    @property
    def behind(self) -> bool:
        """Whether something is on the disk alone."""
        return self.spilled > 0

    @property
    def crowded(self) -> bool:
        """Whether the reader must wait."""
        count, size = self._load()
        full = count >= self._bounds.max_messages or size >= self._bounds.max_bytes
        return full or (self._disk.over if self._blocking else self._disk.helpless)

    @property
    def roomy(self) -> bool:
        """Whether the reader may go on: half empty, or it would stutter."""
        count, size = self._load()
        half = count * 2 <= self._bounds.max_messages and size * 2 <= self._bounds.max_bytes
        return half and not self.crowded

    def _load(self) -> tuple[int, int]:
        count, size = self.unstored, self._unstored_bytes
        if self._blocking:
            events, data = self._hands.load()
            count, size = count + events + self.spilled, size + data + self.spilled_bytes
        return count, size

    # --- the disk budget ----------------------------------------------------------------------

    @property
    def trims(self) -> bool:
        """Whether it gives messages up for the budget, now or soon."""
        return not self._blocking and (self._trimming or self.spilled > 0)

    @property
    def trimmable(self) -> bool:
        """Whether it can give messages up now: some that are on the disk alone."""
        return not (self._blocking or self._trimming or self._reading) and self.spilled > 0

    def trim(self, size: int) -> None:
        """Gives so many bytes of the oldest messages up."""
        self._trimming = True
        self._log.trim(
            self._stream, self._cursor, size=size, cause=self._cause, at=self._hands.now()
        )

    def tell_room(self) -> None:
        """The budget has room again."""
        self._hands.changed()

    # --- what the log answers -----------------------------------------------------------------

    def opened(self, extent: LogExtent) -> None:
        """Goes on with what an earlier process has left."""
        self.spilled += extent.entries
        self.spilled_bytes += extent.size
        self._behind = extent.entries > 0
        self._disk.take(extent.size)
        self._pull()
        self._hands.changed()

    def stored(self, positions: Sequence[int]) -> None:
        """Lets go on what is on the disk now."""
        if self._closed:
            return
        if self.failing:
            self.failing = False
            self._hands.restore()
        freed = 0
        for position in positions:
            event, size = self._unstored.popleft()
            freed += size
            if self._behind or not self._hands.has_room():
                self._behind = True
                self.spilled += 1
                self.spilled_bytes += size
            else:
                self._deliver(event, position, size)
        self._unstored_bytes -= freed
        self._hands.reserve(-freed)
        self._advance()
        self._pull()
        self._hands.changed()

    def inserted(self, entries: Sequence[LogEntry]) -> None:
        """Counts what the disk has now as not lost."""
        self._logged.update(self._unlogged.events_of(entries))
        self._hands.changed()

    def fetched(self, entries: Sequence[tuple[int, LogEntry]], *, complete: bool) -> None:
        """Lets go on what was read."""
        self._reading = False
        if self._closed:
            return
        for position, entry in entries:
            self.spilled -= 1
            self.spilled_bytes -= entry.size
            stray = self._is_stray(entry)
            self._deliver(self._restored(entry), position, entry.size, stray=stray)
        self._behind = not complete
        self._advance()
        self._disk.look()
        self._pull()
        self._hands.changed()

    def trimmed(self, trim: Trim) -> None:
        """Accounts for what was given up."""
        self._trimming = False
        if self._closed:
            return
        self.spilled -= trim.entries
        self.spilled_bytes -= trim.size
        self._behind = self.spilled > 0
        self._disk.give(trim.size)
        if trim.lost:
            self._hands.lost(trim.lost)
            self._disk.look()
        self._pull()
        self._hands.changed()

    def failed(self, problem: str) -> None:
        """What waits for the disk goes on waiting."""
        if not self._closed:
            self.failing = True
            self._hands.degrade(problem)

    # --- inside -------------------------------------------------------------------------------

    def _deliver(self, event: Event, position: int, size: int, *, stray: bool = False) -> None:
        self._cursor = position
        self._outstanding.append((event, position, size))
        if stray or self._hands.rejects(event.route.topic):
            self._hands.drop(event)
            return
        self._logged.add(event)
        self._hands.push(event)

    def _is_stray(self, entry: LogEntry) -> bool:
        """Whether its id may be another message's by now.

        A log that could not be opened at first may hold a session of an earlier process that the
        store never learnt of: the present process has given its number away again.
        """
        known = self._identity
        return entry.owner_epoch < known.owner_epoch and entry.session > known.session

    def _advance(self) -> None:
        """Acknowledges up to the first event that is still wanted."""
        position = freed = 0
        while self._outstanding and self._outstanding[0][0] not in self._logged:
            _, position, size = self._outstanding.popleft()
            freed += size
        if position:
            self._log.acknowledge(self._stream, position)
            self._disk.give(freed)

    def _pull(self) -> None:
        if (
            self._reading
            or self._closed
            or not (self._behind and self.spilled and self._hands.is_low())
        ):
            return
        self._reading = True
        self._log.read(
            self._stream,
            self._cursor,
            max_entries=min(_READ_ENTRIES, self._bounds.max_messages),
            max_bytes=min(_READ_BYTES, self._bounds.max_bytes),
        )

    def _restored(self, entry: LogEntry) -> Event:
        """Returns the event of an entry: the same id, time, place and bytes as ever."""
        key = entry.session, entry.owner_epoch, entry.topic, entry.marker
        if key not in self._routes:
            identity = replace(self._identity, session=entry.session, owner_epoch=entry.owner_epoch)
            route = (
                marker_route(identity, entry.topic, entry.marker)
                if entry.marker
                else message_route(identity, entry.topic)
            )
            self._routes = {key: (route, identity), **dict(list(self._routes.items())[:7])}
        route, identity = self._routes[key]
        if entry.marker:
            return marker_event(
                route,
                identity,
                marker=entry.marker,
                sequence=entry.sequence,
                at=entry.at,
                facts=json.loads(entry.data),
            )
        return message_event(
            route,
            identity,
            Message(entry.kind, entry.data),
            sequence=entry.sequence,
            received_at=entry.at,
            format=self._format,
        )
