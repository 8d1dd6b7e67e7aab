"""The virtufin-api at the other end of a channel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as api_pb
from websocketmanager._proto.virtufin_api import virtufin_api_pb2_grpc as api_rpc
from websocketmanager.terminal.received import Received
from websocketmanager.terminal.remote.channel import open_channel
from websocketmanager.terminal.remote.failure import call_failed

#: How long after its headers the code of a call that failed at once may take to arrive.
_FAILING_SECONDS = 0.2


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
            raise call_failed(failed, peer="virtufin-api", address=self._address) from failed


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
async def open_api(address: str, *, key: str | None = None) -> AsyncIterator[Api]:
    """Opens a channel to a virtufin-api at `host:port`; the first call connects it."""
    async with open_channel(address) as channel:
        yield Api(address, channel, key=key)
