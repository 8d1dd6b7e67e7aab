"""Prints the events of one stream as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

T = TypeVar("T")


async def print_events(
    events: AsyncIterator[T],
    write: Callable[[T], None],
    *,
    count: int | None = None,
    seconds: float | None = None,
) -> int:
    """Hands events to `write` until so many came or the time is over; returns how many.

    Raises:
        CallFailed: the peer ended the stream with an error.
    """
    written = 0
    if count == 0:
        return 0
    try:
        async with asyncio.timeout(seconds):
            async for event in events:
                write(event)
                written += 1
                if written == count:
                    break
    except TimeoutError:
        pass  # the usual end of a tail with a duration
    return written
