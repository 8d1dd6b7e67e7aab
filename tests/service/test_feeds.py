"""Batches: turns by bytes, and events that come back in the order in which they left."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import events
from websocketmanager.domain.envelope import Event
from websocketmanager.ports import Refusal
from websocketmanager.service.feeds import Batch, Feed


class Track:
    """A lane that only counts."""

    def __init__(self) -> None:
        self.pending = 0
        self.ready: deque[Feed] = deque()

    def offer(self, feed: Feed) -> None:
        if feed.publishable and not feed.queued:
            feed.queued = True
            self.ready.append(feed)

    def lighten(self, feed: Feed, count: int) -> None:
        feed.load -= count
        self.pending -= count


class Nobody:
    """Whose events they are does not matter here."""

    def accepted(self, events: Sequence[Event]) -> None:
        """Hears nothing."""

    def refused(self, event: Event, refusal: Refusal) -> bool:
        return False

    def discarded(self, events: Sequence[Event]) -> None:
        """Hears nothing."""


def filled(sizes: Sequence[Sequence[int]], max_events: int = 1024) -> tuple[Batch, list[Feed]]:
    """Returns a batch of feeds whose events have these sizes."""
    track = Track()
    feeds = [Feed(track, Nobody()) for _ in sizes]
    for number, (feed, of_feed) in enumerate(zip(feeds, sizes, strict=True)):
        for event in events(f"a.f{number}", [bytes(size) for size in of_feed]):
            feed.push(event)
    batch = Batch()
    batch.fill(track.ready, max_events)
    return batch, feeds


def numbers(several: Sequence[Event], which: int) -> list[int]:
    """Returns the numbers of a feed's events."""
    return [event.tag for event in several if event.route.topic == f"a.f{which}"]


SIZES = st.lists(st.lists(st.integers(0, 100_000), min_size=1, max_size=12), min_size=1, max_size=4)


@given(SIZES, st.integers(1, 30), st.floats(0, 1), st.booleans())
def test_what_is_not_accepted_comes_back_in_order(
    sizes: list[list[int]], max_events: int, share: float, drop: bool
) -> None:
    batch, feeds = filled(sizes, max_events)
    sent = list(batch.events)
    told: list[Event] = []
    count = round(share * len(sent))

    batch.accept(count, lambda _, accepted: told.extend(accepted))

    assert told == sent[:count]
    assert batch.events == sent[count:]
    for which, feed in enumerate(feeds):
        first = batch.first_of(feed)
        mine = numbers(batch.events, which)
        assert (first.tag if first else None) == (mine[0] if mine else None)
    if batch.events and drop:
        event, owner = batch.drop_head()
        assert event is sent[count]
        assert owner is feeds[int(event.route.topic[3:])]
        told.append(event)
    batch.give_back_all()
    assert not batch.events
    for which, (feed, of_feed) in enumerate(zip(feeds, sizes, strict=True)):
        gone = numbers(told, which)
        assert gone + [event.tag for event in feed.events] == list(range(1, len(of_feed) + 1))


def test_turns_go_by_bytes_and_every_feed_has_one() -> None:
    batch, _ = filled([[40_000] * 40, [10] * 3, [10] * 3])

    topics = [event.route.topic for event in batch.events]
    assert topics[:8] == ["a.f0"] * 2 + ["a.f1"] * 3 + ["a.f2"] * 3


def test_a_batch_ends_at_a_mebibyte_or_at_its_count() -> None:
    assert len(filled([[100_000] * 40])[0].events) == 11
    assert len(filled([[0] * 4000])[0].events) == 1024
    assert len(filled([[5_000_000] * 3])[0].events) == 1


def test_a_closed_gate_lets_nothing_behind_it_pass() -> None:
    track = Track()
    feed = Feed(track, Nobody(), gate=2)
    for event in events("a.b", [b""] * 4):
        feed.push(event)
    batch = Batch()

    batch.fill(track.ready, 1024)

    assert [event.tag for event in batch.events] == [1, 2]
