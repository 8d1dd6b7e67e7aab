"""Subscriptions over real channels: none of their events is missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.kit.scripted_api import running_scripted_api
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as api_pb
from websocketmanager._proto.virtufin_api import virtufin_api_pb2_grpc as api_rpc
from websocketmanager.terminal.remote import CallFailed, open_api

"""Calls over real channels: events arrive, failures become sentences with their facts."""


async def publish(address: str, topic: str, data: bytes) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = api_rpc.PubsubStub(channel)
        request = api_pb.PublishRequest(topic=topic, data=data, metadata={"ce-type": "x.y"})
        await stub.PublishEvent(request, metadata=(("x-api-key", "sesame"),))


async def test_a_subscription_that_was_waited_for_misses_nothing(address: str) -> None:
    async with (
        open_api(address, key="sesame") as api,
        api.subscription("a.b", wait_seconds=10) as events,
    ):
        await publish(address, "a.b", b"\x00\xff")
        event = await anext(events)
    assert (event.topic, event.data, event.type) == ("a.b", b"\x00\xff", "x.y")
    assert event.message_id
    assert event.timestamp


async def test_events_come_several_to_a_message() -> None:
    async def subscribe_events(request: Any, context: Any) -> AsyncIterator[api_pb.PubsubEvents]:
        assert list(request.topics) == ["a.b"]
        for first in (1, 3):
            yield api_pb.PubsubEvents(
                events=[api_pb.PubsubSubscribeResponse(data=b"%d" % n) for n in (first, first + 1)]
            )

    handler = grpc.unary_stream_rpc_method_handler(
        subscribe_events,
        request_deserializer=api_pb.SubscribeEventsRequest.FromString,
        response_serializer=api_pb.PubsubEvents.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("virtufin.Pubsub", {"SubscribeEvents": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_api(f"127.0.0.1:{port}") as api, api.subscription("a.b") as events:
        assert [event.data async for event in events] == [b"1", b"2", b"3", b"4"]
    await server.stop(None)


@pytest.mark.parametrize("wait_seconds", [0, 10])
async def test_an_api_without_batches_is_read_event_by_event(wait_seconds: float) -> None:
    async with (
        running_scripted_api() as server,
        open_api(f"127.0.0.1:{server.port}") as api,
        api.subscription("a.b", wait_seconds=wait_seconds) as events,
    ):
        first = asyncio.ensure_future(anext(events))
        await server.wait_subscribed("a.b")
        address = f"127.0.0.1:{server.port}"
        await publish(address, "a.b", b"1")
        await publish(address, "a.b", b"2")
        assert (await first).data == b"1"
        assert (await anext(events)).data == b"2"


async def test_a_subscription_that_an_old_api_was_waited_for_misses_nothing() -> None:
    async with (
        running_scripted_api() as server,
        open_api(f"127.0.0.1:{server.port}") as api,
        api.subscription("a.b", wait_seconds=10) as events,
    ):
        await publish(f"127.0.0.1:{server.port}", "a.b", b"1")
        assert (await anext(events)).data == b"1"


@pytest.mark.parametrize(
    ("key", "topic", "code"),
    [(None, "a.b", "UNAUTHENTICATED"), ("sesame", "nonsense", "INVALID_ARGUMENT")],
)
async def test_a_refused_subscription_says_why(
    address: str, key: str | None, topic: str, code: str
) -> None:
    async with (
        open_api(address, key=key) as api,
        api.subscription(topic, wait_seconds=10) as events,
    ):
        with pytest.raises(CallFailed) as failed:
            await anext(events)
    assert (failed.value.code, failed.value.peer) == (code, "virtufin-api")
    assert address in str(failed.value)
