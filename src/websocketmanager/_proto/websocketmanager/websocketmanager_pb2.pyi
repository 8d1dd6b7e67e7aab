from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORMAT_UNSPECIFIED: _ClassVar[Format]
    FORMAT_RAW: _ClassVar[Format]
    FORMAT_ENVELOPE: _ClassVar[Format]

class FirstDial(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIRST_DIAL_UNSPECIFIED: _ClassVar[FirstDial]
    FIRST_DIAL_FAIL: _ClassVar[FirstDial]
    FIRST_DIAL_RETRY: _ClassVar[FirstDial]
FORMAT_UNSPECIFIED: Format
FORMAT_RAW: Format
FORMAT_ENVELOPE: Format
FIRST_DIAL_UNSPECIFIED: FirstDial
FIRST_DIAL_FAIL: FirstDial
FIRST_DIAL_RETRY: FirstDial

class ConnectRequest(_message.Message):
    __slots__ = ("url", "auto_reconnect", "tags", "name", "topic", "options")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    URL_FIELD_NUMBER: _ClassVar[int]
    AUTO_RECONNECT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    url: str
    auto_reconnect: bool
    tags: _containers.ScalarMap[str, str]
    name: str
    topic: str
    options: ConnectionOptions
    def __init__(self, url: _Optional[str] = ..., auto_reconnect: _Optional[bool] = ..., tags: _Optional[_Mapping[str, str]] = ..., name: _Optional[str] = ..., topic: _Optional[str] = ..., options: _Optional[_Union[ConnectionOptions, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("id", "status")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: str
    def __init__(self, id: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class ConnectionOptions(_message.Message):
    __slots__ = ("reconnect", "format", "markers", "max_message_bytes", "buffer")
    RECONNECT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MARKERS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    reconnect: ReconnectOptions
    format: Format
    markers: bool
    max_message_bytes: int
    buffer: BufferOptions
    def __init__(self, reconnect: _Optional[_Union[ReconnectOptions, _Mapping]] = ..., format: _Optional[_Union[Format, str]] = ..., markers: _Optional[bool] = ..., max_message_bytes: _Optional[int] = ..., buffer: _Optional[_Union[BufferOptions, _Mapping]] = ...) -> None: ...

class ReconnectOptions(_message.Message):
    __slots__ = ("first_dial", "base_delay_ms", "max_delay_ms", "max_attempts", "stable_after_ms")
    FIRST_DIAL_FIELD_NUMBER: _ClassVar[int]
    BASE_DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    STABLE_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    first_dial: FirstDial
    base_delay_ms: int
    max_delay_ms: int
    max_attempts: int
    stable_after_ms: int
    def __init__(self, first_dial: _Optional[_Union[FirstDial, str]] = ..., base_delay_ms: _Optional[int] = ..., max_delay_ms: _Optional[int] = ..., max_attempts: _Optional[int] = ..., stable_after_ms: _Optional[int] = ...) -> None: ...

class BufferOptions(_message.Message):
    __slots__ = ("max_messages", "max_bytes")
    MAX_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_messages: int
    max_bytes: int
    def __init__(self, max_messages: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class TagFilter(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("filters",)
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedCompositeFieldContainer[TagFilter]
    def __init__(self, filters: _Optional[_Iterable[_Union[TagFilter, _Mapping]]] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("connections",)
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    connections: _containers.RepeatedCompositeFieldContainer[WebSocketConnection]
    def __init__(self, connections: _Optional[_Iterable[_Union[WebSocketConnection, _Mapping]]] = ...) -> None: ...

class WebSocketConnection(_message.Message):
    __slots__ = ("id", "url", "status", "topic", "instance_id", "content_type", "tags", "name", "session", "owner_epoch", "connected_at", "statistics", "created_at", "auto_reconnect", "options", "cause", "next_attempt_at", "degraded")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    OWNER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_AT_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    AUTO_RECONNECT_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_AT_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    id: str
    url: str
    status: str
    topic: str
    instance_id: str
    content_type: str
    tags: _containers.ScalarMap[str, str]
    name: str
    session: int
    owner_epoch: int
    connected_at: str
    statistics: ConnectionStatistics
    created_at: str
    auto_reconnect: bool
    options: ConnectionOptions
    cause: Cause
    next_attempt_at: str
    degraded: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., url: _Optional[str] = ..., status: _Optional[str] = ..., topic: _Optional[str] = ..., instance_id: _Optional[str] = ..., content_type: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., name: _Optional[str] = ..., session: _Optional[int] = ..., owner_epoch: _Optional[int] = ..., connected_at: _Optional[str] = ..., statistics: _Optional[_Union[ConnectionStatistics, _Mapping]] = ..., created_at: _Optional[str] = ..., auto_reconnect: _Optional[bool] = ..., options: _Optional[_Union[ConnectionOptions, _Mapping]] = ..., cause: _Optional[_Union[Cause, _Mapping]] = ..., next_attempt_at: _Optional[str] = ..., degraded: _Optional[_Iterable[str]] = ...) -> None: ...

class Cause(_message.Message):
    __slots__ = ("error_type", "message", "close_code", "close_reason")
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_CODE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_REASON_FIELD_NUMBER: _ClassVar[int]
    error_type: str
    message: str
    close_code: int
    close_reason: str
    def __init__(self, error_type: _Optional[str] = ..., message: _Optional[str] = ..., close_code: _Optional[int] = ..., close_reason: _Optional[str] = ...) -> None: ...

class ConnectionStatistics(_message.Message):
    __slots__ = ("messages_received", "bytes_received", "messages_published", "buffered_messages", "buffered_bytes", "unrouted", "dropped", "messages_sent", "bytes_sent", "reconnects", "last_message_at")
    MESSAGES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    BUFFERED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    BUFFERED_BYTES_FIELD_NUMBER: _ClassVar[int]
    UNROUTED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    RECONNECTS_FIELD_NUMBER: _ClassVar[int]
    LAST_MESSAGE_AT_FIELD_NUMBER: _ClassVar[int]
    messages_received: int
    bytes_received: int
    messages_published: int
    buffered_messages: int
    buffered_bytes: int
    unrouted: int
    dropped: int
    messages_sent: int
    bytes_sent: int
    reconnects: int
    last_message_at: str
    def __init__(self, messages_received: _Optional[int] = ..., bytes_received: _Optional[int] = ..., messages_published: _Optional[int] = ..., buffered_messages: _Optional[int] = ..., buffered_bytes: _Optional[int] = ..., unrouted: _Optional[int] = ..., dropped: _Optional[int] = ..., messages_sent: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., reconnects: _Optional[int] = ..., last_message_at: _Optional[str] = ...) -> None: ...

class DisconnectRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DisconnectResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartPublishRequest(_message.Message):
    __slots__ = ("id", "topic")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    id: str
    topic: str
    def __init__(self, id: _Optional[str] = ..., topic: _Optional[str] = ...) -> None: ...

class StartPublishResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StopPublishRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class StopPublishResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SendRequest(_message.Message):
    __slots__ = ("id", "message", "timeout_ms", "content_type")
    ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    id: str
    message: bytes
    timeout_ms: int
    content_type: str
    def __init__(self, id: _Optional[str] = ..., message: _Optional[bytes] = ..., timeout_ms: _Optional[int] = ..., content_type: _Optional[str] = ...) -> None: ...

class SendResponse(_message.Message):
    __slots__ = ("response",)
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    response: bytes
    def __init__(self, response: _Optional[bytes] = ...) -> None: ...

class SendRawRequest(_message.Message):
    __slots__ = ("id", "message", "content_type")
    ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    id: str
    message: bytes
    content_type: str
    def __init__(self, id: _Optional[str] = ..., message: _Optional[bytes] = ..., content_type: _Optional[str] = ...) -> None: ...

class SendRawResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SetTagRequest(_message.Message):
    __slots__ = ("id", "key", "value")
    ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    id: str
    key: str
    value: str
    def __init__(self, id: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class SetTagResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTagRequest(_message.Message):
    __slots__ = ("id", "key")
    ID_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    id: str
    key: str
    def __init__(self, id: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class GetTagResponse(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: str
    def __init__(self, value: _Optional[str] = ...) -> None: ...

class SetTagsRequest(_message.Message):
    __slots__ = ("id", "tags")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    id: str
    tags: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ...) -> None: ...

class SetTagsResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetTagsRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetTagsResponse(_message.Message):
    __slots__ = ("tags",)
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TAGS_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.ScalarMap[str, str]
    def __init__(self, tags: _Optional[_Mapping[str, str]] = ...) -> None: ...
