"""Work is finished whatever becomes of its caller, and not begun when there is no place for it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pytest

from tests.kit.journal import RecordingJournal
from tests.kit.quiet import wait_quiet
from websocketmanager.domain.facts import RunnerCrashed
from websocketmanager.errors import ServiceUnavailable
from websocketmanager.service.errands import Errands


@asynccontextmanager
async def running() -> AsyncIterator[tuple[Errands, RecordingJournal]]:
    journal = RecordingJournal()
    errands = Errands(journal)
    async with asyncio.TaskGroup() as tasks:
        errands.begin(tasks)
        yield errands, journal


async def fault() -> None:
    raise ValueError("ours")


async def test_work_goes_on_when_its_caller_goes_away() -> None:
    gate, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    async with running() as (errands, _):
        caller = asyncio.create_task(errands.carry(work()))
        await wait_quiet()
        caller.cancel()
        await asyncio.wait([caller])
        gate.set()
    assert done.is_set()


async def test_a_fault_goes_to_whoever_waits_else_to_the_journal() -> None:
    async with running() as (errands, journal):
        with pytest.raises(ValueError, match="ours"):
            await errands.carry(fault())
        assert journal.of(RunnerCrashed) == []
        errands.spawn(fault())
        await wait_quiet()
        assert len(journal.of(RunnerCrashed)) == 1
        assert await errands.carry(asyncio.sleep(0, "still there")) == "still there"


async def test_what_comes_too_late_is_refused_and_closed() -> None:
    async with running() as (errands, _):
        pass
    late = fault()
    with pytest.raises(ServiceUnavailable):
        await errands.carry(late)
    assert inspect.getcoroutinestate(late) == inspect.CORO_CLOSED
    unheard = fault()
    errands.spawn(unheard)
    assert inspect.getcoroutinestate(unheard) == inspect.CORO_CLOSED


async def test_what_lives_on_is_no_part_of_its_callers_trace() -> None:
    trace: ContextVar[str] = ContextVar("trace", default="none")
    seen: list[str] = []

    async def look() -> None:
        seen.append(trace.get())

    trace.set("caller's")
    async with running() as (errands, _):
        errands.spawn(look())
        await errands.carry(look())
    assert sorted(seen) == ["caller's", "none"]
