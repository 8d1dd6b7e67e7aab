"""`grpc.health.v1`: NOT_SERVING until told, watchers told at once, no watch outlives the stop."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.api.face import Face
from websocketmanager.api.health import Health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
EOF = getattr(grpc.aio, "EOF")  # noqa: B009 - the stubs lack it
NAMES = ["", "virtufin.WebSocketManager"]


def stub(face: Face) -> Any:
    return health_pb2_grpc.HealthStub(face.channel)


async def check(face: Face, service: str) -> int:
    answer = await stub(face).Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


@pytest.mark.parametrize("service", NAMES)
async def test_check_follows_what_it_is_told(face: Face, service: str) -> None:
    assert await check(face, service) == NOT_SERVING
    face.server.set_serving(True)
    assert await check(face, service) == SERVING
    face.server.set_serving(False)
    assert await check(face, service) == NOT_SERVING


@pytest.mark.parametrize("service", ["other.Service", "x" * 100_000])
async def test_check_of_an_unknown_service(face: Face, service: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await check(face, service)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    details = refused.value.details() or ""
    assert details.startswith(f"no service is named '{service[:40]}")
    assert len(details) < 100


async def test_list(face: Face) -> None:
    face.server.set_serving(True)
    answer = await stub(face).List(health_pb2.HealthListRequest())
    assert {name: one.status for name, one in answer.statuses.items()} == dict.fromkeys(
        NAMES, SERVING
    )


@pytest.mark.parametrize("service", NAMES)
async def test_watch_tells_every_change_until_the_stop(face: Face, service: str) -> None:
    watch = stub(face).Watch(health_pb2.HealthCheckRequest(service=service))
    assert (await watch.read()).status == NOT_SERVING
    face.server.set_serving(True)
    assert (await watch.read()).status == SERVING
    face.server.set_serving(True)
    face.server.set_serving(False)
    assert (await watch.read()).status == NOT_SERVING
    face.server.set_serving(True)
    assert (await watch.read()).status == SERVING
    # The grace is far above the test's time limit: a watch that stayed open would show.
    await face.server.stop(300)
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.read() is EOF
    assert await watch.code() is grpc.StatusCode.OK


async def test_watch_of_an_unknown_service_waits_until_the_stop(face: Face) -> None:
    watch = stub(face).Watch(health_pb2.HealthCheckRequest(service="other.Service"))
    assert (await watch.read()).status == UNKNOWN
    face.server.set_serving(True)
    assert await check(face, "") == SERVING
    await face.server.stop(300)
    assert await watch.read() is EOF


async def test_nothing_opens_health_again_after_close() -> None:
    health = Health(NAMES)
    health.close()
    health.set_serving(True)
    answer = await health.List(health_pb2.HealthListRequest(), unused_context())
    assert {one.status for one in answer.statuses.values()} == {NOT_SERVING}


def unused_context() -> Any:
    return None


async def test_a_stopped_server_never_serves_again(face: Face) -> None:
    watch = stub(face).Watch(health_pb2.HealthCheckRequest())
    face.server.set_serving(True)
    while (await watch.read()).status != SERVING:
        pass
    await face.server.stop(300)
    face.server.set_serving(True)
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.read() is EOF
