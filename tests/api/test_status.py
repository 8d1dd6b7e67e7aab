"""The error table: complete, and every answer within what a trailer may hold."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from tests.api.face import detail
from websocketmanager import errors
from websocketmanager.api import status
from websocketmanager.errors import Fault, InvalidArgument, WebSocketManagerError

Code = grpc.StatusCode

#: Every error that a call may end with: code, reason and facts as a caller sees them.
TABLE: list[tuple[WebSocketManagerError, Code, str, dict[str, str]]] = [
    (
        errors.InvalidArgument(Fault("url", "must not be empty"), Fault("name", "is bad")),
        Code.INVALID_ARGUMENT,
        "INVALID_ARGUMENT",
        {"fields": "url,name"},
    ),
    (
        errors.AddressRefused(host="db.local", address="10.0.0.7", rule="private"),
        Code.PERMISSION_DENIED,
        "ADDRESS_REFUSED",
        {"host": "db.local", "address": "10.0.0.7", "rule": "private"},
    ),
    (
        errors.ConnectionNotFound("c"),
        Code.NOT_FOUND,
        "CONNECTION_NOT_FOUND",
        {"connection_id": "c"},
    ),
    (
        errors.TagNotFound("c", "k"),
        Code.NOT_FOUND,
        "TAG_NOT_FOUND",
        {"connection_id": "c", "key": "k"},
    ),
    (
        errors.NameInUse(name="n", connection_id="c", fields=["url", "options.format"]),
        Code.ALREADY_EXISTS,
        "NAME_IN_USE",
        {"name": "n", "connection_id": "c", "fields": "url,options.format"},
    ),
    (
        errors.NotConnected(connection_id="c", status="reconnecting", next_attempt_at="2023-11-14"),
        Code.FAILED_PRECONDITION,
        "NOT_CONNECTED",
        {"connection_id": "c", "status": "reconnecting", "next_attempt_at": "2023-11-14"},
    ),
    (
        errors.FirstDialFailed(url="ws://h/", error_type="dns_failed", problem="no such host"),
        Code.UNAVAILABLE,
        "FIRST_DIAL_FAILED",
        {"url": "ws://h/", "error_type": "dns_failed"},
    ),
    (
        errors.RotationFailed(connection_id="c", error_type="tls_failed", problem="why"),
        Code.UNAVAILABLE,
        "ROTATION_FAILED",
        {"connection_id": "c", "error_type": "tls_failed"},
    ),
    (
        errors.ServiceUnavailable("recovering"),
        Code.UNAVAILABLE,
        "SERVICE_UNAVAILABLE",
        {"state": "recovering"},
    ),
    (
        errors.ReplyTimeout(connection_id="c", timeout_seconds=2.5),
        Code.DEADLINE_EXCEEDED,
        "REPLY_TIMEOUT",
        {"connection_id": "c", "timeout_seconds": "2.5"},
    ),
    (
        errors.WriteTimeout(connection_id="c", timeout_seconds=10.0),
        Code.DEADLINE_EXCEEDED,
        "WRITE_TIMEOUT",
        {"connection_id": "c", "timeout_seconds": "10.0"},
    ),
    (
        errors.ConnectionEnded(connection_id="c", problem="closed"),
        Code.UNAVAILABLE,
        "CONNECTION_ENDED",
        {"connection_id": "c"},
    ),
    (
        errors.SecretMissing({"A": "is empty", "B": "is nowhere"}),
        Code.FAILED_PRECONDITION,
        "SECRET_MISSING",
        {"names": "A,B"},
    ),
    (
        errors.LimitReached(limit="connections", maximum=20000),
        Code.RESOURCE_EXHAUSTED,
        "LIMIT_REACHED",
        {"limit": "connections", "maximum": "20000"},
    ),
    (
        errors.RecordUnreadable(key="k", problem="schema 9"),
        Code.FAILED_PRECONDITION,
        "RECORD_UNREADABLE",
        {"key": "k"},
    ),
    (errors.ApiError("S.R", "no"), Code.UNAVAILABLE, "API_FAILED", {"operation": "S.R"}),
    (
        errors.ApiUnavailable("S.R", "no"),
        Code.UNAVAILABLE,
        "API_UNAVAILABLE",
        {"operation": "S.R"},
    ),
    (
        errors.ApiUnauthenticated("S.R", "no"),
        Code.UNAUTHENTICATED,
        "API_UNAUTHENTICATED",
        {"operation": "S.R"},
    ),
    (
        errors.ApiRefused("S.R", "no"),
        Code.FAILED_PRECONDITION,
        "API_REFUSED",
        {"operation": "S.R"},
    ),
    (errors.StateConflict("S.R", "no"), Code.ABORTED, "STATE_CONFLICT", {"operation": "S.R"}),
]

#: Ours alone: a caller learns nothing.
OURS: list[Exception] = [
    errors.SettingsInvalid(Fault("HttpPort", "is no number")),
    errors.InstanceIdInUse(instance_id="i", address="a"),
    WebSocketManagerError("bare"),
    RuntimeError("secret"),
    KeyError("secret"),
    TimeoutError(),
]


def subclasses(base: type[WebSocketManagerError]) -> Iterator[type[WebSocketManagerError]]:
    yield base
    for child in base.__subclasses__():
        yield from subclasses(child)


def info(answer: status.Answer) -> error_details_pb2.ErrorInfo:
    return detail(whole(answer), error_details_pb2.ErrorInfo())


def whole(answer: status.Answer) -> status_pb2.Status:
    ((key, value),) = answer.trailers
    assert key == "grpc-status-details-bin"
    return status_pb2.Status.FromString(value)


def violations(answer: status.Answer) -> list[tuple[str, str]]:
    found = detail(whole(answer), error_details_pb2.BadRequest())
    return [(violation.field, violation.description) for violation in found.field_violations]


def wire_bytes(answer: status.Answer) -> int:
    """Returns what the trailers weigh as HTTP/2 counts them (RFC 9113 §6.5.2)."""
    plain = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
    sentence = urllib.parse.quote(answer.message, safe=plain)
    entries = [("grpc-status", "13"), ("grpc-message", sentence)]
    entries += [(key, base64.b64encode(value).decode()) for key, value in answer.trailers]
    return sum(len(key) + len(value) + 32 for key, value in entries)


def test_every_error_class_has_a_rule_and_a_row_here() -> None:
    every = {
        kind for kind in subclasses(WebSocketManagerError) if kind.__module__ == errors.__name__
    }
    assert set(status.RULES) == every
    assert {type(row[0]) for row in TABLE} | {type(error) for error in OURS} >= every


@pytest.mark.parametrize(
    ("error", "code", "reason", "facts"), TABLE, ids=lambda value: str(value)[:30]
)
def test_table(
    error: WebSocketManagerError, code: Code, reason: str, facts: dict[str, str]
) -> None:
    answer = status.answer(error)
    assert answer.code is code
    assert answer.message == str(error)
    assert whole(answer).code == code.value[0]
    assert whole(answer).message == str(error)
    assert info(answer).reason == reason
    assert info(answer).domain == "websocketmanager"
    assert dict(info(answer).metadata) == facts


def test_reasons_are_distinct_and_in_upper_snake_case() -> None:
    reasons = [rule.reason for rule in status.RULES.values() if rule]
    assert len(set(reasons)) == len(reasons)
    assert all(reason.isupper() and reason.replace("_", "").isalpha() for reason in reasons)


def test_a_new_subclass_is_answered_like_its_base() -> None:
    class Throttled(errors.ApiUnavailable):
        pass

    assert info(status.answer(Throttled("S.R", "slow"))).reason == "API_UNAVAILABLE"


@pytest.mark.parametrize("error", OURS, ids=repr)
def test_our_own_faults_say_nothing(error: Exception) -> None:
    answer = status.answer(error)
    assert (answer.code, answer.message, answer.trailers) == (Code.INTERNAL, "internal error", ())


def test_every_fault_is_a_field_violation() -> None:
    answer = status.answer(InvalidArgument(Fault("url", "is bad"), Fault("tags['k']", "is long")))
    assert violations(answer) == [("url", "is bad"), ("tags['k']", "is long")]
    assert answer.message == "url: is bad; tags['k']: is long"


def test_a_field_with_two_faults_is_one_field() -> None:
    answer = status.answer(InvalidArgument(Fault("topic", "is long"), Fault("topic", "is bad")))
    assert info(answer).metadata["fields"] == "topic"
    assert violations(answer) == [("topic", "is long"), ("topic", "is bad")]


def test_only_malformed_requests_have_violations() -> None:
    assert len(whole(status.answer(errors.ConnectionNotFound("c"))).details) == 1


def test_many_faults_are_counted_beyond_what_a_trailer_holds() -> None:
    faults = [
        Fault(f"tags['{number:04}'].value", "must have at most 1024") for number in range(500)
    ]
    answer = status.answer(InvalidArgument(*faults))
    shown = answer.message.count("must have at most 1024")
    assert 10 < shown < 500
    assert answer.message.endswith(f"; and {500 - shown} more")
    assert violations(answer)[0] == (faults[0].path, faults[0].problem)
    assert wire_bytes(answer) < 8192


def test_one_fault_too_long_for_a_sentence_is_cut_and_still_names_its_field() -> None:
    answer = status.answer(InvalidArgument(Fault("url", "x" * 5000), Fault("name", "is bad")))
    assert answer.message.startswith("url: xxx")
    assert answer.message.endswith("x…; name: is bad")


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument(Fault("😀" * 5000, "😀" * 5000)),
        InvalidArgument(*[Fault("😀" * 200, "%" * 5000)] * 300),
        errors.NameInUse(name="\n" * 9000, connection_id="😀" * 9000, fields=["%" * 9000] * 9),
        errors.AddressRefused(host="h" * 9000, address="a" * 9000, rule="r" * 9000),
        errors.FirstDialFailed(url="ws://" + "é" * 9000, error_type="t" * 9000, problem="%" * 9000),
        errors.RecordUnreadable(key="k" * 70_000, problem="p"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_trailer_stays_below_8_kib(error: Exception) -> None:
    answer = status.answer(error)
    assert len(answer.message.encode()) <= 1000
    assert 500 < wire_bytes(answer) < 8192


def test_text_that_utf8_cannot_say_is_replaced() -> None:
    answer = status.answer(errors.FirstDialFailed(url="u", error_type="t", problem="\udcff"))
    assert answer.message == "u could not be opened (t): ?"
