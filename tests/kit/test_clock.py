"""The manual clock moves only when told, and wakes what is due."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.kit.clock import START, ManualClock, ScriptedDice
from websocketmanager.ports import Clock, Dice


async def test_it_is_a_clock_and_stands_still() -> None:
    clock: Clock = ManualClock()

    assert (clock.now(), clock.monotonic()) == (START, 0.0)


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock, woken = ManualClock(), list[float]()

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with asyncio.TaskGroup() as group:
        for seconds in (3.0, 1.0, 2.0):
            group.create_task(sleeper(seconds))
        assert await clock.wait_for_sleeper(3) == 1.0
        clock.advance(0.5)
        assert await clock.wait_for_sleeper(3) == 0.5
        clock.advance(5.0)

    assert woken == [1.0, 2.0, 3.0]
    assert clock.slept == [3.0, 1.0, 2.0]
    assert (clock.now(), clock.sleepers) == (START + 5.5, 0)


async def test_a_cancelled_sleep_leaves_nothing() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1.0))
    await clock.wait_for_sleeper()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert clock.sleepers == 0


async def test_a_timeout_obeys_virtual_time() -> None:
    clock = ManualClock()

    async def bounded() -> str:
        try:
            async with clock.timeout(2.0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "done"

    task = asyncio.create_task(bounded())
    assert await clock.wait_for_timeout() == 2.0
    clock.advance(1.9)
    assert await clock.wait_for_timeout() == pytest.approx(0.1)
    clock.advance(0.2)

    assert await task == "timed out"


async def test_a_block_that_ends_in_time_is_not_bounded_later() -> None:
    clock = ManualClock()
    async with clock.timeout(1.0):
        clock.advance(0.5)
    clock.advance(9.0)
    async with clock.timeout(None):
        clock.advance(9.0)


async def test_a_block_s_own_cancellation_passes_through() -> None:
    clock = ManualClock()

    async def bounded() -> None:
        async with clock.timeout(1.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(bounded())
    await clock.wait_for_timeout()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_skipped_sleeps_move_the_time_themselves() -> None:
    clock = ManualClock(skip_sleeps=True)

    await clock.sleep(60.0)

    assert clock.monotonic() == 60.0


async def test_the_wall_clock_may_jump_alone() -> None:
    clock = ManualClock()

    clock.jump_wall_clock(-3600.0)

    assert (clock.now(), clock.monotonic()) == (START - 3600.0, 0.0)


def test_the_dice_follow_their_script() -> None:
    dice: Dice = ScriptedDice([0.1, 0.9], then=0.3)

    assert [dice.uniform() for _ in range(4)] == [0.1, 0.9, 0.3, 0.3]
    assert len(dice.token_bytes(16)) == 16
    assert dice.uuid() != dice.uuid()
    assert uuid.UUID(dice.uuid()).version == 4
