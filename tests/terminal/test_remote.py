"""Calls over real channels: events arrive, failures become sentences with their facts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from tests.kit.journal import RecordingJournal
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as api_pb
from websocketmanager._proto.virtufin_api import virtufin_api_pb2_grpc as api_rpc
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.embedded.server import running_embedded_api
from websocketmanager.terminal.remote import CallFailed, error_info, open_api, open_service


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with running_embedded_api(
        host="127.0.0.1",
        port=0,
        database=":memory:",
        topic_rules="platform",
        journal=RecordingJournal(),
        clock=SystemClock(),
        dice=SystemDice(),
        api_key="sesame",
    ) as running:
        yield running.address


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


async def test_what_is_not_there_is_unavailable() -> None:
    async with open_service("127.0.0.1:1") as service:
        with pytest.raises(CallFailed) as failed:
            await service.list({}, timeout_seconds=10)
        assert failed.value.code == "UNAVAILABLE"
        with pytest.raises(CallFailed):
            await service.wait_serving(timeout_seconds=10)


async def test_another_service_at_the_address_is_told(address: str) -> None:
    async with open_service(address) as service:
        with pytest.raises(CallFailed) as failed:
            await service.disconnect("x", timeout_seconds=10)
    assert failed.value.code == "UNIMPLEMENTED"


async def test_a_ready_peer_is_waited_for_by_health(address: str) -> None:
    async with open_service(address) as service:
        await service.wait_serving(timeout_seconds=10)


def test_error_info_is_found_among_other_details() -> None:
    info = error_details_pb2.ErrorInfo(reason="WHY", domain="d", metadata={"a": "b"})
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(error_details_pb2.RetryInfo())
    details[1].Pack(info)
    status = status_pb2.Status(code=5, details=details).SerializeToString()
    assert error_info([("x", "y"), ("grpc-status-details-bin", status)]) == ("WHY", {"a": "b"})


@pytest.mark.parametrize("value", [b"\xff\xff", b"", "text"])
def test_trailing_metadata_that_says_nothing_is_no_failure(value: str | bytes) -> None:
    assert error_info([("grpc-status-details-bin", value)]) == ("", {})
