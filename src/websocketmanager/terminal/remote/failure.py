"""What a call that failed says: the peer's sentence, its code and its facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from websocketmanager.errors import WebSocketManagerError

_DETAILS_KEY = "grpc-status-details-bin"


class CallFailed(WebSocketManagerError):
    """A call failed.

    Attributes:
        peer: what was called: `websocketmanager` or `virtufin-api`.
        address: where.
        code: the gRPC code's name.
        problem: the peer's sentence.
        reason: of the ErrorInfo that came with it, or the empty string.
        facts: of the ErrorInfo.
    """

    def __init__(
        self,
        *,
        peer: str,
        address: str,
        code: str,
        problem: str,
        reason: str = "",
        facts: Mapping[str, str] | None = None,
    ) -> None:
        self.peer = peer
        self.address = address
        self.code = code
        self.problem = problem
        self.reason = reason
        self.facts = dict(facts or {})
        super().__init__(f"{peer} at {address}: {problem} ({code})")


def call_failed(failed: grpc.aio.AioRpcError, *, peer: str, address: str) -> CallFailed:
    """Returns the failure of a call in the words of the command line."""
    reason, facts = error_info(failed.trailing_metadata() or ())
    return CallFailed(
        peer=peer,
        address=address,
        code=failed.code().name,
        problem=failed.details() or "no details",
        reason=reason,
        facts=facts,
    )


def error_info(trailing: Iterable[Any]) -> tuple[str, Mapping[str, str]]:
    """Returns reason and facts of the ErrorInfo in trailing metadata (pairs); else empty."""
    for key, value in trailing:
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
        except DecodeError:
            continue
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Is(info.DESCRIPTOR) and detail.Unpack(info):
                return info.reason, dict(info.metadata)
    return "", {}
