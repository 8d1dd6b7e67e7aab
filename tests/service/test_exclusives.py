"""Taking turns: one at a time per key, in order, and nobody waits without a key."""

from __future__ import annotations

import asyncio

from tests.kit.quiet import wait_quiet
from websocketmanager.service.exclusives import Exclusives


async def test_one_at_a_time_and_in_order() -> None:
    exclusives = Exclusives()
    order: list[str] = []
    gates = {name: asyncio.Event() for name in "abc"}

    async def use(name: str, key: str) -> None:
        async with exclusives.hold(key):
            order.append(name)
            await gates[name].wait()

    tasks = [asyncio.create_task(use(name, "login")) for name in "abc"]
    await wait_quiet()
    assert order == ["a"]
    tasks[1].cancel()
    gates["a"].set()
    await wait_quiet()
    assert order == ["a", "c"]
    gates["c"].set()
    await asyncio.wait(tasks)


async def test_other_keys_and_no_key_do_not_wait() -> None:
    exclusives = Exclusives()
    keys = ("one", "two", "", "")
    holds = [exclusives.hold(key) for key in keys]
    for hold in holds:
        await asyncio.wait_for(hold.__aenter__(), 1)
    for hold in holds:
        await hold.__aexit__(None, None, None)
