"""Tells when a connection delivers worse than promised, and when it is as promised again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from websocketmanager.domain.facts import Degraded, MessagesDropped, Restored
from websocketmanager.ports import Clock, Journal
from websocketmanager.service.announcements import Announcer
from websocketmanager.service.pump import PUBLISHING_BEHIND

#: How long publishing must keep up before it is told that it does.
_CALM_SECONDS = 5.0


class Degradations:
    """Announces the degradations of one connection.

    Args:
        connection_id: for the journal.
        announcer: of the connection.
        clock, journal: of the process.
        spawn: makes a task of the connection.
    """

    def __init__(
        self,
        connection_id: str,
        announcer: Announcer,
        clock: Clock,
        journal: Journal,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._connection_id = connection_id
        self._announcer = announcer
        self._clock = clock
        self._journal = journal
        self._spawn = spawn
        self._calm = asyncio.Event()
        self._floods = 0
        self._calming: asyncio.Task[None] | None = None

    def degraded(self, cause: str, detail: str, count: int) -> None:
        """Delivery is worse than promised."""
        if cause == PUBLISHING_BEHIND:
            self._calm.clear()
            self._floods += 1
            if self._calming is not None:
                return  # told, and not taken back yet
            self._calming = self._spawn(self._wait_calm())
        self._journal.emit(Degraded(self._connection_id, cause, detail))
        self._announcer.degraded(cause, detail, count, self._clock.now(), active=True)

    def restored(self, cause: str, count: int) -> None:
        """Delivery is as promised again, after dropping `count` messages."""
        if cause == PUBLISHING_BEHIND and self._calming is not None:
            self._calm.set()
            return
        self._announce(cause, count)

    def end(self) -> None:
        """Stops waiting."""
        if self._calming is not None:
            self._calming.cancel()

    async def _wait_calm(self) -> None:
        """Takes `publishing_behind` back once it stayed away for a while.

        A buffer at its bound fills and empties many times a second: one event for each would be
        more than the messages.
        """
        floods = -1
        while floods != self._floods:
            await self._calm.wait()
            floods = self._floods
            await self._clock.sleep(_CALM_SECONDS)
        self._calming = None
        self._announce(PUBLISHING_BEHIND, 0)

    def _announce(self, cause: str, count: int) -> None:
        if count:
            self._journal.emit(MessagesDropped(self._connection_id, count, cause))
        self._journal.emit(Restored(self._connection_id, cause))
        self._announcer.degraded(cause, "", count, self._clock.now(), active=False)
