"""Runs tests of targets: each is a task of the call that asked for it, and few run at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from websocketmanager.domain.model import ConnectionSpec
from websocketmanager.domain.plan import compile_plan
from websocketmanager.domain.trial import TrialStep
from websocketmanager.errors import LimitReached
from websocketmanager.service.mailbox import Mailbox
from websocketmanager.service.runner import Tools
from websocketmanager.service.trial import Trial

#: Trials at once: each holds a socket, and a credential that is exclusive.
MAX_TRIALS = 8


class Trials:
    """Runs trials. `tools` are those of the connections."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._running = 0

    @asynccontextmanager
    async def running(self, spec: ConnectionSpec) -> AsyncIterator[Mailbox[TrialStep]]:
        """Tries a target inside the block; gives the steps as they end, nine in all.

        Leaving the block ends the trial, and with it the socket.

        Raises:
            LimitReached: too many run already.
        """
        if self._running >= MAX_TRIALS:
            raise LimitReached(limit="connection tests at once", maximum=MAX_TRIALS)
        self._running += 1
        try:
            steps: Mailbox[TrialStep] = Mailbox()
            trial = Trial(compile_plan(spec, self._tools.compile_regex), self._tools, steps.push)
            task = asyncio.create_task(trial.run())  # noqa: TID251 - a trial is a task of its own
            task.add_done_callback(lambda done: steps.finish(_fault_of(done)))
            try:
                yield steps
            finally:
                task.cancel()
                await asyncio.wait([task])
        finally:
            self._running -= 1


def _fault_of(done: asyncio.Task[None]) -> Exception | None:
    error = None if done.cancelled() else done.exception()
    return error if isinstance(error, Exception) else None
