"""Every RPC over a real channel: what reaches the service, what the caller gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from tests.api.face import ID, VIEW, Face, info_of, serving, status_of
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api import translate
from websocketmanager.domain.model import ConnectionSpec, Kind, Status, Topic

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UPPER = ID.upper()


async def test_connect(face: Face) -> None:
    face.verbs.view = replace(VIEW, status=Status.CONNECTING)
    request = pb.ConnectRequest(url="wss://feed.example/s", tags={"a": "b"}, topic="m.t")
    answer = await face.stub.Connect(request)
    assert answer == pb.ConnectResponse(id=ID, status="connecting")
    wanted = ConnectionSpec(url="wss://feed.example/s", tags={"a": "b"}, topic=Topic("m.t"))
    assert face.verbs.calls == [("connect", wanted)]


async def test_list(face: Face) -> None:
    answer = await face.stub.List(pb.ListRequest(filters=[pb.TagFilter(key="a", value="b")]))
    assert list(answer.connections) == [translate.connection_message(VIEW)]
    assert face.verbs.calls == [("list", (("a", "b"),))]


async def test_list_of_none(face: Face) -> None:
    face.verbs.views = ()
    assert await face.stub.List(pb.ListRequest()) == pb.ListResponse()


async def test_a_long_list_is_whole_in_order_and_lets_others_run(face: Face) -> None:
    face.verbs.views = tuple(replace(VIEW, name=f"n{number}") for number in range(1000))
    answer = await face.stub.List(pb.ListRequest())
    assert [found.name for found in answer.connections] == [f"n{number}" for number in range(1000)]
    assert face.clock.slept == [0] * 15


async def test_disconnect(face: Face) -> None:
    assert await face.stub.Disconnect(pb.DisconnectRequest(id=UPPER)) == pb.DisconnectResponse()
    assert face.verbs.calls == [("disconnect", ID)]


async def test_start_and_stop_publish(face: Face) -> None:
    await face.stub.StartPublish(pb.StartPublishRequest(id=UPPER, topic="m.t"))
    await face.stub.StopPublish(pb.StopPublishRequest(id=UPPER))
    assert face.verbs.calls == [("start_publish", ID, "m.t"), ("stop_publish", ID)]


async def test_send(face: Face) -> None:
    face.verbs.reply = b"\x00\xffanswer"
    request = pb.SendRequest(id=UPPER, message=b"ask", timeout_ms=250, content_type="a/b")
    answer = await face.stub.Send(request)
    assert answer.response == b"\x00\xffanswer"
    assert face.verbs.calls == [("send", ID, b"ask", Kind.BINARY, 0.25)]


async def test_send_raw(face: Face) -> None:
    await face.stub.SendRaw(pb.SendRawRequest(id=UPPER, message=b"{}"))
    assert face.verbs.calls == [("send_raw", ID, b"{}", Kind.TEXT)]


async def test_tags(face: Face) -> None:
    face.verbs.tags = {"k": "v", "l": ""}
    assert (await face.stub.GetTag(pb.GetTagRequest(id=UPPER, key="k"))).value == "v"
    assert dict((await face.stub.GetTags(pb.GetTagsRequest(id=UPPER))).tags) == {"k": "v", "l": ""}
    await face.stub.SetTag(pb.SetTagRequest(id=UPPER, key="k", value="w"))
    await face.stub.SetTags(pb.SetTagsRequest(id=UPPER, tags={"m": "n"}))
    assert face.verbs.calls == [
        ("get_tag", ID, "k"),
        ("get_tags", ID),
        ("set_tag", ID, "k", "w"),
        ("set_tags", ID, {"m": "n"}),
    ]


def test_every_rpc_of_the_contract_is_called_here_or_in_the_files_beside() -> None:
    methods = pb.DESCRIPTOR.services_by_name["WebSocketManager"].methods
    called = {
        "Connect", "List", "Disconnect", "StartPublish", "StopPublish", "Send", "SendRaw",
        "SetTag", "GetTag", "SetTags", "GetTags", "Get", "Update", "Watch", "Tail",
        "Rotate", "TestConnection", "TestConnectionSteps",
    }  # fmt: skip
    assert {method.name for method in methods} == called
    assert not any(method.client_streaming for method in methods)
    streams = {"Watch", "Tail", "TestConnectionSteps"}
    assert {method.name for method in methods if method.server_streaming} == streams


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20, 4 << 20])
async def test_messages_of_all_sizes_pass_byte_for_byte(face: Face, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + bytes(size % 256)
    face.verbs.reply = message
    request = pb.SendRequest(id=ID, message=message, content_type="application/octet-stream")
    answer = await face.stub.Send(request)
    assert answer.response == message
    assert face.verbs.calls == [("send", ID, message, Kind.BINARY, None)]


async def test_a_message_beyond_every_bound_is_refused_and_harms_nobody(face: Face) -> None:
    request = pb.SendRawRequest(id=ID, message=bytes(9 << 20))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await face.stub.SendRaw(request)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await face.stub.SendRaw(pb.SendRawRequest(id=ID, message=b"next"))
    assert face.verbs.calls == [("send_raw", ID, b"next", Kind.TEXT)]


def connect(**fields: Any) -> pb.ConnectRequest:
    return pb.ConnectRequest(**{"url": "wss://feed.example/s"} | fields)


def with_options(**fields: Any) -> pb.ConnectRequest:
    options = json_format.ParseDict(fields, pb.ConnectionOptions())
    return connect(options=options, auto_reconnect=True)


#: RPC, request, the field that the refusal must name.
MALFORMED: list[tuple[str, Any, str]] = [
    ("Connect", pb.ConnectRequest(), "url"),
    ("Connect", connect(url="feed.example"), "url"),
    ("Connect", connect(url="http://feed.example/"), "url"),
    ("Connect", connect(url="ws://"), "url"),
    ("Connect", connect(url="ws://feed.example/#part"), "url"),
    ("Connect", connect(url="ws://feed example/"), "url"),
    ("Connect", connect(url="ws://feed.example/" + "x" * 5000), "url"),
    ("Connect", connect(name="a\x00b"), "name"),
    ("Connect", connect(name="n" * 257), "name"),
    ("Connect", connect(topic="a..b"), "topic"),
    ("Connect", connect(topic="a.*"), "topic"),
    ("Connect", connect(topic="a b"), "topic"),
    ("Connect", connect(topic="t" * 257), "topic"),
    ("Connect", connect(tags={str(n): "" for n in range(51)}), "tags"),
    ("Connect", connect(tags={"": "v"}), "tags[''].key"),
    ("Connect", connect(tags={"k" * 129: "v"}), f"tags['{'k' * 40}…'].key"),
    ("Connect", connect(tags={"k": "v" * 1025}), "tags['k'].value"),
    ("Connect", with_options(format=7), "options.format"),
    ("Connect", with_options(reconnect={"firstDial": 7}), "options.reconnect.first_dial"),
    ("Connect", with_options(reconnect={"baseDelayMs": -1}), "options.reconnect.base_delay_ms"),
    ("Connect", with_options(reconnect={"maxDelayMs": 3600001}), "options.reconnect.max_delay_ms"),
    (
        "Connect",
        with_options(reconnect={"baseDelayMs": 9, "maxDelayMs": 8}),
        "options.reconnect.max_delay_ms",
    ),
    ("Connect", with_options(reconnect={"maxAttempts": -1}), "options.reconnect.max_attempts"),
    ("Connect", with_options(reconnect={"stableAfterMs": -1}), "options.reconnect.stable_after_ms"),
    ("Connect", with_options(maxMessageBytes=3145729), "options.max_message_bytes"),
    ("Connect", with_options(maxMessageBytes=-1), "options.max_message_bytes"),
    ("Connect", with_options(buffer={"maxMessages": 1000001}), "options.buffer.max_messages"),
    ("Connect", with_options(buffer={"maxBytes": 1023}), "options.buffer.max_bytes"),
    (
        "Connect",
        connect(
            options=pb.ConnectionOptions(
                reconnect=pb.ReconnectOptions(first_dial=pb.FIRST_DIAL_RETRY)
            )
        ),
        "options.reconnect.first_dial",
    ),
    ("List", pb.ListRequest(filters=[pb.TagFilter(value="v")]), "filters[0].key"),
    ("List", pb.ListRequest(filters=[pb.TagFilter(key="k", value="v" * 1025)]), "filters[0].value"),
    ("List", pb.ListRequest(filters=[pb.TagFilter(key="k")] * 51), "filters"),
    ("Disconnect", pb.DisconnectRequest(), "id"),
    ("Disconnect", pb.DisconnectRequest(id="1"), "id"),
    ("Disconnect", pb.DisconnectRequest(id=ID + " "), "id"),
    ("Disconnect", pb.DisconnectRequest(id="x" * 100_000), "id"),
    ("StartPublish", pb.StartPublishRequest(id=ID), "topic"),
    ("StartPublish", pb.StartPublishRequest(id=ID, topic="a.\n"), "topic"),
    ("StartPublish", pb.StartPublishRequest(id="", topic="a.b"), "id"),
    ("StopPublish", pb.StopPublishRequest(id="?"), "id"),
    ("Send", pb.SendRequest(id="?", message=b"x"), "id"),
    ("Send", pb.SendRequest(id=ID, timeout_ms=-1), "timeout_ms"),
    ("Send", pb.SendRequest(id=ID, timeout_ms=3600001), "timeout_ms"),
    ("Send", pb.SendRequest(id=ID, content_type="text"), "content_type"),
    ("Send", pb.SendRequest(id=ID, message=b"\xff", content_type="text/plain"), "message"),
    ("SendRaw", pb.SendRawRequest(id="?", message=b"x"), "id"),
    ("SendRaw", pb.SendRawRequest(id=ID, content_type="a/b/c"), "content_type"),
    ("SendRaw", pb.SendRawRequest(id=ID, content_type="t/" + "x" * 300), "content_type"),
    (
        "SendRaw",
        pb.SendRawRequest(id=ID, message=b"\xc0", content_type="application/json"),
        "message",
    ),
    ("SetTag", pb.SetTagRequest(id=ID, value="v"), "key"),
    ("SetTag", pb.SetTagRequest(id=ID, key="k\x7f"), "key"),
    ("SetTag", pb.SetTagRequest(id=ID, key="k", value="v" * 1025), "value"),
    ("SetTag", pb.SetTagRequest(id="?", key="k"), "id"),
    ("GetTag", pb.GetTagRequest(id=ID), "key"),
    ("GetTag", pb.GetTagRequest(id="?", key="k"), "id"),
    ("SetTags", pb.SetTagsRequest(id=ID, tags={"": ""}), "tags[''].key"),
    ("SetTags", pb.SetTagsRequest(id=ID, tags={str(n): "" for n in range(51)}), "tags"),
    ("SetTags", pb.SetTagsRequest(id="?"), "id"),
    ("GetTags", pb.GetTagsRequest(), "id"),
]


@pytest.mark.parametrize(("rpc", "request_", "field"), MALFORMED)
async def test_malformed_requests(face: Face, rpc: str, request_: Any, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(face.stub, rpc)(request_)
    assert refused.value.code() is INVALID
    assert (refused.value.details() or "").startswith(f"{field}: ")
    assert dict(info_of(refused.value).metadata) == {"fields": field}
    assert face.verbs.calls == []


def raw_call(face: Face, rpc: str) -> Any:
    channel: Any = face.channel
    return channel.unary_unary(f"/virtufin.WebSocketManager/{rpc}")


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\x0a\x7f"])
async def test_bytes_that_are_no_request(face: Face, garbage: bytes) -> None:
    call = raw_call(face, "Connect")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(garbage)
    assert refused.value.code() is INVALID
    assert refused.value.details() == "request: is not a protobuf message of this RPC"
    assert face.verbs.calls == []


async def test_an_unknown_rpc(face: Face) -> None:
    call = raw_call(face, "Explode")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert status_of(refused.value).ByteSize() == 0


async def test_all_faults_in_one_answer() -> None:
    async with serving() as face:
        request = connect(url="http://x", name="a\nb", topic="a b", tags={"": ""})
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await face.stub.Connect(request)
        assert info_of(refused.value).metadata["fields"] == "url,tags[''].key,name,topic"
