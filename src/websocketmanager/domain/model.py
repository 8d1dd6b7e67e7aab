"""Frozen values that every layer speaks in. Imports nothing but the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

ConnectionId = NewType("ConnectionId", str)
InstanceId = NewType("InstanceId", str)
Topic = NewType("Topic", str)


class Status(StrEnum):
    """The wire status of a connection."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTED = "disconnected"


class Kind(StrEnum):
    """The frame type of a message; the value is its content type on the wire."""

    TEXT = "text/plain"
    BINARY = "application/octet-stream"


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


@dataclass(frozen=True, slots=True)
class ReconnectOptions:
    """How a connection comes back. Zero means: the service's default."""

    first_dial: FirstDial = FirstDial.FAIL
    base_delay_ms: int = 0
    max_delay_ms: int = 0
    max_attempts: int = 0
    stable_after_ms: int = 0


@dataclass(frozen=True, slots=True)
class BufferOptions:
    """What may wait between socket and topic. Zero means: the service's default."""

    max_messages: int = 0
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What a caller chose for one connection. Zero means: the service's default."""

    reconnect: ReconnectOptions = field(default_factory=ReconnectOptions)
    format: Format = Format.RAW
    markers: bool = False
    max_message_bytes: int = 0
    buffer: BufferOptions = field(default_factory=BufferOptions)


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """The intent of a `Connect` call, validated."""

    url: str
    auto_reconnect: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    topic: Topic | None = None
    options: ConnectionOptions = field(default_factory=ConnectionOptions)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a connection is not, or was last not, connected."""

    error_type: str
    message: str
    close_code: int = 0
    close_reason: str = ""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since this process took the connection over."""

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
