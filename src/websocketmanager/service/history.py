"""The last lifecycle events of each connection, for whoever asks later. Bounded; in memory."""

from __future__ import annotations

from typing import Any

from websocketmanager.domain.lifecycle import EventName
from websocketmanager.domain.model import ConnectionId, Transition
from websocketmanager.domain.record import RecordedEvent

#: Events kept per connection.
KEPT_EVENTS = 50


class History:
    """The last events of one connection, in the order of their numbers.

    They are the record's own, as long as it has them.
    """

    __slots__ = ("_events", "_last_error")

    def __init__(self) -> None:
        self._events: tuple[RecordedEvent, ...] = ()  # few, mostly, and seldom one more
        self._last_error: RecordedEvent | None = None

    def add(self, event: RecordedEvent) -> None:
        """Remembers an event, and forgets the oldest beyond the bound."""
        self._events = (*self._events[-KEPT_EVENTS + 1 :], event)
        if event.name == EventName.ERROR:
            self._last_error = event

    def transitions(self) -> tuple[Transition, ...]:
        """Returns what is remembered, oldest first."""
        return tuple(map(transition, self._events))

    def last_error(self) -> Transition | None:
        """Returns the last error, however many other events came since."""
        return None if self._last_error is None else transition(self._last_error)

    def behind(self, number: int, *, last: int) -> tuple[tuple[RecordedEvent, ...], int]:
        """Returns the events behind a number, and how many of them are not known any more.

        Args:
            number: of the last event that the reader knows; a number that was never reached is
                of an earlier connection with the same name, so all are new to the reader.
            last: number of the connection's last event.
        """
        if number > last:
            number = 0
        known = tuple(event for event in self._events if event.number > number)
        return known, last - number - len(known)


class Histories:
    """The histories of all connections; one without events costs nothing."""

    def __init__(self) -> None:
        self._histories: dict[ConnectionId, History] = {}

    def add(self, connection_id: ConnectionId, event: RecordedEvent) -> None:
        """Remembers an event."""
        history = self._histories.get(connection_id)
        if history is None:
            history = self._histories[connection_id] = History()
        history.add(event)

    def of(self, connection_id: ConnectionId) -> History:
        """Returns a connection's history, maybe an empty one."""
        return self._histories.get(connection_id) or History()

    def forget(self, connection_id: ConnectionId) -> None:
        """Drops what is known of a connection that is gone."""
        self._histories.pop(connection_id, None)


def transition(event: RecordedEvent) -> Transition:
    """Returns an event in short; what it does not tell is left out."""
    data: dict[str, Any] = event.data
    kind = data.get("error_type") or data.get("cause") or data.get("reason") or ""
    return Transition(
        number=event.number,
        at=event.at,
        state=event.name,
        session=int(data.get("session") or 0),
        attempt=int(data.get("attempt") or 0),
        delay_ms=int(data.get("delay_ms") or 0),
        error_type=str(kind),
        message=str(data.get("error_message") or data.get("detail") or ""),
        close_code=int(data.get("close_code") or 0),
        close_reason=str(data.get("close_reason") or ""),
        restored=data.get("active") is False,
    )
