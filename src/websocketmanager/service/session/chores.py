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


class _Chore:
    """One timer of a session; a fault in what it calls ends the session."""

    __slots__ = ("_callback", "_chores")

    def __init__(self, chores: Chores, callback: Callable[[], Any]) -> None:
        self._chores = chores
        self._callback = callback

    def __call__(self) -> None:
        self._chores.run_guarded(self._callback)


class Chores:
    """Runs what a session does beside reading.

    Args:
        timers: the heap of all connections.
        spawn: makes a task of the connection.
        failed: told the failure that ends the session.
        fault: turns a fault of ours into a failure.
    """

    __slots__ = ("_failed", "_fault", "_heap", "_spawn", "_tasks", "_timers")

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
        # Seldom more than one: a set would cost 216 bytes from the beginning.
        self._tasks: list[asyncio.Task[None]] = []

    def at(self, name: str, at: float, callback: Callable[[], Any]) -> None:
        """Calls back at a monotonic time; a later call of the same name replaces it."""
        self.cancel(name)
        self._timers[name] = self._heap.call_at(at, _Chore(self, callback))

    def about(self, name: str, at: float, callback: Callable[[], Any]) -> None:
        """As `at`, for what need not be punctual: see `Timers.call_about`."""
        self.cancel(name)
        self._timers[name] = self._heap.call_about(at, _Chore(self, callback))

    def cancel(self, name: str) -> None:
        """Takes a timer back, if there is one."""
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def run_guarded(self, callback: Callable[[], Any]) -> None:
        """Calls what a timer was for."""
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - a dead detector must not stay unnoticed
            self._failed(self._fault(error))

    def begin(self, work: Work) -> None:
        """Runs a short piece of work; the end of the socket is the reader's to tell."""
        task = self._spawn(self._guarded(work))
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

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
