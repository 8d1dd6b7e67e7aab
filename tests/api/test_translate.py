"""Protobuf ↔ domain: every branch, without a server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format

from tests.api.face import ID, VIEW
from tests.kit.options import fullest
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.api import translate
from websocketmanager.api.options_message import options_message
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import (
    BufferOptions,
    Cause,
    ConnectionOptions,
    ConnectionSpec,
    FirstDial,
    Format,
    Kind,
    ReconnectOptions,
    Statistics,
    Status,
    Topic,
)
from websocketmanager.domain.options import HandshakeOptions, Header, Overflow
from websocketmanager.errors import InvalidArgument


def spec(**fields: Any) -> ConnectionSpec:
    request = pb.ConnectRequest(**{"url": "wss://feed.example/s"} | fields)
    return translate.connection_spec(request, Limits())


def paths(error: pytest.ExceptionInfo[InvalidArgument]) -> list[str]:
    return [fault.path for fault in error.value.faults]


def test_the_least_connect() -> None:
    assert spec() == ConnectionSpec(url="wss://feed.example/s")


def test_the_fullest_connect() -> None:
    options = pb.ConnectionOptions(
        reconnect=pb.ReconnectOptions(
            first_dial=pb.FIRST_DIAL_RETRY,
            base_delay_ms=10,
            max_delay_ms=20,
            max_attempts=30,
            stable_after_ms=40,
        ),
        format=pb.FORMAT_ENVELOPE,
        markers=True,
        max_message_bytes=1000,
        buffer=pb.BufferOptions(max_messages=50, max_bytes=2048),
    )
    url = "wss://User:Secret@Feed.Example:443/s?token=x"
    found = spec(
        url=url, auto_reconnect=True, tags={"a": "b"}, name="feed", topic="m.t", options=options
    )
    assert found == ConnectionSpec(
        url=url,
        auto_reconnect=True,
        tags={"a": "b"},
        name="feed",
        topic=Topic("m.t"),
        options=ConnectionOptions(
            reconnect=ReconnectOptions(FirstDial.RETRY, 10, 20, 30, 40),
            format=Format.ENVELOPE,
            markers=True,
            max_message_bytes=1000,
            buffer=BufferOptions(50, 2048),
        ),
    )
    assert type(found.tags) is dict


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (pb.FORMAT_UNSPECIFIED, Format.RAW),
        (pb.FORMAT_RAW, Format.RAW),
        (pb.FORMAT_ENVELOPE, Format.ENVELOPE),
    ],
)
def test_formats(number: pb.Format, expected: Format) -> None:
    assert spec(options=pb.ConnectionOptions(format=number)).options.format is expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (pb.FIRST_DIAL_UNSPECIFIED, FirstDial.FAIL),
        (pb.FIRST_DIAL_FAIL, FirstDial.FAIL),
        (pb.FIRST_DIAL_RETRY, FirstDial.RETRY),
    ],
)
def test_first_dials(number: pb.FirstDial, expected: FirstDial) -> None:
    options = pb.ConnectionOptions(reconnect=pb.ReconnectOptions(first_dial=number))
    found = spec(auto_reconnect=True, options=options)
    assert found.options.reconnect.first_dial is expected


def test_a_connect_is_refused_with_all_its_faults() -> None:
    options = pb.ConnectionOptions(
        reconnect=pb.ReconnectOptions(max_attempts=-1), max_message_bytes=4_000_000
    )
    json_format.ParseDict({"format": 9, "reconnect": {"firstDial": 8}}, options)
    with pytest.raises(InvalidArgument) as refused:
        spec(url="http://x", tags={"": "v"}, name="a\nb", topic="a..b", options=options)
    assert paths(refused) == [
        "url",
        "tags[''].key",
        "name",
        "topic",
        "options.format",
        "options.reconnect.first_dial",
        "options.reconnect.max_attempts",
        "options.max_message_bytes",
    ]
    assert "9 is not a Format" in str(refused.value)
    assert "8 is not a FirstDial" in str(refused.value)


def test_the_service_bounds_a_message() -> None:
    request = pb.ConnectRequest(
        url="wss://feed.example/s", options=pb.ConnectionOptions(max_message_bytes=1001)
    )
    with pytest.raises(InvalidArgument, match="from 1 to 1000"):
        translate.connection_spec(request, Limits(max_message_bytes=1000))


def test_every_option_arrives() -> None:
    options = replace(fullest(), buffer=BufferOptions(50, 2048, Overflow.SPILL, durable=True))
    request = pb.ConnectRequest(
        url="wss://u:${secret:P}@feed.example/s",
        auto_reconnect=True,
        options=options_message(options),
    )
    found = translate.connection_spec(request, Limits(has_message_log=True), compile_regex)
    assert found.options == options
    assert found.url == request.url


def test_faults_of_options_have_their_field_path() -> None:
    options = pb.ConnectionOptions(
        handshake=pb.HandshakeOptions(tls=pb.TlsOptions(server_name="h")),
        opening=pb.Opening(steps=[pb.Step(expect=pb.Pattern(regex="("))]),
        subscriptions=[pb.Subscription()],
        liveness=pb.Liveness(quiet=[pb.QuietWindow(weekdays=[pb.WEEKDAY_UNSPECIFIED])]),
    )
    request = pb.ConnectRequest(url="ws://h:${secret:P}/", options=options)
    with pytest.raises(InvalidArgument) as refused:
        translate.connection_spec(request, Limits(), compile_regex)
    assert paths(refused) == [
        "url",
        "options.liveness.quiet[0].weekdays[0]",
        "options.handshake.tls",
        "options.opening.steps[0].expect.regex",
        "options.subscriptions[0].key",
        "options.subscriptions[0].subscribe",
        "options.liveness.quiet[0].start",
        "options.liveness.quiet[0].end",
    ]


@pytest.mark.parametrize(
    ("url", "refused"), [("WSS://h", False), ("wss://h", False), ("WS://h", True)]
)
def test_tls_options_need_tls(url: str, refused: bool) -> None:
    options = pb.ConnectionOptions(
        handshake=pb.HandshakeOptions(tls=pb.TlsOptions(server_name="h"))
    )
    if not refused:
        assert spec(url=url, options=options).options.handshake.tls.server_name == "h"
        return
    with pytest.raises(InvalidArgument, match=r"^options\.handshake\.tls: "):
        spec(url=url, options=options)


def test_without_a_compiler_there_are_no_regular_expressions() -> None:
    options = pb.ConnectionOptions(liveness=pb.Liveness(data=pb.Pattern(regex="a")))
    with pytest.raises(InvalidArgument, match="regular expressions are not available here"):
        spec(options=options)


def test_a_view_shows_references_and_no_secrets() -> None:
    handshake = HandshakeOptions(
        headers=(Header("Authorization", "hunter2"), Header("X-Api-Key", "${secret:KEY}")),
        proxy="http://user:hunter2@proxy.example:3128",
    )
    view = replace(VIEW, options=ConnectionOptions(handshake=handshake))
    message = translate.connection_message(view)
    assert "hunter2" not in str(message)
    assert message.options.handshake.headers == [
        pb.Header(name="Authorization", value="***"),
        pb.Header(name="X-Api-Key", value="${secret:KEY}"),
    ]


def test_connection_id_gets_its_usual_spelling() -> None:
    assert translate.connection_id(ID.upper()) == ID
    with pytest.raises(InvalidArgument, match=r"^id: "):
        translate.connection_id("nope")


def test_filters() -> None:
    wanted = [pb.TagFilter(key="a", value="1"), pb.TagFilter(key="a")]
    assert translate.filters(pb.ListRequest(filters=wanted)) == (("a", "1"), ("a", ""))
    assert translate.filters(pb.ListRequest()) == ()


def test_malformed_filters() -> None:
    wanted = [
        pb.TagFilter(value="1"),
        pb.TagFilter(key="a"),
        pb.TagFilter(key="b", value="v" * 1025),
    ]
    with pytest.raises(InvalidArgument) as refused:
        translate.filters(pb.ListRequest(filters=wanted))
    assert paths(refused) == ["filters[0].key", "filters[2].value"]
    with pytest.raises(InvalidArgument, match="filters: must be at most 50, not 51"):
        translate.filters(pb.ListRequest(filters=[pb.TagFilter(key="a")] * 51))


def test_start_publish() -> None:
    assert translate.start_publish(pb.StartPublishRequest(id=ID.upper(), topic="a.b")) == (
        ID,
        "a.b",
    )
    with pytest.raises(InvalidArgument) as refused:
        translate.start_publish(pb.StartPublishRequest())
    assert paths(refused) == ["id", "topic"]


@pytest.mark.parametrize(
    ("content_type", "message", "kind"),
    [
        ("", b"", Kind.TEXT),
        ("", b"plain", Kind.TEXT),
        ("", "Ω😀".encode(), Kind.TEXT),
        ("", b"\xff", Kind.BINARY),
        ("", b"\xed\xa0\x80", Kind.BINARY),
        ("text/plain", b"x", Kind.TEXT),
        ("TEXT/CSV; charset=latin-1", b"x", Kind.TEXT),
        ("text/*", b"", Kind.TEXT),
        ("application/json", b"{}", Kind.TEXT),
        ("Application/JSON ;charset=utf-8", b"{}", Kind.TEXT),
        ("application/ld+json", b"{}", Kind.BINARY),
        ("application/jsonx", b"{}", Kind.BINARY),
        ("textual/plain", b"x", Kind.BINARY),
        ("application/octet-stream", b"x", Kind.BINARY),
        ("application/octet-stream", b"\xff", Kind.BINARY),
    ],
)
def test_kind_of_frame(content_type: str, message: bytes, kind: Kind) -> None:
    raw = pb.SendRawRequest(id=ID, message=message, content_type=content_type)
    assert translate.send_raw(raw) == (ID, message, kind)
    request = pb.SendRequest(id=ID, message=message, content_type=content_type)
    assert translate.send(request) == (ID, message, kind, None)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json;a=b"])
def test_text_must_be_utf8(content_type: str) -> None:
    request = pb.SendRawRequest(id=ID, message=b"ab\xff", content_type=content_type)
    with pytest.raises(
        InvalidArgument, match=r"^message: is not valid UTF-8 at byte 2, as content"
    ):
        translate.send_raw(request)


def test_malformed_sends() -> None:
    with pytest.raises(InvalidArgument) as refused:
        translate.send(pb.SendRequest(message=b"\xff", content_type="json", timeout_ms=-1))
    assert paths(refused) == ["id", "content_type", "timeout_ms"]
    with pytest.raises(InvalidArgument) as refused:
        translate.send_raw(pb.SendRawRequest(message=b"\xff", content_type="text/plain"))
    assert paths(refused) == ["id", "message"]


def test_send_waits_in_seconds() -> None:
    request = pb.SendRequest(id=ID.upper(), message=b"x", timeout_ms=1500)
    assert translate.send(request) == (ID, b"x", Kind.TEXT, 1.5)


def test_tags() -> None:
    assert translate.tag(pb.SetTagRequest(id=ID.upper(), key="k")) == (ID, "k", "")
    assert translate.tag_key(pb.GetTagRequest(id=ID.upper(), key="k")) == (ID, "k")
    assert translate.tags(pb.SetTagsRequest(id=ID.upper(), tags={"k": "v"})) == (ID, {"k": "v"})
    assert translate.tags(pb.SetTagsRequest(id=ID)) == (ID, {})


def test_malformed_tags() -> None:
    with pytest.raises(InvalidArgument) as refused:
        translate.tag(pb.SetTagRequest(value="v" * 1025))
    assert paths(refused) == ["id", "key", "value"]
    with pytest.raises(InvalidArgument) as refused:
        translate.tag_key(pb.GetTagRequest())
    assert paths(refused) == ["id", "key"]
    with pytest.raises(InvalidArgument) as refused:
        translate.tags(pb.SetTagsRequest(tags={"": ""}))
    assert paths(refused) == ["id", "tags[''].key"]


def test_the_fullest_view() -> None:
    found = json_format.MessageToDict(translate.connection_message(VIEW))
    assert found == {
        "id": ID,
        "url": "wss://feed.example/stream",
        "status": "connected",
        "topic": "mymodule.ticks",
        "instanceId": "one",
        "contentType": "text/plain",
        "tags": {"venue": "kraken"},
        "name": "feed",
        "session": "3",
        "ownerEpoch": "2",
        "connectedAt": "2023-11-14T22:13:21.500000Z",
        "statistics": {
            "messagesReceived": "1",
            "bytesReceived": "2",
            "messagesPublished": "3",
            "bufferedMessages": "4",
            "bufferedBytes": "5",
            "unrouted": "6",
            "dropped": "7",
            "messagesSent": "8",
            "bytesSent": "9",
            "reconnects": "10",
            "lastMessageAt": "2023-11-14T22:13:22.250000Z",
        },
        "createdAt": "2023-11-14T22:13:20.000000Z",
        "autoReconnect": True,
        "options": {
            "reconnect": {
                "firstDial": "FIRST_DIAL_RETRY",
                "baseDelayMs": 10,
                "maxDelayMs": 20,
                "maxAttempts": 30,
                "stableAfterMs": 40,
            },
            "format": "FORMAT_ENVELOPE",
            "markers": True,
            "maxMessageBytes": "1000",
            "buffer": {"maxMessages": 50, "maxBytes": "2048"},
        },
        "cause": {
            "errorType": "peer_closed",
            "message": "the server closed",
            "closeCode": 1001,
            "closeReason": "bye",
        },
        "nextAttemptAt": "2023-11-14T22:13:23.000000Z",
        "degraded": ["topic_rejected"],
        "profile": "kraken",
    }


def test_the_emptiest_view() -> None:
    view = replace(
        VIEW,
        status=Status.CONNECTING,
        topic=None,
        content_type="",
        tags={},
        name="",
        session=0,
        connected_at=None,
        auto_reconnect=False,
        options=ConnectionOptions(),
        statistics=Statistics(),
        cause=None,
        next_attempt_at=None,
        degraded=(),
        profile="",
    )
    found = json_format.MessageToDict(translate.connection_message(view))
    assert found == {
        "id": ID,
        "url": "wss://feed.example/stream",
        "status": "connecting",
        "instanceId": "one",
        "ownerEpoch": "2",
        "statistics": {},
        "createdAt": "2023-11-14T22:13:20.000000Z",
        "options": {
            "reconnect": {"firstDial": "FIRST_DIAL_FAIL"},
            "format": "FORMAT_RAW",
            "buffer": {},
        },
    }


def test_a_view_names_every_field_of_the_message() -> None:
    message = translate.connection_message(replace(VIEW, cause=Cause("t", "m", 1, "r")))
    set_fields = {field.name for field, _ in message.ListFields()}
    assert set_fields == {field.name for field in pb.WebSocketConnection.DESCRIPTOR.fields}
