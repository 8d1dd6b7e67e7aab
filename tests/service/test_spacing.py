"""Sends are evenly spaced, in the order of asking, also when the machine is late."""

from __future__ import annotations

import asyncio

from tests.kit.clock import ManualClock
from tests.kit.quiet import wait_quiet
from websocketmanager.service.spacing import Spacer


class Bench:
    """A spacer whose turns are noted with their times."""

    def __init__(self, spacing_seconds: float) -> None:
        self.clock = ManualClock()
        self.spacer = Spacer(self.clock, spacing_seconds=spacing_seconds)
        self.turns: list[tuple[str, float]] = []

    def ask(self, name: str) -> asyncio.Task[None]:
        async def wait() -> None:
            await self.spacer.wait_turn()
            self.turns.append((name, round(self.clock.monotonic(), 6)))

        return asyncio.create_task(wait())

    async def advance(self, seconds: float, *, step: float = 0.25) -> None:
        await wait_quiet()
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await wait_quiet()


async def test_without_spacing_nobody_waits() -> None:
    bench = Bench(0.0)
    for name in "abc":
        bench.ask(name)
    await wait_quiet()
    assert bench.turns == [("a", 0.0), ("b", 0.0), ("c", 0.0)]
    assert bench.clock.slept == []


async def test_a_burst_is_spread_evenly_and_in_order() -> None:
    bench = Bench(1.0)
    for name in "abcd":
        bench.ask(name)
    await wait_quiet()
    assert bench.turns == [("a", 0.0)], "the first need not wait"
    await bench.advance(4.0)
    assert bench.turns == [("a", 0.0), ("b", 1.0), ("c", 2.0), ("d", 3.0)]


async def test_who_comes_later_takes_the_next_turn_and_none_is_saved_up() -> None:
    bench = Bench(1.0)
    bench.ask("a")
    await bench.advance(0.5)
    bench.ask("b")
    await bench.advance(10.0)
    bench.ask("c")
    bench.ask("d")
    await bench.advance(2.0)
    assert bench.turns == [("a", 0.0), ("b", 1.0), ("c", 10.5), ("d", 11.5)]


async def test_turns_that_come_late_do_not_come_together() -> None:
    bench = Bench(1.0)
    for name in "abcd":
        bench.ask(name)
    await wait_quiet()
    # The machine stands still for a while: all turns are due at once.
    await bench.advance(3.5, step=3.5)
    assert bench.turns == [("a", 0.0), ("b", 3.5)]
    await bench.advance(3.0)
    assert bench.turns[2:] == [("c", 4.5), ("d", 5.5)]


async def test_a_cancelled_turn_is_not_missed_and_costs_nothing() -> None:
    bench = Bench(1.0)
    bench.ask("a")
    cancelled = [bench.ask("b"), bench.ask("c")]
    bench.ask("d")
    await wait_quiet()
    for task in cancelled:
        task.cancel()
    await bench.advance(3.0)
    assert bench.turns == [("a", 0.0), ("d", 1.0)]
