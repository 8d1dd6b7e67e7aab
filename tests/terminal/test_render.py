"""Tables: every fact a person needs, and nothing a server could smuggle in."""

from __future__ import annotations

import io

from rich.console import Console

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.terminal.render import show_connections, show_settings


def shown(console_width: int = 200) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=console_width, force_terminal=False), out


def test_a_connection_in_a_row() -> None:
    console, out = shown()
    one = pb.WebSocketConnection(
        id="0b5a", name="feed", status="connected", session=3, topic="a.b", url="wss://h/"
    )
    one.tags["desk"] = "fx"
    one.statistics.messages_received = 42
    show_connections(console, [one])
    text = out.getvalue()
    for part in ("0b5a", "feed", "connected", "3", "42", "a.b", "wss://h/", "desk=fx"):
        assert part in text


def test_why_it_is_not_connected() -> None:
    console, out = shown()
    one = pb.WebSocketConnection(id="x", status="reconnecting", degraded=["topic_rejected"])
    one.cause.error_type = "connect_refused"
    one.cause.message = "nobody \x1b[2J listens"
    show_connections(console, [one])
    text = out.getvalue()
    assert "topic_rejected" in text
    assert "nobody" in text
    assert "\x1b[2J" not in text


def test_no_connections_says_what_to_do() -> None:
    console, out = shown()
    show_connections(console, [])
    assert "websocketmanager connect URL" in out.getvalue()


def test_settings_with_their_origin() -> None:
    console, out = shown()
    show_settings(console, [{"key": "HttpPort", "value": 1, "origin": "environment"}])
    assert all(part in out.getvalue() for part in ("HttpPort", "1", "environment"))
