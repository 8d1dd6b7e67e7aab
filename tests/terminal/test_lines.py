"""One line each, for people and for programs; nothing hostile reaches a terminal."""

from __future__ import annotations

import json

import pytest

from tests.terminal.events import lifecycle, marker, message
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.terminal import lines
from websocketmanager.terminal.received import Received


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 日本", "plain ünïcode 日本"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\nb\tc\x7f", "a\\nb\\tc\\x7f"),
        ("\u202egnp", "\\u202egnp"),
        ("\ud800", "\\ud800"),
    ],
)
def test_invisible_characters_are_escaped(text: str, shown: str) -> None:
    assert lines.printable(text) == shown


def test_long_text_is_cut() -> None:
    assert lines.printable("x" * 11, limit=10) == "x" * 10 + "…"
    assert lines.printable("x" * 10, limit=10) == "x" * 10


def test_binary_data_shows_its_first_bytes_and_its_size() -> None:
    assert lines.preview(b"\x00\xff", None) == "00 ff (2 bytes)"
    assert lines.preview(bytes(100), None).endswith("00 … (100 bytes)")


def test_a_tailed_message_shows_time_place_and_text() -> None:
    time, place, text = lines.tail_line(message(42, session=3)).split("  ", 2)
    assert time.endswith(":05.678")
    assert (place, text.strip()) == ("3/42", "hi")


def test_tailed_markers_and_lifecycle_events_stand_out() -> None:
    assert "-- gap -- " in lines.tail_line(marker("gap"))
    assert "reconnecting" in lines.tail_line(lifecycle("reconnecting", 1))


def test_an_event_of_another_publisher_is_tailed_too() -> None:
    line = lines.tail_line(Received("t.u", b"\x1b[31m", {"ce-type": "x.\x1b"}, "", "nonsense\x07"))
    assert "\x1b" not in line
    assert "\x07" not in line


@pytest.mark.parametrize(
    ("data", "content_type", "content"),
    [
        (b"a\n\xc2\x85b", "text/plain", {"text": "a\n\x85b"}),
        (b"\x00\xff", "application/octet-stream", {"base64": "AP8="}),
        (b"\xff", "text/plain", {"base64": "/w=="}),
    ],
)
def test_json_carries_text_or_base64_on_one_line(
    data: bytes, content_type: str, content: dict[str, str]
) -> None:
    line = lines.tail_json(message(1, data=data, content_type=content_type))
    assert len(line.splitlines()) == 1
    told = json.loads(line)
    assert {key: told[key] for key in content} == content
    assert (told["session"], told["sequence"], told["connection_id"]) == (1, 1, "c1")


def test_a_reply_is_shown_whole() -> None:
    as_json, as_text = lines.reply_lines("c1", b"x" * 1000)
    assert json.loads(as_json) == {"id": "c1", "text": "x" * 1000}
    assert as_text == "x" * 1000
    assert json.loads(lines.reply_lines("c1", b"\xff")[0])["base64"] == "/w=="


def test_an_event_line_tells_what_is_particular() -> None:
    event = lifecycle("reconnecting", 3, connection_id="c9", attempt=2, url="ws://x", reason="")
    line = lines.event_line(event, "demo")
    assert line.endswith("attempt=2")
    assert "demo" in line
    assert "ws://x" not in line


def test_a_connection_becomes_json_with_every_field() -> None:
    connection = pb.WebSocketConnection(
        id="1",
        tags={"a": "b"},
        session=3,
        degraded=["stalled"],
        options=pb.ConnectionOptions(
            format=pb.FORMAT_ENVELOPE,
            reconnect=pb.ReconnectOptions(first_dial=pb.FIRST_DIAL_RETRY),
        ),
    )
    told = json.loads(lines.json_line(lines.as_mapping(connection)))
    assert told["id"] == "1"
    assert told["tags"] == {"a": "b"}
    assert told["session"] == 3, "64-bit numbers stay numbers"
    assert told["degraded"] == ["stalled"]
    assert told["options"]["format"] == "envelope"
    assert told["options"]["reconnect"]["first_dial"] == "retry"
    assert told["auto_reconnect"] is False
    assert "cause" not in told, "what is not there is not invented"


def test_options_with_payloads_can_be_told_as_json() -> None:
    subscriptions = [
        pb.Subscription(key="t", subscribe=pb.Payload(text="hi")),
        pb.Subscription(key="b", subscribe=pb.Payload(binary=b"\x00\xff")),
    ]
    options = pb.ConnectionOptions(subscriptions=subscriptions)
    told = json.loads(lines.json_line(lines.as_mapping(options)))["subscriptions"]
    assert [one["subscribe"] for one in told] == [{"text": "hi"}, {"binary": "AP8="}]
    assert "unsubscribe" not in told[0]


def test_a_number_that_is_not_known_is_not_zero() -> None:
    assert "data_age_ms" not in lines.as_mapping(pb.LiveStatistics())
    assert lines.as_mapping(pb.LiveStatistics(data_age_ms=0))["data_age_ms"] == 0
