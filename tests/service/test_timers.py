"""One heap of timers: order, cancelling, and a callback of which no other learns that it failed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.kit.clock import ManualClock
from tests.kit.journal import RecordingJournal
from tests.kit.quiet import wait_quiet
from websocketmanager.domain.facts import TimerCrashed
from websocketmanager.service.timers import ABOUT_SECONDS, Timers


class Bench:
    """Timers that note in `fired` who was called back, and when."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.journal = RecordingJournal()
        self.timers = Timers(self.clock, self.journal)
        self.fired: list[tuple[str, float]] = []

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.fired.append((name, self.clock.monotonic()))

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await wait_quiet()


@asynccontextmanager
async def running() -> AsyncIterator[Bench]:
    bench = Bench()
    task = asyncio.create_task(bench.timers.run())
    await wait_quiet()
    try:
        yield bench
        assert not task.done(), "the timers stopped"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_each_fires_at_its_time_and_once() -> None:
    async with running() as bench:
        bench.timers.call_at(3.0, bench.note("c"))
        bench.timers.call_at(1.0, bench.note("a"))
        bench.timers.call_at(2.0, bench.note("b"))
        assert len(bench.timers) == 3
        await wait_quiet()
        assert bench.fired == []
        for _ in range(50):
            await bench.advance(0.1)
        assert [name for name, _ in bench.fired] == ["a", "b", "c"]
        for (_, at), wanted in zip(bench.fired, (1.0, 2.0, 3.0), strict=True):
            assert at == pytest.approx(wanted, abs=0.11)
        assert len(bench.timers) == 0


async def test_equal_times_fire_in_the_order_of_asking() -> None:
    async with running() as bench:
        for name in "abcde":
            bench.timers.call_at(1.0, bench.note(name))
        await bench.advance(5.0)
        assert [name for name, _ in bench.fired] == list("abcde")


async def test_what_is_late_fires_in_the_order_of_its_time() -> None:
    async with running() as bench:
        for at in (9.0, 3.0, 6.0, 1.0):
            bench.timers.call_at(at, bench.note(str(at)))
        await bench.advance(100.0)
        assert [name for name, _ in bench.fired] == ["1.0", "3.0", "6.0", "9.0"]


async def test_a_time_that_has_passed_comes_soon() -> None:
    async with running() as bench:
        await bench.advance(10.0)
        bench.timers.call_at(1.0, bench.note("late"))
        await wait_quiet()
        assert bench.fired == [("late", 10.0)]


async def test_an_earlier_one_is_not_kept_waiting_by_a_later_one() -> None:
    async with running() as bench:
        bench.timers.call_at(1000.0, bench.note("far"))
        await wait_quiet()
        bench.timers.call_at(1.0, bench.note("near"))
        await wait_quiet()
        await bench.advance(1.0)
        assert bench.fired == [("near", 1.0)]


async def test_what_was_cancelled_does_not_fire() -> None:
    async with running() as bench:
        first = bench.timers.call_at(1.0, bench.note("a"))
        bench.timers.call_at(2.0, bench.note("b"))
        first.cancel()
        first.cancel()
        assert len(bench.timers) == 1
        await bench.advance(5.0)
        assert bench.fired == [("b", 5.0)]
        first.cancel()
        assert len(bench.timers) == 0


async def test_cancelling_what_fired_changes_nothing() -> None:
    async with running() as bench:
        fired = bench.timers.call_at(1.0, bench.note("a"))
        await bench.advance(1.0)
        fired.cancel()
        bench.timers.call_at(2.0, bench.note("b"))
        assert len(bench.timers) == 1


async def test_a_callback_may_set_and_cancel_timers() -> None:
    async with running() as bench:
        other = bench.timers.call_at(1.0, bench.note("cancelled"))

        def again() -> None:
            bench.note("again")()
            other.cancel()
            if len(bench.fired) < 3:
                bench.timers.call_at(bench.clock.monotonic() + 1.0, again)

        bench.timers.call_at(0.5, again)
        for _ in range(10):
            await bench.advance(0.5)
        assert bench.fired == [("again", 0.5), ("again", 1.5), ("again", 2.5)]


async def test_cancelled_timers_do_not_pile_up() -> None:
    async with running() as bench:
        kept = [bench.timers.call_at(5000.0 + n, bench.note(f"kept {n}")) for n in range(10)]
        for number in range(10_000):
            # A detector that is put off with each message.
            bench.timers.call_at(1000.0 + number, bench.note("never")).cancel()
        assert len(bench.timers) == len(kept)
        assert len(vars(bench.timers)["_heap"]) < 200, "the heap must not keep what was cancelled"
        await bench.advance(10_000.0)
        assert [name for name, _ in bench.fired] == [f"kept {n}" for n in range(10)]


async def test_cancelling_within_a_callback_rebuilds_the_heap_safely() -> None:
    async with running() as bench:
        many = [bench.timers.call_at(2.0, bench.note("cancelled")) for _ in range(200)]

        def cancel_all() -> None:
            for timer in many:
                timer.cancel()

        bench.timers.call_at(1.0, cancel_all)
        bench.timers.call_at(3.0, bench.note("end"))
        await bench.advance(3.0)
        assert bench.fired == [("end", 3.0)]
        assert len(bench.timers) == 0


async def test_a_callback_that_crashes_is_reported_and_stops_no_other() -> None:
    async with running() as bench:

        def crash() -> None:
            raise ValueError("ours")

        bench.timers.call_at(1.0, bench.note("before"))
        bench.timers.call_at(1.0, crash)
        bench.timers.call_at(1.0, bench.note("after"))
        bench.timers.call_at(2.0, bench.note("later"))
        await bench.advance(1.0)
        assert [name for name, _ in bench.fired] == ["before", "after"]
        assert bench.journal.of(TimerCrashed) == [TimerCrashed("ValueError('ours')")]
        await bench.advance(1.0)
        assert bench.fired[-1] == ("later", 2.0)


async def test_ten_thousand_connections_cost_one_waiting_task() -> None:
    async with running() as bench:
        for number in range(10_000):
            bench.timers.call_at(60.0 + number / 100, bench.note("x"))
        await wait_quiet()
        assert bench.clock.sleepers == 0
        assert len(asyncio.all_tasks()) == 2  # this test's and the timers'
        await bench.advance(60.0)
        assert len(bench.fired) == 1


async def test_what_need_not_be_punctual_comes_together_and_never_early() -> None:
    async with running() as bench:
        dues = {name: 1.0 + index * 0.012 for index, name in enumerate("abcdefgh")}
        for name, at in dues.items():
            bench.timers.call_about(at, bench.note(name))
        for _ in range(300):
            await bench.advance(0.005)
    assert sorted(name for name, _ in bench.fired) == sorted(dues)
    for name, at in bench.fired:
        assert -1e-6 <= at - dues[name] < ABOUT_SECONDS + 0.005 + 1e-6
    assert len({at for _, at in bench.fired}) <= 3
