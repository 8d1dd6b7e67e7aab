"""What `get`, `watch` and `tail --connection` print."""

from __future__ import annotations

import io
import json

from rich.console import Console

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.terminal import live

TIME = "2026-01-02T03:04:05.678901Z"
NOTICE = pb.WatchResponse(
    connection_id="c1",
    id="c1/1/event/7",
    type="com.x.reconnecting",
    state="reconnecting",
    event=7,
    time=TIME,
    data='{"connection_id":"c1","attempt":2,"reason":"peer\\u001b[2J_closed"}',
    missed=3,
)
SEEN = pb.TailResponse(
    id="c1/1/2/9",
    data=b"hi\x1b[2J",
    content_type="text/plain",
    time=TIME,
    session=2,
    sequence=9,
    owner_epoch=1,
    size=2000,
    topic="a.b",
    skipped=1,
)


def console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=100, force_terminal=False), out


def test_an_event_as_json_has_its_data_as_an_object() -> None:
    told = json.loads(live.notice_json(NOTICE))
    assert told["data"] == json.loads(NOTICE.data)
    assert (told["event"], told["state"], told["missed"]) == (7, "reconnecting", 3)
    assert "\n" not in live.notice_json(NOTICE)
    assert json.loads(live.notice_json(pb.WatchResponse()))["data"] == {}


def test_an_event_for_a_person_is_a_line_behind_what_is_missed() -> None:
    screen, out = console()
    live.show_notice(screen, NOTICE)
    missed, line = out.getvalue().splitlines()
    assert "3 events before this" in missed
    for part in ("c1", "7", "reconnecting", "attempt=2", "reason=peer"):
        assert part in line
    assert "\x1b" not in line


def test_a_long_event_stays_one_line() -> None:
    screen, out = console()
    live.show_notice(screen, pb.WatchResponse(time=TIME, data='{"reason":"%s"}' % ("x" * 150)))
    assert len(out.getvalue().splitlines()) == 1


def test_a_message_as_json() -> None:
    told = json.loads(live.tailed_json(SEEN, "c1"))
    assert told["text"] == "hi\x1b[2J"
    assert "data" not in told
    assert (told["connection_id"], told["skipped"], told["size"]) == ("c1", 1, 2000)
    binary = pb.TailResponse(data=b"\x00\xff", content_type="application/octet-stream")
    assert json.loads(live.tailed_json(binary, "c1"))["base64"] == "AP8="


def test_a_message_for_a_person() -> None:
    skipped, line = live.tailed_lines(SEEN)
    assert "1 message skipped" in skipped
    assert "2/9" in line
    assert line.endswith("… (2000 bytes)")
    assert "\x1b" not in line
    (whole,) = live.tailed_lines(pb.TailResponse(data=b"x", size=1, time=TIME))
    assert whole.endswith("x")


def detail() -> pb.GetResponse:
    answer = pb.GetResponse()
    one = answer.connection
    one.id, one.name, one.url, one.status, one.session = "0b5a", "feed", "wss://h/", "connected", 3
    one.tags["desk"] = "fx"
    one.options.subscriptions.add(key="btc@trade")
    one.degraded.append("topic_rejected")
    one.statistics.messages_received = 42
    answer.statistics.messages_per_second_10s = 12.34
    answer.statistics.data_age_ms = 1500
    answer.statistics.publish_lag_ms = 77
    answer.last_error.error_type = "connection_lost"
    answer.last_error.message = "gone \x1b[2J"
    answer.transitions.add(event=7, time=TIME, state="reconnecting", attempt=2, close_code=1012)
    answer.transitions.add(event=8, time=TIME, state="degraded", restored=True)
    return answer


def test_a_connection_in_detail() -> None:
    screen, out = console()
    live.show_detail(screen, detail())
    text = out.getvalue()
    for part in (
        "0b5a", "feed", "wss://h/", "connected", "desk=fx", "btc@trade", "topic_rejected", "42",
        "12.3/s", "1.500 s ago", "77 ms", "connection_lost", "reconnecting", "1012", "no more",
    ):  # fmt: skip
        assert part in text, part
    assert "\x1b[2J" not in text


def test_a_connection_without_a_past() -> None:
    screen, out = console()
    live.show_detail(screen, pb.GetResponse(connection=pb.WebSocketConnection(id="x")))
    assert "none yet" in out.getvalue()
    assert "transitions" not in out.getvalue()
    assert "last error" not in out.getvalue()
