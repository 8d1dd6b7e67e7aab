from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPRESSION_UNSPECIFIED: _ClassVar[Compression]
    COMPRESSION_NONE: _ClassVar[Compression]
    COMPRESSION_DEFLATE: _ClassVar[Compression]

class Match(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MATCH_UNSPECIFIED: _ClassVar[Match]
    MATCH_ANY: _ClassVar[Match]
    MATCH_POINTER: _ClassVar[Match]
    MATCH_REGEX: _ClassVar[Match]

class Frame(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FRAME_UNSPECIFIED: _ClassVar[Frame]
    FRAME_TEXT: _ClassVar[Frame]
    FRAME_BINARY: _ClassVar[Frame]

class Advice(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADVICE_UNSPECIFIED: _ClassVar[Advice]
    ADVICE_AGAIN: _ClassVar[Advice]
    ADVICE_LATER: _ClassVar[Advice]
    ADVICE_NEVER: _ClassVar[Advice]

class Weekday(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WEEKDAY_UNSPECIFIED: _ClassVar[Weekday]
    WEEKDAY_MONDAY: _ClassVar[Weekday]
    WEEKDAY_TUESDAY: _ClassVar[Weekday]
    WEEKDAY_WEDNESDAY: _ClassVar[Weekday]
    WEEKDAY_THURSDAY: _ClassVar[Weekday]
    WEEKDAY_FRIDAY: _ClassVar[Weekday]
    WEEKDAY_SATURDAY: _ClassVar[Weekday]
    WEEKDAY_SUNDAY: _ClassVar[Weekday]

class Overlap(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OVERLAP_UNSPECIFIED: _ClassVar[Overlap]
    OVERLAP_CUT: _ClassVar[Overlap]
    OVERLAP_POINTER: _ClassVar[Overlap]
    OVERLAP_CONTENT: _ClassVar[Overlap]

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

class Overflow(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OVERFLOW_UNSPECIFIED: _ClassVar[Overflow]
    OVERFLOW_BLOCK: _ClassVar[Overflow]
    OVERFLOW_DROP_OLDEST: _ClassVar[Overflow]
    OVERFLOW_DROP_NEWEST: _ClassVar[Overflow]
    OVERFLOW_CONFLATE: _ClassVar[Overflow]
    OVERFLOW_CLOSE: _ClassVar[Overflow]
    OVERFLOW_SPILL: _ClassVar[Overflow]
COMPRESSION_UNSPECIFIED: Compression
COMPRESSION_NONE: Compression
COMPRESSION_DEFLATE: Compression
MATCH_UNSPECIFIED: Match
MATCH_ANY: Match
MATCH_POINTER: Match
MATCH_REGEX: Match
FRAME_UNSPECIFIED: Frame
FRAME_TEXT: Frame
FRAME_BINARY: Frame
ADVICE_UNSPECIFIED: Advice
ADVICE_AGAIN: Advice
ADVICE_LATER: Advice
ADVICE_NEVER: Advice
WEEKDAY_UNSPECIFIED: Weekday
WEEKDAY_MONDAY: Weekday
WEEKDAY_TUESDAY: Weekday
WEEKDAY_WEDNESDAY: Weekday
WEEKDAY_THURSDAY: Weekday
WEEKDAY_FRIDAY: Weekday
WEEKDAY_SATURDAY: Weekday
WEEKDAY_SUNDAY: Weekday
OVERLAP_UNSPECIFIED: Overlap
OVERLAP_CUT: Overlap
OVERLAP_POINTER: Overlap
OVERLAP_CONTENT: Overlap
FORMAT_UNSPECIFIED: Format
FORMAT_RAW: Format
FORMAT_ENVELOPE: Format
FIRST_DIAL_UNSPECIFIED: FirstDial
FIRST_DIAL_FAIL: FirstDial
FIRST_DIAL_RETRY: FirstDial
OVERFLOW_UNSPECIFIED: Overflow
OVERFLOW_BLOCK: Overflow
OVERFLOW_DROP_OLDEST: Overflow
OVERFLOW_DROP_NEWEST: Overflow
OVERFLOW_CONFLATE: Overflow
OVERFLOW_CLOSE: Overflow
OVERFLOW_SPILL: Overflow

class ConnectRequest(_message.Message):
    __slots__ = ("url", "auto_reconnect", "tags", "name", "topic", "options", "profile", "profile_parameters")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ProfileParametersEntry(_message.Message):
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
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PROFILE_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    url: str
    auto_reconnect: bool
    tags: _containers.ScalarMap[str, str]
    name: str
    topic: str
    options: ConnectionOptions
    profile: str
    profile_parameters: _containers.ScalarMap[str, str]
    def __init__(self, url: _Optional[str] = ..., auto_reconnect: _Optional[bool] = ..., tags: _Optional[_Mapping[str, str]] = ..., name: _Optional[str] = ..., topic: _Optional[str] = ..., options: _Optional[_Union[ConnectionOptions, _Mapping]] = ..., profile: _Optional[str] = ..., profile_parameters: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("id", "status")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: str
    def __init__(self, id: _Optional[str] = ..., status: _Optional[str] = ...) -> None: ...

class ConnectionOptions(_message.Message):
    __slots__ = ("reconnect", "format", "markers", "max_message_bytes", "buffer", "handshake", "opening", "subscriptions", "liveness", "correlation", "send_spacing_ms", "exclusive", "rotation")
    RECONNECT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MARKERS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUFFER_FIELD_NUMBER: _ClassVar[int]
    HANDSHAKE_FIELD_NUMBER: _ClassVar[int]
    OPENING_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    LIVENESS_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_FIELD_NUMBER: _ClassVar[int]
    SEND_SPACING_MS_FIELD_NUMBER: _ClassVar[int]
    EXCLUSIVE_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    reconnect: ReconnectOptions
    format: Format
    markers: bool
    max_message_bytes: int
    buffer: BufferOptions
    handshake: HandshakeOptions
    opening: Opening
    subscriptions: _containers.RepeatedCompositeFieldContainer[Subscription]
    liveness: Liveness
    correlation: Correlation
    send_spacing_ms: int
    exclusive: str
    rotation: Rotation
    def __init__(self, reconnect: _Optional[_Union[ReconnectOptions, _Mapping]] = ..., format: _Optional[_Union[Format, str]] = ..., markers: _Optional[bool] = ..., max_message_bytes: _Optional[int] = ..., buffer: _Optional[_Union[BufferOptions, _Mapping]] = ..., handshake: _Optional[_Union[HandshakeOptions, _Mapping]] = ..., opening: _Optional[_Union[Opening, _Mapping]] = ..., subscriptions: _Optional[_Iterable[_Union[Subscription, _Mapping]]] = ..., liveness: _Optional[_Union[Liveness, _Mapping]] = ..., correlation: _Optional[_Union[Correlation, _Mapping]] = ..., send_spacing_ms: _Optional[int] = ..., exclusive: _Optional[str] = ..., rotation: _Optional[_Union[Rotation, _Mapping]] = ...) -> None: ...

class HandshakeOptions(_message.Message):
    __slots__ = ("headers", "subprotocols", "origin", "compression", "open_timeout_ms", "close_timeout_ms", "proxy", "tls")
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    SUBPROTOCOLS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    OPEN_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    PROXY_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    subprotocols: _containers.RepeatedScalarFieldContainer[str]
    origin: str
    compression: Compression
    open_timeout_ms: int
    close_timeout_ms: int
    proxy: str
    tls: TlsOptions
    def __init__(self, headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., subprotocols: _Optional[_Iterable[str]] = ..., origin: _Optional[str] = ..., compression: _Optional[_Union[Compression, str]] = ..., open_timeout_ms: _Optional[int] = ..., close_timeout_ms: _Optional[int] = ..., proxy: _Optional[str] = ..., tls: _Optional[_Union[TlsOptions, _Mapping]] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class TlsOptions(_message.Message):
    __slots__ = ("ca_pem", "certificate_pem", "key_pem", "server_name")
    CA_PEM_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_PEM_FIELD_NUMBER: _ClassVar[int]
    KEY_PEM_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    ca_pem: str
    certificate_pem: str
    key_pem: str
    server_name: str
    def __init__(self, ca_pem: _Optional[str] = ..., certificate_pem: _Optional[str] = ..., key_pem: _Optional[str] = ..., server_name: _Optional[str] = ...) -> None: ...

class Opening(_message.Message):
    __slots__ = ("steps", "refusals")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    refusals: _containers.RepeatedCompositeFieldContainer[RefusalRule]
    def __init__(self, steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[RefusalRule, _Mapping]]] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("send", "expect", "timeout_ms", "forward")
    SEND_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    send: Payload
    expect: Pattern
    timeout_ms: int
    forward: bool
    def __init__(self, send: _Optional[_Union[Payload, _Mapping]] = ..., expect: _Optional[_Union[Pattern, _Mapping]] = ..., timeout_ms: _Optional[int] = ..., forward: _Optional[bool] = ...) -> None: ...

class Payload(_message.Message):
    __slots__ = ("text", "binary")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BINARY_FIELD_NUMBER: _ClassVar[int]
    text: str
    binary: bytes
    def __init__(self, text: _Optional[str] = ..., binary: _Optional[bytes] = ...) -> None: ...

class Pattern(_message.Message):
    __slots__ = ("match", "pointer", "value", "regex", "frame")
    MATCH_FIELD_NUMBER: _ClassVar[int]
    POINTER_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REGEX_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    match: Match
    pointer: str
    value: str
    regex: str
    frame: Frame
    def __init__(self, match: _Optional[_Union[Match, str]] = ..., pointer: _Optional[str] = ..., value: _Optional[str] = ..., regex: _Optional[str] = ..., frame: _Optional[_Union[Frame, str]] = ...) -> None: ...

class RefusalRule(_message.Message):
    __slots__ = ("pattern", "advice", "name")
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    ADVICE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    pattern: Pattern
    advice: Advice
    name: str
    def __init__(self, pattern: _Optional[_Union[Pattern, _Mapping]] = ..., advice: _Optional[_Union[Advice, str]] = ..., name: _Optional[str] = ...) -> None: ...

class Subscription(_message.Message):
    __slots__ = ("key", "subscribe", "unsubscribe", "acknowledge")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    UNSUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGE_FIELD_NUMBER: _ClassVar[int]
    key: str
    subscribe: Payload
    unsubscribe: Payload
    acknowledge: Pattern
    def __init__(self, key: _Optional[str] = ..., subscribe: _Optional[_Union[Payload, _Mapping]] = ..., unsubscribe: _Optional[_Union[Payload, _Mapping]] = ..., acknowledge: _Optional[_Union[Pattern, _Mapping]] = ...) -> None: ...

class Liveness(_message.Message):
    __slots__ = ("ping_interval_ms", "ping_timeout_ms", "read_idle_ms", "first_data_ms", "data_age_ms", "data", "heartbeat", "quiet")
    PING_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    PING_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    READ_IDLE_MS_FIELD_NUMBER: _ClassVar[int]
    FIRST_DATA_MS_FIELD_NUMBER: _ClassVar[int]
    DATA_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    QUIET_FIELD_NUMBER: _ClassVar[int]
    ping_interval_ms: int
    ping_timeout_ms: int
    read_idle_ms: int
    first_data_ms: int
    data_age_ms: int
    data: Pattern
    heartbeat: ApplicationHeartbeat
    quiet: _containers.RepeatedCompositeFieldContainer[QuietWindow]
    def __init__(self, ping_interval_ms: _Optional[int] = ..., ping_timeout_ms: _Optional[int] = ..., read_idle_ms: _Optional[int] = ..., first_data_ms: _Optional[int] = ..., data_age_ms: _Optional[int] = ..., data: _Optional[_Union[Pattern, _Mapping]] = ..., heartbeat: _Optional[_Union[ApplicationHeartbeat, _Mapping]] = ..., quiet: _Optional[_Iterable[_Union[QuietWindow, _Mapping]]] = ...) -> None: ...

class ApplicationHeartbeat(_message.Message):
    __slots__ = ("send", "interval_ms", "expect", "timeout_ms")
    SEND_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    EXPECT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    send: Payload
    interval_ms: int
    expect: Pattern
    timeout_ms: int
    def __init__(self, send: _Optional[_Union[Payload, _Mapping]] = ..., interval_ms: _Optional[int] = ..., expect: _Optional[_Union[Pattern, _Mapping]] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class QuietWindow(_message.Message):
    __slots__ = ("weekdays", "start", "end", "time_zone")
    WEEKDAYS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    weekdays: _containers.RepeatedScalarFieldContainer[Weekday]
    start: str
    end: str
    time_zone: str
    def __init__(self, weekdays: _Optional[_Iterable[_Union[Weekday, str]]] = ..., start: _Optional[str] = ..., end: _Optional[str] = ..., time_zone: _Optional[str] = ...) -> None: ...

class Correlation(_message.Message):
    __slots__ = ("request_pointer", "reply_pointer")
    REQUEST_POINTER_FIELD_NUMBER: _ClassVar[int]
    REPLY_POINTER_FIELD_NUMBER: _ClassVar[int]
    request_pointer: str
    reply_pointer: str
    def __init__(self, request_pointer: _Optional[str] = ..., reply_pointer: _Optional[str] = ...) -> None: ...

class Rotation(_message.Message):
    __slots__ = ("max_age_ms", "jitter_ms", "notices", "data_timeout_ms", "overlap", "overlap_pointer", "overlap_window_ms")
    MAX_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    JITTER_MS_FIELD_NUMBER: _ClassVar[int]
    NOTICES_FIELD_NUMBER: _ClassVar[int]
    DATA_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_POINTER_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_WINDOW_MS_FIELD_NUMBER: _ClassVar[int]
    max_age_ms: int
    jitter_ms: int
    notices: _containers.RepeatedCompositeFieldContainer[Pattern]
    data_timeout_ms: int
    overlap: Overlap
    overlap_pointer: str
    overlap_window_ms: int
    def __init__(self, max_age_ms: _Optional[int] = ..., jitter_ms: _Optional[int] = ..., notices: _Optional[_Iterable[_Union[Pattern, _Mapping]]] = ..., data_timeout_ms: _Optional[int] = ..., overlap: _Optional[_Union[Overlap, str]] = ..., overlap_pointer: _Optional[str] = ..., overlap_window_ms: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("max_messages", "max_bytes", "overflow", "conflate_pointer", "durable")
    MAX_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    OVERFLOW_FIELD_NUMBER: _ClassVar[int]
    CONFLATE_POINTER_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    max_messages: int
    max_bytes: int
    overflow: Overflow
    conflate_pointer: str
    durable: bool
    def __init__(self, max_messages: _Optional[int] = ..., max_bytes: _Optional[int] = ..., overflow: _Optional[_Union[Overflow, str]] = ..., conflate_pointer: _Optional[str] = ..., durable: _Optional[bool] = ...) -> None: ...

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
    __slots__ = ("id", "url", "status", "topic", "instance_id", "content_type", "tags", "name", "session", "owner_epoch", "connected_at", "statistics", "created_at", "auto_reconnect", "options", "cause", "next_attempt_at", "degraded", "profile")
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
    PROFILE_FIELD_NUMBER: _ClassVar[int]
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
    profile: str
    def __init__(self, id: _Optional[str] = ..., url: _Optional[str] = ..., status: _Optional[str] = ..., topic: _Optional[str] = ..., instance_id: _Optional[str] = ..., content_type: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., name: _Optional[str] = ..., session: _Optional[int] = ..., owner_epoch: _Optional[int] = ..., connected_at: _Optional[str] = ..., statistics: _Optional[_Union[ConnectionStatistics, _Mapping]] = ..., created_at: _Optional[str] = ..., auto_reconnect: _Optional[bool] = ..., options: _Optional[_Union[ConnectionOptions, _Mapping]] = ..., cause: _Optional[_Union[Cause, _Mapping]] = ..., next_attempt_at: _Optional[str] = ..., degraded: _Optional[_Iterable[str]] = ..., profile: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("messages_received", "bytes_received", "messages_published", "buffered_messages", "buffered_bytes", "unrouted", "dropped", "messages_sent", "bytes_sent", "reconnects", "last_message_at", "spilled_messages", "spilled_bytes")
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
    SPILLED_MESSAGES_FIELD_NUMBER: _ClassVar[int]
    SPILLED_BYTES_FIELD_NUMBER: _ClassVar[int]
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
    spilled_messages: int
    spilled_bytes: int
    def __init__(self, messages_received: _Optional[int] = ..., bytes_received: _Optional[int] = ..., messages_published: _Optional[int] = ..., buffered_messages: _Optional[int] = ..., buffered_bytes: _Optional[int] = ..., unrouted: _Optional[int] = ..., dropped: _Optional[int] = ..., messages_sent: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., reconnects: _Optional[int] = ..., last_message_at: _Optional[str] = ..., spilled_messages: _Optional[int] = ..., spilled_bytes: _Optional[int] = ...) -> None: ...

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

class GetRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("connection", "statistics", "transitions", "last_error")
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    connection: WebSocketConnection
    statistics: LiveStatistics
    transitions: _containers.RepeatedCompositeFieldContainer[Transition]
    last_error: Transition
    def __init__(self, connection: _Optional[_Union[WebSocketConnection, _Mapping]] = ..., statistics: _Optional[_Union[LiveStatistics, _Mapping]] = ..., transitions: _Optional[_Iterable[_Union[Transition, _Mapping]]] = ..., last_error: _Optional[_Union[Transition, _Mapping]] = ...) -> None: ...

class LiveStatistics(_message.Message):
    __slots__ = ("messages_per_second_10s", "messages_per_second_60s", "bytes_per_second_10s", "bytes_per_second_60s", "data_age_ms", "queue_depth", "publish_lag_ms", "reconnects", "sessions")
    MESSAGES_PER_SECOND_10S_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_PER_SECOND_60S_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_10S_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_60S_FIELD_NUMBER: _ClassVar[int]
    DATA_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_LAG_MS_FIELD_NUMBER: _ClassVar[int]
    RECONNECTS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    messages_per_second_10s: float
    messages_per_second_60s: float
    bytes_per_second_10s: float
    bytes_per_second_60s: float
    data_age_ms: int
    queue_depth: int
    publish_lag_ms: int
    reconnects: int
    sessions: int
    def __init__(self, messages_per_second_10s: _Optional[float] = ..., messages_per_second_60s: _Optional[float] = ..., bytes_per_second_10s: _Optional[float] = ..., bytes_per_second_60s: _Optional[float] = ..., data_age_ms: _Optional[int] = ..., queue_depth: _Optional[int] = ..., publish_lag_ms: _Optional[int] = ..., reconnects: _Optional[int] = ..., sessions: _Optional[int] = ...) -> None: ...

class Transition(_message.Message):
    __slots__ = ("event", "time", "state", "session", "attempt", "delay_ms", "error_type", "message", "close_code", "close_reason", "restored")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_CODE_FIELD_NUMBER: _ClassVar[int]
    CLOSE_REASON_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FIELD_NUMBER: _ClassVar[int]
    event: int
    time: str
    state: str
    session: int
    attempt: int
    delay_ms: int
    error_type: str
    message: str
    close_code: int
    close_reason: str
    restored: bool
    def __init__(self, event: _Optional[int] = ..., time: _Optional[str] = ..., state: _Optional[str] = ..., session: _Optional[int] = ..., attempt: _Optional[int] = ..., delay_ms: _Optional[int] = ..., error_type: _Optional[str] = ..., message: _Optional[str] = ..., close_code: _Optional[int] = ..., close_reason: _Optional[str] = ..., restored: _Optional[bool] = ...) -> None: ...

class UpdateRequest(_message.Message):
    __slots__ = ("id", "topic", "tags", "subscriptions")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    topic: str
    tags: Tags
    subscriptions: SubscriptionsChange
    def __init__(self, id: _Optional[str] = ..., topic: _Optional[str] = ..., tags: _Optional[_Union[Tags, _Mapping]] = ..., subscriptions: _Optional[_Union[SubscriptionsChange, _Mapping]] = ...) -> None: ...

class Tags(_message.Message):
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

class SubscriptionsChange(_message.Message):
    __slots__ = ("set", "add", "remove")
    SET_FIELD_NUMBER: _ClassVar[int]
    ADD_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    set: SubscriptionSet
    add: _containers.RepeatedCompositeFieldContainer[Subscription]
    remove: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, set: _Optional[_Union[SubscriptionSet, _Mapping]] = ..., add: _Optional[_Iterable[_Union[Subscription, _Mapping]]] = ..., remove: _Optional[_Iterable[str]] = ...) -> None: ...

class SubscriptionSet(_message.Message):
    __slots__ = ("subscriptions",)
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    subscriptions: _containers.RepeatedCompositeFieldContainer[Subscription]
    def __init__(self, subscriptions: _Optional[_Iterable[_Union[Subscription, _Mapping]]] = ...) -> None: ...

class UpdateResponse(_message.Message):
    __slots__ = ("connection",)
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    connection: WebSocketConnection
    def __init__(self, connection: _Optional[_Union[WebSocketConnection, _Mapping]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("id", "filters", "after_event")
    ID_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    AFTER_EVENT_FIELD_NUMBER: _ClassVar[int]
    id: str
    filters: _containers.RepeatedCompositeFieldContainer[TagFilter]
    after_event: int
    def __init__(self, id: _Optional[str] = ..., filters: _Optional[_Iterable[_Union[TagFilter, _Mapping]]] = ..., after_event: _Optional[int] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("connection_id", "id", "type", "state", "event", "time", "data", "missed")
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    connection_id: str
    id: str
    type: str
    state: str
    event: int
    time: str
    data: str
    missed: int
    def __init__(self, connection_id: _Optional[str] = ..., id: _Optional[str] = ..., type: _Optional[str] = ..., state: _Optional[str] = ..., event: _Optional[int] = ..., time: _Optional[str] = ..., data: _Optional[str] = ..., missed: _Optional[int] = ...) -> None: ...

class TailRequest(_message.Message):
    __slots__ = ("id", "max_message_bytes")
    ID_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    id: str
    max_message_bytes: int
    def __init__(self, id: _Optional[str] = ..., max_message_bytes: _Optional[int] = ...) -> None: ...

class TailResponse(_message.Message):
    __slots__ = ("id", "data", "content_type", "time", "session", "sequence", "owner_epoch", "size", "topic", "skipped")
    ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OWNER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    id: str
    data: bytes
    content_type: str
    time: str
    session: int
    sequence: int
    owner_epoch: int
    size: int
    topic: str
    skipped: int
    def __init__(self, id: _Optional[str] = ..., data: _Optional[bytes] = ..., content_type: _Optional[str] = ..., time: _Optional[str] = ..., session: _Optional[int] = ..., sequence: _Optional[int] = ..., owner_epoch: _Optional[int] = ..., size: _Optional[int] = ..., topic: _Optional[str] = ..., skipped: _Optional[int] = ...) -> None: ...

class RotateRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RotateResponse(_message.Message):
    __slots__ = ("connection",)
    CONNECTION_FIELD_NUMBER: _ClassVar[int]
    connection: WebSocketConnection
    def __init__(self, connection: _Optional[_Union[WebSocketConnection, _Mapping]] = ...) -> None: ...

class TestConnectionRequest(_message.Message):
    __slots__ = ("url", "options", "profile", "profile_parameters")
    class ProfileParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    URL_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    PROFILE_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    url: str
    options: ConnectionOptions
    profile: str
    profile_parameters: _containers.ScalarMap[str, str]
    def __init__(self, url: _Optional[str] = ..., options: _Optional[_Union[ConnectionOptions, _Mapping]] = ..., profile: _Optional[str] = ..., profile_parameters: _Optional[_Mapping[str, str]] = ...) -> None: ...

class TestConnectionResponse(_message.Message):
    __slots__ = ("steps", "ok")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    OK_FIELD_NUMBER: _ClassVar[int]
    steps: _containers.RepeatedCompositeFieldContainer[TestStep]
    ok: bool
    def __init__(self, steps: _Optional[_Iterable[_Union[TestStep, _Mapping]]] = ..., ok: _Optional[bool] = ...) -> None: ...

class TestStep(_message.Message):
    __slots__ = ("step", "outcome", "duration_ms", "detail", "error_type", "error_message")
    STEP_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    step: str
    outcome: str
    duration_ms: float
    detail: str
    error_type: str
    error_message: str
    def __init__(self, step: _Optional[str] = ..., outcome: _Optional[str] = ..., duration_ms: _Optional[float] = ..., detail: _Optional[str] = ..., error_type: _Optional[str] = ..., error_message: _Optional[str] = ...) -> None: ...
