"""Messages, markers and lifecycle facts as CloudEvents 1.0 in binary mode.

Attributes travel in the publish request's metadata with the prefix `ce-` (the platform's rule);
what does not change from message to message is built and validated once, in a `Route`.
The one place where the domain uses a library: the CloudEvents SDK validates names and values.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias

from cloudevents.core.v1.event import CloudEvent

from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import Format, Message, Topic

SOURCE = "urn:com.virtufin.websocketmanager"
MESSAGE_TYPE = "com.virtufin.websocketmanager.message"
STREAM_TYPE_PREFIX = "com.virtufin.websocketmanager.stream."
LIFECYCLE_TYPE_PREFIX = "com.virtufin.websocketmanager.connection."
LIFECYCLE_TOPIC = Topic("websocketmanager.lifecycle")
#: Cause of a gap that reaches into its session, to where the last feed was subscribed.
SUBSCRIBING = "subscribing"
#: Digits of `ce-sequence`: text order is number order.
SEQUENCE_DIGITS = 20

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Route:
    """What the events of one session on one topic share.

    Compared by identity, so that a publisher can keep the serialised form of each.

    Attributes:
        topic: where its events go.
        constant: metadata entries that every event of the route carries.
        is_message: whether its events are messages, and not markers or lifecycle events.
        id_prefix: of messages, what stands before the sequence number in `ce-id`.
    """

    topic: Topic
    constant: Metadata
    is_message: bool = False
    id_prefix: str = ""


class Event:
    """One event to publish: the route's constant metadata, then its own. Not to be changed.

    Compared by identity: two events are never the same event.

    Attributes:
        route: what it shares with others.
        data: its bytes.
        tag: identifies the event within its stream for whoever queued it: the session of a
            message, the number of a lifecycle event.
    """

    # Plain, and not a frozen dataclass, which takes three times as long to make.
    __slots__ = ("_variable", "data", "route", "tag")
    count: ClassVar[int] = 1

    def __init__(self, route: Route, data: bytes, variable: Metadata, tag: int = 0) -> None:
        self.route = route
        self.data = data
        self.tag = tag
        self._variable = variable

    def __repr__(self) -> str:
        return f"<Event on {self.route.topic} {dict(self.variable)} {len(self.data)} bytes>"

    @property
    def size(self) -> int:
        """Bytes of its data."""
        return len(self.data)

    @property
    def variable(self) -> Metadata:
        """The metadata entries of its own."""
        return self._variable

    @property
    def metadata(self) -> dict[str, str]:
        """All metadata entries, as a publish request carries them."""
        return dict(self.route.constant + self.variable)


class MessageEvent(Event):
    """A message, whose own metadata is worked out when somebody asks: publishing has no need to.

    Attributes:
        content_type: of the data.
        sequence: number within the session, from 1.
        received_at: Unix seconds.
    """

    __slots__ = ("content_type", "received_at", "sequence")

    def __init__(  # noqa: PLR0917 - names at every call would cost a third more
        self,
        route: Route,
        data: bytes,
        content_type: str,
        session: int,
        sequence: int,
        received_at: float,
    ) -> None:
        # Once per message: a call of the constructor above would double what this costs.
        self.route = route
        self.data = data
        self.tag = session
        self.content_type = content_type
        self.sequence = sequence
        self.received_at = received_at

    @property
    def variable(self) -> Metadata:
        """The metadata entries of its own."""
        return (
            ("ce-id", f"{self.route.id_prefix}{self.sequence}"),
            ("ce-time", timestamp(self.received_at)),
            ("ce-datacontenttype", self.content_type),
            ("ce-sequence", f"{self.sequence:0{SEQUENCE_DIGITS}d}"),
        )


class MessageRun:
    """Messages that arrived together, numbered one after the other: many events in one object.

    What is done once for all of them is not done for each. Not to be changed.

    Attributes:
        route: of all.
        payloads: one at least.
        content_type: of all.
        tag: their session.
        first: sequence number of the first.
        received_at: Unix seconds, of all.
        size: bytes of all payloads.
        count: how many there are.
    """

    __slots__ = (
        "content_type",
        "count",
        "first",
        "payloads",
        "received_at",
        "route",
        "size",
        "tag",
    )

    def __init__(  # noqa: PLR0917 - as MessageEvent
        self,
        route: Route,
        payloads: Sequence[bytes],
        content_type: str,
        session: int,
        first: int,
        received_at: float,
        size: int,
    ) -> None:
        self.route = route
        self.payloads = payloads
        self.content_type = content_type
        self.tag = session
        self.first = first
        self.received_at = received_at
        self.size = size
        self.count = len(payloads)

    def __repr__(self) -> str:
        return f"<MessageRun on {self.route.topic} {self.first} to {self.first + self.count - 1}>"

    def part(self, start: int, stop: int) -> MessageRun:
        """Returns those from place `start` to before `stop`."""
        some = self.payloads[start:stop]
        return MessageRun(
            self.route,
            some,
            self.content_type,
            self.tag,
            self.first + start,
            self.received_at,
            sum(map(len, some)),
        )

    def events(self) -> list[Event]:
        """Returns them one by one."""
        route, kind, session, at = self.route, self.content_type, self.tag, self.received_at
        return [
            MessageEvent(route, data, kind, session, sequence, at)
            for sequence, data in enumerate(self.payloads, self.first)
        ]


def message_run(  # noqa: PLR0917 - as MessageEvent
    route: Route,
    identity: StreamIdentity,
    kind: Kind,
    payloads: Sequence[bytes],
    first: int,
    received_at: float,
    format: Format,
) -> MessageRun:
    """Returns the events of messages that came together, by the route that `message_route` made.

    Args:
        route: of the messages' session and topic.
        identity: of their session.
        kind: frame type of all.
        payloads: exact bytes of each; one at least.
        first: number of the first within the session, from 1.
        received_at: Unix seconds.
        format: whether data is the message itself or the older JSON envelope.
    """
    content_type = kind.value
    if format is Format.ENVELOPE:
        payloads = _enveloped(identity, kind, payloads, received_at)
        content_type = "application/json"
    size = sum(map(len, payloads))
    return MessageRun(route, payloads, content_type, identity.session, first, received_at, size)


#: What is queued and published as one thing, and counts as so many events.
Parcel: TypeAlias = Event | MessageRun


def count_events(parcels: Iterable[Parcel]) -> int:
    """Returns how many events there are."""
    return sum([parcel.count for parcel in parcels])  # a list: once per publish call


def each_event(parcels: Iterable[Parcel]) -> list[Event]:
    """Returns the events one by one."""
    events: list[Event] = []
    for parcel in parcels:
        if isinstance(parcel, MessageRun):
            events += parcel.events()
        else:
            events.append(parcel)
    return events


def divided(parcels: Sequence[Parcel], count: int) -> tuple[list[Parcel], list[Parcel]]:
    """Returns the first `count` events and the others; a run is divided where it must be."""
    place = 0
    while count and place < len(parcels) and parcels[place].count <= count:
        count -= parcels[place].count
        place += 1
    front, rest = list(parcels[:place]), list(parcels[place:])
    if count and rest:
        run = rest[0]
        assert isinstance(run, MessageRun)  # noqa: S101 - one event counts one
        front.append(run.part(0, count))
        rest[0] = run.part(count, run.count)
    return front, rest


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """Which session of which connection a message belongs to.

    Attributes:
        connection_id: the connection's id.
        created_at: Unix seconds; tells two connections of one name apart.
        url: redacted.
        session: number of the socket within the connection, from 1.
        owner_epoch: raised whenever another process takes the connection over.
    """

    connection_id: str
    created_at: float
    url: str
    session: int
    owner_epoch: int

    @property
    def id_prefix(self) -> str:
        """The part of `ce-id` that all messages of the session share."""
        return f"{self.connection_id}/{round(self.created_at * 1000)}/{self.session}/"


def message_route(identity: StreamIdentity, topic: Topic) -> Route:
    """Returns the route of a session's messages to a topic, validated by the SDK."""
    attributes = {"specversion": "1.0", "source": SOURCE, "type": MESSAGE_TYPE}
    constant = _validated(attributes | _extensions(identity), id="-")
    return Route(topic, constant, is_message=True, id_prefix=identity.id_prefix)


def marker_route(identity: StreamIdentity, topic: Topic, marker: str) -> Route:
    """Returns the route of an in-stream marker: `started`, `gap` or `ended`."""
    attributes = {
        "specversion": "1.0",
        "source": SOURCE,
        "type": STREAM_TYPE_PREFIX + marker,
        "datacontenttype": "application/json",
    }
    return Route(topic, _validated(attributes | _extensions(identity), id="-"))


def message_event(
    route: Route,
    identity: StreamIdentity,
    message: Message,
    *,
    sequence: int,
    received_at: float,
    format: Format,
) -> Event:
    """Returns the event of one message, by the route that `message_route` made.

    Args:
        route: of the message's session and topic.
        identity: of the message's session.
        message: exact bytes and frame type.
        sequence: number within the session, from 1.
        received_at: Unix seconds.
        format: whether data is the message itself or the older JSON envelope.
    """
    data, content_type = message.data, message.kind.value
    if format is Format.ENVELOPE:
        (data,) = _enveloped(identity, message.kind, (message.data,), received_at)
        content_type = "application/json"
    return MessageEvent(route, data, content_type, identity.session, sequence, received_at)


def marker_event(
    route: Route,
    identity: StreamIdentity,
    *,
    marker: str,
    sequence: int,
    at: float,
    facts: Mapping[str, Any],
) -> Event:
    """Returns an in-stream marker that stands behind message `sequence` of its session."""
    variable = (
        ("ce-id", f"{identity.id_prefix}{sequence}/{_marker_name(marker, facts)}"),
        ("ce-time", timestamp(at)),
        ("ce-sequence", f"{sequence:0{SEQUENCE_DIGITS}d}"),
    )
    return Event(route, json_bytes(facts), variable, identity.session)


def lifecycle_event(
    *,
    topic: Topic,
    type_prefix: str,
    state: str,
    connection_id: str,
    created_at: float,
    number: int,
    at: float,
    data: Mapping[str, Any],
) -> Event:
    """Returns a lifecycle event; equal arguments give an equal `ce-id` and equal bytes.

    Args:
        topic: the lifecycle topic.
        type_prefix: setting `LifecycleTypePrefix`.
        state: connecting, connected, reconnecting, error, degraded or disconnected.
        connection_id: the connection's id.
        created_at: Unix seconds of the connection's creation.
        number: the connection's event counter.
        at: Unix seconds of the change.
        data: JSON members of the event.
    """
    attributes = {
        "specversion": "1.0",
        "source": SOURCE,
        "type": type_prefix + state,
        "datacontenttype": "application/json",
        "subject": f"connection/{connection_id}",
        "id": lifecycle_event_id(connection_id, created_at, number),
    }
    variable = (*_validated(attributes), ("ce-time", timestamp(at)))
    return Event(Route(topic, ()), json_bytes(data), variable, number)


def lifecycle_event_id(connection_id: str, created_at: float, number: int) -> str:
    """Returns the `ce-id` of a lifecycle event."""
    return f"{connection_id}/{round(created_at * 1000)}/event/{number}"


def timestamp(unix_seconds: float) -> str:
    """Returns RFC 3339 in UTC with microseconds."""
    second = int(unix_seconds)
    micros = round((unix_seconds - second) * 1e6)
    if not 0 <= micros < 1_000_000:  # rounded up to the next second, or from before 1970
        second, micros = second + micros // 1_000_000, micros % 1_000_000
    return f"{_second(second)}{micros:06d}Z"


def event_time(event: Parcel) -> float:
    """Returns the `ce-time` of an event as Unix seconds."""
    if isinstance(event, MessageEvent | MessageRun):
        return event.received_at
    return datetime.fromisoformat(dict(event.variable)["ce-time"]).timestamp()


def event_place(event: Event) -> tuple[int, int]:
    """Returns session and sequence of the event of a message or marker."""
    return event.tag, int(dict(event.variable)["ce-sequence"])


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Returns compact JSON in UTF-8, members in the given order."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@lru_cache(maxsize=64)
def _second(unix_seconds: int) -> str:
    """Returns a timestamp up to the fraction; nearly all messages share theirs with others."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def _marker_name(marker: str, facts: Mapping[str, Any]) -> str:
    # A gap that reaches into the session may end where the first marker of it stands.
    return f"{marker}/{SUBSCRIBING}" if facts.get("cause") == SUBSCRIBING else marker


def _extensions(identity: StreamIdentity) -> dict[str, str]:
    return {
        "websocketid": identity.connection_id,
        "websocketurl": identity.url,
        "session": str(identity.session),
        "ownerepoch": str(identity.owner_epoch),
    }


def _enveloped(
    identity: StreamIdentity, kind: Kind, payloads: Iterable[bytes], received_at: float
) -> list[bytes]:
    """Returns the older JSON envelope of each; all but the payload is written once."""
    envelope = json_bytes(
        {
            "WebSocketId": identity.connection_id,
            "WebSocketUrl": identity.url,
            "Timestamp": timestamp(received_at),
            "Payload": "",
            "ContentType": kind.value,
        }
    )
    # From behind: the URL may hold anything.
    head, _, tail = envelope.rpartition(b'"","ContentType"')
    join, encode = b"".join, base64.b64encode
    head, tail = head + b'"', b'","ContentType"' + tail
    return [join((head, encode(data), tail)) for data in payloads]


def _validated(attributes: Mapping[str, str], **stand_ins: str) -> Metadata:
    """Returns the attributes as metadata, once the SDK accepts them with the stand-ins."""
    at = datetime.fromtimestamp(0, UTC)
    CloudEvent({"time": at, **attributes, **stand_ins}, data=b"")
    return _prefixed(attributes.items())


def _prefixed(attributes: Iterable[tuple[str, str]]) -> Metadata:
    return tuple((f"ce-{name}", value) for name, value in attributes)
