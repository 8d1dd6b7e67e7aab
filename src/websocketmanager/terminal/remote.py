"""Calls to a running service and to the virtufin-api, as the command line needs them.

May import the generated messages, errors and grpc; knows neither the service nor its adapters.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as api_pb
from websocketmanager._proto.virtufin_api import virtufin_api_pb2_grpc as api_rpc
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager._proto.websocketmanager import websocketmanager_pb2_grpc as rpc
from websocketmanager.errors import WebSocketManagerError
from websocketmanager.terminal.received import Received

#: Events and lists may be larger than gRPC's own 4 MiB.
_MAX_BYTES = 64 * 1024 * 1024
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_BYTES),
    ("grpc.max_send_message_length", _MAX_BYTES),
    # A proxy of the environment is for the web, not for a service named by address.
    ("grpc.enable_http_proxy", 0),
)
#: How long after its headers the code of a call that failed at once may take to arrive.
_FAILING_SECONDS = 0.2
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
            raise _failure(failed, peer="websocketmanager", address=self._address) from failed

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call()
        except grpc.aio.AioRpcError as failed:
            raise _failure(failed, peer="websocketmanager", address=self._address) from failed


class Api:
    """One virtufin-api, over one channel."""

    def __init__(self, address: str, channel: grpc.aio.Channel, *, key: str | None) -> None:
        self._address = address
        self._stub = api_rpc.PubsubStub(channel)
        self._metadata = (("x-api-key", key),) if key else ()

    @asynccontextmanager
    async def subscription(
        self, topic: str, *, wait_seconds: float = 0
    ) -> AsyncIterator[AsyncIterator[Received]]:
        """Opens a subscription; leaving the block ends it.

        Its iterator raises CallFailed when the API ends or refuses it. Events come several to a
        message where the API can.

        Args:
            topic: what to subscribe to.
            wait_seconds: at most how long to wait until the subscription is in force. Not every
                API says so.
        """
        calls = [self._stub.SubscribeEvents(self._batched(topic), metadata=self._metadata)]
        events = self._events(topic, calls)
        try:
            if wait_seconds:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_seconds):
                        if not await _has_begun(calls[0]):
                            calls.append(self._one_by_one(topic))
                            await calls[-1].initial_metadata()
            yield events
        finally:
            await events.aclose()
            for call in calls:
                call.cancel()

    @staticmethod
    def _batched(topic: str) -> api_pb.SubscribeEventsRequest:
        return api_pb.SubscribeEventsRequest(topics=[topic])

    def _one_by_one(self, topic: str) -> Any:
        request = api_pb.PubsubSubscribeRequest(topic=topic)
        return self._stub.Subscribe(request, metadata=self._metadata)

    async def _events(self, topic: str, calls: list[Any]) -> AsyncGenerator[Received, None]:
        try:
            if len(calls) == 1:
                try:
                    async for batch in calls[0]:
                        for event in batch.events:
                            yield _received(event)
                    return
                except grpc.aio.AioRpcError as failed:
                    if failed.code() is not grpc.StatusCode.UNIMPLEMENTED:
                        raise
                    calls.append(self._one_by_one(topic))
            async for event in calls[-1]:
                yield _received(event)
        except grpc.aio.AioRpcError as failed:
            raise _failure(failed, peer="virtufin-api", address=self._address) from failed


async def _has_begun(call: Any) -> bool:
    """Waits until a subscription is in force; False when the API knows no such RPC."""
    if await call.initial_metadata():
        return True
    # Nothing in it: either it says no more, or the call has failed and its code is on the way.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FAILING_SECONDS):
            return bool(await call.code() is not grpc.StatusCode.UNIMPLEMENTED)
    return True


def _received(event: api_pb.PubsubSubscribeResponse) -> Received:
    return Received(
        topic=event.topic,
        data=event.data,
        metadata=dict(event.metadata),
        message_id=event.message_id,
        timestamp=event.timestamp,
    )


@asynccontextmanager
async def open_service(address: str) -> AsyncIterator[Service]:
    """Opens a channel to a service at `host:port`; the first call connects it."""
    async with grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS) as channel:
        yield Service(address, channel)


@asynccontextmanager
async def open_api(address: str, *, key: str | None = None) -> AsyncIterator[Api]:
    """Opens a channel to a virtufin-api at `host:port`; the first call connects it."""
    async with grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS) as channel:
        yield Api(address, channel, key=key)


def _failure(failed: grpc.aio.AioRpcError, *, peer: str, address: str) -> CallFailed:
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
