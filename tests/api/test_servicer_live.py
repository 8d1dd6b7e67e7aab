"""`Get`, `Update` and the streams over a real channel: answers, ends, and who goes away."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.api.face import ID, VIEW, Face, ScriptedVerbs, info_of, serving
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api import translate, translate_live
from websocketmanager.domain.change import ConnectionChange
from websocketmanager.domain.facts import RpcCrashed, RpcEnded
from websocketmanager.domain.model import Kind, LifecycleNotice, TailedMessage, Topic
from websocketmanager.errors import ConnectionNotFound, LimitReached, ServiceUnavailable
from websocketmanager.service.mailbox import Mailbox

UPPER = ID.upper()
NOTICE = LifecycleNotice(ID, "i", "t.error", "error", 7, 0.5, b"{}")
SEEN = TailedMessage("i", Kind.BINARY, b"\xff", 1, 0.5, 1, 2, 3, None)
WATCH = "virtufin.WebSocketManager/Watch"


async def test_get(face: Face) -> None:
    answer = await face.stub.Get(pb.GetRequest(id=UPPER))
    assert answer == translate_live.detail_message(face.verbs.detail)
    assert face.verbs.calls == [("get", ID)]


async def test_update(face: Face) -> None:
    answer = await face.stub.Update(pb.UpdateRequest(id=UPPER, topic="a.b"))
    assert answer.connection == translate.connection_message(VIEW)
    assert face.verbs.calls == [("update", ConnectionChange(ID, reroute=True, topic=Topic("a.b")))]


async def test_watch(face: Face) -> None:
    call = face.stub.Watch(pb.WatchRequest(id=UPPER, after_event=3))
    await call.initial_metadata()
    assert face.verbs.calls == [("watch", ID, (), 3)]
    face.verbs.notices.push(NOTICE)
    face.verbs.notices.push(NOTICE)
    face.verbs.notices.finish()
    assert [answer async for answer in call] == [translate_live.notice_message(NOTICE)] * 2
    assert face.journal.facts == [RpcEnded(method=WATCH, code="OK", seconds=0.0)]
    (span,) = face.tracer.spans
    assert (span.name, span.ended, span.failure) == (WATCH, True, None)


async def test_tail(face: Face) -> None:
    call = face.stub.Tail(pb.TailRequest(id=UPPER, max_message_bytes=9))
    await call.initial_metadata()
    face.verbs.seen.push(SEEN)
    assert await anext(aiter(call)) == translate_live.tailed_message(SEEN)
    face.verbs.seen.finish()
    assert await call.code() is grpc.StatusCode.OK
    assert face.verbs.calls == [("tail", ID, 9)]


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ConnectionNotFound(ID), grpc.StatusCode.NOT_FOUND, "CONNECTION_NOT_FOUND"),
        (ServiceUnavailable("stopping"), grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        (
            LimitReached(limit="events", maximum=1),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "LIMIT_REACHED",
        ),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_streams_end_with_the_same_errors_as_other_calls(
    face: Face, error: Exception, code: grpc.StatusCode, reason: str, at_once: bool
) -> None:
    if at_once:
        face.verbs.error = error
    else:
        face.verbs.notices.push(NOTICE)
        face.verbs.notices.finish(error)
    stream = aiter(face.stub.Watch(pb.WatchRequest()))
    if not at_once:
        await anext(stream)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(stream)
    assert (refused.value.code(), refused.value.details()) == (code, str(error))
    assert info_of(refused.value).reason == reason
    assert face.journal.facts == [RpcEnded(method=WATCH, code=code.name, seconds=0.0)]
    assert face.tracer.spans[0].failure is error


async def test_our_own_fault_in_a_stream_says_nothing(face: Face) -> None:
    face.verbs.notices.finish(RuntimeError("a secret"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(aiter(face.stub.Watch(pb.WatchRequest())))
    assert (refused.value.code(), refused.value.details()) == (
        grpc.StatusCode.INTERNAL,
        "internal error",
    )
    assert isinstance(face.journal.facts[0], RpcCrashed)


@pytest.mark.parametrize(
    ("rpc", "request_", "field"),
    [
        ("Get", pb.GetRequest(), "id"),
        ("Update", pb.UpdateRequest(id=ID), "request"),
        ("Watch", pb.WatchRequest(after_event=1), "after_event"),
        ("Tail", pb.TailRequest(id="?"), "id"),
    ],
)
async def test_malformed_requests(face: Face, rpc: str, request_: Any, field: str) -> None:
    call: Any = getattr(face.stub, rpc)(request_)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (anext(aiter(call)) if hasattr(call, "__aiter__") else call)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(info_of(refused.value).metadata) == {"fields": field}
    assert face.verbs.calls == []


async def test_bytes_that_are_no_request_of_a_stream(face: Face) -> None:
    channel: Any = face.channel
    call = channel.unary_stream("/virtufin.WebSocketManager/Watch")(b"\xff\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await anext(aiter(call))
    assert refused.value.details() == "request: is not a protobuf message of this RPC"


async def test_a_reader_that_goes_away_leaves_nothing_behind() -> None:
    left = asyncio.Event()
    verbs = ScriptedVerbs(notices=Mailbox(left.set))
    async with serving(verbs) as face:
        call = face.stub.Watch(pb.WatchRequest())
        await call.initial_metadata()
        call.cancel()
        async with asyncio.timeout(10):
            await left.wait()
        await face.server.stop(5)
        assert face.journal.facts == [RpcEnded(method=WATCH, code="CANCELLED", seconds=0.0)]
        (span,) = face.tracer.spans
        assert span.ended
        assert isinstance(span.failure, asyncio.CancelledError)


async def test_a_reader_that_does_not_read_blocks_nobody_else_and_can_go() -> None:
    left = asyncio.Event()
    verbs = ScriptedVerbs(notices=Mailbox(left.set))
    async with serving(verbs) as face:
        large = LifecycleNotice(ID, "i", "t.error", "error", 7, 0.5, b"x" * 100_000)
        stuck = face.stub.Watch(pb.WatchRequest())
        await stuck.initial_metadata()
        for _ in range(100):
            verbs.notices.push(large)
        async with asyncio.timeout(10):
            assert await face.stub.Get(pb.GetRequest(id=ID))
            assert verbs.notices.waiting, "what it does not read waits for it"
            stuck.cancel()
            await left.wait()
