"""A set of subscriptions that was changed: the record keeps the one that was declared, too."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.domain.test_record import RECORD, SPEC
from websocketmanager.domain.model import ConnectionSpec
from websocketmanager.domain.options import Payload, Subscription
from websocketmanager.domain.record import Record, differing_fields, from_json, to_json
from websocketmanager.errors import RecordUnreadable

A, B = (Subscription(key, Payload(text=key)) for key in "ab")


def wanting(*subscriptions: Subscription) -> ConnectionSpec:
    return replace(SPEC, options=replace(SPEC.options, subscriptions=subscriptions))


def record(
    *subscriptions: Subscription, declared: tuple[Subscription, ...] | None = None
) -> Record:
    return replace(RECORD, spec=wanting(*subscriptions), declared_subscriptions=declared)


@pytest.mark.parametrize("declared", [None, (), (A,), (A, B)])
def test_round_trip(declared: tuple[Subscription, ...] | None) -> None:
    kept = record(B, declared=declared)
    assert from_json(kept.key, to_json(kept)) == kept


def test_an_unchanged_set_costs_nothing() -> None:
    assert "declared_subscriptions" not in json.loads(to_json(record(A)))


def test_both_sets_are_the_same_intent() -> None:
    kept = record(B, declared=(A,))
    assert differing_fields(wanting(A), kept) == ()
    assert differing_fields(wanting(B), kept) == ()
    assert differing_fields(wanting(A, B), kept) == ("options.subscriptions",)
    assert differing_fields(wanting(A), record(B)) == ("options.subscriptions",)


def test_a_wrong_shape_is_refused() -> None:
    value = json.loads(to_json(record(A))) | {"declared_subscriptions": "a"}
    with pytest.raises(RecordUnreadable):
        from_json(RECORD.key, json.dumps(value))
