"""Dials to one host come one after the other, those to others beside them."""

from __future__ import annotations

import asyncio

from tests.kit.clock import ManualClock
from tests.kit.quiet import wait_quiet
from websocketmanager.service import pacing
from websocketmanager.service.pacing import Pacer


async def test_turns_of_a_host_are_spaced_and_hosts_are_independent() -> None:
    clock = ManualClock()
    pacer = Pacer(clock, spacing_seconds=1.0)
    turns: list[tuple[str, float]] = []

    async def dial(url: str) -> None:
        await pacer.wait_turn(url)
        turns.append((url, clock.monotonic()))

    one, other = "wss://User:pw@One.test/a", "wss://other.test/"
    tasks = [asyncio.create_task(dial(url)) for url in (one, one, other, "wss://one.test/b")]
    for _ in range(3):
        await wait_quiet()
        clock.advance(1.0)
    await asyncio.gather(*tasks)
    assert turns == [(one, 0.0), (other, 0.0), (one, 1.0), ("wss://one.test/b", 2.0)]


async def test_a_host_that_was_not_dialled_for_a_while_waits_for_nothing() -> None:
    clock = ManualClock()
    pacer = Pacer(clock, spacing_seconds=1.0)
    await pacer.wait_turn("ws://h/")
    clock.advance(5.0)
    await pacer.wait_turn("ws://h/")
    assert clock.slept == []


async def test_hosts_whose_turn_has_passed_are_forgotten() -> None:
    clock = ManualClock()
    pacer = Pacer(clock, spacing_seconds=1.0)
    for number in range(pacing._MAX_HOSTS + 10):
        await pacer.wait_turn(f"ws://h{number}/")
        clock.advance(0.5)
    assert len(pacer._next) <= pacing._MAX_HOSTS
    assert clock.slept == []
