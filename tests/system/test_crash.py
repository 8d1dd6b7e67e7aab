"""kill -9 at any point: everything answered comes back, numbered on, and nothing else does."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import grpc
import pytest

from tests.kit.peer import Peer, running_peer
from tests.kit.scripted_api import Call, ScriptedApi, Trouble, running_scripted_api
from tests.kit.service import Service, ServiceProcess, running_process
from tests.system.evidence import assert_causal, assert_in_order, by_connection, lives, messages
from tests.system.feeds import Ticker
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.domain.identity import index_key, record_id
from websocketmanager.domain.model import InstanceId
from websocketmanager.domain.record import from_json

pytestmark = pytest.mark.usefixtures("plain_loop")


def _request(peer: Peer, number: int, *, named: bool) -> pb.ConnectRequest:
    return pb.ConnectRequest(
        url=f"{peer.url}{number}",
        auto_reconnect=True,
        topic=f"marketdata.ticks{number}",
        tags={"number": str(number)},
        name=f"feed-{number}" if named else "",
    )


async def _connect_all(
    service: Service, peer: Peer, count: int, *, width: int = 32
) -> dict[str, pb.WebSocketConnection]:
    slots = asyncio.Semaphore(width)

    async def connect(number: int) -> None:
        async with slots:
            await service.stub.Connect(_request(peer, number, named=number % 4 == 0))

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(connect(number))
    return await service.list()


async def _crash_while_streaming(count: int, per_second: float, seed: int) -> None:
    dice = random.Random(seed)
    ticker = Ticker(per_second)
    async with running_scripted_api() as api, running_peer(ticker) as peer:
        async with running_process(api.port) as service:
            await service.wait_ready()
            before = await _connect_all(service, peer, count)
            assert len(before) == count
            # Every session is confirmed in the store once one of its messages is out.
            await _wait_heard(api, count)
            await api.wait_published(len(api.published) + dice.randint(1, 4 * count))
            service.kill()
            await service.wait_exit()
        async with running_process(api.port) as service:
            await service.wait_ready(60.0)
            assert len(peer.sessions) == 2 * count  # ready only after all were tried
            after = await service.list()
            ticker.stop.set()
            await _wait_sessions_told(api, {one.id: one.session for one in after.values()})
    assert after.keys() == before.keys()
    for which, now in after.items():
        then = before[which]
        assert (now.topic, now.tags, now.name, now.url) == (
            then.topic,
            then.tags,
            then.name,
            then.url,
        )
        assert now.session == then.session + 1
        assert now.owner_epoch == then.owner_epoch + 1
        assert now.status == "connected"
    told = lives(api.published)
    assert told.keys() == before.keys()
    for events in told.values():
        assert_causal(events)
    for which, delivered in by_connection(messages(api.published)).items():
        assert_in_order(delivered)
        assert {message.session for message in delivered} <= {1, 2}
        assert all(message.data == b"%d" % message.sequence for message in delivered), which


async def _wait_heard(api: ScriptedApi, count: int) -> None:
    """Waits until so many connections delivered a message."""
    heard: set[str] = set()
    read = 0
    while len(heard) < count:
        published = await api.wait_published(read + 1)
        heard |= {
            which for one in published[read:] if (which := one.metadata.get("ce-websocketid"))
        }
        read = len(published)


async def _wait_sessions_told(api: ScriptedApi, sessions: dict[str, int]) -> None:
    """Waits until the `connected` event of each connection's session is published."""
    missing = set(sessions.items())
    read = 0
    while missing:
        published = await api.wait_published(read + 1)
        for which, events in lives(published[read:]).items():
            missing -= {(which, e.data["session"]) for e in events if e.state == "connected"}
        read = len(published)


async def test_two_hundred_connections_come_back_after_a_crash() -> None:
    await _crash_while_streaming(200, 2.0, seed=2)


# --- any kill point -------------------------------------------------------------------------------


@dataclass
class Universe:
    """What callers were told, over many crashes."""

    api: ScriptedApi
    peer: Peer
    dice: random.Random
    answered: dict[str, dict[str, str]] = field(default_factory=dict)
    """Tags by which, of connections that `Connect` or later a tag call answered for."""
    unsure: set[str] = field(default_factory=set)
    """Ids whose `Disconnect` was never answered."""
    unsure_tags: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    number: int = 0

    async def storm(self, service: ServiceProcess) -> None:
        """Calls at random until the service is dead, somewhere within one of the API's calls."""
        # Half of the time within the save of a record: what was to follow it is never done.
        inside_save = self.dice.random() < 0.5
        left = self.dice.randint(1, 60 if inside_save else 250)
        dead = False

        def script(call: Call) -> Trouble | None:
            nonlocal left, dead
            if dead:
                return Trouble(grpc.StatusCode.UNAVAILABLE)
            save = call.operation == "State.SaveState" and record_id(call.request.key)
            left -= 1 if save or not inside_save else 0
            if left == 0:
                service.kill()
                dead = True
            return None  # this call still has its effect; nobody hears of it

        self.api.script = script
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(self._call_until_dead(service))
        await service.wait_exit()
        self.api.script = None

    async def _call_until_dead(self, service: ServiceProcess) -> None:
        while True:
            try:
                await self._call(service)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return

    async def _call(self, service: ServiceProcess) -> None:
        free = [
            which
            for which in self.answered
            if which not in self.unsure and which not in self.unsure_tags
        ]
        choice = self.dice.random()
        if choice < 0.6 or len(free) < 4:
            self.number += 1
            named = self.dice.random() < 0.3
            request = _request(self.peer, self.number, named=named)
            if named:
                self.names.add(request.name)
            answer = await service.stub.Connect(request)
            self.answered[answer.id] = dict(request.tags)
            return
        which = self.dice.choice(free)
        if choice < 0.8:
            self.unsure.add(which)
            await service.stub.Disconnect(pb.DisconnectRequest(id=which))
            self.unsure.discard(which)
            del self.answered[which]
            self.gone.add(which)
        else:
            tags = {**self.answered[which], "storm": str(self.dice.random())}
            self.unsure_tags[which] = [self.answered[which], tags]
            await service.stub.SetTags(pb.SetTagsRequest(id=which, tags=tags))
            del self.unsure_tags[which]
            self.answered[which] = tags

    async def assert_kept(self, service: ServiceProcess) -> None:
        """Asserts what the restarted service has is what callers were told."""
        listed = await service.list()
        for which, tags in self.answered.items():
            if which in self.unsure:
                continue
            assert which in listed, "an answered connection is lost"
            possible = self.unsure_tags.pop(which, [tags])
            assert dict(listed[which].tags) in possible
            self.answered[which] = dict(listed[which].tags)
            assert listed[which].status == "connected"
        for which in self.gone:
            assert which not in listed, "a disconnected connection is back"
        for which in self.unsure:
            if which not in listed:
                del self.answered[which]
                self.gone.add(which)
        self.unsure.clear()
        for which in listed.keys() - self.answered.keys():
            # Nobody was told of it: it may only be one whose answer was on its way.
            one = listed[which]
            assert one.name in self.names or one.session > 1, f"unanswered and unnamed: {one}"
            self.answered[which] = dict(one.tags)
        assert len({one.tags["number"] for one in listed.values()}) == len(listed), "doubled"


async def _crash_at_random_points(rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    async with running_scripted_api() as api, running_peer() as peer:
        universe = Universe(api, peer, dice)
        for _ in range(rounds):
            async with running_process(api.port) as service:
                await service.wait_ready()
                await universe.assert_kept(service)
                await universe.storm(service)
            # A new API knows no registered keys: the records are found by the index alone.
            await api.go_away()
            await api.come_back()
        async with running_process(api.port, shutdown_grace_seconds=10) as service:
            await service.wait_ready()
            await universe.assert_kept(service)
            service.terminate()
            assert await service.wait_exit() == 0
        kept = {found for key in api.values if (found := record_id(key))}
        assert kept == universe.answered.keys()
        index = api.values[index_key(InstanceId("one"))][0]
        assert all(found in index for found in kept)
        told = lives(api.published)
        assert kept <= told.keys()
        for which, events in told.items():
            assert_causal(events)
            if which in universe.gone:
                assert events[-1].state == "disconnected"
        for key, (value, _) in api.values.items():
            if record_id(key):
                record = from_json(key, value)
                assert record.event == told[record.id][-1].number


async def test_no_kill_point_loses_or_doubles_a_connection() -> None:
    await _crash_at_random_points(4, seed=20)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
async def test_twenty_kill_points(seed: int) -> None:
    await _crash_at_random_points(20, seed=100 + seed)
