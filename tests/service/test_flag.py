"""The event that costs little."""

from __future__ import annotations

import asyncio

from tests.kit.quiet import wait_quiet
from websocketmanager.service.flag import Flag


async def test_all_who_wait_go_on_and_later_ones_do_not_wait() -> None:
    flag = Flag()
    waiting = [asyncio.create_task(flag.wait()) for _ in range(3)]
    await wait_quiet()
    assert not any(task.done() for task in waiting)
    flag.set()
    flag.clear()  # those who waited go on all the same
    await asyncio.gather(*waiting)
    assert not flag.is_set()
    flag.set()
    await flag.wait()
    assert flag.is_set()
    assert repr(flag) == "<Flag set>"


async def test_a_cancelled_wait_leaves_nothing() -> None:
    flag = Flag()
    first, second = asyncio.create_task(flag.wait()), asyncio.create_task(flag.wait())
    await wait_quiet()
    first.cancel()
    await wait_quiet()
    assert first.cancelled()
    assert flag._waiters is not None
    assert len(flag._waiters) == 1
    flag.set()
    await second


async def test_a_wait_that_is_cancelled_as_it_ends() -> None:
    flag = Flag()
    waiting = asyncio.create_task(flag.wait())
    await wait_quiet()
    flag.set()
    waiting.cancel()
    await wait_quiet()
    assert waiting.cancelled()
