"""Publish and subscribe in one process: order, bounds, and the ends of a subscription."""

from __future__ import annotations

import asyncio

import pytest

from tests.embedded.journal import KeptFacts
from websocketmanager.domain.facts import SubscriberCut
from websocketmanager.embedded.fanout import End, Fanout, QueueLimits


@pytest.fixture
def journal() -> KeptFacts:
    return KeptFacts()


@pytest.fixture
def fanout(journal: KeptFacts) -> Fanout:
    return Fanout(QueueLimits(max_events=3, max_bytes=100), journal)


async def test_events_come_in_order_over_all_topics(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a", "b", "a"])
    for topic, event in (("a", b"1"), ("b", b"2"), ("c", b"no"), ("a", b"3")):
        fanout.publish(topic, [event])
    assert await subscription.take(10, 1000) == [b"1", b"2", b"3"]


async def test_taking_waits_for_the_first_event(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    taking = asyncio.ensure_future(subscription.take(10, 1000))
    done, _ = await asyncio.wait([taking], timeout=0)
    assert not done
    fanout.publish("a", [b"1"])
    assert await taking == [b"1"]


async def test_a_cancelled_taker_takes_nothing(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    taking = asyncio.ensure_future(subscription.take(10, 1000))
    await asyncio.wait([taking], timeout=0)
    fanout.publish("a", [b"1"])
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert await subscription.take(10, 1000) == [b"1"]


@pytest.mark.parametrize(
    ("max_events", "max_bytes", "taken"),
    [
        (1, 1000, [b"aa"]),
        (2, 1000, [b"aa", b"bbb"]),
        (10, 1, [b"aa"]),  # the first always
        (10, 4, [b"aa"]),
        (10, 5, [b"aa", b"bbb"]),
        (10, 6, [b"aa", b"bbb", b"c"]),
    ],
)
async def test_taking_is_bounded(
    fanout: Fanout, max_events: int, max_bytes: int, taken: list[bytes]
) -> None:
    subscription = fanout.subscribe("1", ["a"])
    for event in (b"aa", b"bbb", b"c"):
        fanout.publish("a", [event])
    assert await subscription.take(max_events, max_bytes) == taken
    assert subscription.waiting == 3 - len(taken)


@pytest.mark.parametrize(
    "events",
    [[b"1", b"2", b"3", b"4"], [b"x" * 60, b"y" * 41]],
    ids=["events", "bytes"],
)
async def test_who_lets_too_much_wait_is_cut_alone(
    fanout: Fanout, journal: KeptFacts, events: list[bytes]
) -> None:
    slow = fanout.subscribe("slow", ["a", "b"])
    quick = fanout.subscribe("quick", ["a"])
    received: list[bytes] = []
    for event in events:
        fanout.publish("a", [event])
        received += await quick.take(10, 1000)
    assert received == events
    assert await slow.take(10, 1000) == ()
    assert slow.end is End.TOO_SLOW
    assert journal.facts == [SubscriberCut(topics="a, b", waiting=len(events) - 1)]
    assert not fanout.has_subscribers("b")
    assert not fanout.unsubscribe("slow")
    fanout.publish("a", [b"more"])
    assert await quick.take(10, 1000) == [b"more"]


@pytest.mark.parametrize(
    ("sizes", "fits"),
    [
        ([33, 33, 33], True),
        ([1, 1, 1, 1], False),
        ([60, 41], False),
        ([1000], True),  # alone it always passes
        ([1000, 1], False),
        ([1, 1000], False),
    ],
)
async def test_a_batch_is_bounded_as_its_events_are(
    fanout: Fanout, journal: KeptFacts, sizes: list[int], fits: bool
) -> None:
    subscription = fanout.subscribe("1", ["a"])
    batch = [b"x" * size for size in sizes]

    fanout.publish("a", batch)

    assert await subscription.take(10, 5000) == (batch if fits else ())
    assert bool(journal.facts) is not fits


async def test_taking_makes_room_again(fanout: Fanout, journal: KeptFacts) -> None:
    subscription = fanout.subscribe("1", ["a"])
    for _ in range(5):
        for event in (b"x" * 33, b"y" * 33, b"z" * 33):
            fanout.publish("a", [event])
        assert len(await subscription.take(10, 1000)) == 3
    assert journal.facts == []


async def test_one_giant_event_passes_when_nothing_waits(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    fanout.publish("a", [b"x" * 1000])
    assert await subscription.take(10, 1) == [b"x" * 1000]
    fanout.publish("a", [b"y"])
    fanout.publish("a", [b"x" * 1000])
    assert await subscription.take(10, 1) == ()
    assert subscription.end is End.TOO_SLOW


async def test_unsubscribing_gives_what_waits_and_no_more(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    fanout.publish("a", [b"1"])
    assert fanout.unsubscribe("1")
    fanout.publish("a", [b"2"])
    assert not fanout.has_subscribers("a")
    assert await subscription.take(10, 1000) == [b"1"]
    assert await subscription.take(10, 1000) == ()
    assert subscription.end is End.UNSUBSCRIBED


async def test_unsubscribing_wakes_a_waiting_taker(fanout: Fanout) -> None:
    subscription = fanout.subscribe("1", ["a"])
    taking = asyncio.ensure_future(subscription.take(10, 1000))
    await asyncio.wait([taking], timeout=0)
    fanout.unsubscribe("1")
    assert await taking == ()


async def test_stopping_ends_all_and_who_comes_later(fanout: Fanout) -> None:
    first = fanout.subscribe("1", ["a"])
    fanout.publish("a", [b"1"])
    fanout.stop()
    later = fanout.subscribe("2", ["a"])
    assert await first.take(10, 1000) == [b"1"]
    for subscription in (first, later):
        assert await subscription.take(10, 1000) == ()
        assert subscription.end is End.STOPPING
    assert not fanout.has_subscribers("a")
