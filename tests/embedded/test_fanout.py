"""Publish and subscribe in one process: order, bounds, and the ends of a subscription."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.embedded.journal import KeptFacts
from websocketmanager.domain.facts import SubscriberCut
from websocketmanager.embedded.chunk import Chunk
from websocketmanager.embedded.fanout import End, Fanout, QueueLimits

A, B, C, D = (b"\x0a\x01" + letter for letter in (b"1", b"2", b"3", b"4"))


def entry(size: int) -> bytes:
    """Returns an entry of so many bytes."""
    if size < 130:
        return bytes((0x0A, size - 2)) + b"x" * (size - 2)
    inside = size - 3
    return bytes((0x0A, inside & 0x7F | 0x80, inside >> 7)) + b"x" * inside


def chunk(*entries: bytes) -> Chunk:
    return Chunk(b"".join(entries), len(entries))


@pytest.fixture
def journal() -> KeptFacts:
    return KeptFacts()


@pytest.fixture
def fanout(journal: KeptFacts) -> Fanout:
    return Fanout(QueueLimits(max_events=3, max_bytes=100), journal)


async def test_events_come_in_order_over_all_topics(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a", "b", "a"])
    for topic, event in (("a", A), ("b", B), ("c", D), ("a", C)):
        fanout.publish(topic, chunk(event))
    assert await subscription.take(10, 1000) == A + B + C


async def test_taking_waits_for_the_first_event(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    taking = asyncio.ensure_future(subscription.take(10, 1000))
    done, _ = await asyncio.wait([taking], timeout=0)
    assert not done
    fanout.publish("a", chunk(A))
    fanout.publish("a", chunk(B))
    assert await taking == A + B


async def test_a_cancelled_taker_takes_nothing(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    taking = asyncio.ensure_future(subscription.take(10, 1000))
    await asyncio.wait([taking], timeout=0)
    fanout.publish("a", chunk(A))
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    fanout.publish("a", chunk(B))
    assert await subscription.take(10, 1000) == A + B


@pytest.mark.parametrize(
    ("max_events", "max_bytes", "taken"),
    [
        (1, 1000, 1),
        (2, 1000, 2),
        (10, 1, 1),  # the first always
        (10, 8, 1),
        (10, 9, 2),
        (10, 11, 2),
        (10, 12, 3),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
async def test_taking_is_bounded(
    fanout: Fanout, max_events: int, max_bytes: int, taken: int, chunked: bool
) -> None:
    subscription = fanout.subscribe("1", ["a"])
    entries = [entry(4), entry(5), entry(3)]
    for one in [chunk(*entries)] if chunked else map(chunk, entries):
        fanout.publish("a", one)
    assert await subscription.take(max_events, max_bytes) == b"".join(entries[:taken])
    assert subscription.waiting == 3 - taken
    rest = await subscription.take(10, 1000) if taken < 3 else b""
    assert rest == b"".join(entries[taken:])


async def test_a_chunk_that_does_not_fit_behind_others_waits_whole(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    fanout.publish("a", chunk(A))
    fanout.publish("a", chunk(B, C))
    assert await subscription.take(2, 1000) == A
    assert await subscription.take(2, 1000) == B + C


async def test_a_chunk_that_is_too_large_is_taken_piece_by_piece() -> None:
    fanout = Fanout(QueueLimits(), KeptFacts())
    subscription = fanout.subscribe("1", ["a"])
    fanout.publish("a", chunk(*[entry(10)] * 8))
    assert [len(await subscription.take(9, 30)) for _ in range(3)] == [30, 30, 20]
    fanout.publish("a", chunk(*[entry(10)] * 8))
    assert [len(await subscription.take(3, 99)) for _ in range(3)] == [30, 30, 20]


@given(
    chunks=st.lists(st.lists(st.integers(2, 300), min_size=1, max_size=5), max_size=8),
    bounds=st.lists(st.tuples(st.integers(1, 7), st.integers(1, 700)), min_size=1, max_size=9),
)
async def test_whatever_is_taken_at_a_time_all_of_it_comes_in_order(
    chunks: list[list[int]], bounds: list[tuple[int, int]]
) -> None:
    fanout = Fanout(QueueLimits(), KeptFacts())
    subscription = fanout.subscribe("1", ["a"])
    waiting: deque[bytes] = deque()
    for sizes in chunks:
        entries = [entry(size) for size in sizes]
        fanout.publish("a", chunk(*entries))
        waiting += entries
    fanout.unsubscribe("1")
    for max_events, max_bytes in itertools.cycle(bounds):
        taken = await subscription.take(max_events, max_bytes)
        if not taken:
            break
        count = 0
        rest = taken
        while rest:
            one = waiting.popleft()
            assert rest.startswith(one)
            rest, count = rest[len(one) :], count + 1
        assert count <= max_events
        assert count == 1 or len(taken) <= max_bytes
        assert subscription.waiting == len(waiting)
    assert not waiting


@pytest.mark.parametrize(
    "events",
    [[A, B, C, D], [entry(60), entry(41)]],
    ids=["events", "bytes"],
)
async def test_who_lets_too_much_wait_is_cut_alone(
    fanout: Fanout, journal: KeptFacts, events: list[bytes]
) -> None:
    slow = fanout.subscribe("slow", ["a", "b"])
    quick = fanout.subscribe("quick", ["a"])
    for event in events:
        fanout.publish("a", chunk(event))
        assert await quick.take(10, 1000) == event
    assert await slow.take(10, 1000) == b""
    assert slow.end is End.TOO_SLOW
    assert journal.facts == [SubscriberCut(topics="a, b", waiting=len(events) - 1)]
    assert not fanout.has_subscribers("b")
    assert not fanout.unsubscribe("slow")
    fanout.publish("a", chunk(A))
    assert await quick.take(10, 1000) == A


@pytest.mark.parametrize(
    ("sizes", "fits"),
    [
        ([33, 33, 33], True),
        ([3, 3, 3, 3], False),
        ([60, 41], False),
        ([1000], True),  # alone it always passes
        ([1000, 3], False),
        ([3, 1000], False),
    ],
)
async def test_a_chunk_is_bounded_as_its_events_are(
    fanout: Fanout, journal: KeptFacts, sizes: list[int], fits: bool
) -> None:
    subscription = fanout.subscribe("1", ["a"])
    one = chunk(*map(entry, sizes))

    fanout.publish("a", one)

    assert await subscription.take(10, 5000) == (one.body if fits else b"")
    assert bool(journal.facts) is not fits


async def test_taking_makes_room_again(fanout: Fanout, journal: KeptFacts) -> None:
    subscription = fanout.subscribe("1", ["a"])
    for _ in range(5):
        fanout.publish("a", chunk(entry(33), entry(33)))
        await subscription.take(1, 1000)  # half of a chunk, too, is room
        fanout.publish("a", chunk(entry(33)))
        fanout.publish("a", chunk(entry(34)))
        assert len(await subscription.take(10, 1000)) == 100
    assert journal.facts == []


async def test_one_giant_event_passes_when_nothing_waits(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    giant = chunk(entry(1000))
    fanout.publish("a", giant)
    assert await subscription.take(10, 1) == giant.body
    fanout.publish("a", chunk(A))
    fanout.publish("a", giant)
    assert await subscription.take(10, 1) == b""
    assert subscription.end is End.TOO_SLOW


async def test_unsubscribing_gives_what_waits_and_no_more(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    fanout.publish("a", chunk(A))
    assert fanout.unsubscribe("1")
    fanout.publish("a", chunk(B))
    assert not fanout.has_subscribers("a")
    assert await subscription.take(10, 1000) == A
    assert await subscription.take(10, 1000) == b""
    assert subscription.end is End.UNSUBSCRIBED


async def test_unsubscribing_wakes_a_waiting_taker(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    taking = asyncio.ensure_future(subscription.take(10, 1000))
    await asyncio.wait([taking], timeout=0)
    fanout.unsubscribe("1")
    assert await taking == b""


async def test_stopping_ends_all_and_who_comes_later(fanout: Fanout) -> None:
    first = fanout.subscribe("1", ["a"])
    fanout.publish("a", chunk(A))
    fanout.stop()
    later = fanout.subscribe("2", ["a"])
    assert await first.take(10, 1000) == A
    for subscription in (first, later):
        assert await subscription.take(10, 1000) == b""
        assert subscription.end is End.STOPPING
    assert not fanout.has_subscribers("a")
