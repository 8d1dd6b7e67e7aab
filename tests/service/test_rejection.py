"""One message tries a refused topic now and then, and no second one meanwhile."""

from __future__ import annotations

from websocketmanager.domain.model import Topic
from websocketmanager.service.rejection import RETRY_TOPIC_SECONDS, Rejection

TOPIC = Topic("a.b")


def test_nothing_tries_before_its_time_and_then_one() -> None:
    rejection = Rejection()
    rejection.begin(TOPIC, 1, 100.0)

    assert not rejection.may_try(100.0 + RETRY_TOPIC_SECONDS - 0.001)
    assert rejection.may_try(100.0 + RETRY_TOPIC_SECONDS)
    assert not rejection.may_try(100.0 + RETRY_TOPIC_SECONDS), "until that one is settled"

    rejection.settle()
    assert rejection.may_try(100.0 + RETRY_TOPIC_SECONDS)


def test_asking_whether_it_is_worth_it_takes_no_turn() -> None:
    rejection = Rejection()
    rejection.begin(TOPIC, 1, 0.0)

    assert rejection.is_worth_trying(RETRY_TOPIC_SECONDS)
    assert rejection.is_worth_trying(RETRY_TOPIC_SECONDS)
    assert rejection.may_try(RETRY_TOPIC_SECONDS)
    assert not rejection.is_worth_trying(RETRY_TOPIC_SECONDS)


def test_it_may_be_hastened() -> None:
    rejection = Rejection()
    rejection.begin(TOPIC, 1, 0.0)
    rejection.may_try(RETRY_TOPIC_SECONDS)

    rejection.hasten()

    assert rejection.may_try(0.0)


def test_its_end_tells_what_was_dropped() -> None:
    rejection = Rejection()
    rejection.begin(TOPIC, 2, 0.0)
    rejection.begin(TOPIC, 3, 1.0)
    assert rejection.topic == TOPIC

    assert rejection.end() == 5
    assert rejection.end() == 0


def test_at_its_end_no_topic_is_refused() -> None:
    rejection = Rejection()
    rejection.begin(TOPIC, 1, 0.0)
    rejection.end()
    assert rejection.topic is None
