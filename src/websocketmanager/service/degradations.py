"""Tells when a connection delivers worse than promised, and when it is as promised again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from websocketmanager.domain.facts import Degraded, MessagesDropped, Restored
from websocketmanager.ports import Clock, Journal
from websocketmanager.service.announcements import Announcer
from websocketmanager.service.pump import CONFLATING, DROPPING, PUBLISHING_BEHIND

#: How long delivery must be as promised before that is told.
_CALM_SECONDS = 5.0
#: Causes that may come and go many times a second.
_RESTLESS = frozenset({PUBLISHING_BEHIND, DROPPING, CONFLATING})


@dataclass(slots=True)
class _Flood:
    """A restless cause that was told and not taken back yet."""

    calm: asyncio.Event = field(default_factory=asyncio.Event)
    times: int = 0
    dropped: int = 0
    calming: asyncio.Task[None] | None = None


class Degradations:
    """Announces the degradations of one connection.

    Args:
        connection_id: for the journal.
        announcer: of the connection.
        clock, journal: of the process.
        spawn: makes a task of the connection; None: it does not run, so nothing can be calmed.
    """

    __slots__ = ("_announcer", "_clock", "_connection_id", "_floods", "_journal", "_spawn")

    def __init__(
        self,
        connection_id: str,
        announcer: Announcer,
        clock: Clock,
        journal: Journal,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None] | None],
    ) -> None:
        self._connection_id = connection_id
        self._announcer = announcer
        self._clock = clock
        self._journal = journal
        self._spawn = spawn
        self._floods: dict[str, _Flood] = {}

    def degraded(self, cause: str, detail: str, count: int) -> None:
        """Delivery is worse than promised."""
        if cause in _RESTLESS:
            flood = self._floods.get(cause)
            if flood is not None:
                flood.calm.clear()
                flood.times += 1
                return  # told, and not taken back yet
            flood = _Flood(times=1)
            flood.calming = self._spawn(self._wait_calm(cause, flood))
            if flood.calming is not None:
                self._floods[cause] = flood
        self._journal.emit(Degraded(self._connection_id, cause, detail))
        self._announcer.degraded(cause, detail, count, self._clock.now(), active=True)

    def restored(self, cause: str, count: int) -> None:
        """Delivery is as promised again, after dropping `count` messages."""
        if flood := self._floods.get(cause):
            flood.dropped += count
            flood.calm.set()
            return
        self._announce(cause, count)

    def end(self) -> None:
        """Stops waiting."""
        for flood in self._floods.values():
            if flood.calming is not None:
                flood.calming.cancel()

    async def _wait_calm(self, cause: str, flood: _Flood) -> None:
        """Takes a cause back once it stayed away for a while.

        A buffer at its bound fills and empties many times a second: one event for each would be
        more than the messages.
        """
        times = -1
        while times != flood.times:
            await flood.calm.wait()
            times = flood.times
            await self._clock.sleep(_CALM_SECONDS)
        del self._floods[cause]
        self._announce(cause, flood.dropped)

    def _announce(self, cause: str, count: int) -> None:
        if count:
            self._journal.emit(MessagesDropped(self._connection_id, count, cause))
        self._journal.emit(Restored(self._connection_id, cause))
        self._announcer.degraded(cause, "", count, self._clock.now(), active=False)
