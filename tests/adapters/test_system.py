"""The machine's clock and dice keep the ports' promises."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest

from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.ports import Clock, Dice


@pytest.fixture
def clock() -> Clock:
    return SystemClock()


@pytest.fixture
def dice() -> Dice:
    return SystemDice()


def test_now_is_unix_time(clock: Clock) -> None:
    before = time.time()
    assert before <= clock.now() <= time.time()


def test_monotonic_grows(clock: Clock) -> None:
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


async def test_sleeping_takes_the_time(clock: Clock) -> None:
    before = clock.monotonic()
    await clock.sleep(0.02)
    assert clock.monotonic() - before >= 0.019


async def test_a_sleep_of_zero_lets_others_run(clock: Clock) -> None:
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    await clock.sleep(0)
    assert ran.is_set()


async def test_a_timeout_ends_a_block(clock: Clock) -> None:
    with pytest.raises(TimeoutError):
        async with clock.timeout(0.01):
            await asyncio.Event().wait()


async def test_no_timeout_bounds_nothing(clock: Clock) -> None:
    async with clock.timeout(None):
        await clock.sleep(0)


def test_uniform_lies_in_its_interval_and_varies(dice: Dice) -> None:
    drawn = {dice.uniform() for _ in range(1000)}
    assert all(0 <= number < 1 for number in drawn)
    assert len(drawn) > 990


def test_token_bytes_have_the_length_and_differ(dice: Dice) -> None:
    assert [len(dice.token_bytes(count)) for count in (0, 1, 16)] == [0, 1, 16]
    assert dice.token_bytes(16) != dice.token_bytes(16)


def test_uuids_are_of_version_4_and_differ(dice: Dice) -> None:
    first, second = dice.uuid(), dice.uuid()
    assert first != second
    assert uuid.UUID(first).version == 4
    assert str(uuid.UUID(first)) == first
