"""Events: CloudEvents attributes exactly as the contract has them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain import envelope
from websocketmanager.domain.envelope import StreamIdentity
from websocketmanager.domain.model import Format, Kind, Message, Topic

IDENTITY = StreamIdentity(
    connection_id="c1", created_at=1700000000.123, url="wss://h/p", session=3, owner_epoch=2
)
TOPIC = Topic("marketdata.ticks")
AT = 1700000001.5


def test_raw_message() -> None:
    route = envelope.message_route(IDENTITY, TOPIC)
    event = envelope.message_event(
        route,
        IDENTITY,
        Message(Kind.TEXT, b"{}"),
        sequence=42,
        received_at=AT,
        format=Format.RAW,
    )
    assert (event.route.topic, event.data, event.tag) == (TOPIC, b"{}", 3)
    assert event.route.is_message
    assert event.metadata == {
        "ce-specversion": "1.0",
        "ce-source": "urn:com.virtufin.websocketmanager",
        "ce-type": "com.virtufin.websocketmanager.message",
        "ce-websocketid": "c1",
        "ce-websocketurl": "wss://h/p",
        "ce-session": "3",
        "ce-ownerepoch": "2",
        "ce-id": "c1/1700000000123/3/42",
        "ce-time": "2023-11-14T22:13:21.500000Z",
        "ce-datacontenttype": "text/plain",
        "ce-sequence": "00000000000000000042",
    }


def test_binary_message_keeps_its_bytes() -> None:
    event = envelope.message_event(
        envelope.message_route(IDENTITY, TOPIC),
        IDENTITY,
        Message(Kind.BINARY, b"\x00\xff"),
        sequence=1,
        received_at=AT,
        format=Format.RAW,
    )
    assert event.data == b"\x00\xff"
    assert event.metadata["ce-datacontenttype"] == "application/octet-stream"


def test_envelope_format() -> None:
    event = envelope.message_event(
        envelope.message_route(IDENTITY, TOPIC),
        IDENTITY,
        Message(Kind.BINARY, b"\x00\xff"),
        sequence=1,
        received_at=AT,
        format=Format.ENVELOPE,
    )
    value = json.loads(event.data)
    assert value == {
        "WebSocketId": "c1",
        "WebSocketUrl": "wss://h/p",
        "Timestamp": "2023-11-14T22:13:21.500000Z",
        "Payload": base64.b64encode(b"\x00\xff").decode(),
        "ContentType": "application/octet-stream",
    }
    assert event.metadata["ce-datacontenttype"] == "application/json"


@pytest.mark.parametrize("marker", ["started", "gap", "ended"])
def test_markers(marker: str) -> None:
    event = envelope.marker_event(
        envelope.marker_route(IDENTITY, TOPIC, marker),
        IDENTITY,
        marker=marker,
        sequence=9,
        at=AT,
        facts={"session": 3},
    )
    assert not event.route.is_message
    assert event.metadata["ce-type"] == f"com.virtufin.websocketmanager.stream.{marker}"
    assert event.metadata["ce-id"] == f"c1/1700000000123/3/9/{marker}"
    assert event.metadata["ce-datacontenttype"] == "application/json"
    assert json.loads(event.data) == {"session": 3}


def test_lifecycle_event() -> None:
    def build() -> envelope.Event:
        return envelope.lifecycle_event(
            topic=envelope.LIFECYCLE_TOPIC,
            type_prefix=envelope.LIFECYCLE_TYPE_PREFIX,
            state="connected",
            connection_id="c1",
            created_at=IDENTITY.created_at,
            number=5,
            at=AT,
            data={"connection_id": "c1", "url": "wss://h/ü", "event": 5},
        )

    event = build()
    assert event.route.topic == "websocketmanager.lifecycle"
    assert event.metadata == {
        "ce-specversion": "1.0",
        "ce-source": "urn:com.virtufin.websocketmanager",
        "ce-type": "com.virtufin.websocketmanager.connection.connected",
        "ce-datacontenttype": "application/json",
        "ce-subject": "connection/c1",
        "ce-id": "c1/1700000000123/event/5",
        "ce-time": "2023-11-14T22:13:21.500000Z",
    }
    assert json.loads(event.data)["url"] == "wss://h/ü"
    again = build()
    assert (again.data, again.metadata) == (event.data, event.metadata)
    assert again is not event
    assert len({again, event}) == 2


def test_the_sdk_refuses_illegal_attributes() -> None:
    with pytest.raises(Exception, match="type"):
        envelope.lifecycle_event(
            topic=TOPIC,
            type_prefix="",
            state="",
            connection_id="c1",
            created_at=0.0,
            number=1,
            at=AT,
            data={},
        )


@given(st.floats(-1e9, 1e11) | st.sampled_from([0.0, 0.9999995, 1.9999999, -0.25, -1e-7]))
def test_a_timestamp_is_the_library_s(unix_seconds: float) -> None:
    expected = datetime.fromtimestamp(unix_seconds, UTC)
    assert datetime.fromisoformat(envelope.timestamp(unix_seconds)) == expected
    assert len(envelope.timestamp(unix_seconds)) == len("2023-11-14T22:13:20.000000Z")


def test_a_message_s_own_metadata_is_worked_out_on_request() -> None:
    route = envelope.Route(Topic("a.b"), (("ce-source", "urn:x"),), id_prefix="c/1/2/")
    event = envelope.MessageEvent(route, b"x", "text/plain", 2, 7, 0.5)

    assert event.metadata == {
        "ce-source": "urn:x",
        "ce-id": "c/1/2/7",
        "ce-time": "1970-01-01T00:00:00.500000Z",
        "ce-datacontenttype": "text/plain",
        "ce-sequence": "00000000000000000007",
    }
    assert (event.tag, envelope.event_time(event)) == (2, 0.5)
    assert event != envelope.MessageEvent(route, b"x", "text/plain", 2, 7, 0.5)
