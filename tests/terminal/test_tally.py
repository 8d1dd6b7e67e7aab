"""What a subscriber saw is counted once, by connection."""

from __future__ import annotations

from tests.terminal.events import lifecycle, marker, message
from websocketmanager.terminal.tally import Count, Tally


def tally() -> tuple[Tally, Count]:
    some = Tally({"c1": "one", "c2": "two"})
    return some, some.counts[0]


def test_messages_are_counted_with_their_bytes_and_last_sample() -> None:
    some, one = tally()
    for sequence in (1, 2, 3):
        assert some.observe(message(sequence, data=b"abc")) is False
    assert (one.messages, one.size, one.missing, one.repeated) == (3, 9, 0, 0)
    assert one.sample is not None
    assert one.sample.sequence == 3
    assert some.counts[1].messages == 0


def test_repeated_and_missing_messages_are_told_apart() -> None:
    some, one = tally()
    for sequence in (1, 2, 2, 1, 5):
        some.observe(message(sequence))
    assert (one.messages, one.repeated, one.missing) == (3, 2, 2)


def test_a_new_session_counts_from_one_again() -> None:
    some, one = tally()
    some.observe(message(9))
    some.observe(lifecycle("connected", 1, session=2))
    some.observe(message(1, session=2))
    assert (one.session, one.messages, one.missing, one.repeated) == (2, 2, 0, 0)


def test_the_status_follows_lifecycle_events_and_errors_leave_it() -> None:
    some, one = tally()
    for number, state in enumerate(("connecting", "connected", "error", "degraded")):
        assert some.observe(lifecycle(state, number)) is True
    assert one.status == "connected"
    assert one.last_event is not None
    assert one.last_event.state == "degraded"
    assert some.events == {"connecting": 1, "connected": 1, "error": 1, "degraded": 1}


def test_only_a_connection_that_was_connected_reconnects() -> None:
    some, one = tally()
    states = ("connecting", "reconnecting", "connected", "reconnecting", "reconnecting")
    for number, state in enumerate((*states, "connected")):
        some.observe(lifecycle(state, number))
    assert one.reconnects == 1


def test_an_event_that_comes_twice_counts_once() -> None:
    some, one = tally()
    assert some.observe(lifecycle("connected", 1)) is True
    assert some.observe(lifecycle("connected", 1)) is False
    assert some.observe(marker("gap")) is True
    assert some.observe(marker("gap")) is False
    assert (some.events["connected"], one.reconnects, one.gaps) == (1, 0, 1)


def test_rates_are_of_the_last_interval() -> None:
    some, one = tally()
    for sequence in range(1, 11):
        some.observe(message(sequence))
    some.measure(2.0)
    assert one.rate == 5.0
    some.measure(2.0)
    assert one.rate == 0.0


def test_events_of_strangers_are_counted_by_state_only() -> None:
    some, _ = tally()
    stranger = lifecycle("connected", 1, connection_id="0123456789")
    assert some.observe(stranger) is True
    assert some.observe(message(1, connection_id="0123456789")) is False
    assert some.name_of(stranger) == "01234567"
    assert some.events["connected"] == 1
    assert [count.messages for count in some.counts] == [0, 0]


def test_memory_of_ids_is_bounded() -> None:
    some, _ = tally()
    for number in range(10_001):
        some.observe(lifecycle("error", number))
    assert some.observe(lifecycle("error", 10_000)) is False
    assert some.observe(lifecycle("error", 0)) is True
