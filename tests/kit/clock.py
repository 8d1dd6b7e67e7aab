"""Time and dice that obey the test.

`ManualClock` moves only when told. A test waits until the code sleeps, then moves time:

    task = asyncio.create_task(code_that_backs_off(clock))
    assert await clock.wait_for_sleeper() == 1.0      # it wants to sleep one second
    clock.advance(1.0)                                # and wakes
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

#: 2023-11-14T22:13:20Z, where virtual wall clocks begin.
START = 1_700_000_000.0


@dataclass(eq=False)
class _Waiter:
    deadline: float
    wake: asyncio.Future[None]


@dataclass(eq=False)
class _Bound:
    deadline: float
    scope: asyncio.Timeout


@dataclass
class ManualClock:
    """`ports.Clock` whose time is `start` until `advance` is called.

    Attributes:
        start: Unix seconds at the beginning.
        skip_sleeps: a sleep moves time itself and returns, for code whose pauses do not matter.
        slept: every pause asked for so far, in order, in seconds.
    """

    start: float = START
    skip_sleeps: bool = False
    slept: list[float] = field(default_factory=list)
    _elapsed: float = 0.0
    _waiters: list[_Waiter] = field(default_factory=list)
    _bounds: list[_Bound] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> float:
        return self.start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self.skip_sleeps:
            self.advance(max(seconds, 0.0))
        if self.skip_sleeps or seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = _Waiter(self._elapsed + seconds, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._tell()
        try:
            await waiter.wake
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return asyncio.timeout(None) if seconds is None else self._bounded(seconds)

    @asynccontextmanager
    async def _bounded(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        async with asyncio.timeout(None) as scope:
            bound = _Bound(self._elapsed + seconds, scope)
            self._bounds.append(bound)
            self._tell()
            self._fire()
            try:
                yield scope
            finally:
                if bound in self._bounds:
                    self._bounds.remove(bound)

    def advance(self, seconds: float) -> None:
        """Moves time and wakes everything that is due, earliest first."""
        self._elapsed += seconds
        self._fire()

    def jump_wall_clock(self, seconds: float) -> None:
        """Sets only the wall clock forward or back, as an operator or NTP may."""
        self.start += seconds

    @property
    def sleepers(self) -> int:
        """How many sleeps are going on now."""
        return len(self._waiters)

    async def wait_for_sleeper(self, count: int = 1) -> float:
        """Waits until `count` sleeps go on; returns the seconds until the earliest ends."""
        while len(self._waiters) < count:
            await self._next_change()
        return min(waiter.deadline for waiter in self._waiters) - self._elapsed

    async def wait_for_timeout(self, count: int = 1) -> float:
        """Waits until `count` timeouts are set; returns the seconds until the earliest."""
        while len(self._bounds) < count:
            await self._next_change()
        return min(bound.deadline for bound in self._bounds) - self._elapsed

    def _fire(self) -> None:
        for waiter in sorted(self._waiters, key=lambda waiter: waiter.deadline):
            if waiter.deadline <= self._elapsed:
                self._waiters.remove(waiter)
                if not waiter.wake.done():
                    waiter.wake.set_result(None)
        for bound in [bound for bound in self._bounds if bound.deadline <= self._elapsed]:
            self._bounds.remove(bound)
            bound.scope.reschedule(asyncio.get_running_loop().time())

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _next_change(self) -> None:
        await self._changed.wait()


class ScriptedDice:
    """`ports.Dice` that gives the scripted numbers, then `then` for ever; ids count up."""

    def __init__(self, uniforms: Iterable[float] = (), *, then: float = 0.5) -> None:
        self._uniforms = iter(uniforms)
        self._then = then
        self._numbers = itertools.count(1)

    def uniform(self) -> float:
        return next(self._uniforms, self._then)

    def token_bytes(self, count: int) -> bytes:
        return next(self._numbers).to_bytes(count, "big")

    def uuid(self) -> str:
        return str(uuid.UUID(int=next(self._numbers), version=4))
