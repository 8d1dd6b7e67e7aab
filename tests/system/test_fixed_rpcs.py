"""An API that has only the fixed RPCs is enough, also when every tenth call goes wrong."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.kit.peer import numbered, replying, running_peer
from tests.kit.scripted_api import Published, ScriptedApi, Trouble, running_scripted_api, sprinkle
from tests.kit.service import Service, running_inside, running_process
from tests.system.evidence import assert_causal, assert_in_order, lives, messages, unique
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

pytestmark = pytest.mark.usefixtures("plain_loop")

FIXED = {
    "Pubsub.PublishEvent",
    "State.SaveState",
    "State.GetState",
    "State.GetAllState",
    "State.RegisterKeys",
    "State.DeleteState",
}
COUNT = 10_000
#: Failures of every kind that the contract knows, before and after the effect.
TROUBLES = [
    Trouble(),
    Trouble(after=True),
    Trouble(grpc.StatusCode.UNAVAILABLE),
    Trouble(grpc.StatusCode.UNAVAILABLE, after=True),
    Trouble(grpc.StatusCode.DEADLINE_EXCEEDED, after=True),
    Trouble(grpc.StatusCode.RESOURCE_EXHAUSTED),
    Trouble(grpc.StatusCode.ABORTED, after=True),
    Trouble(grpc.StatusCode.INTERNAL),
    Trouble(grpc.StatusCode.UNKNOWN, after=True),
]


async def _wait_unique(api: ScriptedApi, topic: str, count: int) -> list[Published]:
    """Waits until so many different events are on the topic; returns them in order."""
    wanted = count
    while len(found := unique(await api.wait_published(wanted, topic))) < count:
        wanted = sum(one.topic == topic for one in api.published) + 1
    return found


async def _persist(service: Service, method: str, request: object) -> object:
    """Calls as a caller in a bad network does: again, until it is answered."""
    while True:
        try:
            return await getattr(service.stub, method)(request)
        except grpc.aio.AioRpcError as error:
            if method == "Disconnect" and error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


async def test_the_whole_job_with_ten_thousand_messages() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(numbered(COUNT, then=replying(bytes.upper))) as peer,
        running_process(api.port) as service,
    ):
        await service.wait_ready()
        request = pb.ConnectRequest(url=peer.url, topic="marketdata.ticks", tags={"venue": "x"})
        which = (await service.stub.Connect(request)).id
        published = await api.wait_published(COUNT, "marketdata.ticks")

        assert [one.data for one in published] == [b"%d" % n for n in range(1, COUNT + 1)]
        first = published[0].metadata
        assert first["ce-specversion"] == "1.0"
        assert first["ce-source"] == "urn:com.virtufin.websocketmanager"
        assert first["ce-type"] == "com.virtufin.websocketmanager.message"
        assert first["ce-datacontenttype"] == "text/plain"
        assert first["ce-websocketid"] == which
        assert first["ce-session"] == "1"
        assert first["ce-sequence"] == "0" * 19 + "1"
        assert first["ce-id"].startswith(f"{which}/")
        assert first["ce-id"].endswith("/1/1")
        assert first["pubsubname"] == "pubsub"
        assert len({one.metadata["ce-id"] for one in published}) == COUNT

        answer = await service.stub.Send(pb.SendRequest(id=which, message=b"hello"))
        assert answer.response == b"HELLO"
        await service.stub.SetTag(pb.SetTagRequest(id=which, key="kind", value="ticks"))
        tag = await service.stub.GetTag(pb.GetTagRequest(id=which, key="kind"))
        assert tag.value == "ticks"
        assert set(await service.list(kind="ticks", venue="x")) == {which}
        assert set(await service.list(kind="other")) == set()
        await service.stub.SetTags(pb.SetTagsRequest(id=which, tags={"only": "one"}))
        assert (await service.stub.GetTags(pb.GetTagsRequest(id=which))).tags == {"only": "one"}
        one = (await service.list())[which]
        assert one.status == "connected"
        assert one.topic == "marketdata.ticks"
        assert one.instance_id == "one"
        assert one.statistics.messages_published == COUNT

        await service.stub.StopPublish(pb.StopPublishRequest(id=which))
        assert (await service.list())[which].topic == ""
        await service.stub.Disconnect(pb.DisconnectRequest(id=which))
        assert await service.list() == {}
        await peer.sessions[0].wait_closed()
        assert peer.sessions[0].close_code == 1000
        told = lives(await api.wait_published(3, "websocketmanager.lifecycle"))[which]
    # The correlated reply went to its caller alone.
    assert len([one for one in api.published if one.topic == "marketdata.ticks"]) == COUNT
    assert [event.state for event in told] == ["connecting", "connected", "disconnected"]
    assert_causal(told)
    assert set(api.operations()) - {"Pubsub.PublishEvents", "Pubsub.PublishStream"} <= FIXED


@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 3))])
async def test_trouble_in_every_tenth_call_loses_and_disorders_nothing(seed: int) -> None:
    async with (
        running_scripted_api() as api,
        running_peer(numbered(400, then=replying(bytes.upper))) as peer,
        running_inside(api.port, api_timeout_ms=2000) as service,
    ):
        await service.wait_ready()
        api.script = sprinkle(seed=seed, rate=0.1, troubles=TROUBLES, operations=FIXED)
        ids = []
        for number in range(4):
            request = pb.ConnectRequest(
                url=peer.url, auto_reconnect=True, name=f"n{number}", topic=f"marketdata.t{number}"
            )
            answer = await _persist(service, "Connect", request)
            assert isinstance(answer, pb.ConnectResponse)
            ids.append(answer.id)
        for number, which in enumerate(ids):
            published = await _wait_unique(api, f"marketdata.t{number}", 400)
            delivered = messages(published)
            assert_in_order(delivered)
            assert [one.data for one in delivered] == [b"%d" % n for n in range(1, 401)]
            tags = pb.SetTagsRequest(id=which, tags={"a": str(number)})
            await _persist(service, "SetTags", tags)
            reply = await service.stub.Send(pb.SendRequest(id=which, message=b"x"))
            assert reply.response == b"X"
        listed = await service.list()
        assert {which: dict(one.tags) for which, one in listed.items()} == {
            which: {"a": str(number)} for number, which in enumerate(ids)
        }
        for which in ids:
            await _persist(service, "Disconnect", pb.DisconnectRequest(id=which))
        assert await service.list() == {}
        async with asyncio.timeout(20):
            while len(ended := _ended(api)) < len(ids):
                await api.wait_published(len(api.published) + 1)
    assert ended == set(ids)
    told = lives(api.published)
    for which in ids:
        assert_causal(told[which])
        assert [event.state for event in told[which]] == ["connecting", "connected", "disconnected"]
    assert not [key for key in api.values if ".connection." in key]


def _ended(api: ScriptedApi) -> set[str]:
    return {
        which
        for which, events in lives(api.published).items()
        if events[-1].state == "disconnected"
    }
