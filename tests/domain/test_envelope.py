"""Events: CloudEvents attributes exactly as the contract has them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.builders import event, run
from websocketmanager.domain import envelope
from websocketmanager.domain.envelope import (
    Event,
    MessageRun,
    Parcel,
    StreamIdentity,
    count_events,
    divided,
    each_event,
)
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


# --- runs ----------------------------------------------------------------------------------------

#: Single events, and runs of so many messages.
PARCELS = st.lists(
    st.none() | st.lists(st.binary(max_size=4), min_size=1, max_size=6), max_size=8
).map(lambda shapes: [event(data=b"single") if one is None else run("a.b", one) for one in shapes])


def told(several: list[Event]) -> list[tuple[bytes, dict[str, str], int, bool]]:
    """Returns all that there is to know of each."""
    return [(one.data, one.metadata, one.tag, one.route.is_message) for one in several]


def test_a_run_is_its_messages() -> None:
    route = envelope.message_route(IDENTITY, TOPIC)
    payloads = [b"a", b"", b"bcd"]
    run_of_three = MessageRun(route, payloads, "text/plain", 3, 41, AT, 4)

    assert (run_of_three.count, run_of_three.size) == (3, 4)
    assert (run_of_three.tag, envelope.event_time(run_of_three)) == (3, AT)
    assert told(run_of_three.events()) == told(
        [
            envelope.message_event(
                route,
                IDENTITY,
                Message(Kind.TEXT, data),
                sequence=41 + place,
                received_at=AT,
                format=Format.RAW,
            )
            for place, data in enumerate(payloads)
        ]
    )
    assert repr(run_of_three) == "<MessageRun on marketdata.ticks 41 to 43>"


def test_a_single_event_counts_one_and_weighs_its_data() -> None:
    one = event(data=b"four")
    assert (one.count, one.size) == (1, 4)


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=12), st.data())
def test_a_part_of_a_run_is_those_messages(payloads: list[bytes], draw: st.DataObject) -> None:
    whole = run("a.b", payloads, first=998)
    start = draw.draw(st.integers(0, whole.count - 1))
    stop = draw.draw(st.integers(start + 1, whole.count))
    part = whole.part(start, stop)
    assert told(part.events()) == told(whole.events()[start:stop])
    assert (part.count, part.size) == (stop - start, sum(map(len, payloads[start:stop])))
    assert part.route is whole.route


@given(PARCELS)
def test_events_are_counted_and_told_apart_in_order(parcels: list[Parcel]) -> None:
    apart = each_event(parcels)
    assert count_events(parcels) == len(apart)
    assert sum(one.size for one in parcels) == sum(one.size for one in apart)
    expected = [
        e for one in parcels for e in (one.events() if isinstance(one, MessageRun) else [one])
    ]
    assert told(apart) == told(expected)
    assert [one for one in parcels if isinstance(one, Event)] == [
        one for one in apart if any(one is parcel for parcel in parcels)
    ], "single ones are themselves"


@given(PARCELS, st.data())
def test_what_is_divided_is_all_there_in_order(parcels: list[Parcel], draw: st.DataObject) -> None:
    before, total = list(parcels), count_events(parcels)
    count = draw.draw(st.integers(0, total + 2))
    front, rest = divided(parcels, count)
    assert count_events(front) == min(count, total)
    assert told(each_event([*front, *rest])) == told(each_event(parcels))
    assert parcels == before, "left as it was"
    assert all(one.count for one in [*front, *rest]), "no run of none"
    divides = len(front) + len(rest) - len(parcels)
    assert divides in {0, 1}, "one run at most"
    themselves = [one for one in [*front, *rest] if any(one is other for other in parcels)]
    assert len(themselves) == len(parcels) - divides
    for one in (front, rest):
        assert sum(parcel.size for parcel in one) == sum(e.size for e in each_event(one))
