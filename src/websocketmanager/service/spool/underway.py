"""What a connection with a log has sent on its way to the API, in order, and where the log has it.

What went through the log has its place there. What goes on at once is in memory alone: should the
log have to take it after all, as a stop wants it, its place is behind what was logged before it
and in front of what was logged after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from websocketmanager.domain.envelope import Event, MessageEvent, MessageRun, Parcel
from websocketmanager.domain.overflow import LogEntry, LogRun


class _Section:
    """What went on at once between two appends to the log.

    Attributes:
        after: the log's last position before it.
        left: events of it that are not settled.
        stored: whether the log has taken them after all.
    """

    __slots__ = ("after", "left", "stored")

    def __init__(self, after: int) -> None:
        self.after = after
        self.left = 0
        self.stored = False


class _Piece:
    """Events that went on together; what is settled of them is always the front.

    Attributes:
        parcel: all of them.
        entries: what the log needs of them, or has.
        position: of the first in the log; 0: it went on at once.
        section: where it belongs then.
        settled: events of which nobody wants anything any more.
    """

    __slots__ = ("entries", "parcel", "position", "section", "settled")

    def __init__(
        self, parcel: Parcel, entries: LogRun, position: int, section: _Section | None
    ) -> None:
        self.parcel = parcel
        self.entries = entries
        self.position = position
        self.section = section
        self.settled = 0

    @property
    def left(self) -> int:
        return self.entries.count - self.settled

    @property
    def stored(self) -> bool:
        return self.section is None or self.section.stored

    @property
    def rest(self) -> LogRun:
        return self.entries.part(self.settled, self.entries.count) if self.settled else self.entries

    def holds(self, parcel: Parcel) -> bool:
        """Whether a parcel, that others may have divided, was part of it."""
        mine = self.parcel
        if parcel is mine:
            return True
        if parcel.route is not mine.route or isinstance(mine, Event):
            return False
        if isinstance(parcel, MessageRun):
            number = parcel.first
        elif isinstance(parcel, MessageEvent):
            number = parcel.sequence
        else:
            return False
        return mine.first <= number < mine.first + mine.count

    def settle(self, count: int) -> None:
        self.settled += count
        if self.section is not None:
            self.section.left -= count


class Underway:
    """Events that the API has not settled yet, as one connection's log sees them."""

    def __init__(self) -> None:
        self._pieces: deque[_Piece] = deque()
        self._open: _Section | None = None
        self._asked: deque[_Section] = deque()

    @property
    def stored(self) -> int:
        """Events that the disk has, too."""
        return sum(piece.left for piece in self._pieces if piece.stored)

    @property
    def size(self) -> int:
        """Bytes, in the log, of those that went through it."""
        return sum(piece.rest.size for piece in self._pieces if piece.position)

    def take(self, parcel: Parcel, entries: LogRun, after: int) -> None:
        """Takes what goes on at once; `after` is the log's last position before it."""
        if self._open is None:
            self._open = _Section(after)
        self._open.left += parcel.count
        self._pieces.append(_Piece(parcel, entries, 0, self._open))

    def close(self) -> int:
        """The log goes on; returns how much room it has to leave for what is in memory alone."""
        section, self._open = self._open, None
        return 0 if section is None else section.left

    def take_stored(self, parcel: Parcel, entries: LogRun, position: int) -> None:
        """Takes what is in the log, one after the other from a position on."""
        self._pieces.append(_Piece(parcel, entries, position, None))

    def take_dropped(self, parcel: Parcel, entries: LogRun, position: int) -> None:
        """Takes what is in the log, too, and goes nowhere."""
        self.take_stored(parcel, entries, position)
        self._pieces[-1].settle(entries.count)

    def settle(self, parcels: Sequence[Parcel]) -> None:
        """Lets go of events, in order, that the API has accepted or refused for good."""
        pieces = iter(self._pieces)
        piece = next(pieces, None)
        for parcel in parcels:
            while piece is not None and not piece.holds(parcel):
                piece = next(pieces, None)
            if piece is None:
                return  # forgotten meanwhile
            piece.settle(parcel.count)
        if self._open is not None and not self._open.left:
            self._open = None

    def advance(self) -> tuple[int, int]:
        """Forgets what is settled, up to the first event that is still wanted.

        Returns:
            The log's last position among it, 0 if there is none, and its bytes there.
        """
        position = freed = 0
        pieces = self._pieces
        while pieces:
            piece = pieces[0]
            done = piece.settled
            if piece.position and done:
                position = piece.position + done - 1
                freed += (piece.entries.part(0, done) if piece.left else piece.entries).size
            if not piece.left:
                pieces.popleft()
                continue
            if piece.position and done:
                parcel = piece.parcel
                assert isinstance(parcel, MessageRun)  # noqa: S101 - one event is settled or not
                rest = _Piece(parcel.part(done, parcel.count), piece.rest, position + 1, None)
                pieces[0] = rest
            break
        return position, freed

    def rest(self) -> list[tuple[int, Sequence[LogEntry]]]:
        """Returns the entries of all that is in memory alone, each with the position before it.

        `inserted` says for each of these sections, in order, that the log has them.
        """
        found: dict[_Section, list[LogEntry]] = {}
        for piece in self._pieces:
            if piece.section is not None and piece.left:
                found.setdefault(piece.section, []).extend(piece.rest.entries())
        self._asked.extend(found)
        return [(section.after, entries) for section, entries in found.items()]

    def inserted(self) -> None:
        """The log has taken the next section."""
        self._asked.popleft().stored = True

    def clear(self) -> None:
        """Forgets everything."""
        self._pieces.clear()
        self._asked.clear()
        self._open = None
