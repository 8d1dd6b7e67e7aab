"""One instance id, one living process; and what a new process takes over of a dead one."""

from __future__ import annotations

import pytest

from tests.kit.peer import running_peer, silent
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import running_inside, running_process
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.errors import InstanceIdInUse

pytestmark = pytest.mark.usefixtures("plain_loop")


async def test_a_second_process_with_the_same_instance_id_refuses_to_start() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(silent) as peer,
        running_process(api.port, heartbeat_interval_seconds=1) as first,
    ):
        await first.wait_ready()
        which = (await first.stub.Connect(pb.ConnectRequest(url=peer.url, auto_reconnect=True))).id
        async with running_process(api.port, heartbeat_interval_seconds=1) as second:
            assert await second.wait_exit(20.0) == 2
            said = "\n".join(second.said)
        assert "'one'" in said
        assert "another live process" in said
        assert first.grpc_address in said
        assert "instance-id" in said
        # The first has felt nothing, and its connection was never touched.
        assert (await first.list())[which].status == "connected"
        assert len(peer.sessions) == 1
        async with running_inside(api.port, instance_id="two") as other:
            await other.wait_ready()
            assert await other.list() == {}
        assert len(peer.sessions) == 1


async def test_a_killed_process_is_followed_at_once_at_another_port() -> None:
    async with running_scripted_api() as api:
        async with running_process(api.port, heartbeat_interval_seconds=10) as first:
            await first.wait_ready()
            first.kill()
            await first.wait_exit()
        async with running_process(api.port, heartbeat_interval_seconds=10) as second:
            await second.wait_ready(8.0)
            assert second.grpc_address != first.grpc_address


async def test_a_stopped_instance_leaves_its_id_free() -> None:
    async with running_scripted_api() as api:
        for _ in range(2):
            async with running_inside(api.port) as service:
                await service.wait_ready(5.0)


async def test_inside_a_process_the_refusal_is_an_error_of_its_own() -> None:
    async with (
        running_scripted_api() as api,
        running_inside(api.port, heartbeat_interval_seconds=1) as first,
    ):
        await first.wait_ready()
        with pytest.raises(InstanceIdInUse):
            async with running_inside(api.port, heartbeat_interval_seconds=1) as second:
                await second.wait_ready()
        assert (await first.get("/health/ready")).status == 200
