"""Dials to one host come one after the other, those to others beside them."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.clock import ManualClock, ScriptedDice
from tests.kit.quiet import wait_quiet
from websocketmanager.service import pacing
from websocketmanager.service.pacing import Pacer

URL = "ws://h/"


def pacer_of(clock: ManualClock, *, spacing_seconds: float = 1.0, dice: float = 0.0) -> Pacer:
    return Pacer(clock, ScriptedDice(then=dice), lambda _: spacing_seconds)


async def test_turns_of_a_host_are_spaced_and_hosts_are_independent() -> None:
    clock = ManualClock()
    pacer = pacer_of(clock)
    turns: list[tuple[str, float]] = []

    async def dial(url: str) -> None:
        await pacer.wait_turn(url)
        turns.append((url, clock.monotonic()))

    # The same host, whatever its spelling, port, path and user.
    one, other, again = "wss://User:pw@One.test/a", "wss://other.test/", "ws://one.test.:9443/b"
    tasks = [asyncio.create_task(dial(url)) for url in (one, one, other, again)]
    for _ in range(3):
        await wait_quiet()
        clock.advance(1.0)
    await asyncio.gather(*tasks)
    assert turns == [(one, 0.0), (other, 0.0), (one, 1.0), (again, 2.0)]


async def test_each_host_has_its_own_spacing_and_none_does_not_wait() -> None:
    clock = ManualClock()
    pacer = Pacer(clock, ScriptedDice(then=0.0), {"slow.test": 5.0, "free.test": 0.0}.__getitem__)
    for _ in range(3):
        await pacer.wait_turn("ws://free.test/")
    await pacer.wait_turn("ws://slow.test/")
    assert clock.slept == []
    task = asyncio.create_task(pacer.wait_turn("ws://slow.test/"))
    assert await clock.wait_for_sleeper() == 5.0
    clock.advance(5.0)
    await task


async def test_a_host_that_was_not_dialled_for_a_while_waits_for_nothing() -> None:
    clock = ManualClock()
    pacer = pacer_of(clock)
    await pacer.wait_turn(URL)
    clock.advance(5.0)
    await pacer.wait_turn(URL)
    assert clock.slept == []


@pytest.mark.parametrize(("dice", "gap"), [(0.0, 1.0), (0.5, 1.1), (0.999, 1.1998)])
async def test_the_jitter_only_lengthens_and_by_a_fifth_at_most(dice: float, gap: float) -> None:
    clock = ManualClock()
    pacer = pacer_of(clock, dice=dice)
    await pacer.wait_turn(URL)
    task = asyncio.create_task(pacer.wait_turn(URL))
    assert await clock.wait_for_sleeper() == pytest.approx(gap)
    clock.advance(gap)
    await task


async def test_a_clock_that_wakes_early_is_asked_again() -> None:
    class Hasty(ManualClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds * 0.75)

    clock = Hasty(skip_sleeps=True)
    pacer = pacer_of(clock)
    await pacer.wait_turn(URL)
    await pacer.wait_turn(URL)
    assert clock.monotonic() == pytest.approx(1.0, abs=2e-6)


async def test_a_late_turn_moves_those_behind_it() -> None:
    clock = ManualClock()
    pacer = pacer_of(clock)
    tasks = [asyncio.create_task(pacer.wait_turn(URL)) for _ in range(3)]
    await wait_quiet()
    clock.advance(7.0)
    await wait_quiet()
    # Both are overdue by the clock; they do not go together.
    assert [task.done() for task in tasks] == [True, True, False]
    clock.advance(1.0)
    await asyncio.gather(*tasks)


async def test_a_cancelled_waiter_gives_its_turn_back() -> None:
    clock = ManualClock()
    pacer = pacer_of(clock)
    await pacer.wait_turn(URL)
    sleeping, queued, last = [asyncio.create_task(pacer.wait_turn(URL)) for _ in range(3)]
    await wait_quiet()
    clock.advance(0.5)
    sleeping.cancel()
    queued.cancel()
    await wait_quiet()
    clock.advance(0.5)
    await last


async def test_hosts_whose_turn_has_passed_are_forgotten_unless_somebody_waits() -> None:
    clock = ManualClock()
    pacer = pacer_of(clock)
    await pacer.wait_turn(URL)
    waiting = asyncio.create_task(pacer.wait_turn(URL))
    await wait_quiet()
    for number in range(pacing._MAX_HOSTS - 1):
        await pacer.wait_turn(f"ws://h{number}/")
    clock.advance(1.0)
    # The waiting one is due and has not had the time to go on.
    await pacer.wait_turn("ws://one-more/")
    assert len(pacer._hosts) == 2
    behind = asyncio.create_task(pacer.wait_turn(URL))
    await wait_quiet()
    assert (waiting.done(), behind.done()) == (True, False)
    clock.advance(1.0)
    await behind


# --- any sequence ---------------------------------------------------------------------------------


@dataclass
class Dials:
    """Dials to two hosts with spacings of 1 s and 0.25 s, and when they began."""

    clock: ManualClock = field(default_factory=ManualClock)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    begun: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    asked: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dice = ScriptedDice([0.9, 0.1, 0.5, 0.0, 0.7])
        self.spacing = {"a": 1.0, "b": 0.25}
        self.pacer = Pacer(self.clock, dice, self.spacing.__getitem__)

    def ask(self, host: str) -> None:
        number = len(self.tasks)
        self.asked.setdefault(host, []).append(number)
        self.tasks.append(asyncio.create_task(self._dial(host, number)))

    async def _dial(self, host: str, number: int) -> None:
        await self.pacer.wait_turn(f"ws://{host}/{number}")
        self.begun.setdefault(host, []).append((number, self.clock.monotonic()))


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("ab")),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("time"), st.sampled_from([0.01, 0.2, 0.25, 0.5, 1.0, 1.2, 5.0])),
        st.tuples(st.just("quiet"), st.just(0)),
    ),
    max_size=60,
)


@given(_STEPS)
def test_whatever_happens_no_two_dials_to_a_host_are_closer_than_its_spacing(
    steps: list[tuple[str, object]],
) -> None:
    async def play() -> None:
        dials = Dials()
        for what, value in steps:
            match what, value:
                case "ask", str(host):
                    dials.ask(host)
                case "cancel", int(number) if number < len(dials.tasks):
                    dials.tasks[number].cancel()
                case "time", float(seconds):
                    dials.clock.advance(seconds)
                case _:
                    await wait_quiet()
        await wait_quiet()
        # What is left takes no longer than its spacings, jitter included: no turn is lost.
        left = sum(not task.done() for task in dials.tasks)
        for _ in range(left):
            dials.clock.advance(1.2)
            await wait_quiet()
        assert all(task.done() for task in dials.tasks)
        cancelled = {number for number, task in enumerate(dials.tasks) if task.cancelled()}
        for host, asked in dials.asked.items():
            begun = dials.begun.get(host, [])
            assert [number for number, _ in begun] == [n for n in asked if n not in cancelled]
            times = [at for _, at in begun]
            gaps = [after - before for before, after in itertools.pairwise(times)]
            assert all(gap >= dials.spacing[host] - 2e-6 for gap in gaps)

    asyncio.run(play())
