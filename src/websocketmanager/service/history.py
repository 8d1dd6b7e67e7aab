"""The last lifecycle events of each connection, for whoever asks later. Bounded; in memory."""

from __future__ import annotations

import json
from typing import Any

from websocketmanager.domain.lifecycle import EventName
from websocketmanager.domain.model import ConnectionId, LifecycleNotice, Transition

#: Events kept per connection.
KEPT_EVENTS = 50


class History:
    """The last events of one connection, in the order of their numbers."""

    __slots__ = ("_last_error", "_notices")

    def __init__(self) -> None:
        self._notices: list[LifecycleNotice] = []  # a deque would cost 700 bytes when empty
        self._last_error: LifecycleNotice | None = None

    def add(self, notice: LifecycleNotice) -> None:
        """Remembers an event, and forgets the oldest beyond the bound."""
        self._notices.append(notice)
        del self._notices[:-KEPT_EVENTS]
        if notice.state == EventName.ERROR:
            self._last_error = notice

    def transitions(self) -> tuple[Transition, ...]:
        """Returns what is remembered, oldest first."""
        return tuple(map(transition, self._notices))

    def last_error(self) -> Transition | None:
        """Returns the last error, however many other events came since."""
        return None if self._last_error is None else transition(self._last_error)

    def behind(self, number: int, *, last: int) -> tuple[tuple[LifecycleNotice, ...], int]:
        """Returns the events behind a number, and how many of them are not known any more.

        Args:
            number: of the last event that the reader knows; a number that was never reached is
                of an earlier connection with the same name, so all are new to the reader.
            last: number of the connection's last event.
        """
        if number > last:
            number = 0
        known = tuple(notice for notice in self._notices if notice.number > number)
        return known, last - number - len(known)


class Histories:
    """The histories of all connections; one without events costs nothing."""

    def __init__(self) -> None:
        self._histories: dict[ConnectionId, History] = {}

    def add(self, notice: LifecycleNotice) -> None:
        """Remembers an event."""
        self._histories.setdefault(notice.connection_id, History()).add(notice)

    def of(self, connection_id: ConnectionId) -> History:
        """Returns a connection's history, maybe an empty one."""
        return self._histories.get(connection_id) or History()

    def forget(self, connection_id: ConnectionId) -> None:
        """Drops what is known of a connection that is gone."""
        self._histories.pop(connection_id, None)


def transition(notice: LifecycleNotice) -> Transition:
    """Returns an event in short; what it does not tell is left out."""
    data: dict[str, Any] = json.loads(notice.data)
    kind = data.get("error_type") or data.get("cause") or data.get("reason") or ""
    return Transition(
        number=notice.number,
        at=notice.at,
        state=notice.state,
        session=int(data.get("session") or 0),
        attempt=int(data.get("attempt") or 0),
        delay_ms=int(data.get("delay_ms") or 0),
        error_type=str(kind),
        message=str(data.get("error_message") or data.get("detail") or ""),
        close_code=int(data.get("close_code") or 0),
        close_reason=str(data.get("close_reason") or ""),
        restored=data.get("active") is False,
    )
