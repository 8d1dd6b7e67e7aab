"""Every gRPC code has a meaning, and every meaning an error of ours."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.virtufin_api import answers
from websocketmanager.adapters.virtufin_api.answers import (
    CallFailed,
    Verdict,
    from_code,
    from_status,
)
from websocketmanager.errors import ApiUnauthenticated, ApiUnavailable


def failure(code: grpc.StatusCode, details: str) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details, None)


def test_the_table_of_codes_is_complete() -> None:
    assert set(answers._CODES) == set(grpc.StatusCode)


def test_the_table_of_errors_is_complete() -> None:
    assert set(answers._ERRORS) == set(Verdict)


def test_a_failure_names_operation_code_and_details() -> None:
    failed = from_code("State.GetState", failure(grpc.StatusCode.UNAVAILABLE, "no route"))

    assert isinstance(failed.error, ApiUnavailable)
    assert str(failed.error) == "virtufin-api State.GetState: UNAVAILABLE: no route"


def test_a_refused_key_is_an_error_of_its_own() -> None:
    failed = from_code("State.GetState", failure(grpc.StatusCode.UNAUTHENTICATED, ""))

    assert isinstance(failed.error, ApiUnauthenticated)


@pytest.mark.parametrize(
    "details",
    [
        "Received message larger than max (5 vs. 4)",
        "CLIENT: Sent message larger than max (5 vs. 4)",
        "grpc: received message larger than max (5 vs. 4)",
    ],
)
def test_a_size_limit_is_not_overload(details: str) -> None:
    failed = from_code("Pubsub.PublishEvent", failure(grpc.StatusCode.RESOURCE_EXHAUSTED, details))

    assert failed.verdict is Verdict.TOO_LARGE


def test_other_exhaustion_is_overload() -> None:
    failed = from_code("x", failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "quota"))

    assert failed.verdict is Verdict.BUSY


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (pb.StatusResponse(success=True, status="OK"), None),
        (pb.StatusResponse(success=True), None),
        (pb.StatusResponse(), Verdict.VAGUE),
        (pb.StatusResponse(status="OK"), Verdict.VAGUE),
        (pb.StatusResponse(status="ERROR", message="disk"), Verdict.VAGUE),
        (pb.StatusResponse(status="CONFLICT"), Verdict.CONFLICT),
        (pb.StatusResponse(status="WHAT"), Verdict.VAGUE),
    ],
)
def test_success_decides_then_the_status(
    status: pb.StatusResponse, verdict: Verdict | None
) -> None:
    failed = from_status("State.SaveState", status)

    assert (failed and failed.verdict) == verdict


def test_an_operation_may_be_named_in_the_call_failed() -> None:
    assert CallFailed("State.GetState", Verdict.OPEN, "open").error.operation == "State.GetState"
