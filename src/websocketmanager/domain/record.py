"""What is persisted of a connection: the record and its JSON mapping.

Readers tolerate unknown members and refuse unknown schemas, so that an older process never
damages what a newer one wrote.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from websocketmanager.domain import record_options
from websocketmanager.domain.identity import record_key
from websocketmanager.domain.model import (
    Cause,
    ConnectionId,
    ConnectionOptions,
    ConnectionSpec,
    InstanceId,
    Status,
    Topic,
)
from websocketmanager.domain.options import Subscription
from websocketmanager.domain.sharing import shared_options
from websocketmanager.errors import RecordUnreadable

SCHEMA = 1
#: Lifecycle events kept in the record: what a crash may have left unpublished.
RECENT_EVENTS = 8


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """A lifecycle event as the record keeps it: enough to publish it again, bit for bit.

    Attributes:
        json: its members as compact JSON in UTF-8. Parsed they would take twice the room, and
            many of them are kept for as long as their connection lives.
    """

    number: int
    name: str
    at: float
    json: bytes

    @classmethod
    def of(cls, number: int, name: str, at: float, data: Mapping[str, Any]) -> RecordedEvent:
        """Returns the event with these members."""
        return cls(number, name, at, _dumped(data).encode())

    @property
    def data(self) -> dict[str, Any]:
        """Its members, parsed."""
        members: dict[str, Any] = json.loads(self.json)
        return members

    @property
    def stored(self) -> str:
        """Its JSON in a record."""
        head = _dumped({"number": self.number, "name": self.name, "at": self.at})
        return f'{head[:-1]},"data":{self.json.decode()}}}'


@dataclass(frozen=True, slots=True)
class Record:
    """The durable object. Times are Unix seconds.

    Attributes:
        declared_topic: the topic of the `Connect` call; `spec.topic` is the present one.
        declared_tags: the tags of the `Connect` call; `spec.tags` are the present ones.
        declared_subscriptions: the set of the `Connect` call, if it was changed since.
        answered: whether the caller of `Connect` may know of it.
        session: number of the last socket, 0 before the first.
        last_sequence: number of the last message of that session that was received when the
            record was written: the last position known after a crash.
        event: number of the last lifecycle event.
        writer: random per write, so that a writer recognises its own.
        deleted: a tombstone: `Disconnect` was accepted and deletion follows.
    """

    id: ConnectionId
    spec: ConnectionSpec
    status: Status
    created_at: float
    instance_id: InstanceId
    declared_topic: Topic | None = None
    declared_tags: Mapping[str, str] = field(default_factory=dict)
    declared_subscriptions: tuple[Subscription, ...] | None = None
    answered: bool = False
    connected_at: float | None = None
    disconnected_at: float | None = None
    last_heartbeat: float = 0.0
    session: int = 0
    last_sequence: int = 0
    event: int = 0
    recent_events: tuple[RecordedEvent, ...] = ()
    owner_epoch: int = 1
    incarnation: str = ""
    writer: str = ""
    cause: Cause | None = None
    deleted: bool = False

    @property
    def key(self) -> str:
        """Its state key."""
        return record_key(self.id)

    def with_events(self, events: tuple[RecordedEvent, ...]) -> Record:
        """Returns the record after these events, of which it keeps the last ones."""
        if not events:
            return self
        recent = (*self.recent_events, *events)[-RECENT_EVENTS:]
        return replace(self, event=events[-1].number, recent_events=recent)


def differing_fields(wanted: ConnectionSpec, record: Record) -> tuple[str, ...]:
    """Returns the fields in which a `Connect` call differs from the record's intent.

    Topic, tags and subscriptions may have been changed by other calls since: both the declared
    and the present value count as the same intent.
    """
    present = record.spec
    pairs = {
        "url": wanted.url == present.url,
        "auto_reconnect": wanted.auto_reconnect == present.auto_reconnect,
        "tags": dict(wanted.tags) in (dict(record.declared_tags), dict(present.tags)),
        "topic": wanted.topic in (record.declared_topic, present.topic),
        "profile": wanted.profile == present.profile,
    }
    for name in (option.name for option in fields(ConnectionOptions)):
        pairs[f"options.{name}"] = getattr(wanted.options, name) == getattr(present.options, name)
    if wanted.options.subscriptions == record.declared_subscriptions:
        pairs["options.subscriptions"] = True
    return tuple(name for name, same in pairs.items() if not same)


def to_json(record: Record) -> str:
    """Returns the record as the JSON value of its state key."""
    spec = record.spec
    value = {
        "schema": SCHEMA,
        "id": record.id,
        "name": spec.name,
        "url": spec.url,
        "status": record.status.value,
        "topic": spec.topic or "",
        "auto_reconnect": spec.auto_reconnect,
        "tags": dict(spec.tags),
        "options": record_options.to_value(spec.options),
        "profile": spec.profile,
        "declared_topic": record.declared_topic or "",
        "declared_tags": dict(record.declared_tags),
        "answered": record.answered,
        "created_at": record.created_at,
        "connected_at": record.connected_at,
        "disconnected_at": record.disconnected_at,
        "last_heartbeat": record.last_heartbeat,
        "session": record.session,
        "last_sequence": record.last_sequence,
        "event": record.event,
        "instance_id": record.instance_id,
        "owner_epoch": record.owner_epoch,
        "incarnation": record.incarnation,
        "writer": record.writer,
        "cause": asdict(record.cause) if record.cause else None,
        "deleted": record.deleted,
    }
    if record.declared_subscriptions is not None:
        declared = ConnectionOptions(subscriptions=record.declared_subscriptions)
        value["declared_subscriptions"] = record_options.to_value(declared).get("subscriptions", [])
    # They are JSON already.
    recent = ",".join(event.stored for event in record.recent_events)
    return f'{_dumped(value)[:-1]},"recent_events":[{recent}]}}'


def from_json(key: str, text: str) -> Record:
    """Returns the record in a state value.

    Raises:
        RecordUnreadable: not JSON, an unknown schema, or a member of the wrong shape.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RecordUnreadable(key=key, problem=f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RecordUnreadable(key=key, problem="not a JSON object")
    if value.get("schema") != SCHEMA:
        raise RecordUnreadable(
            key=key, problem=f"schema {value.get('schema')!r} is not known (this is {SCHEMA})"
        )
    try:
        return _from_mapping(value)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RecordUnreadable(
            key=key, problem=f"member missing or of the wrong shape: {error!r}"
        ) from error


def _from_mapping(value: Mapping[str, Any]) -> Record:
    spec = ConnectionSpec(
        url=_text(value["url"]),
        auto_reconnect=bool(value["auto_reconnect"]),
        tags=_tags(value["tags"]),
        name=_text(value.get("name", "")),
        topic=_topic(value.get("topic")),
        options=shared_options(record_options.from_value(value.get("options", {}))),
        profile=_text(value.get("profile", "")),
    )
    cause = value.get("cause")
    return Record(
        id=ConnectionId(_text(value["id"])),
        spec=spec,
        status=Status(value["status"]),
        created_at=_number(value["created_at"]),
        instance_id=InstanceId(sys.intern(_text(value["instance_id"]))),
        declared_topic=_topic(value.get("declared_topic", value.get("topic"))),
        declared_tags=_tags(value.get("declared_tags", value["tags"])),
        declared_subscriptions=_subscriptions(value.get("declared_subscriptions")),
        answered=bool(value.get("answered", True)),
        connected_at=_time(value.get("connected_at")),
        disconnected_at=_time(value.get("disconnected_at")),
        last_heartbeat=_number(value.get("last_heartbeat", 0.0)),
        session=int(value.get("session", 0)),
        last_sequence=int(value.get("last_sequence", 0)),
        event=int(value.get("event", 0)),
        recent_events=tuple(
            RecordedEvent.of(
                int(e["number"]), sys.intern(_text(e["name"])), _number(e["at"]), dict(e["data"])
            )
            for e in value.get("recent_events", ())
        ),
        owner_epoch=int(value.get("owner_epoch", 1)),
        incarnation=_text(value.get("incarnation", "")),
        writer=_text(value.get("writer", "")),
        cause=_cause(cause) if cause else None,
        deleted=bool(value.get("deleted", False)),
    )


def _dumped(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cause(value: Mapping[str, Any]) -> Cause:
    return Cause(
        error_type=_text(value["error_type"]),
        message=_text(value["message"]),
        close_code=int(value.get("close_code", 0)),
        close_reason=_text(value.get("close_reason", "")),
    )


def _tags(value: Any) -> dict[str, str]:
    return {_text(key): _text(member) for key, member in value.items()}


def _subscriptions(value: Any) -> tuple[Subscription, ...] | None:
    if value is None:
        return None
    return record_options.from_value({"subscriptions": value}).subscriptions


def _topic(value: Any) -> Topic | None:
    return Topic(sys.intern(_text(value))) if value else None


def _time(value: Any) -> float | None:
    return None if value is None else _number(value)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a finite number expected")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, not {type(value).__name__}")
    return value
