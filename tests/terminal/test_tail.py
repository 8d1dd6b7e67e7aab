"""A tail ends by count, by time, or with the stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.terminal.events import message
from websocketmanager.terminal.received import Received
from websocketmanager.terminal.tail import print_events


async def events(number: int, *, then_wait: bool = False) -> AsyncIterator[Received]:
    for sequence in range(1, number + 1):
        yield message(sequence)
    if then_wait:
        await asyncio.Event().wait()


@pytest.mark.parametrize(("count", "written"), [(0, 0), (2, 2), (None, 5), (9, 5)])
async def test_it_ends_by_count_or_with_the_stream(count: int | None, written: int) -> None:
    lines: list[Received] = []
    assert await print_events(events(5), lines.append, count=count) == written
    assert [event.sequence for event in lines] == list(range(1, written + 1))


async def test_it_ends_when_the_time_is_over() -> None:
    lines: list[Received] = []
    assert await print_events(events(3, then_wait=True), lines.append, seconds=0.05) == 3


async def test_the_count_needs_no_further_event() -> None:
    assert await print_events(events(3, then_wait=True), lambda _: None, count=3) == 3
