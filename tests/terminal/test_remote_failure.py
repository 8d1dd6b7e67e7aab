"""What came with a failure is found, and what says nothing is no failure itself."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from websocketmanager.terminal.remote.failure import error_info


def test_error_info_is_found_among_other_details() -> None:
    info = error_details_pb2.ErrorInfo(reason="WHY", domain="d", metadata={"a": "b"})
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(error_details_pb2.RetryInfo())
    details[1].Pack(info)
    status = status_pb2.Status(code=5, details=details).SerializeToString()
    assert error_info([("x", "y"), ("grpc-status-details-bin", status)]) == ("WHY", {"a": "b"})


@pytest.mark.parametrize("value", [b"\xff\xff", b"", "text"])
def test_trailing_metadata_that_says_nothing_is_no_failure(value: str | bytes) -> None:
    assert error_info([("grpc-status-details-bin", value)]) == ("", {})
