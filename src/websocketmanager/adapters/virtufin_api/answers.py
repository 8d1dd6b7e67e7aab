"""What an answer of the virtufin-api means: one table over gRPC's codes, and the status message.

A failure may come as a gRPC code or as OK with `success = false`; both end as a `CallFailed`.
"""

from __future__ import annotations

from enum import Enum, auto

import grpc
from grpc.aio import AioRpcError

from websocketmanager._proto.virtufin_api.virtufin_api_pb2 import StatusResponse
from websocketmanager.errors import (
    ApiError,
    ApiRefused,
    ApiUnauthenticated,
    ApiUnavailable,
    StateConflict,
)


class Verdict(Enum):
    """What follows from a failure."""

    #: The transport failed or the deadline passed: counts for the breaker, may be repeated.
    TRANSPORT = auto()
    #: Overload: may be repeated.
    BUSY = auto()
    #: Another writer was faster; without an etag it may be repeated.
    CONFLICT = auto()
    #: It failed and does not say why.
    VAGUE = auto()
    #: This request never succeeds as it is.
    REFUSED = auto()
    #: The message exceeds a gRPC size limit.
    TOO_LARGE = auto()
    #: Our key is not accepted.
    UNAUTHENTICATED = auto()
    #: The server has no such RPC.
    MISSING = auto()
    #: Not asked: the circuit breaker is open.
    OPEN = auto()


_CODES: dict[grpc.StatusCode, Verdict] = {
    grpc.StatusCode.UNAVAILABLE: Verdict.TRANSPORT,
    grpc.StatusCode.DEADLINE_EXCEEDED: Verdict.TRANSPORT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Verdict.BUSY,
    grpc.StatusCode.ABORTED: Verdict.CONFLICT,
    grpc.StatusCode.CANCELLED: Verdict.VAGUE,
    grpc.StatusCode.UNKNOWN: Verdict.VAGUE,
    grpc.StatusCode.INTERNAL: Verdict.VAGUE,
    grpc.StatusCode.DATA_LOSS: Verdict.VAGUE,
    grpc.StatusCode.ALREADY_EXISTS: Verdict.VAGUE,
    grpc.StatusCode.OK: Verdict.VAGUE,
    grpc.StatusCode.INVALID_ARGUMENT: Verdict.REFUSED,
    grpc.StatusCode.NOT_FOUND: Verdict.REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: Verdict.REFUSED,
    grpc.StatusCode.FAILED_PRECONDITION: Verdict.REFUSED,
    grpc.StatusCode.OUT_OF_RANGE: Verdict.REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: Verdict.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED: Verdict.MISSING,
}

_ERRORS: dict[Verdict, type[ApiError]] = {
    Verdict.TRANSPORT: ApiUnavailable,
    Verdict.BUSY: ApiUnavailable,
    Verdict.CONFLICT: StateConflict,
    Verdict.VAGUE: ApiUnavailable,
    Verdict.REFUSED: ApiRefused,
    Verdict.TOO_LARGE: ApiRefused,
    Verdict.UNAUTHENTICATED: ApiUnauthenticated,
    Verdict.MISSING: ApiRefused,
    Verdict.OPEN: ApiUnavailable,
}

#: Failures that are repeated when a call is: what the platform names transient.
TRANSIENT = frozenset({Verdict.TRANSPORT, Verdict.BUSY, Verdict.CONFLICT})


class CallFailed(Exception):
    """One call failed; `error` is how our own tree names it."""

    def __init__(
        self,
        operation: str,
        verdict: Verdict,
        problem: str,
        code: grpc.StatusCode = grpc.StatusCode.OK,
    ) -> None:
        self.operation = operation
        self.verdict = verdict
        self.problem = problem
        self.code = code
        super().__init__(problem)

    @property
    def error(self) -> ApiError:
        """The failure for a caller that has no better word for it."""
        return _ERRORS[self.verdict](self.operation, self.problem)


def from_code(operation: str, failure: AioRpcError) -> CallFailed:
    """Returns the failure that a gRPC code stands for."""
    code, details = failure.code(), failure.details() or "no details"
    verdict = _CODES[code]
    # gRPC has no code of its own for its size limit, only this phrase of the C core and of Go;
    # taken for overload it would be repeated for ever.
    if verdict is Verdict.BUSY and "larger than max" in details:
        verdict = Verdict.TOO_LARGE
    return CallFailed(operation, verdict, f"{code.name}: {details}", code)


def from_status(operation: str, status: StatusResponse) -> CallFailed | None:
    """Returns the failure that an answer's status message tells of, if any."""
    if status.success:
        return None
    verdict = Verdict.CONFLICT if status.status == "CONFLICT" else Verdict.VAGUE
    problem = f"{status.status or 'ERROR'}: {status.message or 'no details'}"
    return CallFailed(operation, verdict, problem)
