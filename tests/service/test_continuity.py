"""What is said of a session's beginning and end, and of the gap between two."""

from __future__ import annotations

from websocketmanager.domain.envelope import StreamIdentity, timestamp
from websocketmanager.service.continuity import Continuity, Mark


def identity(session: int) -> StreamIdentity:
    return StreamIdentity("c1", 5.0, "wss://h/", session, 1)


def words(marks: list[Mark]) -> list[str]:
    return [mark.marker for mark in marks]


def test_the_first_session_has_no_gap() -> None:
    marks = Continuity().begin(identity(1), 10.0, last_sequence=0, seamless=False)

    assert words(marks) == ["started"]
    assert marks[0].facts == {
        "session": 1,
        "first_sequence": 1,
        "started_at": timestamp(10.0),
        "resumed": False,
    }


def test_a_gap_has_the_cause_and_the_bounds_of_what_may_lack() -> None:
    continuity = Continuity()
    continuity.begin(identity(1), 10.0, last_sequence=0, seamless=False)
    ended = continuity.end(20.0, "connection_lost", sequence=7)
    marks = continuity.begin(identity(2), 25.0, last_sequence=7, seamless=False)

    assert words(ended + marks) == ["ended", "gap", "started"]
    assert ended[0].facts["last_sequence"] == 7
    assert marks[0].facts == {
        "session": 2,
        "from_session": 1,
        "from_sequence": 7,
        "to_sequence": 1,
        "cause": "connection_lost",
        "lost": None,
        "ended_at": timestamp(20.0),
        "started_at": timestamp(25.0),
    }


def test_after_a_crash_the_gap_begins_at_the_last_position_that_was_saved() -> None:
    continuity = Continuity()
    continuity.resumed_from = 41
    gap, _ = continuity.begin(identity(3), 10.0, last_sequence=0, seamless=False)

    assert gap.facts["from_sequence"] == 41
    assert gap.facts["cause"] == "process_restart"
    assert gap.facts["ended_at"] is None


def test_a_seamless_session_has_no_gap_and_none_reaches_into_it() -> None:
    continuity = Continuity()
    continuity.begin(identity(1), 10.0, last_sequence=0, seamless=False)
    continuity.end(20.0, "rotated", sequence=7)

    assert words(continuity.begin(identity(2), 20.0, last_sequence=7, seamless=True)) == ["started"]
    assert continuity.reach(21.0, sequence=3) == []


def test_a_gap_reaches_to_where_the_last_feed_was_subscribed_once() -> None:
    continuity = Continuity()
    continuity.begin(identity(1), 10.0, last_sequence=0, seamless=False)
    continuity.end(20.0, "ping_timeout", sequence=7)
    continuity.begin(identity(2), 25.0, last_sequence=7, seamless=False)

    (gap,) = continuity.reach(30.0, sequence=12)

    assert gap.facts["to_sequence"] == 13
    assert gap.facts["cause"] == "subscribing"
    assert (gap.facts["from_sequence"], gap.facts["started_at"]) == (7, timestamp(30.0))
    assert continuity.reach(31.0, sequence=13) == []


def test_nothing_is_said_of_an_end_before_a_beginning() -> None:
    assert Continuity().end(1.0, "any", sequence=0) == []
