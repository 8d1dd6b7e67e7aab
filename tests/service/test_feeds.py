"""Batches: turns by bytes, runs that are divided, and events that come back in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import event, events, run
from websocketmanager.domain.envelope import Event, MessageRun, Parcel, count_events, each_event
from websocketmanager.ports import Refusal
from websocketmanager.service.feeds import Batch, Feed, _fitting


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

    def accepted(self, events: Sequence[Parcel]) -> None:
        """Hears nothing."""

    def refused(self, event: Event, refusal: Refusal) -> bool:
        return False

    def discarded(self, events: Sequence[Parcel]) -> None:
        """Hears nothing."""


#: Of one feed: sizes of single events, and of the messages of runs.
Shape = Sequence[int | Sequence[int]]


def filled(shapes: Sequence[Shape], max_events: int = 1024) -> tuple[Batch, list[Feed]]:
    """Returns a batch of feeds whose events have these sizes."""
    track = Track()
    feeds = [Feed(track, Nobody()) for _ in shapes]
    for number, (feed, shape) in enumerate(zip(feeds, shapes, strict=True)):
        first = 1
        for one in shape:
            topic = f"a.f{number}"
            parcel: Parcel
            if isinstance(one, int):
                parcel = event(topic, first, bytes(one))
            else:
                parcel = run(topic, [bytes(size) for size in one], first=first)
            feed.push(parcel)
            first += parcel.count
        assert feed.load == first - 1
    assert track.pending == sum(feed.load for feed in feeds)
    batch = Batch()
    batch.fill(track.ready, max_events)
    return batch, feeds


def numbers(several: Iterable[Parcel], which: int) -> list[int]:
    """Returns the numbers of a feed's events."""
    mine = each_event(parcel for parcel in several if parcel.route.topic == f"a.f{which}")
    return [int(event.metadata["ce-id"]) for event in mine]


def sizes_of(shape: Shape) -> list[int]:
    """Returns the size of each event."""
    return [size for one in shape for size in ([one] if isinstance(one, int) else one)]


def ids(several: Iterable[Parcel]) -> list[tuple[str, str]]:
    return [(event.route.topic, event.metadata["ce-id"]) for event in each_event(several)]


RUNS = st.lists(st.integers(0, 3000), min_size=1, max_size=40)
LONG_RUNS = st.tuples(st.integers(1, 400), st.integers(0, 1500)).map(lambda t: [t[1]] * t[0])
SHAPES = st.lists(
    st.lists(st.integers(0, 100_000) | RUNS | LONG_RUNS, min_size=1, max_size=8),
    min_size=1,
    max_size=4,
)


@given(SHAPES, st.integers(1, 30) | st.just(1024), st.lists(st.floats(0, 1), max_size=4), st.data())
def test_what_is_not_accepted_comes_back_in_order(
    shapes: list[Shape], max_events: int, shares: list[float], draw: st.DataObject
) -> None:
    batch, feeds = filled(shapes, max_events)
    sent = ids(batch.events)
    assert len(sent) == batch.count <= max_events
    told: list[Parcel] = []

    def tell(feed: Feed, accepted: Sequence[Parcel]) -> None:
        assert accepted
        assert {one.route.topic for one in accepted} == {f"a.f{feeds.index(feed)}"}
        told.extend(accepted)
        feed.flying -= count_events(accepted)  # as the lane does
        feed.load -= count_events(accepted)

    for share in shares:
        count = round(share * batch.count)
        before = len(ids(told))
        batch.accept(count, tell)
        assert ids(told) == sent[: before + count]
        _assert_sound(batch, feeds, sent[before + count :])
        drops: bool = draw.draw(st.booleans())
        if drops and batch.events:
            feed = batch.head_feed
            head, owner = batch.drop_head()
            assert owner is feed is feeds[int(head.route.topic[3:])]
            told.append(head)
            owner.load -= 1
            assert ids(told) == sent[: before + count + 1]
            _assert_sound(batch, feeds, sent[before + count + 1 :])
    for which in draw.draw(st.permutations(range(len(feeds)))):
        batch.give_back(feeds[which])
        assert numbers(batch.events, which) == []
        assert batch.first_of(feeds[which]) is None
        gone = numbers(told, which)
        whole = [*range(1, len(sizes_of(shapes[which])) + 1)]
        assert gone + numbers(feeds[which].events, which) == whole
        assert (feeds[which].flying, feeds[which].waiting) == (0, len(whole) - len(gone))
    assert (batch.events, batch.count, batch.feeds) == ([], 0, set())


def _assert_sound(batch: Batch, feeds: list[Feed], left: list[tuple[str, str]]) -> None:
    """Asserts what is left, and that the batch knows whose it is."""
    assert ids(batch.events) == left
    assert batch.count == len(left)
    assert batch.feeds == {feeds[int(topic[3:])] for topic, _ in left}
    if left:
        assert batch.head_feed is feeds[int(left[0][0][3:])]
    for which, feed in enumerate(feeds):
        first = batch.first_of(feed)
        assert numbers([first] if first else [], which)[:1] == numbers(batch.events, which)[:1]
        assert not first or first.route.topic == f"a.f{which}"
        assert feed.flying == len(numbers(batch.events, which))
        assert feed.waiting == count_events(feed.events)


@given(SHAPES, st.integers(1, 30) | st.just(1024))
def test_a_run_is_divided_to_what_its_messages_would_be_alone(
    shapes: list[Shape], max_events: int
) -> None:
    """Of a run no more goes into a turn, and no less, than of so many single events."""
    batch, feeds = filled(shapes, max_events)
    apart, feeds_apart = filled([sizes_of(shape) for shape in shapes], max_events)
    assert ids(batch.events) == ids(apart.events)
    for which, (one, other) in enumerate(zip(feeds, feeds_apart, strict=True)):
        assert numbers(one.events, which) == numbers(other.events, which)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60), st.integers(1, 1 << 18))
def test_as_many_fit_as_begin_while_there_is_room(sizes: list[int], room: int) -> None:
    """At least one; of the last it does not matter how long it is."""
    count = used = 0
    for size in sizes:
        if count and used >= room:
            break
        used += size + 512
        count += 1
    run_of_them = run("a.b", [bytes(size) for size in sizes])
    assert min(_fitting(run_of_them, room), len(sizes)) == count


def test_a_long_run_and_a_quiet_feed_take_turns() -> None:
    batch, feeds = filled([[[10] * 4000], [10] * 3, [[10] * 3]])

    # A turn is 64 KiB, and a message 522 bytes.
    assert [numbers(batch.events, which)[:1] for which in range(3)] == [[1], [1], [1]]
    assert [topic for topic, _ in ids(batch.events)[:132]] == (
        ["a.f0"] * 126 + ["a.f1"] * 3 + ["a.f2"] * 3
    )
    assert batch.count == 1024
    assert numbers(feeds[0].events, 0)[0] == 1024 - 6 + 1


def test_a_run_that_fits_is_not_copied() -> None:
    batch, feeds = filled([[[10] * 100, [10] * 100]], max_events=150)
    [whole, part] = batch.events
    assert (whole.count, part.count) == (100, 50)
    batch.give_back_all()
    assert feeds[0].events[0] is whole


def test_turns_go_by_bytes_and_every_feed_has_one() -> None:
    batch, _ = filled([[40_000] * 40, [10] * 3, [10] * 3])

    topics = [event.route.topic for event in batch.events]
    assert topics[:8] == ["a.f0"] * 2 + ["a.f1"] * 3 + ["a.f2"] * 3


def test_a_batch_ends_at_a_mebibyte_or_at_its_count() -> None:
    assert len(filled([[100_000] * 40])[0].events) == 11
    assert len(filled([[0] * 4000])[0].events) == 1024
    assert len(filled([[5_000_000] * 3])[0].events) == 1


@pytest.mark.parametrize("of_a_run", [False, True])
def test_a_closed_gate_lets_nothing_behind_it_pass(of_a_run: bool) -> None:
    track = Track()
    feed = Feed(track, Nobody(), gate=2)
    for one in events("a.b", [b""] * 4):  # tags 1 to 4
        run_of_one_tag = MessageRun(one.route, [b"", b""], "text/plain", one.tag, 1, 0.5, 0)
        feed.push(run_of_one_tag if of_a_run else one)
    batch = Batch()

    batch.fill(track.ready, 1024)

    assert [one.tag for one in batch.events] == [1, 2]


def test_what_waits_is_taken_out_and_counted_out() -> None:
    track = Track()
    feed = Feed(track, Nobody())
    one, two = run("a.b", [b"x"] * 5), events("a.b", [b"y"])[0]
    feed.push(one)
    feed.push(two)
    assert (feed.load, track.pending) == (6, 6)
    assert feed.clear() == [one, two]
    assert (feed.load, track.pending, list(feed.events)) == (0, 0, [])
