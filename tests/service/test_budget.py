"""The process's bytes: readers wait when there are too many, and go on when a quarter is free."""

from __future__ import annotations

import asyncio

from tests.kit.quiet import wait_quiet
from websocketmanager.service.budget import Budget


async def test_readers_wait_from_the_bound_on_until_a_quarter_is_free() -> None:
    budget = Budget(100)
    budget.take(99)
    assert (budget.overdrawn, budget.used) == (False, 99)

    budget.take(1)
    assert budget.overdrawn
    waiting = asyncio.create_task(budget.wait_room())
    await wait_quiet()

    budget.give(24)
    await wait_quiet()
    assert (budget.overdrawn, waiting.done()) == (True, False)

    budget.give(1)
    async with asyncio.timeout(5):
        await waiting
    assert (budget.overdrawn, budget.used) == (False, 75)


async def test_the_last_message_may_overdraw() -> None:
    budget = Budget(10)
    budget.take(1_000)
    assert budget.used == 1_000

    budget.give(1_000)
    assert not budget.overdrawn
