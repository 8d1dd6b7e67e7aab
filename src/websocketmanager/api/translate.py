"""Protobuf ↔ domain, pure. What a request does wrong is refused here, all of it at once.

May import the domain, errors and our generated messages; knows neither gRPC nor the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.domain import limits as judge
from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import (
    BufferOptions,
    Cause,
    ConnectionId,
    ConnectionOptions,
    ConnectionSpec,
    ConnectionView,
    FirstDial,
    Format,
    Kind,
    ReconnectOptions,
    Statistics,
    Topic,
)
from websocketmanager.domain.url_policy import parse_url
from websocketmanager.errors import Fault, InvalidArgument

_FORMATS = {
    pb.FORMAT_UNSPECIFIED: Format.RAW,
    pb.FORMAT_RAW: Format.RAW,
    pb.FORMAT_ENVELOPE: Format.ENVELOPE,
}
_FIRST_DIALS = {
    pb.FIRST_DIAL_UNSPECIFIED: FirstDial.FAIL,
    pb.FIRST_DIAL_FAIL: FirstDial.FAIL,
    pb.FIRST_DIAL_RETRY: FirstDial.RETRY,
}
_FORMAT_NUMBERS = {Format.RAW: pb.FORMAT_RAW, Format.ENVELOPE: pb.FORMAT_ENVELOPE}
_FIRST_DIAL_NUMBERS = {
    FirstDial.FAIL: pb.FIRST_DIAL_FAIL,
    FirstDial.RETRY: pb.FIRST_DIAL_RETRY,
}


def connection_spec(request: pb.ConnectRequest, limits: Limits) -> ConnectionSpec:
    """Returns what a `Connect` asks for.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    options, faults = _options(request.options)
    faults = [
        *_url_faults(request.url),
        *judge.tags_faults(request.tags),
        *(judge.name_faults(request.name) if request.name else ()),
        *(judge.topic_faults(request.topic) if request.topic else ()),
        *faults,
        *judge.options_faults(options, auto_reconnect=request.auto_reconnect, limits=limits),
    ]
    _refuse(faults)
    return ConnectionSpec(
        url=request.url,
        auto_reconnect=request.auto_reconnect,
        tags=dict(request.tags),
        name=request.name,
        topic=Topic(request.topic) if request.topic else None,
        options=options,
    )


def connection_id(text: str) -> ConnectionId:
    """Returns the id in its usual spelling.

    Raises:
        InvalidArgument: it is not a UUID.
    """
    _refuse(judge.connection_id_faults(text))
    return ConnectionId(text.lower())


def filters(request: pb.ListRequest) -> tuple[tuple[str, str], ...]:
    """Returns the pairs of key and value that a `List` asks for.

    Raises:
        InvalidArgument: with every fault of every filter.
    """
    if len(request.filters) > judge.MAX_TAGS:
        problem = f"must be at most {judge.MAX_TAGS}, not {len(request.filters)}"
        raise InvalidArgument(Fault("filters", problem))
    faults = []
    for index, wanted in enumerate(request.filters):
        faults += judge.tag_key_faults(wanted.key, f"filters[{index}].key")
        faults += judge.tag_value_faults(wanted.value, f"filters[{index}].value")
    _refuse(faults)
    return tuple((wanted.key, wanted.value) for wanted in request.filters)


def start_publish(request: pb.StartPublishRequest) -> tuple[ConnectionId, Topic]:
    """Returns the connection and the topic.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    _refuse(judge.connection_id_faults(request.id) + judge.topic_faults(request.topic))
    return ConnectionId(request.id.lower()), Topic(request.topic)


def send(request: pb.SendRequest) -> tuple[ConnectionId, bytes, Kind, float | None]:
    """Returns the connection, the message and the seconds to wait, None for the default.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    kind, faults = _kind(request.message, request.content_type)
    timeout_faults = judge.timeout_faults(request.timeout_ms)
    _refuse(judge.connection_id_faults(request.id) + faults + timeout_faults)
    timeout = request.timeout_ms / 1000 if request.timeout_ms else None
    return ConnectionId(request.id.lower()), request.message, kind, timeout


def send_raw(request: pb.SendRawRequest) -> tuple[ConnectionId, bytes, Kind]:
    """Returns the connection and the message.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    kind, faults = _kind(request.message, request.content_type)
    _refuse(judge.connection_id_faults(request.id) + faults)
    return ConnectionId(request.id.lower()), request.message, kind


def tag(request: pb.SetTagRequest) -> tuple[ConnectionId, str, str]:
    """Returns the connection, the key and the value.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    faults = judge.connection_id_faults(request.id) + judge.tag_key_faults(request.key)
    _refuse(faults + judge.tag_value_faults(request.value))
    return ConnectionId(request.id.lower()), request.key, request.value


def tag_key(request: pb.GetTagRequest) -> tuple[ConnectionId, str]:
    """Returns the connection and the key.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    _refuse(judge.connection_id_faults(request.id) + judge.tag_key_faults(request.key))
    return ConnectionId(request.id.lower()), request.key


def tags(request: pb.SetTagsRequest) -> tuple[ConnectionId, Mapping[str, str]]:
    """Returns the connection and its new tags.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    _refuse(judge.connection_id_faults(request.id) + judge.tags_faults(request.tags))
    return ConnectionId(request.id.lower()), dict(request.tags)


def connection_message(view: ConnectionView) -> pb.WebSocketConnection:
    """Returns the view of one connection as `List` answers it."""
    return pb.WebSocketConnection(
        id=view.id,
        url=view.url,
        status=view.status.value,
        topic=view.topic or "",
        instance_id=view.instance_id,
        content_type=view.content_type,
        tags=view.tags,
        name=view.name,
        session=view.session,
        owner_epoch=view.owner_epoch,
        connected_at=_time(view.connected_at),
        statistics=_statistics_message(view.statistics),
        created_at=timestamp(view.created_at),
        auto_reconnect=view.auto_reconnect,
        options=_options_message(view.options),
        cause=_cause_message(view.cause) if view.cause else None,
        next_attempt_at=_time(view.next_attempt_at),
        degraded=view.degraded,
    )


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise InvalidArgument(*faults)


def _url_faults(url: str) -> tuple[Fault, ...]:
    try:
        parse_url(url)
    except InvalidArgument as error:
        return error.faults
    return ()


def _kind(message: bytes, content_type: str) -> tuple[Kind, list[Fault]]:
    """Returns the frame type that the content type asks for, and what forbids it."""
    if faults := judge.content_type_faults(content_type):
        return Kind.BINARY, faults
    media_type = content_type.partition(";")[0].strip().lower()
    is_text = media_type.startswith("text/") or media_type == "application/json"
    if content_type and not is_text:
        return Kind.BINARY, []
    try:
        message.decode()
    except UnicodeDecodeError as error:
        if not content_type:
            return Kind.BINARY, []
        problem = f"is not valid UTF-8 at byte {error.start}, as content_type {media_type} requires"
        return Kind.TEXT, [Fault("message", problem)]
    return Kind.TEXT, []


def _options(message: pb.ConnectionOptions) -> tuple[ConnectionOptions, list[Fault]]:
    """Returns the options, and faults for numbers that no enum of ours has."""
    reconnect, buffer = message.reconnect, message.buffer
    faults = []
    if message.format not in _FORMATS:
        faults.append(Fault("options.format", f"{message.format} is not a Format"))
    if reconnect.first_dial not in _FIRST_DIALS:
        problem = f"{reconnect.first_dial} is not a FirstDial"
        faults.append(Fault("options.reconnect.first_dial", problem))
    options = ConnectionOptions(
        reconnect=ReconnectOptions(
            first_dial=_FIRST_DIALS.get(reconnect.first_dial, FirstDial.FAIL),
            base_delay_ms=reconnect.base_delay_ms,
            max_delay_ms=reconnect.max_delay_ms,
            max_attempts=reconnect.max_attempts,
            stable_after_ms=reconnect.stable_after_ms,
        ),
        format=_FORMATS.get(message.format, Format.RAW),
        markers=message.markers,
        max_message_bytes=message.max_message_bytes,
        buffer=BufferOptions(max_messages=buffer.max_messages, max_bytes=buffer.max_bytes),
    )
    return options, faults


def _options_message(options: ConnectionOptions) -> pb.ConnectionOptions:
    reconnect, buffer = options.reconnect, options.buffer
    return pb.ConnectionOptions(
        reconnect=pb.ReconnectOptions(
            first_dial=_FIRST_DIAL_NUMBERS[reconnect.first_dial],
            base_delay_ms=reconnect.base_delay_ms,
            max_delay_ms=reconnect.max_delay_ms,
            max_attempts=reconnect.max_attempts,
            stable_after_ms=reconnect.stable_after_ms,
        ),
        format=_FORMAT_NUMBERS[options.format],
        markers=options.markers,
        max_message_bytes=options.max_message_bytes,
        buffer=pb.BufferOptions(max_messages=buffer.max_messages, max_bytes=buffer.max_bytes),
    )


def _statistics_message(statistics: Statistics) -> pb.ConnectionStatistics:
    return pb.ConnectionStatistics(
        messages_received=statistics.messages_received,
        bytes_received=statistics.bytes_received,
        messages_published=statistics.messages_published,
        buffered_messages=statistics.buffered_messages,
        buffered_bytes=statistics.buffered_bytes,
        unrouted=statistics.unrouted,
        dropped=statistics.dropped,
        messages_sent=statistics.messages_sent,
        bytes_sent=statistics.bytes_sent,
        reconnects=statistics.reconnects,
        last_message_at=_time(statistics.last_message_at),
    )


def _cause_message(cause: Cause) -> pb.Cause:
    return pb.Cause(
        error_type=cause.error_type,
        message=cause.message,
        close_code=cause.close_code,
        close_reason=cause.close_reason,
    )


def _time(unix_seconds: float | None) -> str:
    return "" if unix_seconds is None else timestamp(unix_seconds)
