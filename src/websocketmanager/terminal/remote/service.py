"""The websocketmanager at the other end of a channel."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager._proto.websocketmanager import websocketmanager_pb2_grpc as rpc
from websocketmanager.terminal.remote.channel import open_channel
from websocketmanager.terminal.remote.failure import call_failed


class Service:
    """One websocketmanager, over one channel. Every method may raise CallFailed."""

    def __init__(self, address: str, channel: grpc.aio.Channel) -> None:
        self._address = address
        self._stub = rpc.WebSocketManagerStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    async def connect(
        self, request: pb.ConnectRequest, *, timeout_seconds: float
    ) -> pb.ConnectResponse:
        """Opens a connection, or finds the named one."""
        answer: pb.ConnectResponse = await self._call(
            lambda: self._stub.Connect(request, timeout=timeout_seconds)
        )
        return answer

    async def list(
        self, tags: Mapping[str, str], *, timeout_seconds: float
    ) -> Sequence[pb.WebSocketConnection]:
        """Returns the connections that carry all the tags."""
        filters = [pb.TagFilter(key=key, value=value) for key, value in tags.items()]
        answer: pb.ListResponse = await self._call(
            lambda: self._stub.List(pb.ListRequest(filters=filters), timeout=timeout_seconds)
        )
        return answer.connections

    async def disconnect(self, id: str, *, timeout_seconds: float) -> None:
        """Closes and removes a connection for good."""
        request = pb.DisconnectRequest(id=id)
        await self._call(lambda: self._stub.Disconnect(request, timeout=timeout_seconds))

    async def send(
        self, id: str, message: bytes, *, content_type: str, timeout_ms: int, timeout_seconds: float
    ) -> bytes:
        """Sends a correlated message and returns its reply; 0 ms: the service's default."""
        request = pb.SendRequest(
            id=id, message=message, timeout_ms=timeout_ms, content_type=content_type
        )
        answer: pb.SendResponse = await self._call(
            lambda: self._stub.Send(request, timeout=timeout_seconds)
        )
        return answer.response

    async def send_raw(
        self, id: str, message: bytes, *, content_type: str, timeout_seconds: float
    ) -> None:
        """Sends a message as it is."""
        request = pb.SendRawRequest(id=id, message=message, content_type=content_type)
        await self._call(lambda: self._stub.SendRaw(request, timeout=timeout_seconds))

    async def get(self, id: str, *, timeout_seconds: float) -> pb.GetResponse:
        """Returns all that is known of a connection."""
        answer: pb.GetResponse = await self._call(
            lambda: self._stub.Get(pb.GetRequest(id=id), timeout=timeout_seconds)
        )
        return answer

    async def update(
        self, request: pb.UpdateRequest, *, timeout_seconds: float
    ) -> pb.WebSocketConnection:
        """Changes a connection; returns it as it is then."""
        answer: pb.UpdateResponse = await self._call(
            lambda: self._stub.Update(request, timeout=timeout_seconds)
        )
        return answer.connection

    async def rotate(self, id: str, *, timeout_seconds: float) -> pb.WebSocketConnection:
        """Replaces a connection's session; returns the connection as it is then."""
        request = pb.RotateRequest(id=id)
        answer: pb.RotateResponse = await self._call(
            lambda: self._stub.Rotate(request, timeout=timeout_seconds)
        )
        return answer.connection

    def test_steps(
        self, request: pb.TestConnectionRequest, *, timeout_seconds: float | None
    ) -> AbstractAsyncContextManager[AsyncIterator[pb.TestStep]]:
        """Tries a target inside the block; gives the steps as they end."""
        return self._stream(
            lambda asked: self._stub.TestConnectionSteps(asked, timeout=timeout_seconds), request
        )

    def watch(
        self, request: pb.WatchRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[pb.WatchResponse]]:
        """Opens a stream of lifecycle events, in force inside the block."""
        return self._stream(self._stub.Watch, request)

    def tail(
        self, request: pb.TailRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[pb.TailResponse]]:
        """Opens a stream of one connection's messages, in force inside the block."""
        return self._stream(self._stub.Tail, request)

    async def wait_serving(self, *, timeout_seconds: float) -> None:
        """Waits until the service says that it is ready (grpc.health.v1)."""

        async def watch() -> None:
            request = health_pb2.HealthCheckRequest()
            async for update in self._health.Watch(request, timeout=timeout_seconds):
                if update.status == health_pb2.HealthCheckResponse.SERVING:
                    return

        await self._call(watch)

    @asynccontextmanager
    async def _stream(self, rpc: Callable[[Any], Any], request: Any) -> AsyncIterator[Any]:
        """Opens a stream; leaving the block ends it. Its iterator may raise CallFailed."""
        call = rpc(request)
        responses = self._responses(call)
        try:
            # Comes when the stream is in force, or has failed: then reading says why.
            await call.initial_metadata()
            yield responses
        finally:
            await responses.aclose()
            call.cancel()

    async def _responses(self, call: Any) -> AsyncGenerator[Any, None]:
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as failed:
            raise call_failed(failed, peer="websocketmanager", address=self._address) from failed

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call()
        except grpc.aio.AioRpcError as failed:
            raise call_failed(failed, peer="websocketmanager", address=self._address) from failed


@asynccontextmanager
async def open_service(address: str) -> AsyncIterator[Service]:
    """Opens a channel to a service at `host:port`; the first call connects it."""
    async with open_channel(address) as channel:
        yield Service(address, channel)
