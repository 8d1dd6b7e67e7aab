"""Work that must not be left half-done: it goes on as a task in here when its caller goes away."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from collections.abc import Coroutine
from typing import Any, TypeVar

from websocketmanager.domain.facts import RunnerCrashed
from websocketmanager.errors import ServiceUnavailable
from websocketmanager.ports import Journal

T = TypeVar("T")


class Errands:
    """Runs pieces of work in a task group that is not their caller's.

    Args:
        journal: is told of faults of ours in work that nobody waits for.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tasks: asyncio.TaskGroup | None = None  # noqa: TID251 - it owns what it runs

    def begin(self, tasks: asyncio.TaskGroup) -> None:  # noqa: TID251 - as above
        """Takes the group in which work is done from now on, until the group is closed."""
        self._tasks = tasks

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work that nobody waits for; a fault of ours in it ends it alone."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the task group must not fall for it
                trace = "".join(traceback.format_exception(error))
                self._journal.emit(RunnerCrashed("-", repr(error), trace))

        # In a context of its own: what lives on does not belong to the trace of who began it.
        # Once the process has stopped, what is left is for its next recovery.
        self._start(guarded(), work, context=contextvars.Context())

    def outcome(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Runs work that somebody waits for; what it raises goes to whoever waits."""
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def carried() -> None:
            try:
                result = await work
            except asyncio.CancelledError:
                outcome.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - it is handed on
                if not outcome.cancelled():
                    outcome.set_exception(error)
            else:
                if not outcome.cancelled():
                    outcome.set_result(result)

        # A caller that went away does not ask for the exception.
        outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
        if not self._start(carried(), work):
            outcome.set_exception(ServiceUnavailable("stopping"))
        return outcome

    def _start(
        self,
        wrapper: Coroutine[Any, Any, None],
        work: Coroutine[Any, Any, Any],
        *,
        context: contextvars.Context | None = None,
    ) -> bool:
        """Makes a task of the wrapped work; returns False when there is no place for it."""
        assert self._tasks is not None  # noqa: S101 - the registry runs before anything else does
        try:
            task = self._tasks.create_task(wrapper, context=context)
        except RuntimeError:
            wrapper.close()
            work.close()
            return False
        # A task that is cancelled before its first step has not touched the work.
        task.add_done_callback(lambda _: work.close(), context=context)
        return True

    async def carry(self, work: Coroutine[Any, Any, T]) -> T:
        """Finishes the work even when its caller goes away."""
        return await asyncio.shield(self.outcome(work))
