"""Errors → gRPC answers, by table: code, sentence and `google.rpc` details.

May import errors and gRPC. A caller's proxy may cut trailers above 8 KiB, so everything here is
bounded: what does not fit is counted instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2, status_pb2

from websocketmanager import errors
from websocketmanager.errors import Fault, InvalidArgument, WebSocketManagerError

DOMAIN = "websocketmanager"
DETAILS_KEY = "grpc-status-details-bin"
#: A sentence of nothing but percent-encoded bytes is three times as long on the wire.
MAX_MESSAGE_BYTES = 1000
#: Base64 makes four thirds of it; with the sentence this stays below 8 KiB.
MAX_DETAILS_BYTES = 3500
_MAX_FAULT_BYTES = 300
_MAX_FACT_BYTES = 256
#: Around the violations: the type's address, tags and lengths.
_PACKING_BYTES = 64
_ELLIPSIS = "…".encode()


@dataclass(frozen=True, slots=True)
class Rule:
    """How one class of errors is answered.

    Attributes:
        code: the gRPC code.
        reason: of the ErrorInfo, in upper snake case.
        facts: attributes of the error that the ErrorInfo carries.
    """

    code: grpc.StatusCode
    reason: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What ends a call: code, sentence and trailing metadata."""

    code: grpc.StatusCode
    message: str
    trailers: tuple[tuple[str, bytes], ...] = ()


#: Our own faults: the caller learns nothing of them, the journal everything.
INTERNAL = Answer(grpc.StatusCode.INTERNAL, "internal error")

RULES: dict[type[WebSocketManagerError], Rule | None] = {
    errors.InvalidArgument: Rule(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    errors.AddressRefused: Rule(
        grpc.StatusCode.PERMISSION_DENIED, "ADDRESS_REFUSED", ("host", "address", "rule")
    ),
    errors.ConnectionNotFound: Rule(
        grpc.StatusCode.NOT_FOUND, "CONNECTION_NOT_FOUND", ("connection_id",)
    ),
    errors.TagNotFound: Rule(grpc.StatusCode.NOT_FOUND, "TAG_NOT_FOUND", ("connection_id", "key")),
    errors.NameInUse: Rule(
        grpc.StatusCode.ALREADY_EXISTS, "NAME_IN_USE", ("name", "connection_id", "fields")
    ),
    errors.NotConnected: Rule(
        grpc.StatusCode.FAILED_PRECONDITION,
        "NOT_CONNECTED",
        ("connection_id", "status", "next_attempt_at"),
    ),
    errors.FirstDialFailed: Rule(
        grpc.StatusCode.UNAVAILABLE, "FIRST_DIAL_FAILED", ("url", "error_type")
    ),
    errors.RotationFailed: Rule(
        grpc.StatusCode.UNAVAILABLE, "ROTATION_FAILED", ("connection_id", "error_type")
    ),
    errors.ServiceUnavailable: Rule(grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE", ("state",)),
    errors.ReplyTimeout: Rule(
        grpc.StatusCode.DEADLINE_EXCEEDED, "REPLY_TIMEOUT", ("connection_id", "timeout_seconds")
    ),
    errors.WriteTimeout: Rule(
        grpc.StatusCode.DEADLINE_EXCEEDED, "WRITE_TIMEOUT", ("connection_id", "timeout_seconds")
    ),
    errors.ConnectionEnded: Rule(
        grpc.StatusCode.UNAVAILABLE, "CONNECTION_ENDED", ("connection_id",)
    ),
    # An operator must provide it; a call repeated before that ends alike.
    errors.SecretMissing: Rule(grpc.StatusCode.FAILED_PRECONDITION, "SECRET_MISSING", ("names",)),
    errors.LimitReached: Rule(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED", ("limit", "maximum")
    ),
    # Another version's record: only an operator can help, trying again does not.
    errors.RecordUnreadable: Rule(
        grpc.StatusCode.FAILED_PRECONDITION, "RECORD_UNREADABLE", ("key",)
    ),
    errors.ApiError: Rule(grpc.StatusCode.UNAVAILABLE, "API_FAILED", ("operation",)),
    errors.ApiUnavailable: Rule(grpc.StatusCode.UNAVAILABLE, "API_UNAVAILABLE", ("operation",)),
    errors.ApiUnauthenticated: Rule(
        grpc.StatusCode.UNAUTHENTICATED, "API_UNAUTHENTICATED", ("operation",)
    ),
    errors.ApiRefused: Rule(grpc.StatusCode.FAILED_PRECONDITION, "API_REFUSED", ("operation",)),
    errors.StateConflict: Rule(grpc.StatusCode.ABORTED, "STATE_CONFLICT", ("operation",)),
    # These end a start; in a call they are faults of ours.
    errors.SettingsInvalid: None,
    errors.InstanceIdInUse: None,
    WebSocketManagerError: None,
}


def answer(error: Exception) -> Answer:
    """Returns how a call that raised the error is answered."""
    rule = next((RULES[kind] for kind in type(error).__mro__ if kind in RULES), None)
    if rule is None:
        return INTERNAL
    faults = error.faults if isinstance(error, InvalidArgument) else ()
    message = _joined(faults) if faults else _clipped(str(error), MAX_MESSAGE_BYTES)
    info = error_details_pb2.ErrorInfo(reason=rule.reason, domain=DOMAIN)
    for name in rule.facts:
        info.metadata[name] = _fact(getattr(error, name))
    if faults:
        info.metadata["fields"] = _fact(tuple(dict.fromkeys(fault.path for fault in faults)))
    status = status_pb2.Status(code=rule.code.value[0], message=message)
    status.details.add().Pack(info)
    if faults:
        status.details.add().Pack(_violations(faults, MAX_DETAILS_BYTES - status.ByteSize()))
    return Answer(rule.code, message, ((DETAILS_KEY, status.SerializeToString()),))


def _joined(faults: Sequence[Fault]) -> str:
    """Returns the faults that fit as one sentence, and how many do not."""
    text = ""
    for index, fault in enumerate(faults):
        more = f"; and {len(faults) - index} more"
        longer = text + "; " * bool(text) + _clipped(str(fault), _MAX_FAULT_BYTES)
        if len(longer.encode()) + len(more) > MAX_MESSAGE_BYTES:
            return text + more
        text = longer
    return text


def _violations(faults: Sequence[Fault], budget_bytes: int) -> error_details_pb2.BadRequest:
    """Returns the faults that fit as field violations."""
    details = error_details_pb2.BadRequest()
    for fault in faults:
        details.field_violations.add(
            field=_clipped(fault.path, _MAX_FACT_BYTES),
            description=_clipped(fault.problem, _MAX_FACT_BYTES),
        )
        if details.ByteSize() + _PACKING_BYTES > budget_bytes:
            del details.field_violations[-1]
            break
    return details


def _fact(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return _clipped(text, _MAX_FACT_BYTES)


def _clipped(text: str, most_bytes: int) -> str:
    """Returns the text, cut to so many bytes of UTF-8 and free of what UTF-8 cannot say."""
    data = text.encode(errors="replace")
    if len(data) > most_bytes:
        data = data[: most_bytes - len(_ELLIPSIS)].decode(errors="ignore").encode() + _ELLIPSIS
    return data.decode()
