"""A queue whose writer never waits and whose reader learns how it ends."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.quiet import wait_quiet
from websocketmanager.service.mailbox import Mailbox


async def test_what_waits_comes_first_then_the_end() -> None:
    box: Mailbox[int] = Mailbox()
    box.push(1)
    box.push(2)
    box.finish()
    assert [item async for item in box] == [1, 2]


async def test_the_first_end_counts() -> None:
    box: Mailbox[int] = Mailbox()
    box.push(1)
    box.finish(KeyError("first"))
    box.finish()
    assert await anext(box) == 1
    with pytest.raises(KeyError):
        await anext(box)


async def test_a_reader_that_waits_is_woken() -> None:
    box: Mailbox[int] = Mailbox()
    reading = asyncio.create_task(anext(box))
    await wait_quiet()
    assert not reading.done()
    box.push(7)
    assert await reading == 7


async def test_a_cancelled_reader_takes_nothing() -> None:
    box: Mailbox[int] = Mailbox()
    reading = asyncio.create_task(anext(box))
    await wait_quiet()
    box.push(7)
    reading.cancel()
    await asyncio.wait({reading})
    assert await anext(box) == 7


def test_leaving_is_told_once() -> None:
    left: list[int] = []
    box: Mailbox[int] = Mailbox(lambda: left.append(1))
    box.push(1)
    box.close()
    box.close()
    assert (left, len(box.waiting)) == ([1], 0)
