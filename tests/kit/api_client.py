"""A VirtufinApi for tests, with time and dice that make no test wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tests.kit.clock import ManualClock, ScriptedDice
from tests.kit.journal import RecordingJournal
from websocketmanager.adapters.virtufin_api import ApiSettings, VirtufinApi
from websocketmanager.errors import ApiUnavailable
from websocketmanager.ports import Clock, Journal

Result = TypeVar("Result")


@asynccontextmanager
async def open_api(
    port: int,
    *,
    clock: Clock | None = None,
    journal: Journal | None = None,
    headers: tuple[tuple[str, str], ...] = (),
    **settings: Any,
) -> AsyncIterator[VirtufinApi]:
    """Opens the adapter on a loopback port; `settings` are fields of ApiSettings.

    Without a clock of the test's own, pauses between attempts take no time.
    """
    api = VirtufinApi(
        ApiSettings(target=f"127.0.0.1:{port}", **settings),
        clock=clock or ManualClock(skip_sleeps=True),
        dice=ScriptedDice(),
        journal=journal or RecordingJournal(),
        inject=lambda: headers,
    )
    try:
        yield api
    finally:
        await api.close()


async def once_reachable(act: Callable[[], Awaitable[Result]]) -> Result:
    """Repeats a call until the API is reached again.

    gRPC reconnects in its own time, real and at most a second long, and tells nobody.
    """
    async with asyncio.timeout(10):
        while True:
            try:
                return await act()
            except ApiUnavailable:
                await asyncio.sleep(0.02)  # there is no event to await, see above
