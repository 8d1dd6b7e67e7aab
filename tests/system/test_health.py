"""Probes and metrics tell what is true, before, during and after."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from tests.kit.peer import RawSession, running_peer, running_raw_peer, silent
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import Service, running_inside
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb


async def _ready(service: Service) -> tuple[int, dict[str, Any]]:
    answer = await service.get("/health/ready")
    older = await service.get("/health")
    assert older.status == answer.status
    return answer.status, answer.json


async def test_not_ready_and_no_calls_until_the_records_are_known() -> None:
    async with running_scripted_api() as api:
        reading = api.hold("State.GetAllState")
        async with running_inside(api.port) as service:
            await reading.arrived.wait()
            await service.wait_health(health_pb2.HealthCheckResponse.NOT_SERVING)
            status, body = await _ready(service)
            assert status == 503
            assert body["missing"] == ["records"]
            assert (await service.get("/health/live")).status == 200
            refused = await service.refused("List", pb.ListRequest())
            assert refused.code is grpc.StatusCode.UNAVAILABLE
            assert refused.reason == "SERVICE_UNAVAILABLE"
            assert refused.facts["state"] == "recovering"
            reading.release()
            await service.wait_ready()
            assert (await _ready(service))[0] == 200


async def test_not_ready_until_every_connection_was_tried() -> None:
    answered = asyncio.Event()

    async def slow(session: RawSession) -> None:
        await session.read_request()
        if len(peer.sessions) > 3:
            await answered.wait()
        await session.upgrade()
        await session.read_close()
        session.finish()

    async with running_scripted_api() as api, running_raw_peer(slow) as peer:
        async with running_inside(api.port) as service:
            await service.wait_ready()
            for _ in range(3):
                await service.stub.Connect(pb.ConnectRequest(url=peer.url, auto_reconnect=True))
        async with running_inside(api.port) as service:
            await peer.wait_session(6)
            status, body = await _ready(service)
            assert (status, body["missing"]) == (503, ["recovery"])
            assert body["remaining_connections"] == 3
            # What is known can be used already.
            assert len(await service.list()) == 3
            answered.set()
            await service.wait_ready()
            status, body = await _ready(service)
            assert (status, body["missing"], body["remaining_connections"]) == (200, [], 0)


async def test_a_deadline_opens_readiness_and_says_how_many_remain() -> None:
    async def slow(session: RawSession) -> None:
        await session.read_request()
        if len(peer.sessions) == 1:
            await session.upgrade()
            await session.read_close()
            session.finish()

    async with running_scripted_api() as api, running_raw_peer(slow) as peer:
        async with running_inside(api.port) as service:
            await service.wait_ready()
            await service.stub.Connect(pb.ConnectRequest(url=peer.url, auto_reconnect=True))
        async with running_inside(api.port, recovery_deadline_seconds=1) as service:
            await service.wait_ready()
            status, body = await _ready(service)
            assert (status, body["remaining_connections"]) == (200, 1)
            one = next(iter((await service.list()).values()))
            assert one.status == "reconnecting"


async def test_metrics_count_connections_and_the_breaker_shows_an_outage() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(silent) as peer,
        running_inside(api.port, api_timeout_ms=300) as service,
    ):
        await service.wait_ready()
        for _ in range(3):
            await service.stub.Connect(pb.ConnectRequest(url=peer.url, topic="a.b"))
        await peer.sessions[0].send(b"x")
        await api.wait_published(1, "a.b")
        metrics = (await service.get("/metrics")).body.decode()
        assert re.search(
            r'^\w*connections\{[^}]*status="connected"[^}]*\} 3', metrics, re.MULTILINE
        )
        assert re.search(r"^\w*ready\w*(\{[^}]*\})? 1", metrics, re.MULTILINE)
        assert re.search(r"^\w*messages_received\w*(\{[^}]*\})? 1", metrics, re.MULTILINE)

        await api.go_away()
        await peer.sessions[0].send(b"y")
        away = {"api_breaker": "open", "publishing": "stalled"}
        while not away.items() <= (await _ready(service))[1]["details"].items():
            pass
        status, _ = await _ready(service)
        assert status == 200, "sockets are held and buffers fill: turning callers away helps nobody"
        assert (await service.get("/health/live")).status == 200
        await api.come_back()
        await api.wait_published(2, "a.b")
        # The API has the message before the service has its answer.
        while (await _ready(service))[1]["details"]["publishing"] != "ok":
            pass


async def test_unknown_paths_and_the_api_away_at_the_start() -> None:
    async with running_scripted_api() as api:
        await api.go_away()
        async with running_inside(api.port) as service:
            assert (await service.get("/health/live")).status == 200
            assert (await service.get("/nothing")).status == 404
            status, body = await _ready(service)
            assert (status, body["missing"]) == (503, ["records"])
            await api.come_back()
            await service.wait_ready()
            assert await service.list() == {}
