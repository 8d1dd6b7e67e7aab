"""What memory alone holds, and the room that the log leaves for it."""

from __future__ import annotations

from tests.kit.log_listener import entry_of
from websocketmanager.domain.envelope import Event, StreamIdentity, message_event, message_route
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import Format, Message, Topic
from websocketmanager.domain.overflow import LogEntry
from websocketmanager.service.unlogged import Unlogged

IDENTITY = StreamIdentity("c1", 1.0, "wss://h/", 1, 1)
ROUTE = message_route(IDENTITY, Topic("a.b"))


def taken(one: Unlogged, after: int, *sequences: int) -> dict[int, tuple[Event, LogEntry]]:
    found = {}
    for sequence in sequences:
        message = Message(Kind.TEXT, b"x")
        event = message_event(
            ROUTE, IDENTITY, message, sequence=sequence, received_at=1.0, format=Format.RAW
        )
        found[sequence] = event, entry_of(sequence)
        one.take(*found[sequence], after)
    return found


def left(one: Unlogged) -> list[tuple[int, list[int]]]:
    return [(after, [entry.sequence for entry in entries]) for after, entries in one.rest()]


def test_a_run_ends_where_the_log_goes_on_and_leaves_room_once() -> None:
    one = Unlogged()
    assert one.close() == 0
    taken(one, 7, 1, 2, 3)
    assert [one.close(), one.close()] == [3, 0]
    taken(one, 9, 6)
    assert left(one) == [(7, [1, 2, 3]), (9, [6])]
    assert one.close() == 1


def test_what_is_settled_is_nobodys_any_more() -> None:
    one = Unlogged()
    first = taken(one, 7, 1, 2)
    one.close()
    second = taken(one, 9, 6, 7)
    one.settle([first[1][0], second[6][0]])
    assert left(one) == [(7, [2]), (9, [7])]
    one.settle([first[2][0], second[7][0]])
    assert left(one) == []
    taken(one, 9, 8)
    assert left(one) == [(9, [8])], "a new run, since the old one is gone"
    assert one.close() == 1


def test_room_is_for_what_is_left_when_the_log_goes_on() -> None:
    one = Unlogged()
    there = taken(one, 7, 1, 2, 3)
    one.settle([there[1][0]])
    assert one.close() == 2


def test_entries_lead_to_their_events_as_long_as_these_are_here() -> None:
    one = Unlogged()
    there = taken(one, 7, 1, 2)
    entries = [entry for _, entry in there.values()]
    one.settle([there[1][0]])
    assert one.events_of(entries) == [there[2][0]]
    one.clear()
    assert one.events_of(entries) == []
    assert left(one) == []
