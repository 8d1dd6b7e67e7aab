"""Frozen values that every layer speaks in. Imports the standard library and other vocabularies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from websocketmanager.domain.frames import Kind
from websocketmanager.domain.options import (
    Correlation,
    HandshakeOptions,
    Liveness,
    Opening,
    Overflow,
    Rotation,
    Subscription,
)

__all__ = [
    "BufferOptions",
    "Burst",
    "Cause",
    "ConnectionDetail",
    "ConnectionId",
    "ConnectionOptions",
    "ConnectionSpec",
    "ConnectionView",
    "FirstDial",
    "Format",
    "InstanceId",
    "Kind",
    "LifecycleNotice",
    "LiveStatistics",
    "Message",
    "ReconnectOptions",
    "Statistics",
    "Status",
    "TailedMessage",
    "Topic",
    "Transition",
]

ConnectionId = NewType("ConnectionId", str)
InstanceId = NewType("InstanceId", str)
Topic = NewType("Topic", str)


class Status(StrEnum):
    """The wire status of a connection."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTED = "disconnected"


class Format(StrEnum):
    """What an event's data holds."""

    RAW = "raw"
    ENVELOPE = "envelope"


class FirstDial(StrEnum):
    """What a failed first dial means."""

    FAIL = "fail"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Message:
    """One whole WebSocket message, exact bytes."""

    kind: Kind
    data: bytes


@dataclass(slots=True)
class Burst:
    """Messages of one kind that came one after the other.

    Attributes:
        kind: of all.
        payloads: exact bytes, one at least.
    """

    kind: Kind
    payloads: list[bytes]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ReconnectOptions:
    """How a connection comes back. Zero means: the service's default."""

    first_dial: FirstDial = FirstDial.FAIL
    base_delay_ms: int = 0
    max_delay_ms: int = 0
    max_attempts: int = 0
    stable_after_ms: int = 0


@dataclass(frozen=True, slots=True, weakref_slot=True)
class BufferOptions:
    """What may wait between socket and topic. Zero means: the service's default.

    Attributes:
        max_messages: that wait.
        max_bytes: that wait.
        overflow: what happens when there are as many.
        conflate_pointer: RFC 6901: where a message has its key, for CONFLATE.
        durable: whether a message is on the local disk before it counts as received.
    """

    max_messages: int = 0
    max_bytes: int = 0
    overflow: Overflow = Overflow.BLOCK
    conflate_pointer: str = ""
    durable: bool = False

    @property
    def logged(self) -> bool:
        """Whether messages may go to the log on the local disk."""
        return self.durable or self.overflow is Overflow.SPILL


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ConnectionOptions:
    """What a caller chose for one connection. Zero means: the service's default.

    Attributes:
        reconnect: how it comes back.
        format: what an event's data holds.
        markers: whether the stream tells its own beginnings, gaps and ends.
        max_message_bytes: of one message.
        buffer: what may wait between socket and topic.
        handshake: how a socket is opened.
        opening: what is said before a session counts as connected.
        subscriptions: the desired set, in order; keys are unique.
        liveness: how a feed that is open and yet dead is noticed.
        correlation: how `Send` finds its reply.
        send_spacing_ms: between two messages sent, at least; zero: none.
        exclusive: connections with the same text share a credential that the server lets in
            once; empty: none.
        rotation: when a session is replaced before the server ends it.
    """

    reconnect: ReconnectOptions = field(default_factory=ReconnectOptions)
    format: Format = Format.RAW
    markers: bool = False
    max_message_bytes: int = 0
    buffer: BufferOptions = field(default_factory=BufferOptions)
    handshake: HandshakeOptions = field(default_factory=HandshakeOptions)
    opening: Opening = field(default_factory=Opening)
    subscriptions: tuple[Subscription, ...] = ()
    liveness: Liveness = field(default_factory=Liveness)
    correlation: Correlation = field(default_factory=Correlation)
    send_spacing_ms: int = 0
    exclusive: str = ""
    rotation: Rotation = field(default_factory=Rotation)


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """The intent of a `Connect` call, validated.

    `options` are what came of the caller's and of the profile's; `profile` is its name.
    """

    url: str
    auto_reconnect: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    topic: Topic | None = None
    options: ConnectionOptions = field(default_factory=ConnectionOptions)
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a connection is not, or was last not, connected."""

    error_type: str
    message: str
    close_code: int = 0
    close_reason: str = ""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since this process took the connection over.

    `spilled`: on the local disk, and not in the buffer, now.
    """

    messages_received: int = 0
    bytes_received: int = 0
    messages_published: int = 0
    buffered_messages: int = 0
    buffered_bytes: int = 0
    unrouted: int = 0
    dropped: int = 0
    messages_sent: int = 0
    bytes_sent: int = 0
    reconnects: int = 0
    last_message_at: float | None = None
    spilled_messages: int = 0
    spilled_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """What `List` shows of one connection. Times are Unix seconds; `url` is redacted."""

    id: ConnectionId
    url: str
    status: Status
    topic: Topic | None
    instance_id: InstanceId
    content_type: str
    tags: Mapping[str, str]
    name: str
    session: int
    owner_epoch: int
    created_at: float
    connected_at: float | None
    auto_reconnect: bool
    options: ConnectionOptions
    statistics: Statistics
    cause: Cause | None = None
    next_attempt_at: float | None = None
    degraded: tuple[str, ...] = ()
    profile: str = ""


@dataclass(frozen=True, slots=True)
class LiveStatistics:
    """How a connection does at the moment.

    Attributes:
        messages_per_second_10s: received, fading with a time constant of 10 seconds.
        messages_per_second_60s: the same with one minute.
        bytes_per_second_10s: as the messages.
        bytes_per_second_60s: as the messages.
        data_age_seconds: since the last message; None before the first.
        queue_depth: events that wait for the API.
        publish_lag_seconds: since the oldest of them was received; zero when none waits.
        reconnects: dials after the first, in this process.
        sessions: sockets that were opened since the connection was made.
    """

    messages_per_second_10s: float = 0.0
    messages_per_second_60s: float = 0.0
    bytes_per_second_10s: float = 0.0
    bytes_per_second_60s: float = 0.0
    data_age_seconds: float | None = None
    queue_depth: int = 0
    publish_lag_seconds: float = 0.0
    reconnects: int = 0
    sessions: int = 0


@dataclass(frozen=True, slots=True)
class Transition:
    """One lifecycle event in short. `restored`: a degradation that is over."""

    number: int
    at: float
    state: str
    session: int = 0
    attempt: int = 0
    delay_ms: int = 0
    error_type: str = ""
    message: str = ""
    close_code: int = 0
    close_reason: str = ""
    restored: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionDetail:
    """What `Get` shows of one connection; transitions oldest first."""

    view: ConnectionView
    live: LiveStatistics
    transitions: tuple[Transition, ...] = ()
    last_error: Transition | None = None


@dataclass(frozen=True, slots=True)
class LifecycleNotice:
    """One lifecycle event as it is published.

    Attributes:
        connection_id: whose event it is.
        id: its `ce-id`.
        type: its `ce-type`.
        state: the last part of the type.
        number: counts per connection.
        at: Unix seconds.
        data: JSON.
        missed: events before it that its reader wanted and that are no longer known.
    """

    connection_id: ConnectionId
    id: str
    type: str
    state: str
    number: int
    at: float
    data: bytes
    missed: int = 0


@dataclass(frozen=True, slots=True)
class TailedMessage:
    """One message as `Tail` shows it.

    Attributes:
        id: `ce-id` of its event.
        kind: frame type.
        data: the message or its beginning.
        size: bytes of the whole message.
        at: Unix seconds of its receipt.
        session: of the connection.
        sequence: within the session.
        owner_epoch: of the process that received it.
        topic: where it is published, if anywhere.
        skipped: messages before it that this reader was too slow for.
    """

    id: str
    kind: Kind
    data: bytes
    size: int
    at: float
    session: int
    sequence: int
    owner_epoch: int
    topic: Topic | None
    skipped: int = 0
