"""The scripted API has only the fixed RPCs and misbehaves exactly as told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from tests.kit.scripted_api import (
    Call,
    ScriptedApi,
    Trouble,
    always,
    running_scripted_api,
    sequence,
    sprinkle,
)
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager._proto.virtufin_api.virtufin_api_pb2_grpc import PubsubStub, StateStub

PUBLISH = pb.PublishRequest(topic="a.b", data=b"x", metadata={"k": "v"})


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    async with running_scripted_api() as api:
        yield api


@pytest.fixture
async def channel(api: ScriptedApi) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{api.port}") as channel:
        yield channel


async def code_of(call: Any) -> StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def test_the_additive_rpcs_are_missing(channel: grpc.aio.Channel) -> None:
    call = PubsubStub(channel).PublishEvents(pb.PublishEventsRequest())

    assert await code_of(call) is StatusCode.UNIMPLEMENTED


async def test_what_is_published_is_recorded_and_delivered(
    api: ScriptedApi, channel: grpc.aio.Channel
) -> None:
    stub = PubsubStub(channel)
    stream = stub.Subscribe(pb.PubsubSubscribeRequest(topic="a.b"))
    await stream.initial_metadata()
    await api.wait_subscribed("a.b")

    await stub.PublishEvent(PUBLISH)

    delivered = await stream.read()
    assert (delivered.topic, delivered.data, dict(delivered.metadata)) == ("a.b", b"x", {"k": "v"})
    [published] = await api.wait_published(1, "a.b")
    assert (published.data, published.metadata) == (b"x", {"k": "v"})
    stream.cancel()


async def test_troubles_come_as_code_or_status_before_or_after_the_effect(
    api: ScriptedApi, channel: grpc.aio.Channel
) -> None:
    stub = PubsubStub(channel)
    api.script = sequence(
        Trouble(StatusCode.INTERNAL),
        Trouble(after=True),
        Trouble(),
        None,
        operations={"Pubsub.PublishEvent"},
    )

    assert await code_of(stub.PublishEvent(PUBLISH)) is StatusCode.INTERNAL
    assert len(api.published) == 0
    assert not (await stub.PublishEvent(PUBLISH)).status.success
    assert len(api.published) == 1
    assert not (await stub.PublishEvent(PUBLISH)).status.success
    assert len(api.published) == 1
    assert (await stub.PublishEvent(PUBLISH)).status.success


async def test_a_stale_etag_and_a_foreign_service_are_refused(channel: grpc.aio.Channel) -> None:
    stub = StateStub(channel)
    save = pb.SaveStateRequest(service="websocketmanager", key="k", value="v", etag="stale")
    assert await code_of(stub.SaveState(save)) is StatusCode.ABORTED

    get = pb.GetStateRequest(service="another", key="k")
    assert await code_of(stub.GetState(get)) is StatusCode.INVALID_ARGUMENT


async def test_it_comes_back_on_its_port_with_its_data(api: ScriptedApi) -> None:
    port = api.port
    api.values["k"] = ("v", "1")
    api.registered.add("k")
    await api.go_away()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        get = pb.GetStateRequest(service="websocketmanager", key="k")
        assert await code_of(StateStub(channel).GetState(get)) is StatusCode.UNAVAILABLE

    await api.come_back()

    assert api.port == port
    # A connection of its own, so that the refused one's backoff does not count.
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        assert (await StateStub(channel).GetState(get)).value == "v"
        everything = pb.GetAllStateRequest(service="websocketmanager")
        assert dict((await StateStub(channel).GetAllState(everything)).values) == {}


def test_scripts_choose_by_operation_and_seed() -> None:
    trouble = Trouble(message="t")
    one, other = Call("a", None, {}), Call("b", None, {})

    assert [always(trouble, {"a"})(call) for call in (one, other)] == [trouble, None]
    sprinkled = sprinkle(seed=1, rate=0.5, troubles=[trouble], operations={"a"})
    hits = [sprinkled(one) is trouble for _ in range(200)]
    again = sprinkle(seed=1, rate=0.5, troubles=[trouble])
    assert 60 < sum(hits) < 140
    assert hits == [again(one) is trouble for _ in range(200)]
    assert sprinkled(other) is None
