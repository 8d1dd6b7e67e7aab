"""What `watch`, `tail --connection` and `get` print: lines of JSON for programs, else words. Pure.

What servers send is untrusted: control characters never reach a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.domain.envelope import MESSAGE_TYPE
from websocketmanager.terminal import lines
from websocketmanager.terminal.lines import clock_time, printable
from websocketmanager.terminal.received import Received
from websocketmanager.terminal.view import EVENT_COLOURS


def notice_json(notice: pb.WatchResponse) -> str:
    """Returns one lifecycle event as a JSON object on one line, its data as an object."""
    return lines.json_line(lines.as_mapping(notice) | {"data": json.loads(notice.data or "{}")})


def show_notice(console: Console, notice: pb.WatchResponse) -> None:
    """Prints one lifecycle event as a line: time, connection, number, state, particulars."""
    if notice.missed:
        console.print(Text(f"-- {_times(notice.missed, 'event')} before this no longer known --"))
    members = Received("", notice.data.encode(), {}, "", "").members
    line = Text(
        f"{clock_time(notice.time)}  {printable(notice.connection_id)}  {notice.event:>4}  "
    )
    line.append(f"{printable(notice.state, limit=20):<12}", EVENT_COLOURS.get(notice.state, ""))
    line.append(f"  {lines.particulars(members)}")
    console.print(line, soft_wrap=True)


def tailed_json(seen: pb.TailResponse, connection_id: str) -> str:
    """Returns one message as a JSON object on one line; data as `text` or as `base64`."""
    mapping = lines.as_mapping(seen)
    del mapping["data"]
    content = lines.content(seen.data, _received(seen).text)
    return lines.json_line({"connection_id": connection_id, **mapping, **content})


def tailed_lines(seen: pb.TailResponse) -> Iterator[str]:
    """Yields one message for a person, behind a line that tells what was skipped before it."""
    if seen.skipped:
        yield f"-- {_times(seen.skipped, 'message')} skipped --"
    cut = seen.size - len(seen.data)
    more = f" … ({seen.size} bytes)" if cut > 0 else ""
    yield lines.tail_line(_received(seen)) + more


def show_detail(console: Console, answer: pb.GetResponse) -> None:
    """Prints a connection, how it does, and its last transitions."""
    facts = Table(box=None, show_header=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(answer):
        facts.add_row(name, Text(printable(value, limit=1000), EVENT_COLOURS.get(value, "")))
    console.print(facts)
    if not answer.transitions:
        return
    table = Table(box=None, header_style="bold", title="last transitions", title_justify="left")
    for title in ("event", "session", "attempt", "code"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("time", "state", "why"):
        table.add_column(title, overflow="fold")
    for one in answer.transitions:
        state = Text(printable(one.state), EVENT_COLOURS.get(one.state, ""))
        if one.restored:
            state = Text(f"{printable(one.state)} no more", "green")
        table.add_row(
            str(one.event),
            str(one.session),
            str(one.attempt or ""),
            str(one.close_code or ""),
            clock_time(one.time),
            state,
            Text(printable(_why(one))),
        )
    console.print(table)


def _facts(answer: pb.GetResponse) -> Iterator[tuple[str, str]]:
    one, counts, live = answer.connection, answer.connection.statistics, answer.statistics
    yield "id", one.id
    if one.name:
        yield "name", one.name
    yield "url", one.url
    yield "status", one.status
    if one.degraded:
        yield "degraded", ", ".join(one.degraded)
    yield "topic", one.topic or "(none: not published)"
    for key, value in sorted(one.tags.items()):
        yield "tag", f"{key}={value}"
    for subscription in one.options.subscriptions:
        yield "subscription", subscription.key
    yield "session", f"{one.session} since {one.connected_at or 'never'}"
    if one.next_attempt_at:
        yield "next attempt", one.next_attempt_at
    yield (
        "received",
        f"{_times(counts.messages_received, 'message')}, {counts.bytes_received} bytes",
    )
    yield (
        "rate",
        f"{live.messages_per_second_10s:.1f}/s now, {live.messages_per_second_60s:.1f}/s over a "
        f"minute; {live.bytes_per_second_10s:.0f} and {live.bytes_per_second_60s:.0f} bytes/s",
    )
    age = f"{live.data_age_ms / 1000:.3f} s ago" if live.HasField("data_age_ms") else "none yet"
    yield "last message", age
    yield (
        "published",
        f"{counts.messages_published}, {live.queue_depth} wait, {live.publish_lag_ms} ms behind",
    )
    yield "not published", f"{counts.unrouted} without topic, {counts.dropped} dropped"
    yield "sent", f"{_times(counts.messages_sent, 'message')}, {counts.bytes_sent} bytes"
    yield "reconnects", str(live.reconnects)
    if answer.HasField("last_error"):
        last = answer.last_error
        yield "last error", f"{last.time} {_why(last)}"


def _why(one: pb.Transition) -> str:
    words = [one.error_type, one.message, one.close_reason]
    if one.delay_ms:
        words.append(f"in {one.delay_ms} ms")
    return ": ".join(word for word in words if word)


def _received(seen: pb.TailResponse) -> Received:
    metadata = {
        "ce-id": seen.id,
        "ce-type": MESSAGE_TYPE,
        "ce-time": seen.time,
        "ce-datacontenttype": seen.content_type,
        "ce-session": str(seen.session),
        "ce-sequence": str(seen.sequence),
    }
    return Received(seen.topic, seen.data, metadata, seen.id, seen.time)


def _times(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
