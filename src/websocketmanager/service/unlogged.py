"""What a spilling connection has in memory alone, and where the log has room for it.

A message that goes on at once is not on the disk. Should it have to be after all, as a stop wants
it, its place is behind what was logged before it and in front of what was logged after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from websocketmanager.domain.envelope import Event
from websocketmanager.domain.overflow import LogEntry


class Unlogged:
    """Events that memory alone holds, in runs between what went through the log."""

    def __init__(self) -> None:
        self._runs: deque[tuple[int, dict[Event, LogEntry]]] = deque()
        self._open = False

    def take(self, event: Event, entry: LogEntry, after: int) -> None:
        """Takes an event and its entry; `after` is the log's last position before it."""
        if not self._open:
            self._open = True
            self._runs.append((after, {}))
        self._runs[-1][1][event] = entry

    def close(self) -> int:
        """Ends the run, since the log goes on; returns how much room it has to leave for it."""
        if not self._open:
            return 0
        self._open = False
        return len(self._runs[-1][1])

    def settle(self, events: Iterable[Event]) -> None:
        """Lets go of events that the API has accepted or refused for good."""
        if not self._runs:
            return
        for event in events:
            for _, run in self._runs:
                if run.pop(event, None) is not None:
                    break
        while self._runs and not self._runs[0][1]:
            self._runs.popleft()
        self._open = self._open and bool(self._runs)

    def rest(self) -> list[tuple[int, Sequence[LogEntry]]]:
        """Returns the entries of all that is left, run by run, each with the position before it."""
        return [(after, list(run.values())) for after, run in self._runs if run]

    def events_of(self, entries: Iterable[LogEntry]) -> list[Event]:
        """Returns the events of those of these entries that are still here."""
        wanted = {id(entry) for entry in entries}
        return [
            event for _, run in self._runs for event, entry in run.items() if id(entry) in wanted
        ]

    def clear(self) -> None:
        """Forgets everything."""
        self._runs.clear()
        self._open = False
