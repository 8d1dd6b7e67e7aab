"""The options of a connection: domain → protobuf, pure. `translate_options` is the way in.

May import the domain and our generated messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api import option_choices as tables
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    Correlation,
    HandshakeOptions,
    Liveness,
    Opening,
    Pattern,
    Payload,
    QuietWindow,
    RefusalRule,
    Rotation,
    Step,
    Subscription,
    TlsOptions,
)

T = TypeVar("T")
M = TypeVar("M")
N = TypeVar("N", bound=int)

#: What is like here is left out: a list may hold thousands.
_PLAIN = ConnectionOptions()


def _inverse(table: Mapping[N, T]) -> dict[T, N]:
    return {value: number for number, value in table.items()}


_FORMAT_NUMBERS = _inverse(tables.FORMATS)
_FIRST_DIAL_NUMBERS = _inverse(tables.FIRST_DIALS)
_COMPRESSION_NUMBERS = _inverse(tables.COMPRESSIONS)
_MATCH_NUMBERS = _inverse(tables.MATCHES)
_FRAME_NUMBERS = _inverse(tables.FRAMES)
_ADVICE_NUMBERS = _inverse(tables.ADVICES)
_OVERFLOW_NUMBERS = _inverse(tables.OVERFLOWS)
_OVERLAP_NUMBERS = _inverse(tables.OVERLAPS)
_WEEKDAY_NUMBERS = _inverse(tables.WEEKDAYS)


def options_message(options: ConnectionOptions) -> pb.ConnectionOptions:
    """Returns the options as a message; what is at its default is left out where it is new."""
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
        buffer=pb.BufferOptions(
            max_messages=buffer.max_messages,
            max_bytes=buffer.max_bytes,
            overflow=_unless(_PLAIN.buffer.overflow, buffer.overflow, _OVERFLOW_NUMBERS.get),
            conflate_pointer=buffer.conflate_pointer,
            durable=buffer.durable,
        ),
        handshake=_unless(_PLAIN.handshake, options.handshake, _handshake_message),
        opening=_unless(_PLAIN.opening, options.opening, _opening_message),
        subscriptions=map(_subscription_message, options.subscriptions),
        liveness=_unless(_PLAIN.liveness, options.liveness, _liveness_message),
        correlation=_unless(_PLAIN.correlation, options.correlation, _correlation_message),
        send_spacing_ms=options.send_spacing_ms,
        exclusive=options.exclusive,
        rotation=_unless(_PLAIN.rotation, options.rotation, _rotation_message),
    )


def _unless(default: T, value: T, write: Callable[[T], M]) -> M | None:
    return None if value == default else write(value)


def _if_any(value: T | None, write: Callable[[T], M]) -> M | None:
    return None if value is None else write(value)


def _handshake_message(handshake: HandshakeOptions) -> pb.HandshakeOptions:
    return pb.HandshakeOptions(
        headers=[pb.Header(name=one.name, value=one.value) for one in handshake.headers],
        subprotocols=handshake.subprotocols,
        origin=handshake.origin,
        compression=_COMPRESSION_NUMBERS[handshake.compression],
        open_timeout_ms=handshake.open_timeout_ms,
        close_timeout_ms=handshake.close_timeout_ms,
        proxy=handshake.proxy,
        tls=_unless(_PLAIN.handshake.tls, handshake.tls, _tls_message),
    )


def _tls_message(tls: TlsOptions) -> pb.TlsOptions:
    return pb.TlsOptions(
        ca_pem=tls.ca_pem,
        certificate_pem=tls.certificate_pem,
        key_pem=tls.key_pem,
        server_name=tls.server_name,
    )


def _opening_message(opening: Opening) -> pb.Opening:
    return pb.Opening(
        steps=map(_step_message, opening.steps), refusals=map(_refusal_message, opening.refusals)
    )


def _step_message(step: Step) -> pb.Step:
    return pb.Step(
        send=_if_any(step.send, _payload_message),
        expect=_if_any(step.expect, _pattern_message),
        timeout_ms=step.timeout_ms,
        forward=step.forward,
    )


def _refusal_message(rule: RefusalRule) -> pb.RefusalRule:
    return pb.RefusalRule(
        pattern=_pattern_message(rule.pattern), advice=_ADVICE_NUMBERS[rule.advice], name=rule.name
    )


def _subscription_message(subscription: Subscription) -> pb.Subscription:
    return pb.Subscription(
        key=subscription.key,
        subscribe=_payload_message(subscription.subscribe),
        unsubscribe=_if_any(subscription.unsubscribe, _payload_message),
        acknowledge=_if_any(subscription.acknowledge, _pattern_message),
    )


def _payload_message(payload: Payload) -> pb.Payload:
    if payload.kind is Kind.BINARY:
        return pb.Payload(binary=payload.binary)
    return pb.Payload(text=payload.text)


def _pattern_message(pattern: Pattern) -> pb.Pattern:
    return pb.Pattern(
        match=_MATCH_NUMBERS[pattern.match],
        pointer=pattern.pointer,
        value=pattern.value,
        regex=pattern.regex,
        frame=_FRAME_NUMBERS[pattern.frame],
    )


def _liveness_message(liveness: Liveness) -> pb.Liveness:
    return pb.Liveness(
        ping_interval_ms=liveness.ping_interval_ms,
        ping_timeout_ms=liveness.ping_timeout_ms,
        read_idle_ms=liveness.read_idle_ms,
        first_data_ms=liveness.first_data_ms,
        data_age_ms=liveness.data_age_ms,
        data=_if_any(liveness.data, _pattern_message),
        heartbeat=_if_any(liveness.heartbeat, _heartbeat_message),
        quiet=map(_quiet_message, liveness.quiet),
    )


def _heartbeat_message(heartbeat: ApplicationHeartbeat) -> pb.ApplicationHeartbeat:
    return pb.ApplicationHeartbeat(
        send=_payload_message(heartbeat.send),
        interval_ms=heartbeat.interval_ms,
        expect=_if_any(heartbeat.expect, _pattern_message),
        timeout_ms=heartbeat.timeout_ms,
    )


def _quiet_message(window: QuietWindow) -> pb.QuietWindow:
    return pb.QuietWindow(
        weekdays=[_WEEKDAY_NUMBERS[day] for day in window.weekdays],
        start=window.start,
        end=window.end,
        time_zone=window.time_zone,
    )


def _correlation_message(correlation: Correlation) -> pb.Correlation:
    return pb.Correlation(
        request_pointer=correlation.request_pointer, reply_pointer=correlation.reply_pointer
    )


def _rotation_message(rotation: Rotation) -> pb.Rotation:
    return pb.Rotation(
        max_age_ms=rotation.max_age_ms,
        jitter_ms=rotation.jitter_ms,
        notices=map(_pattern_message, rotation.notices),
        data_timeout_ms=rotation.data_timeout_ms,
        overlap=_OVERLAP_NUMBERS[rotation.overlap],
        overlap_pointer=rotation.overlap_pointer,
        overlap_window_ms=rotation.overlap_window_ms,
    )
