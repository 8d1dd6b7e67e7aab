"""The timers and small tasks of one session: they end with it at the latest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from websocketmanager.domain.failure import Failure, SocketFailed
from websocketmanager.service.timers import Timer, Timers

Work = Callable[[], Coroutine[Any, Any, None]]


class Unsayable(SocketFailed):
    """A message cannot be made: nothing was written, and the socket does not know."""


class Chores:
    """Runs what a session does beside reading.

    Args:
        timers: the heap of all connections.
        spawn: makes a task of the connection.
        failed: told the failure that ends the session.
        fault: turns a fault of ours into a failure.
    """

    def __init__(
        self,
        timers: Timers,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        failed: Callable[[Failure], None],
        fault: Callable[[Exception], Failure],
    ) -> None:
        self._heap = timers
        self._spawn = spawn
        self._failed = failed
        self._fault = fault
        self._timers: dict[str, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def at(self, name: str, at: float, callback: Callable[[], Any]) -> None:
        """Calls back at a monotonic time; a later call of the same name replaces it."""
        self.cancel(name)

        def guarded() -> None:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - a dead detector must not stay unnoticed
                self._failed(self._fault(error))

        self._timers[name] = self._heap.call_at(at, guarded)

    def cancel(self, name: str) -> None:
        """Takes a timer back, if there is one."""
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def begin(self, work: Work) -> None:
        """Runs a short piece of work; the end of the socket is the reader's to tell."""
        task = self._spawn(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """Stops everything; safe to repeat."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in list(self._tasks):
            task.cancel()

    async def _guarded(self, work: Work) -> None:
        try:
            await work()
        except Unsayable as error:
            self._failed(error.failure)
        except SocketFailed:
            return  # the reader says why
