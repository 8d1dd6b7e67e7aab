"""Time that goes from event to event: nothing is waited for, nothing is stepped over."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from tests.kit.clock import ManualClock
from tests.kit.quiet import wait_quiet


class SteppedClock(ManualClock):
    """A manual clock that knows when somebody waits for it next."""

    @property
    def next_deadline(self) -> float:
        """Monotonic time of the earliest sleep or timeout that goes on; infinite without any."""
        deadlines = [one.deadline for one in self._waiters]
        deadlines += [one.deadline for one in self._bounds]
        return min(deadlines, default=float("inf"))

    def go_to(self, at: float) -> None:
        """Moves time on to a monotonic time and wakes what is due."""
        # Adding a difference could stop one rounding short of it.
        self._elapsed = max(at, self._elapsed)
        self._fire()


class Agenda:
    """What will happen, in order of time; what has the same time in order of its entry."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    @property
    def next_at(self) -> float:
        """Time of the earliest entry; infinite without any."""
        return self._heap[0][0] if self._heap else float("inf")

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Enters what happens at a monotonic time."""
        heapq.heappush(self._heap, (when, next(self._numbers), act))

    def act(self, now: float) -> None:
        """Does what is due."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()


async def pass_time(clock: SteppedClock, agenda: Agenda, *, until: float) -> None:
    """Lets everything happen up to a monotonic time, each thing in the quiet after the last."""
    await wait_quiet()
    while (at := min(clock.next_deadline, agenda.next_at)) <= until:
        clock.go_to(at)
        agenda.act(clock.monotonic())
        await wait_quiet()
    clock.go_to(until)
    await wait_quiet()
