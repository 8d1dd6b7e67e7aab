"""The event and the inbox that cost little."""

from __future__ import annotations

import asyncio

from tests.kit.quiet import wait_quiet
from websocketmanager.service.flag import Flag, Inbox


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


async def test_the_inbox_keeps_the_order_and_loses_nothing() -> None:
    inbox: Inbox[int] = Inbox()
    inbox.put(1)
    inbox.put(2)
    assert [await inbox.get(), await inbox.get()] == [1, 2]
    reading = asyncio.create_task(inbox.get())
    await wait_quiet()
    assert not reading.done()
    reading.cancel()
    await wait_quiet()
    inbox.put(3)
    inbox.put(4)
    assert [await inbox.get(), await inbox.get()] == [3, 4]
