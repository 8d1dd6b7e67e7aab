"""Protobuf ↔ domain, pure. What a request does wrong is refused here, all of it at once.

May import the domain, errors and our generated messages; knows neither gRPC nor the service.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api.options_message import options_message
from websocketmanager.api.translate_options import connection_options, explicit_defaults
from websocketmanager.domain import limits as judge
from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import (
    Cause,
    ConnectionId,
    ConnectionOptions,
    ConnectionSpec,
    ConnectionView,
    Kind,
    Statistics,
    Topic,
)
from websocketmanager.domain.option_faults import option_faults
from websocketmanager.domain.option_redaction import redacted_options
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.profiles import PARAMETERS_PATH, Profile, filled, merged
from websocketmanager.domain.sharing import shared_options
from websocketmanager.domain.url_template import url_faults
from websocketmanager.errors import Fault, InvalidArgument

NO_PROFILES: Final[Mapping[str, Profile]] = MappingProxyType({})


def connection_spec(
    request: pb.ConnectRequest,
    limits: Limits,
    compile_regex: CompileRegex | None = None,
    profiles: Mapping[str, Profile] = NO_PROFILES,
) -> ConnectionSpec:
    """Returns what a `Connect` asks for.

    Args:
        request: as it came.
        limits: the service's bounds.
        compile_regex: judges regular expressions; None refuses each.
        profiles: those that the request may name.

    Raises:
        InvalidArgument: with every fault of every field.
    """
    options, faults = connection_options(request.options)
    options, profile_faults = _upon_profile(request, options, profiles)
    faults += profile_faults
    secure = not request.url[:3].lower().startswith("ws:")
    faults = [
        *url_faults(request.url),
        *judge.tags_faults(request.tags),
        *(judge.name_faults(request.name) if request.name else ()),
        *(judge.topic_faults(request.topic) if request.topic else ()),
        *faults,
        *judge.options_faults(options, auto_reconnect=request.auto_reconnect, limits=limits),
        *option_faults(options, compile_regex=compile_regex, secure=secure),
    ]
    _refuse(faults)
    return ConnectionSpec(
        url=request.url,
        auto_reconnect=request.auto_reconnect,
        tags=dict(request.tags),
        name=request.name,
        topic=Topic(sys.intern(request.topic)) if request.topic else None,
        options=shared_options(options),
        profile=request.profile,
    )


def _upon_profile(
    request: pb.ConnectRequest, options: ConnectionOptions, profiles: Mapping[str, Profile]
) -> tuple[ConnectionOptions, Sequence[Fault]]:
    """Returns the options upon those of the profile that the request names, if any."""
    given = dict(request.profile_parameters)
    if not request.profile:
        return options, [Fault(PARAMETERS_PATH, "needs profile")] if given else []
    profile = profiles.get(request.profile)
    if profile is None:
        known = f"there are {', '.join(sorted(profiles))}" if profiles else "there are none"
        return options, [Fault("profile", f"is not one of the service's profiles; {known}")]
    below, faults = filled(profile, given)
    if faults:
        return options, faults
    return merged(below, options, explicit_defaults(request.options)), []


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
    """Returns the view of one connection as `List` answers it, without secrets in its options."""
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
        options=options_message(redacted_options(view.options)),
        cause=_cause_message(view.cause) if view.cause else None,
        next_attempt_at=_time(view.next_attempt_at),
        degraded=view.degraded,
        profile=view.profile,
    )


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise InvalidArgument(*faults)


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


def _statistics_message(statistics: Statistics) -> pb.ConnectionStatistics:
    return pb.ConnectionStatistics(
        messages_received=statistics.messages_received,
        bytes_received=statistics.bytes_received,
        messages_published=statistics.messages_published,
        buffered_messages=statistics.buffered_messages,
        buffered_bytes=statistics.buffered_bytes,
        spilled_messages=statistics.spilled_messages,
        spilled_bytes=statistics.spilled_bytes,
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
