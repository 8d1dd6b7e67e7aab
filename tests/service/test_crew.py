"""A crew: its tasks end together when one fails, and the end is told once, when all have ended."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.kit.quiet import wait_quiet
from websocketmanager.service.crew import Crew

WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Ship:
    """A crew whose end is noted; `work` waits until `gate` opens, then maybe fails."""

    def __init__(self) -> None:
        self.ends: list[Exception | None] = []
        self.done: list[str] = []
        self.gate = asyncio.Event()
        self.crew = Crew(self, contextvars.Context())

    def finish(self, fault: Exception | None) -> None:
        self.ends.append(fault)

    async def work(self, name: str, fault: Exception | None = None) -> None:
        try:
            await self.gate.wait()
            if fault is not None:
                raise fault
        finally:
            self.done.append(name)

    def spawn(self, name: str, fault: Exception | None = None) -> asyncio.Task[None]:
        return self.crew.spawn(self.work(name, fault))


async def test_the_end_is_told_when_it_was_left_and_all_have_ended() -> None:
    ship = Ship()
    ship.spawn("a")
    ship.crew.leave()
    ship.spawn("b")  # the last words of those who leave
    await wait_quiet()
    assert (ship.ends, ship.crew.left) == ([], True)
    ship.gate.set()
    await wait_quiet()
    assert (ship.ends, ship.done) == ([None], ["a", "b"])
    ship.crew.leave()
    ship.crew.abort()
    assert ship.ends == [None]


async def test_without_tasks_leaving_is_the_end() -> None:
    ship = Ship()
    ship.spawn("a").cancel()
    await wait_quiet()
    assert ship.ends == []
    ship.crew.leave()
    assert ship.ends == [None]


async def test_a_fault_ends_all_and_the_first_is_told() -> None:
    ship, first, second = Ship(), ValueError("first"), ValueError("second")
    ship.spawn("a", first)
    ship.spawn("b", second)
    ship.spawn("c")
    ship.gate.set()
    await wait_quiet()
    assert ship.ends == [first]
    assert sorted(ship.done) == ["a", "b", "c"]


async def test_whoever_aborts_cancels_all_and_hears_when_they_are_gone() -> None:
    ship, fault = Ship(), ValueError("ours")
    tasks = [ship.spawn("a"), ship.spawn("b")]
    await wait_quiet()
    ship.crew.abort(fault)
    ship.crew.abort(ValueError("later"))
    assert ship.ends == []
    await wait_quiet()
    assert all(task.cancelled() for task in tasks)
    assert ship.ends == [fault]


@pytest.mark.parametrize("end", [lambda crew: crew.leave(), lambda crew: crew.abort()])
async def test_there_is_no_work_behind_the_end(end: Callable[[Crew], None]) -> None:
    ship = Ship()
    end(ship.crew)
    with pytest.raises(RuntimeError, match="no place"):
        ship.spawn("late")
    assert ship.done == []


async def test_tasks_do_not_belong_to_the_trace_of_who_spawns_them() -> None:
    ship, seen = Ship(), list[str]()

    async def look() -> None:
        seen.append(WHO.get())
        WHO.set("a task")

    def work() -> Coroutine[Any, Any, None]:
        return look()

    WHO.set("a caller")
    ship.crew.spawn(work())
    await wait_quiet()
    ship.crew.spawn(work())
    await wait_quiet()
    assert seen == ["nobody", "nobody"]
