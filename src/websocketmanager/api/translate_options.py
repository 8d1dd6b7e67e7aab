"""The options of a connection: protobuf → domain, pure. `options_message` is the way back.

Finds the faults that the domain's words cannot express: numbers that no enum has, lists too long
to be worth reading. Whether values make sense is judged in the domain. May import the domain,
errors and our generated messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api import option_choices as tables
from websocketmanager.domain import handshake_rules
from websocketmanager.domain import option_faults as judge
from websocketmanager.domain.model import (
    BufferOptions,
    ConnectionOptions,
    ReconnectOptions,
)
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    Correlation,
    HandshakeOptions,
    Header,
    Liveness,
    Match,
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
from websocketmanager.errors import Fault

T = TypeVar("T")
M = TypeVar("M")
N = TypeVar("N", bound=int)

_EVERY_DAY = tuple(tables.WEEKDAYS.values())


def connection_options(
    message: pb.ConnectionOptions, path: str = "options"
) -> tuple[ConnectionOptions, list[Fault]]:
    """Returns the options as far as they can be read, and what cannot."""
    reader = _Reader()
    return reader.options(message, path), reader.faults


def explicit_defaults(message: pb.ConnectionOptions) -> frozenset[str]:
    """Returns the choices, as `group.field`, that the message makes even if they are defaults."""
    choices = {
        "format": message.format,
        "reconnect.first_dial": message.reconnect.first_dial,
        "buffer.overflow": message.buffer.overflow,
        "handshake.compression": message.handshake.compression,
        "rotation.overlap": message.rotation.overlap,
    }
    return frozenset(path for path, number in choices.items() if number)


class _Reader:
    """Reads one request's options and remembers the faults."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def options(self, message: pb.ConnectionOptions, path: str) -> ConnectionOptions:
        format_ = self._choice(message.format, tables.FORMATS, "Format", f"{path}.format")
        return ConnectionOptions(
            reconnect=self._reconnect(message.reconnect, f"{path}.reconnect"),
            format=format_,
            markers=message.markers,
            max_message_bytes=message.max_message_bytes,
            buffer=self._buffer(message.buffer, f"{path}.buffer"),
            handshake=self._handshake(message.handshake, f"{path}.handshake"),
            opening=self._opening(message.opening, f"{path}.opening"),
            subscriptions=self._several(
                message.subscriptions,
                judge.MAX_SUBSCRIPTIONS,
                self._subscription,
                f"{path}.subscriptions",
            ),
            liveness=self._liveness(message.liveness, f"{path}.liveness"),
            correlation=Correlation(
                request_pointer=message.correlation.request_pointer,
                reply_pointer=message.correlation.reply_pointer,
            ),
            send_spacing_ms=message.send_spacing_ms,
            exclusive=message.exclusive,
            rotation=self._rotation(message.rotation, f"{path}.rotation"),
        )

    def _reconnect(self, message: pb.ReconnectOptions, path: str) -> ReconnectOptions:
        return ReconnectOptions(
            first_dial=self._choice(
                message.first_dial, tables.FIRST_DIALS, "FirstDial", f"{path}.first_dial"
            ),
            base_delay_ms=message.base_delay_ms,
            max_delay_ms=message.max_delay_ms,
            max_attempts=message.max_attempts,
            stable_after_ms=message.stable_after_ms,
        )

    def _buffer(self, message: pb.BufferOptions, path: str) -> BufferOptions:
        return BufferOptions(
            max_messages=message.max_messages,
            max_bytes=message.max_bytes,
            overflow=self._choice(
                message.overflow, tables.OVERFLOWS, "Overflow", f"{path}.overflow"
            ),
            conflate_pointer=message.conflate_pointer,
            durable=message.durable,
        )

    def _handshake(self, message: pb.HandshakeOptions, path: str) -> HandshakeOptions:
        tls = message.tls
        return HandshakeOptions(
            headers=self._several(
                message.headers, handshake_rules.MAX_HEADERS, self._header, f"{path}.headers"
            ),
            subprotocols=self._several(
                message.subprotocols,
                handshake_rules.MAX_SUBPROTOCOLS,
                self._text,
                f"{path}.subprotocols",
            ),
            origin=message.origin,
            compression=self._choice(
                message.compression, tables.COMPRESSIONS, "Compression", f"{path}.compression"
            ),
            open_timeout_ms=message.open_timeout_ms,
            close_timeout_ms=message.close_timeout_ms,
            proxy=message.proxy,
            tls=TlsOptions(tls.ca_pem, tls.certificate_pem, tls.key_pem, tls.server_name),
        )

    def _text(self, text: str, _: str) -> str:
        return text

    def _header(self, message: pb.Header, _: str) -> Header:
        return Header(message.name, message.value)

    def _opening(self, message: pb.Opening, path: str) -> Opening:
        return Opening(
            steps=self._several(message.steps, judge.MAX_STEPS, self._step, f"{path}.steps"),
            refusals=self._several(
                message.refusals, judge.MAX_REFUSALS, self._refusal, f"{path}.refusals"
            ),
        )

    def _step(self, message: pb.Step, path: str) -> Step:
        return Step(
            send=_payload(message.send) if message.HasField("send") else None,
            expect=self._pattern(message.expect, f"{path}.expect")
            if message.HasField("expect")
            else None,
            timeout_ms=message.timeout_ms,
            forward=message.forward,
        )

    def _refusal(self, message: pb.RefusalRule, path: str) -> RefusalRule:
        return RefusalRule(
            pattern=self._pattern(message.pattern, f"{path}.pattern"),
            advice=self._choice(message.advice, tables.ADVICES, "Advice", f"{path}.advice"),
            name=message.name,
        )

    def _subscription(self, message: pb.Subscription, path: str) -> Subscription:
        return Subscription(
            key=message.key,
            subscribe=_payload(message.subscribe),
            unsubscribe=_payload(message.unsubscribe) if message.HasField("unsubscribe") else None,
            acknowledge=self._pattern(message.acknowledge, f"{path}.acknowledge")
            if message.HasField("acknowledge")
            else None,
        )

    def _pattern(self, message: pb.Pattern, path: str) -> Pattern:
        if message.match == pb.MATCH_UNSPECIFIED:
            match = _obvious_match(message)
        else:
            match = self._choice(message.match, tables.MATCHES, "Match", f"{path}.match")
        return Pattern(
            match=match,
            pointer=message.pointer,
            value=message.value,
            regex=message.regex,
            frame=self._choice(message.frame, tables.FRAMES, "Frame", f"{path}.frame"),
        )

    def _liveness(self, message: pb.Liveness, path: str) -> Liveness:
        return Liveness(
            ping_interval_ms=message.ping_interval_ms,
            ping_timeout_ms=message.ping_timeout_ms,
            read_idle_ms=message.read_idle_ms,
            first_data_ms=message.first_data_ms,
            data_age_ms=message.data_age_ms,
            data=self._pattern(message.data, f"{path}.data") if message.HasField("data") else None,
            heartbeat=self._heartbeat(message.heartbeat, f"{path}.heartbeat")
            if message.HasField("heartbeat")
            else None,
            quiet=self._several(
                message.quiet, judge.MAX_QUIET_WINDOWS, self._quiet_window, f"{path}.quiet"
            ),
        )

    def _heartbeat(self, message: pb.ApplicationHeartbeat, path: str) -> ApplicationHeartbeat:
        return ApplicationHeartbeat(
            send=_payload(message.send),
            interval_ms=message.interval_ms,
            expect=self._pattern(message.expect, f"{path}.expect")
            if message.HasField("expect")
            else None,
            timeout_ms=message.timeout_ms,
        )

    def _quiet_window(self, message: pb.QuietWindow, path: str) -> QuietWindow:
        days = self._several(message.weekdays, len(_EVERY_DAY), self._weekday, f"{path}.weekdays")
        return QuietWindow(
            weekdays=days or _EVERY_DAY,
            start=message.start,
            end=message.end,
            time_zone=message.time_zone or "UTC",
        )

    def _weekday(self, number: pb.Weekday, path: str) -> int:
        return self._choice(number, tables.WEEKDAYS, "Weekday", path)

    def _rotation(self, message: pb.Rotation, path: str) -> Rotation:
        return Rotation(
            max_age_ms=message.max_age_ms,
            jitter_ms=message.jitter_ms,
            notices=self._several(
                message.notices, judge.MAX_NOTICES, self._pattern, f"{path}.notices"
            ),
            data_timeout_ms=message.data_timeout_ms,
            overlap=self._choice(message.overlap, tables.OVERLAPS, "Overlap", f"{path}.overlap"),
            overlap_pointer=message.overlap_pointer,
            overlap_window_ms=message.overlap_window_ms,
        )

    def _choice(self, number: N, table: Mapping[N, T], name: str, path: str) -> T:
        if number not in table:
            article = "an" if name[0] in "AEIOU" else "a"
            self.faults.append(Fault(path, f"{number} is not {article} {name}"))
            return next(iter(table.values()))
        return table[number]

    def _several(
        self, messages: Sequence[M], most: int, read: Callable[[M, str], T], path: str
    ) -> tuple[T, ...]:
        """Reads a list; of one that is too long not more than is allowed."""
        if len(messages) > most:
            # A hostile request may hold a million of them.
            self.faults.append(Fault(path, f"must be at most {most}, not {len(messages)}"))
        return tuple(read(one, f"{path}[{index}]") for index, one in enumerate(messages[:most]))


def _payload(message: pb.Payload) -> Payload:
    return Payload(text=message.text, binary=message.binary)


def _obvious_match(message: pb.Pattern) -> Match:
    if message.regex:
        return Match.REGEX
    return Match.POINTER if message.pointer else Match.ANY
