"""What no fact tells is on the metrics page of a running service, and is true there."""

from __future__ import annotations

from tests.kit.peer import running_peer
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import Service, running_inside
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb


async def _shown(service: Service) -> dict[str, float]:
    page = (await service.get("/metrics")).body.decode()
    pairs = (line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    return {name.removeprefix("websocketmanager_"): float(value) for name, value in pairs}


async def test_the_numbers_of_the_whole_process_are_shown() -> None:
    async with (
        running_scripted_api() as api,
        running_peer() as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        before = await _shown(service)
        assert before["ready"] == 1
        assert before['connections{status="connected"}'] == 0
        await service.stub.Connect(pb.ConnectRequest(url=peer.url))
        after = await _shown(service)
        assert after['connections{status="connected"}'] == 1
        assert after['connections{status="disconnected"}'] == 0
        assert [name for name in after if name.startswith("publish_mode")]
        assert {
            "buffer_events",
            "messages_spilled",
            "messages_received_total",
            "messages_received_size_bytes_total",
            "messages_published_total",
            "messages_unrouted_total",
            "messages_sent_total",
            "messages_sent_size_bytes_total",
            "reconnects_total",
        } <= after.keys()
