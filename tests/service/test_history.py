"""The last events of each connection: bounded, in short, and asked for from a number on."""

from __future__ import annotations

from typing import Any

import pytest

from websocketmanager.domain.model import ConnectionId, Transition
from websocketmanager.domain.record import RecordedEvent
from websocketmanager.service.history import KEPT_EVENTS, Histories, History, transition

ID = ConnectionId("c")


def event(number: int, state: str = "connected", **data: Any) -> RecordedEvent:
    return RecordedEvent.of(number, state, 7.0, data)


def filled(last: int, first: int = 1) -> History:
    history = History()
    for number in range(first, last + 1):
        history.add(event(number))
    return history


def test_only_the_last_are_kept() -> None:
    numbers = [one.number for one in filled(KEPT_EVENTS + 10).transitions()]
    assert numbers == list(range(11, KEPT_EVENTS + 11))


@pytest.mark.parametrize(
    ("after", "numbers", "missed"),
    [
        (60, [], 0),
        (58, [59, 60], 0),
        (10, list(range(11, 61)), 0),
        (3, list(range(11, 61)), 7),
        (0, list(range(11, 61)), 10),
        (61, list(range(11, 61)), 10),  # of an earlier connection
    ],
)
def test_behind_a_number(after: int, numbers: list[int], missed: int) -> None:
    known, gone = filled(60).behind(after, last=60)
    assert ([one.number for one in known], gone) == (numbers, missed)


def test_what_nobody_remembers_is_missed() -> None:
    assert History().behind(4, last=20) == ((), 16)
    assert History().behind(20, last=20) == ((), 0)


def test_the_last_error_outlives_what_is_kept() -> None:
    history = History()
    history.add(event(1, "error", error_type="tls", error_message="no"))
    for number in range(2, KEPT_EVENTS + 10):
        history.add(event(number))
    error = history.last_error()
    assert error is not None
    assert (error.number, error.error_type, error.message) == (1, "tls", "no")
    assert history.transitions()[0].number > 1
    assert History().last_error() is None


def test_an_event_in_short() -> None:
    assert transition(
        event(
            3,
            "reconnecting",
            session=2,
            attempt=4,
            delay_ms=500,
            reason="peer_closed",
            close_code=1012,
            close_reason="restart",
        )
    ) == Transition(3, 7.0, "reconnecting", 2, 4, 500, "peer_closed", "", 1012, "restart")
    over = transition(event(4, "degraded", cause="topic_rejected", detail="", active=False))
    assert (over.error_type, over.restored) == ("topic_rejected", True)
    begun = transition(event(4, "degraded", cause="topic_rejected", detail="why", active=True))
    assert (begun.message, begun.restored) == ("why", False)


def test_each_connection_has_its_own_and_is_forgotten() -> None:
    histories = Histories()
    histories.add(ID, event(1))
    assert len(histories.of(ID).transitions()) == 1
    assert histories.of(ConnectionId("other")).transitions() == ()
    histories.forget(ID)
    histories.forget(ID)
    assert histories.of(ID).transitions() == ()
