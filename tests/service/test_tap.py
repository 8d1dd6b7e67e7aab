"""Who looks on misses what it is too slow for, is told how much, and costs the stream nothing."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.clock import ManualClock
from tests.kit.quiet import wait_quiet
from websocketmanager.domain.envelope import StreamIdentity
from websocketmanager.domain.model import Kind, TailedMessage, Topic
from websocketmanager.errors import ConnectionNotFound, LimitReached
from websocketmanager.service.tap import (
    BURST_MESSAGES,
    MAX_TAPS,
    MAX_WAITING,
    MAX_WAITING_BYTES,
    Taps,
)

IDENTITY = StreamIdentity("c", 1.0, "wss://x/", 3, 2)


def push(taps: Taps, sequence: int, data: bytes = b"x", topic: Topic | None = None) -> None:
    taps.take(Kind.TEXT, [data], IDENTITY, sequence, 5.0 + sequence, topic)


async def test_a_message_with_its_metadata() -> None:
    taps = Taps()
    tap = taps.add(ManualClock(), max_message_bytes=2)
    push(taps, 4, b"hello", Topic("a.b"))
    assert await anext(tap) == TailedMessage(
        id="c/1000/3/4",
        kind=Kind.TEXT,
        data=b"he",
        size=5,
        at=9.0,
        session=3,
        sequence=4,
        owner_epoch=2,
        topic=Topic("a.b"),
    )


async def test_a_slow_reader_gets_the_newest_and_is_told_what_it_missed() -> None:
    taps = Taps()
    slow = taps.add(ManualClock(skip_sleeps=True), max_message_bytes=0)
    for sequence in range(1, MAX_WAITING + 11):
        push(taps, sequence)
    first, second = await anext(slow), await anext(slow)
    assert (first.sequence, first.skipped) == (11, 10)
    assert (second.sequence, second.skipped) == (12, 0)


async def test_large_messages_are_bounded_by_bytes_and_one_always_passes() -> None:
    taps = Taps()
    tap = taps.add(ManualClock(skip_sleeps=True), max_message_bytes=0)
    third = MAX_WAITING_BYTES // 3
    for sequence in range(1, 6):
        push(taps, sequence, bytes(third))
    first = await anext(tap)
    assert (first.sequence, first.skipped) == (3, 2)
    push(taps, 6, bytes(MAX_WAITING_BYTES + 1))
    giant = await anext(tap)
    assert (giant.sequence, giant.skipped, giant.size) == (6, 2, MAX_WAITING_BYTES + 1)
    push(taps, 7)
    assert (await anext(tap)).skipped == 0


async def test_a_fast_stream_is_shown_in_bursts() -> None:
    taps, clock = Taps(), ManualClock()
    tap = taps.add(clock, max_message_bytes=0)
    for sequence in range(1, BURST_MESSAGES + 2):
        push(taps, sequence)
    for _ in range(BURST_MESSAGES):
        await anext(tap)
    reading = asyncio.create_task(anext(tap))
    pause = await clock.wait_for_sleeper()
    assert 0 < pause < 1
    clock.advance(pause)
    assert (await reading).sequence == BURST_MESSAGES + 1


async def test_it_ends_behind_what_waits() -> None:
    taps = Taps()
    removed = taps.add(ManualClock(), max_message_bytes=0)
    push(taps, 1)
    taps.end(None)
    assert [one.sequence async for one in removed] == [1]
    lost = taps.add(ManualClock(), max_message_bytes=0)
    reading = asyncio.create_task(anext(lost))
    await wait_quiet()
    taps.end(ConnectionNotFound("c"))
    with pytest.raises(ConnectionNotFound):
        await reading
    assert not taps.open


def test_too_many_are_refused_and_those_who_leave_make_room() -> None:
    taps = Taps()
    several = [taps.add(ManualClock(), max_message_bytes=0) for _ in range(MAX_TAPS)]
    with pytest.raises(LimitReached):
        taps.add(ManualClock(), max_message_bytes=0)
    several[3].close()
    several[3].close()
    assert taps.add(ManualClock(), max_message_bytes=0) in taps.open
