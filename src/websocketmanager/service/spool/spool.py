"""One connection's way through the log on the local disk, between its socket and its lane.

Policy `spill`: messages go there while the buffer is full or the API is away, and until what is
there is drained. Option `durable`: every message does, and goes on only once it is on the disk.
Either way the order of receipt holds, and what the API has accepted leaves the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from websocketmanager.domain.envelope import (
    Parcel,
    StreamIdentity,
    divided,
)
from websocketmanager.domain.model import Format
from websocketmanager.domain.options import Overflow
from websocketmanager.domain.overflow import (
    LogEntry,
    LogRun,
    begun_within,
    entry_bytes,
    runs_of_entries,
)
from websocketmanager.ports import LogExtent, MessageLog, Trim
from websocketmanager.service.overflow import Bounds
from websocketmanager.service.spool.disk_budget import DiskBudget
from websocketmanager.service.spool.restoring import Restorer
from websocketmanager.service.spool.underway import Underway

#: What one read brings at most.
_READ_ENTRIES = 1024
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SpoolHands:
    """What the buffer does for its spool.

    Attributes:
        push: appends events to the feed.
        drop: told events that are given up instead: the API refuses their topic.
        wanted: how many events of a parcel, from its front, it does not refuse.
        room: how many events of a parcel, from its front, the feed may take.
        is_low: whether the feed should be filled up.
        load: events of the feed, those in flight included, and their bytes.
        stalled: whether the API is away.
        reserve: counts bytes in (or out) that wait in memory for the disk.
        changed: told after every change of what waits.
        lost: told how many messages the disk budget has cost.
        degrade, restore: told that the log fails, and that it works again.
        now: Unix seconds.
    """

    push: Callable[[Parcel], None]
    drop: Callable[[Parcel], None]
    wanted: Callable[[Parcel], int]
    room: Callable[[Parcel], int]
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
        self._restorer = Restorer(identity, format)
        self._cause = Overflow.SPILL.value if markers else ""
        self._durable = durable
        self._blocking = blocking
        self._bounds = bounds
        self._hands = hands
        self._unstored: deque[tuple[Parcel, LogRun]] = deque()
        self._underway = Underway()
        self._behind = True  # until it is known that nothing is there
        self._cursor = 0
        self._reading = False
        self._trimming = False
        self._keeping = False
        self._closed = False
        self.failing = False
        self.unstored = 0
        self.unstored_bytes = 0
        self.spilled = 0
        self.spilled_bytes = 0
        disk.join(self)
        log.open(stream, self)

    # --- messages -----------------------------------------------------------------------------

    def fitting(self, payloads: Sequence[bytes], size: int, topic: str) -> int:
        """Returns how many messages may come until the reader must wait: one at least.

        Args:
            payloads: that are here.
            size: bytes of them.
            topic: where they go.
        """
        count, held = self._load()
        beside, room = entry_bytes(topic), self._bounds.max_bytes - held
        most = min(len(payloads), max(self._bounds.max_messages - count, 1))
        if size + len(payloads) * beside < room:
            return most
        return min(most, begun_within(payloads, room, beside))

    def take(self, parcel: Parcel, entries: LogRun) -> None:
        """Takes messages or a marker, the events and what the log needs of them."""
        if self._closed:
            self._hands.drop(parcel)
            return
        is_direct = not (self._durable or self._behind or self._unstored or self._keeping)
        if is_direct and not self._hands.stalled() and (room := self._hands.room(parcel)):
            count = parcel.count
            (parcel, *rest), entries, later = _divided(parcel, entries, room)
            self._underway.take(parcel, entries, self._cursor)
            self._hands.push(parcel)
            if room >= count:
                return
            (parcel,), entries = rest, later
        size = entries.size
        self._unstored.append((parcel, entries))
        self.unstored += parcel.count
        self.unstored_bytes += size
        self._hands.reserve(size)
        self._log.append(self._stream, entries, room=self._underway.close())
        self._disk.take(size)
        self._hands.changed()

    def settled(self, parcels: Sequence[Parcel]) -> None:
        """Lets go of events, in order, that the API has accepted or refused for good."""
        self._underway.settle(parcels)
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
        for after, entries in self._underway.rest():
            self._log.insert(self._stream, after, entries)

    def remove(self) -> int:
        """Forgets everything, on the disk as well; returns how many entries nobody gets."""
        if self._closed:
            return 0
        self._closed = True
        self._log.remove(self._stream)
        self._disk.leave(self)
        self._disk.give(self.unstored_bytes + self.spilled_bytes + self._underway.size)
        self._hands.reserve(-self.unstored_bytes)
        count = self.unstored + self.spilled
        self._unstored.clear()
        self._underway.clear()
        self.unstored = self.unstored_bytes = self.spilled = self.spilled_bytes = 0
        return count

    # --- what it holds ------------------------------------------------------------------------

    @property
    def logged(self) -> int:
        """Events of the feed that the disk has, too."""
        return self._underway.stored

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
        count, size = self.unstored, self.unstored_bytes
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
        done = freed = 0
        while done < len(positions):
            parcel, entries = self._unstored.popleft()
            freed += entries.size
            room = 0 if self._behind else self._hands.room(parcel)
            if room:
                (front, *_), mine, entries = _divided(parcel, entries, room)
                self._deliver(front, mine, positions[done])
            if entries.count:
                self._behind = True
                self.spilled += entries.count
                self.spilled_bytes += entries.size
            done += parcel.count
        self.unstored -= done
        self.unstored_bytes -= freed
        self._hands.reserve(-freed)
        self._advance()
        self._pull()
        self._hands.changed()

    def inserted(self, entries: Sequence[LogEntry]) -> None:  # noqa: ARG002 - those of one section
        """Counts what the disk has now as not lost."""
        if not self._closed:
            self._underway.inserted()
            self._hands.changed()

    def fetched(self, entries: Sequence[tuple[int, LogEntry]], *, complete: bool) -> None:
        """Lets go on what was read."""
        self._reading = False
        if self._closed:
            return
        restorer = self._restorer
        for position, run in runs_of_entries(entries):
            self.spilled -= run.count
            self.spilled_bytes -= run.size
            self._deliver(restorer.restored(run), run, position, stray=restorer.is_stray(run))
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

    def _deliver(
        self, parcel: Parcel, entries: LogRun, position: int, *, stray: bool = False
    ) -> None:
        """Lets entries go on that are in the log, from a position on."""
        self._cursor = position + entries.count - 1
        wanted = 0 if stray else self._hands.wanted(parcel)
        if wanted:
            (front, *rest), mine, entries = _divided(parcel, entries, wanted)
            self._underway.take_stored(front, mine, position)
            self._hands.push(front)
            if not rest:
                return
            (parcel,) = rest
        self._underway.take_dropped(parcel, entries, position + wanted)
        self._hands.drop(parcel)

    def _advance(self) -> None:
        """Acknowledges up to the first event that is still wanted."""
        position, freed = self._underway.advance()
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


def _divided(parcel: Parcel, entries: LogRun, count: int) -> tuple[list[Parcel], LogRun, LogRun]:
    """Divides events, and what the log needs of them, behind so many.

    Returns:
        One parcel or two; the entries of the first; those of the second, which may be none.
    """
    if count >= parcel.count:
        return [parcel], entries, entries.part(parcel.count, parcel.count)
    front, rest = divided([parcel], count)
    return front + rest, entries.part(0, count), entries.part(count, parcel.count)
