"""Counts what a subscriber saw of some connections. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from websocketmanager.terminal.received import Received

_STATUSES = frozenset({"connecting", "connected", "reconnecting", "disconnected"})
#: Lifecycle ids that are remembered, to count an event that came twice once.
_MAX_REMEMBERED = 10_000


@dataclass
class Count:
    """What was seen of one connection.

    Attributes:
        name: for people.
        status: by the last lifecycle event that changed it.
        session: by the last event that named one.
        messages: that came, without repetitions.
        size: their bytes.
        rate: messages per second in the last measured interval.
        reconnects: times it was connected again.
        gaps: in-stream markers that told of a gap.
        missing: sequence numbers that were skipped within a session.
        repeated: messages that came again.
        last_event: the last lifecycle event or marker.
        sample: the last message.
    """

    name: str
    status: str = "-"
    session: int = 0
    messages: int = 0
    size: int = 0
    rate: float = 0.0
    reconnects: int = 0
    gaps: int = 0
    missing: int = 0
    repeated: int = 0
    last_event: Received | None = None
    sample: Received | None = None
    _connected: int = 0
    _place: tuple[int, int] = (0, 0)
    _measured: int = 0

    def take_message(self, event: Received) -> None:
        """Counts a message by its place in the stream."""
        session, sequence = self._place
        if event.session == session and 0 < event.sequence <= sequence:
            self.repeated += 1
            return
        if event.session == session:
            self.missing += event.sequence - sequence - 1
        self._place = event.session, event.sequence
        self.session = max(self.session, event.session)
        self.messages += 1
        self.size += len(event.data)
        self.sample = event

    def take_marker(self, event: Received) -> None:
        """Counts an in-stream marker."""
        self.gaps += event.marker == "gap"
        self.last_event = event

    def take_lifecycle(self, event: Received) -> None:
        """Follows the status."""
        if event.state in _STATUSES:
            self.status = event.state
        if event.state == "connected":
            self.reconnects += self._connected > 0
            self._connected += 1
        session = event.members.get("session")
        self.session = max(self.session, session if isinstance(session, int) else 0)
        self.last_event = event

    def measure(self, seconds: float) -> None:
        """Sets the rate from what came since the last call, `seconds` ago."""
        self.rate = (self.messages - self._measured) / seconds if seconds > 0 else 0.0
        self._measured = self.messages


class Tally:
    """Counts by connection, for the connections it was told of; and lifecycle events by state."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._counts = {key: Count(name) for key, name in names.items()}
        self._seen: dict[str, None] = {}
        self.events: Counter[str] = Counter()

    @property
    def counts(self) -> tuple[Count, ...]:
        """One for each connection, in the given order."""
        return tuple(self._counts.values())

    def name_of(self, event: Received) -> str:
        """Returns the name of the event's connection, or the start of its id."""
        count = self._counts.get(event.connection_id)
        return count.name if count else event.connection_id[:8]

    def observe(self, event: Received) -> bool:
        """Counts one event; returns whether it tells of a change: lifecycle or marker, and new."""
        count = self._counts.get(event.connection_id)
        if event.is_message:
            if count:
                count.take_message(event)
            return False
        if self._is_repeated(event):
            return False
        if event.marker:
            if count:
                count.take_marker(event)
            return True
        self.events[event.state] += 1
        if count:
            count.take_lifecycle(event)
        return True

    def measure(self, seconds: float) -> None:
        """Sets every rate from what came since the last call, `seconds` ago."""
        for count in self._counts.values():
            count.measure(seconds)

    def _is_repeated(self, event: Received) -> bool:
        # Delivery is at least once; equal ids are the same event.
        if event.id in self._seen:
            return True
        self._seen[event.id] = None
        if len(self._seen) > _MAX_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False
