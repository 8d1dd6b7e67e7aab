"""Records: exact round trips, tolerance of what is new, refusal of what is not understood."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.options import fullest
from websocketmanager.domain.model import (
    BufferOptions,
    Cause,
    ConnectionId,
    ConnectionOptions,
    ConnectionSpec,
    FirstDial,
    Format,
    InstanceId,
    ReconnectOptions,
    Status,
    Topic,
)
from websocketmanager.domain.options import Liveness
from websocketmanager.domain.record import (
    RECENT_EVENTS,
    Record,
    RecordedEvent,
    differing_fields,
    from_json,
    to_json,
)
from websocketmanager.errors import RecordUnreadable

SPEC = ConnectionSpec(
    url="wss://user:secret@host/path?token=abc",
    auto_reconnect=True,
    tags={"a": "1"},
    name="feed",
    topic=Topic("marketdata.ticks"),
    options=ConnectionOptions(
        reconnect=ReconnectOptions(FirstDial.RETRY, 1, 2, 3, 4),
        format=Format.ENVELOPE,
        markers=True,
        max_message_bytes=5,
        buffer=BufferOptions(6, 7),
    ),
)
RECORD = Record(
    id=ConnectionId("0198c0de-0000-4000-8000-000000000001"),
    spec=SPEC,
    status=Status.CONNECTED,
    created_at=1.5,
    instance_id=InstanceId("one"),
    declared_topic=Topic("marketdata.declared"),
    declared_tags={"b": "2"},
    answered=True,
    connected_at=2.5,
    disconnected_at=3.5,
    last_heartbeat=4.5,
    session=6,
    last_sequence=66,
    event=7,
    recent_events=(RecordedEvent.of(7, "connected", 2.5, {"event": 7, "address": "[::1]:1"}),),
    owner_epoch=8,
    incarnation="inc",
    writer="w",
    cause=Cause("peer_closed", "bye", 1012, "restart"),
    deleted=True,
)


def test_round_trip() -> None:
    assert from_json("k", to_json(RECORD)) == RECORD


def test_round_trip_of_every_option() -> None:
    record = replace(RECORD, spec=replace(SPEC, options=fullest()))
    assert from_json("k", to_json(record)) == record


def test_only_the_reference_to_a_secret_is_stored() -> None:
    text = to_json(replace(RECORD, spec=replace(SPEC, options=fullest())))
    assert "${secret:PROXY}" in text
    assert "${secret:KEY}" in text


def test_round_trip_of_the_barest() -> None:
    bare = Record(
        ConnectionId("x"), ConnectionSpec("ws://h"), Status.CONNECTING, 0.0, InstanceId("i")
    )
    assert from_json("k", to_json(bare)) == bare


def test_members_of_the_contract() -> None:
    value = json.loads(to_json(RECORD))
    assert value["schema"] == 1
    assert set(value) >= {
        *("id", "name", "url", "status", "topic", "auto_reconnect", "tags", "options"),
        *("created_at", "connected_at", "last_heartbeat", "session", "event"),
        *("recent_events", "instance_id", "owner_epoch", "writer"),
    }


def test_unknown_members_are_tolerated() -> None:
    value = json.loads(to_json(RECORD)) | {"novelty": {"x": 1}}
    value["options"]["rotation"] = {"max_age": 1}
    value["options"]["reconnect"]["novelty"] = 1
    assert from_json("k", json.dumps(value)) == RECORD


def test_members_added_later_may_be_missing() -> None:
    value = json.loads(to_json(RECORD))
    for member in (
        "answered",
        "declared_topic",
        "declared_tags",
        "incarnation",
        "options",
        "cause",
    ):
        del value[member]
    record = from_json("k", json.dumps(value))
    assert record.answered
    assert (record.declared_topic, record.declared_tags) == (SPEC.topic, SPEC.tags)
    assert record.spec.options == ConnectionOptions()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "schema None is not known"),
        ('{"schema":2}', "schema 2 is not known"),
        ('{"schema":1}', "missing or of the wrong shape"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(RecordUnreadable, match=problem) as caught:
        from_json("websocketmanager.connection.x", text)
    assert caught.value.key == "websocketmanager.connection.x"


@pytest.mark.parametrize("member", ["url", "id", "tags", "recent_events", "options", "status"])
def test_members_of_the_wrong_shape_are_refused(member: str) -> None:
    value = json.loads(to_json(RECORD))
    value[member] = 7
    with pytest.raises(RecordUnreadable):
        from_json("k", json.dumps(value))


@pytest.mark.parametrize("member", ["created_at", "last_heartbeat", "connected_at", "session"])
@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
def test_numbers_that_are_none_are_refused(member: str, number: str) -> None:
    text = json.dumps(json.loads(to_json(RECORD)) | {member: "PLACE"}).replace('"PLACE"', number)
    with pytest.raises(RecordUnreadable):
        from_json("k", text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_json_is_read_or_refused(junk: object) -> None:
    for member in json.loads(to_json(RECORD)):
        value = json.loads(to_json(RECORD)) | {member: junk}
        try:
            from_json("k", json.dumps(value))
        except RecordUnreadable:
            continue


def test_with_events_keeps_the_last_ones() -> None:
    fresh = tuple(RecordedEvent.of(number, "error", 0.0, {}) for number in range(8, 20))
    record = RECORD.with_events(fresh)
    assert record.event == 19
    assert [event.number for event in record.recent_events] == [*range(12, 20)]
    assert len(record.recent_events) == RECENT_EVENTS
    assert RECORD.with_events(()) is RECORD


def test_key() -> None:
    assert RECORD.key == f"websocketmanager.connection.{RECORD.id}"


@pytest.mark.parametrize(
    ("wanted", "fields"),
    [
        (SPEC, ()),
        (replace(SPEC, topic=Topic("marketdata.declared"), tags={"b": "2"}), ()),
        (replace(SPEC, url="wss://other"), ("url",)),
        (replace(SPEC, auto_reconnect=False), ("auto_reconnect",)),
        (replace(SPEC, tags={}), ("tags",)),
        (replace(SPEC, topic=None), ("topic",)),
        (replace(SPEC, profile="kraken"), ("profile",)),
        (replace(SPEC, options=replace(SPEC.options, markers=False)), ("options.markers",)),
        (
            replace(SPEC, options=replace(SPEC.options, liveness=Liveness(read_idle_ms=10))),
            ("options.liveness",),
        ),
        (
            replace(SPEC, options=fullest()),
            (
                "options.reconnect",
                "options.max_message_bytes",
                "options.buffer",
                "options.handshake",
                "options.opening",
                "options.subscriptions",
                "options.liveness",
                "options.correlation",
                "options.send_spacing_ms",
                "options.exclusive",
                "options.rotation",
            ),
        ),
        (
            replace(SPEC, options=ConnectionOptions()),
            (
                "options.reconnect",
                "options.format",
                "options.markers",
                "options.max_message_bytes",
                "options.buffer",
            ),
        ),
    ],
)
def test_differing_fields(wanted: ConnectionSpec, fields: tuple[str, ...]) -> None:
    assert differing_fields(wanted, RECORD) == fields
