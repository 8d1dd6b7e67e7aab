"""Events and connections as single lines: for people, and as JSON for programs. Pure.

What comes from servers and publishers is untrusted: control characters never reach a terminal.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from websocketmanager.terminal.received import Received

#: Bytes of binary data that a line shows.
_HEX_BYTES = 24
#: Members that every lifecycle event has; a line shows what is particular.
_COMMON = frozenset(
    {"connection_id", "url", "instance_id", "owner_epoch", "event", "session", "created_at"}
)


def printable(text: str, *, limit: int = 200) -> str:
    """Returns the text on one line, with control and other invisible characters escaped."""
    shown = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in text[:limit].encode("utf-8", "backslashreplace").decode()
    )
    return shown if len(text) <= limit else shown + "…"


def preview(data: bytes, text: str | None, *, limit: int = 200) -> str:
    """Returns the text, or the first bytes in hexadecimal with the size."""
    if text is not None:
        return printable(text, limit=limit)
    more = " …" if len(data) > _HEX_BYTES else ""
    return f"{data[:_HEX_BYTES].hex(' ')}{more} ({len(data)} bytes)"


def clock_time(time: str) -> str:
    """Returns hours to milliseconds of an RFC 3339 time in the local zone; else the text."""
    try:
        return datetime.fromisoformat(time).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except ValueError:
        return printable(time, limit=12).ljust(12)


def tail_line(event: Received, *, limit: int = 500) -> str:
    """Returns one event for a person: time, place in its stream, content."""
    if event.is_message or event.marker:
        place = f"{event.session}/{event.sequence}"
    else:
        place = printable(event.state, limit=20) or "-"
    marked = f"-- {event.marker} -- " if event.marker else ""
    return f"{clock_time(event.time)}  {place:<12}  {marked}" + preview(
        event.data, event.text, limit=limit
    )


def tail_json(event: Received) -> str:
    """Returns one event as a JSON object on one line; data as `text` or as `base64`."""
    return json_line(
        {
            "topic": event.topic,
            "time": event.time,
            "id": event.id,
            "type": event.type,
            "content_type": event.content_type,
            "connection_id": event.connection_id,
            "session": event.session,
            "sequence": event.sequence,
            **content(event.data, event.text),
        }
    )


def reply_lines(connection_id: str, reply: bytes) -> tuple[str, str]:
    """Returns the reply to `send` as JSON, and for a person."""
    try:
        text: str | None = reply.decode()
    except UnicodeDecodeError:
        text = None
    as_json = json_line({"id": connection_id, **content(reply, text)})
    return as_json, preview(reply, text, limit=100_000)


def event_line(event: Received, name: str) -> str:
    """Returns a lifecycle event or marker for a person: time, connection, state, particulars."""
    word = f"stream {event.marker}" if event.marker else event.state
    return f"{clock_time(event.time)}  {name:<12}  {printable(word, limit=20):<14}  " + particulars(
        event.members
    )


def particulars(members: Mapping[str, Any]) -> str:
    """Returns what an event tells beyond the identity of its connection, as key=value."""
    return printable(
        "  ".join(
            f"{key}={value}"
            for key, value in members.items()
            if key not in _COMMON and value not in (None, "", 0)
        )
    )


def json_line(value: Mapping[str, Any]) -> str:
    """Returns compact JSON; invisible characters are escaped, so that it is one line for all."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def as_mapping(message: Message) -> dict[str, Any]:
    """Returns a protobuf message as JSON types: enums as lower-case words, bytes as base64.

    Has every field, but those that may be unset and are.
    """
    return {
        field.name: _value(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def content(data: bytes, text: str | None) -> Mapping[str, str]:
    """Returns data as a member of a JSON object: `text`, or `base64` without a text."""
    return {"base64": base64.b64encode(data).decode()} if text is None else {"text": text}


def _value(field: Any, value: Any) -> Any:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_single(field, one) for one in value]
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return as_mapping(value)
    if field.enum_type is not None:
        prefix = _upper_snake(field.enum_type.name) + "_"
        return field.enum_type.values_by_number[value].name.removeprefix(prefix).lower()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _upper_snake(name: str) -> str:
    return "".join("_" + one if one.isupper() else one for one in name).lstrip("_").upper()
