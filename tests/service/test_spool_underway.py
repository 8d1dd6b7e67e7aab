"""What is on its way to the API, where the log has it, and the room that the log leaves for it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.kit.log_listener import run_of
from websocketmanager.domain.envelope import (
    Event,
    MessageRun,
    Parcel,
    StreamIdentity,
    divided,
    marker_event,
    marker_route,
    message_route,
)
from websocketmanager.domain.model import Topic
from websocketmanager.service.spool.underway import Underway

IDENTITY = StreamIdentity("c1", 1.0, "wss://h/", 1, 1)
ROUTE = message_route(IDENTITY, Topic("a.b"))
OTHER = message_route(IDENTITY, Topic("b.b"))
MARKERS = marker_route(IDENTITY, Topic("a.b"), "gap")


def messages(first: int, count: int = 1, *, other: bool = False) -> MessageRun:
    route = OTHER if other else ROUTE
    return MessageRun(route, [b"x"] * count, "text/plain", 1, first, 1.0, count)


def marker(sequence: int) -> Event:
    return marker_event(MARKERS, IDENTITY, marker="gap", sequence=sequence, at=1.0, facts={})


def taken(one: Underway, after: int, first: int, count: int = 1) -> MessageRun:
    run = messages(first, count)
    one.take(run, run_of(first, datas=[b"x"] * count), after)
    return run


def stored(one: Underway, position: int, run: MessageRun) -> MessageRun:
    one.take_stored(run, run_of(run.first, datas=run.payloads), position)
    return run


def left(one: Underway) -> list[tuple[int, list[int]]]:
    return [(after, [entry.sequence for entry in entries]) for after, entries in one.rest()]


def bytes_of(count: int) -> int:
    return run_of(1, datas=[b"x"] * count).size


def test_a_section_ends_where_the_log_goes_on_and_leaves_room_once() -> None:
    one = Underway()
    assert one.close() == 0
    taken(one, 7, 1)
    taken(one, 7, 2, 2)
    assert [one.close(), one.close()] == [3, 0]
    taken(one, 9, 6)
    assert left(one) == [(7, [1, 2, 3]), (9, [6])]
    assert one.close() == 1


def test_what_is_settled_is_nobodys_any_more() -> None:
    one = Underway()
    first = taken(one, 7, 1, 2)
    one.close()
    second = taken(one, 9, 6, 2)
    one.settle([first.part(0, 1)])
    one.settle([second.part(0, 1)])
    assert left(one) == [(7, [2]), (9, [7])]
    one.settle([*first.part(1, 2).events(), second.part(1, 2)])
    assert (left(one), one.advance(), left(one)) == ([], (0, 0), [])
    taken(one, 9, 8)
    assert left(one) == [(9, [8])], "a new section, since the old one is gone"
    assert one.close() == 1


def test_room_is_for_what_is_left_when_the_log_goes_on() -> None:
    one = Underway()
    run = taken(one, 7, 1, 3)
    one.settle([run.part(0, 1)])
    assert one.close() == 2


def test_the_disk_has_what_went_through_it_and_what_was_inserted() -> None:
    one = Underway()
    first = taken(one, 7, 1, 3)
    one.close()
    stored(one, 11, messages(4, 2))
    taken(one, 12, 6)
    assert (one.stored, one.size) == (2, bytes_of(2))
    assert left(one) == [(7, [1, 2, 3]), (12, [6])]
    one.inserted()
    assert one.stored == 5
    one.settle([first.part(0, 2)])
    assert one.stored == 3
    one.inserted()
    assert one.stored == 4
    one.clear()
    assert (one.stored, one.size, left(one)) == (0, 0, [])


def test_the_log_may_forget_up_to_the_first_that_is_wanted() -> None:
    one = Underway()
    run = stored(one, 5, messages(1, 4))
    gap = marker(4)
    one.take_stored(gap, run_of(4, marker="gap"), 9)
    assert one.advance() == (0, 0)
    one.settle([run.part(0, 1)])
    assert one.advance() == (5, bytes_of(1))
    assert one.advance() == (0, 0)
    one.settle([*run.part(1, 2).events()])
    assert one.advance() == (6, bytes_of(1))
    one.settle([run.part(2, 4), gap])
    assert one.advance() == (9, bytes_of(3))
    assert one.size == 0


def test_what_is_dropped_waits_for_what_came_before_it() -> None:
    one = Underway()
    run = stored(one, 5, messages(1, 2))
    one.take_dropped(messages(3, 2), run_of(3, datas=[b"x"] * 2), 7)
    assert (one.stored, one.advance()) == (2, (0, 0))
    one.settle([run])
    assert one.advance() == (8, bytes_of(4))


def test_what_another_topic_waits_for_may_be_settled_later() -> None:
    one = Underway()
    runs = [stored(one, 1 + at, messages(1 + at, other=at % 2 == 1)) for at in range(4)]
    one.settle([runs[0], runs[2]])
    assert one.advance() == (1, bytes_of(1))
    one.settle([runs[1]])
    assert one.advance() == (3, bytes_of(2))
    one.settle([runs[3]])
    assert one.advance() == (4, bytes_of(1))


@given(
    st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=8),
    st.lists(st.integers(1, 7), max_size=40),
)
def test_however_it_is_cut_everything_is_let_go_once(
    runs: list[tuple[int, bool]], cuts: list[int]
) -> None:
    one = Underway()
    feed: list[Parcel] = []
    first = position = 1
    on_disk = set()
    for count, logged in runs:
        if logged:
            position += one.close()
            feed.append(stored(one, position, messages(first, count)))
            on_disk |= set(range(position, position + count))
            position += count
        else:
            feed.append(taken(one, position - 1, first, count))
        first += count
    freed = last = 0
    for cut in [*cuts, *[first] * len(runs)]:
        front, feed = divided(feed, min(cut, sum(parcel.count for parcel in feed)))
        one.settle(front)
        acknowledged, size = one.advance()
        last, freed = max(acknowledged, last), freed + size
        assert freed == bytes_of(1) * sum(place <= last for place in on_disk)
    assert (freed, one.stored, left(one)) == (bytes_of(1) * len(on_disk), 0, [])
