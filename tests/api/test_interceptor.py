"""What surrounds a call: span, fact, and errors as answers."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.api.face import ID, Face, ScriptedVerbs, detail, info_of, serving, status_of
from tests.api.test_status import TABLE
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager._proto.websocketmanager.websocketmanager_pb2_grpc import WebSocketManagerStub
from websocketmanager.domain.facts import RpcCrashed, RpcEnded
from websocketmanager.domain.model import ConnectionId, Kind
from websocketmanager.errors import ConnectionNotFound, WebSocketManagerError

DISCONNECT = "virtufin.WebSocketManager/Disconnect"


@pytest.mark.parametrize(
    ("error", "code", "reason", "facts"), TABLE, ids=lambda value: str(value)[:30]
)
async def test_the_error_table_over_the_wire(
    face: Face,
    error: WebSocketManagerError,
    code: grpc.StatusCode,
    reason: str,
    facts: dict[str, str],
) -> None:
    face.verbs.error = error
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await face.stub.Disconnect(pb.DisconnectRequest(id=ID))
    assert refused.value.code() is code
    assert refused.value.details() == str(error)
    info = info_of(refused.value)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason, "websocketmanager", facts)
    assert [type(fact) for fact in face.journal.facts] == [RpcEnded]


async def test_the_largest_trailers_pass_a_client_with_default_bounds(face: Face) -> None:
    tags = {f"{number}😀" + "😀" * 120: "v" * 1025 for number in range(50)}
    request = pb.ConnectRequest(url="x", tags=tags)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{face.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await WebSocketManagerStub(channel).Connect(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad_request = detail(status_of(refused.value), error_details_pb2.BadRequest())
    assert bad_request.field_violations[0].field == "url"
    assert "more" in (refused.value.details() or "")


async def test_our_own_fault_says_nothing_and_is_told_to_the_journal(face: Face) -> None:
    face.verbs.error = RuntimeError("a secret")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await face.stub.Disconnect(pb.DisconnectRequest(id=ID))
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    assert refused.value.details() == "internal error"
    assert status_of(refused.value).ByteSize() == 0
    crash, end = face.journal.facts
    assert isinstance(crash, RpcCrashed)
    assert (crash.method, crash.error) == (DISCONNECT, "RuntimeError('a secret')")
    assert "Traceback" in crash.trace
    assert "in _called" in crash.trace
    assert end == RpcEnded(method=DISCONNECT, code="INTERNAL", seconds=0.0)


async def test_a_crash_harms_no_other_call(face: Face) -> None:
    face.verbs.error = RuntimeError("once")
    with pytest.raises(grpc.aio.AioRpcError):
        await face.stub.Disconnect(pb.DisconnectRequest(id=ID))
    face.verbs.error = None
    await face.stub.Disconnect(pb.DisconnectRequest(id=ID))


async def test_trace_headers_reach_the_tracer(face: Face) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    metadata = (("traceparent", parent), ("tracestate", "a=b"), ("data-bin", b"\xff"))
    await face.stub.Disconnect(pb.DisconnectRequest(id=ID), metadata=metadata)
    (span,) = face.tracer.spans
    assert span.name == DISCONNECT
    assert span.headers["traceparent"] == parent
    assert span.headers["tracestate"] == "a=b"
    assert "data-bin" not in span.headers
    assert span.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "virtufin.WebSocketManager",
        "rpc.method": "Disconnect",
    }
    assert span.ended
    assert span.failure is None


async def test_an_error_marks_the_span(face: Face) -> None:
    face.verbs.error = ConnectionNotFound(ID)
    with pytest.raises(grpc.aio.AioRpcError):
        await face.stub.Disconnect(pb.DisconnectRequest(id=ID))
    (span,) = face.tracer.spans
    assert span.failure is face.verbs.error


class Stuck(ScriptedVerbs):
    """A service whose `send` lasts until it is told or cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def send(
        self, connection_id: ConnectionId, data: bytes, kind: Kind, timeout_seconds: float | None
    ) -> bytes:
        self.entered.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b"late"


async def test_a_call_is_timed() -> None:
    verbs = Stuck()
    async with serving(verbs) as face:
        call = face.stub.Send(pb.SendRequest(id=ID))
        await verbs.entered.wait()
        face.clock.advance(1.25)
        verbs.release.set()
        await call
        method = "virtufin.WebSocketManager/Send"
        assert face.journal.facts == [RpcEnded(method=method, code="OK", seconds=1.25)]


async def test_a_caller_that_goes_away_cancels_its_call() -> None:
    verbs = Stuck()
    async with serving(verbs) as face:
        call = face.stub.Send(pb.SendRequest(id=ID))
        await verbs.entered.wait()
        call.cancel()
        await verbs.cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await call
        await face.server.stop(5)
        method = "virtufin.WebSocketManager/Send"
        assert face.journal.facts == [RpcEnded(method=method, code="CANCELLED", seconds=0.0)]
        assert isinstance(face.tracer.spans[0].failure, asyncio.CancelledError)


async def test_probes_make_neither_spans_nor_facts(face: Face) -> None:
    stub: Any = health_pb2_grpc.HealthStub(face.channel)
    await stub.Check(health_pb2.HealthCheckRequest())
    assert (face.tracer.spans, face.journal.facts) == ([], [])
