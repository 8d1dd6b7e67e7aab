"""The port, the key, the limits, and how it stops."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.embedded.client import EOF, Client, event, running
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb

Code = grpc.StatusCode


async def test_a_port_in_use_is_named(client: Client) -> None:
    with pytest.raises(OSError, match=f"127.0.0.1:{client.api.port}"):
        async with running(port=client.api.port):
            pass


async def test_a_host_that_is_not_ours_is_named() -> None:
    with pytest.raises(OSError, match=r"203\.0\.113\.1:5002"):
        async with running(host="203.0.113.1", port=5002):
            pass


async def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        async with running(database=str(tmp_path / "absent" / "state.sqlite3")):
            pass


async def test_ipv6_addresses_are_bracketed() -> None:
    async with running(host="::1") as client:
        assert client.api.address == f"[::1]:{client.api.port}"
        await client.save("k", "v")


@pytest.mark.parametrize(
    "metadata",
    [(), (("x-api-key", "wrong"),), (("x-api-key", "s3cret"), ("x-api-key", "other"))],
)
async def test_a_wrong_key_is_refused_everywhere(metadata: tuple[tuple[str, str], ...]) -> None:
    async with running(api_key="s3cret") as client:
        calls: list[Any] = [
            client.state.SaveState(pb.SaveStateRequest(service="x"), metadata=metadata),
            client.state.GetState(pb.GetStateRequest(), metadata=metadata),
            client.state.GetAllState(pb.GetAllStateRequest(), metadata=metadata),
            client.state.RegisterKeys(pb.RegisterKeysRequest(), metadata=metadata),
            client.state.DeleteState(pb.DeleteStateRequest(), metadata=metadata),
            client.pubsub.PublishEvent(event("bad"), metadata=metadata),
            client.pubsub.PublishEvents(pb.PublishEventsRequest(), metadata=metadata),
            client.pubsub.Unsubscribe(pb.UnsubscribeRequest(), metadata=metadata),
            client.pubsub.Subscribe(pb.PubsubSubscribeRequest(), metadata=metadata).read(),
            client.pubsub.SubscribeEvents(pb.SubscribeEventsRequest(), metadata=metadata).read(),
        ]
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await call
            assert failure.value.code() is Code.UNAUTHENTICATED
            assert "x-api-key" in (failure.value.details() or "")
            assert "s3cret" not in (failure.value.details() or "")


async def test_the_right_key_passes() -> None:
    async with running(api_key="s3cret") as client:
        request = pb.GetStateRequest(service="websocketmanager", key="k")
        await client.state.GetState(request, metadata=(("x-api-key", "s3cret"),))


async def test_without_a_required_key_any_key_passes(client: Client) -> None:
    request = pb.GetStateRequest(service="websocketmanager", key="k")
    await client.state.GetState(request, metadata=(("x-api-key", "whatever"),))


async def test_a_request_above_the_limit_is_refused() -> None:
    async with running(max_message_bytes=1000) as client:
        await client.save("k", "x" * 900)
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await client.save("k", "x" * 1000)
        assert failure.value.code() is Code.RESOURCE_EXHAUSTED


async def test_stopping_gives_what_waits_then_ends_the_stream() -> None:
    async with AsyncExitStack() as channels:
        async with running() as client:
            # This channel outlives the server.
            channel = await channels.enter_async_context(
                grpc.aio.insecure_channel(client.api.address)
            )
            stream, _ = await Client(client.api, channel, client.journal).subscribe("demo.ticks")
            await client.publish("demo.ticks", b"last words")
        assert await _read_to_the_end(stream) == (
            [b"last words"],
            Code.UNAVAILABLE,
            "the API is stopping",
        )


async def test_a_caller_that_vanished_is_no_fault_of_ours() -> None:
    async with running() as client, grpc.aio.insecure_channel(client.api.address) as channel:
        await Client(client.api, channel, client.journal).subscribe_events("demo.ticks")
        await client.publish_all([event("demo.ticks", b"x" * 50_000)] * 20)
    assert client.journal.facts == []


async def _read_to_the_end(stream: Any) -> tuple[list[bytes], grpc.StatusCode, str]:
    seen = []
    try:
        while (message := await stream.read()) is not EOF:
            seen.append(message.data)
    except grpc.aio.AioRpcError as error:
        return seen, error.code(), error.details() or ""
    return seen, Code.OK, ""


async def test_values_and_etags_outlive_a_restart_and_registrations_do_not(tmp_path: Path) -> None:
    database = str(tmp_path / "state.sqlite3")
    registration = pb.RegisterKeysRequest(service="websocketmanager", keys=["k"])
    everything = pb.GetAllStateRequest(service="websocketmanager")
    async with running(database=database) as client:
        await client.state.RegisterKeys(registration)
        await client.save("k", "v")
        before = await client.get("k")
        assert dict((await client.state.GetAllState(everything)).values) == {"k": "v"}
    async with running(database=database) as client:
        assert await client.get("k") == before
        assert dict((await client.state.GetAllState(everything)).values) == {}
        await client.save("k", "w", etag=before[1])
        assert int((await client.get("k"))[1]) > int(before[1])


async def test_health_is_serving_without_a_key() -> None:
    async with running(api_key="s3cret") as client:
        stub = health_pb2_grpc.HealthStub(client.channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_services(client: Client) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    listed = (await call.read()).list_services_response
    assert {"virtufin.State", "virtufin.Pubsub"} <= {service.name for service in listed.service}
    await call.write(
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="virtufin.Pubsub")
    )
    assert (await call.read()).file_descriptor_response.file_descriptor_proto
    await call.done_writing()
    assert await call.read() is EOF


async def test_stopping_does_not_wait_for_a_subscriber_that_reads_nothing() -> None:
    async with asyncio.timeout(5), running(stop_grace_seconds=0.1) as client:
        await client.subscribe_events("demo.ticks")
        for _ in range(10):
            await client.publish_all([event("demo.ticks", b"x" * 100_000)] * 20)
    assert client.journal.facts == []
