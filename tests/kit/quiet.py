"""Waits until all tasks wait for something that only the test can bring: a message, time, an end.

For tests without real sockets: everything that runs in the loop is then either a task that goes
on by itself or one that waits for the test. Two such tests never differ in what they see.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.kit.clock import ManualClock


async def wait_quiet() -> None:
    """Waits until nothing in the loop can go on by itself."""
    # The loop has no public word for it; trio calls this `wait_all_tasks_blocked`.
    ready: deque[Any] = vars(asyncio.get_running_loop())["_ready"]
    while True:
        await asyncio.sleep(0)
        if not ready:
            return


async def let_time_pass(
    clock: ManualClock, until: Callable[[], bool], *, step: float = 1.0, at_most: float = 600.0
) -> None:
    """Moves time on in steps until the condition holds in the quiet.

    Raises:
        AssertionError: it does not hold within `at_most` seconds of virtual time.
    """
    end = clock.monotonic() + at_most
    await wait_quiet()
    while not until():
        assert clock.monotonic() < end, "it never comes true"
        clock.advance(step)
        await wait_quiet()
