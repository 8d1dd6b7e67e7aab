"""Tables for a terminal; what programs get instead is in `lines`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.terminal.lines import printable
from websocketmanager.terminal.view import STATUS_COLOURS


def show_connections(console: Console, connections: Iterable[pb.WebSocketConnection]) -> None:
    """Prints a table of connections, and why those that are not connected are not."""
    table = Table(box=None, header_style="bold")
    for title in ("id", "name", "status", "session", "received", "topic", "url", "tags"):
        table.add_column(title, overflow="fold")
    rows = 0
    for one in connections:
        rows += 1
        table.add_row(
            Text(one.id, no_wrap=True),
            Text(printable(one.name)),
            _status(one),
            str(one.session),
            str(one.statistics.messages_received),
            Text(printable(one.topic)),
            Text(printable(one.url)),
            Text(", ".join(printable(f"{key}={value}") for key, value in sorted(one.tags.items()))),
        )
    if rows:
        console.print(table)
    else:
        console.print("no connections; `websocketmanager connect URL` opens one")


def show_settings(console: Console, rows: Iterable[Mapping[str, object]]) -> None:
    """Prints a table of keys with the value in force and where it came from."""
    table = Table(box=None, header_style="bold")
    for title in ("key", "value", "from"):
        table.add_column(title, overflow="fold")
    for row in rows:
        style = "dim" if row["origin"] == "default" else ""
        table.add_row(
            Text(str(row["key"])),
            Text(printable(str(row["value"]))),
            Text(str(row["origin"])),
            style=style,
        )
    console.print(table)


def _status(one: pb.WebSocketConnection) -> Text:
    text = Text(one.status, style=STATUS_COLOURS.get(one.status, ""))
    if one.degraded:
        text.append(f"\ndegraded: {printable(', '.join(one.degraded))}", style="magenta")
    if one.status != "connected" and one.HasField("cause"):
        cause = f"{one.cause.error_type}: {one.cause.message}"
        text.append(f"\n{printable(cause)}", style="dim")
    return text
