"""The tasks of one owner who has no task of its own: one fault ends all, the end is told once.

As `asyncio.TaskGroup`, but nobody has to wait in it: a task, its coroutines and what it waits on
cost 2 KiB for each connection, and nearly all of them wait for weeks.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, Protocol


class Captain(Protocol):
    """Whose crew it is."""

    def finish(self, fault: Exception | None) -> None:
        """Called once: the crew was left, no task is any more; with the first fault, if any."""


class Crew:
    """Owns tasks until all have ended.

    Args:
        captain: is told of the end.
        context: that tasks begin in, so that none belongs to the trace of a caller.
    """

    __slots__ = ("_aborted", "_captain", "_context", "_fault", "_left", "_over", "_tasks")

    def __init__(self, captain: Captain, context: contextvars.Context) -> None:
        self._captain = captain
        self._context = context
        # Seldom more than two: small tuples are half of what a list is.
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._fault: Exception | None = None
        self._aborted = False
        self._left = False
        self._over = False

    @property
    def left(self) -> bool:
        """Whether it only waits for the end of its tasks, or is over."""
        return self._left

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Makes a task of some work.

        Raises:
            RuntimeError: its tasks are being cancelled, or it is over.
        """
        if self._aborted or self._over:
            work.close()
            raise RuntimeError("there is no place for a task any more")
        loop = asyncio.get_running_loop()
        task = loop.create_task(work, context=self._context.copy())
        self._tasks = (*self._tasks, task)
        task.add_done_callback(self._dismiss, context=self._context)
        return task

    def leave(self) -> None:
        """Wants no more work; the captain is told when what there is has ended."""
        self._left = True
        if not self._tasks and not self._over:
            self._over = True
            self._captain.finish(self._fault)

    def abort(self, fault: Exception | None = None) -> None:
        """Cancels all tasks and leaves; safe to repeat."""
        self._fault = self._fault or fault
        if not self._aborted:
            self._aborted = True
            for task in self._tasks:
                task.cancel()
        self.leave()

    def _dismiss(self, task: asyncio.Task[None]) -> None:
        self._tasks = tuple(one for one in self._tasks if one is not task)
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, Exception):
            self.abort(fault)
        elif self._left:
            self.leave()
