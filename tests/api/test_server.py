"""Binding, refusing to bind, stopping."""

from __future__ import annotations

import asyncio
import socket

import grpc
import pytest

from tests.api.face import ID, Face, ScriptedVerbs, new_server
from tests.api.test_interceptor import Stuck
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager._proto.websocketmanager.websocketmanager_pb2_grpc import WebSocketManagerStub
from websocketmanager.domain.limits import Limits


async def send_raw(target: str, size: int) -> None:
    options = (("grpc.max_send_message_length", -1),)
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        stub = WebSocketManagerStub(channel)
        await stub.SendRaw(pb.SendRawRequest(id=ID, message=bytes(size)))


@pytest.mark.parametrize(
    ("host", "target"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]")]
)
async def test_it_serves_at_its_address(host: str, target: str) -> None:
    verbs = ScriptedVerbs()
    server = new_server(verbs, host=host)
    port = await server.start()
    await send_raw(f"{target}:{port}", 1)
    await server.stop(0)
    assert len(verbs.calls) == 1


async def test_it_takes_the_port_it_is_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    server = new_server(port=free)
    assert await server.start() == free
    await server.stop(0)


async def test_a_port_in_use_is_named(face: Face) -> None:
    with pytest.raises(OSError, match=rf"^gRPC cannot listen on 127\.0\.0\.1:{face.port}: "):
        await new_server(port=face.port).start()


async def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(OSError, match=r"^gRPC cannot listen on 192\.0\.2\.1:0: "):
        await new_server(host="192.0.2.1").start()


async def test_stop_before_start_and_twice() -> None:
    server = new_server()
    await server.stop(0)
    port = await server.start()
    await asyncio.gather(server.stop(0), server.stop(5))
    await server.stop(0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def call_until_refused(stub: WebSocketManagerStub) -> None:
    while True:
        await stub.StopPublish(pb.StopPublishRequest(id=ID))


async def test_a_running_call_is_waited_for_and_new_ones_are_not_taken() -> None:
    verbs = Stuck()
    server = new_server(verbs)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = WebSocketManagerStub(channel)
        call = stub.Send(pb.SendRequest(id=ID))
        await verbs.entered.wait()
        stopping = asyncio.create_task(server.stop(300))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call_until_refused(stub)
        # A call that meets the very moment of the stop is cancelled by the library.
        assert refused.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert not stopping.done()
        verbs.release.set()
        assert (await call).response == b"late"
        await stopping


async def test_the_grace_has_an_end() -> None:
    verbs = Stuck()
    server = new_server(verbs)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = WebSocketManagerStub(channel).Send(pb.SendRequest(id=ID))
        await verbs.entered.wait()
        await server.stop(0.01)
        await verbs.cancelled.wait()
        with pytest.raises(grpc.aio.AioRpcError) as cut:
            await call
        assert cut.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_requests_as_large_as_a_message_may_be() -> None:
    verbs = ScriptedVerbs()
    server = new_server(verbs, limits=Limits(max_message_bytes=12 << 20))
    port = await server.start()
    await send_raw(f"127.0.0.1:{port}", 12 << 20)
    with pytest.raises(grpc.aio.AioRpcError):
        await send_raw(f"127.0.0.1:{port}", 13 << 20)
    await server.stop(0)
    assert len(verbs.calls) == 1
