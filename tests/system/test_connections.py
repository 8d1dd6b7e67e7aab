"""Names are unique under any race, and `Disconnect` is final at any moment."""

from __future__ import annotations

import asyncio

import grpc

from tests.kit.peer import RawSession, echo, running_peer, running_raw_peer, silent
from tests.kit.raw_peer import refusing_port
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import Service, running_inside
from tests.system.evidence import assert_causal, lives
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.domain.identity import connection_id_of_name, record_id

RETRY = pb.ConnectionOptions(reconnect=pb.ReconnectOptions(first_dial=pb.FIRST_DIAL_RETRY))


async def _assert_gone(service: Service, api: ScriptedApi, which: str) -> None:
    """Asserts nothing is left of a connection, and that its last event says so."""
    for method, request in (
        ("Disconnect", pb.DisconnectRequest(id=which)),
        ("GetTags", pb.GetTagsRequest(id=which)),
        ("SendRaw", pb.SendRawRequest(id=which, message=b"x")),
        ("StartPublish", pb.StartPublishRequest(id=which, topic="a.b")),
    ):
        refused = await service.refused(method, request)
        assert refused.code is grpc.StatusCode.NOT_FOUND
        assert refused.reason == "CONNECTION_NOT_FOUND"
        assert refused.facts["connection_id"] == which
    assert which not in await service.list()
    assert not [key for key in api.values if record_id(key) == which]
    events = lives(api.published)[which]
    assert_causal(events)
    assert events[-1].state == "disconnected"
    assert events[-1].data["reason"] == "requested"


async def _disconnect_twice_at_once(service: Service, which: str) -> None:
    """Disconnects from two callers; one of them may come too late."""
    request = pb.DisconnectRequest(id=which)
    ends = await asyncio.gather(
        service.stub.Disconnect(request), service.stub.Disconnect(request), return_exceptions=True
    )
    failed = [end for end in ends if isinstance(end, grpc.aio.AioRpcError)]
    assert len(failed) < 2
    assert all(end.code() is grpc.StatusCode.NOT_FOUND for end in failed)


async def test_twenty_callers_of_one_name_share_one_connection() -> None:
    async with (
        running_scripted_api() as api,
        running_peer() as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        api.delay_seconds = 0.01  # room for races
        request = pb.ConnectRequest(
            url=peer.url, name="the feed", topic="a.b", auto_reconnect=True, tags={"a": "b"}
        )
        answers = await asyncio.gather(*(service.stub.Connect(request) for _ in range(20)))
        assert {one.id for one in answers} == {connection_id_of_name("the feed")}
        assert {one.status for one in answers} == {"connected"}
        assert len(peer.sessions) == 1
        assert len(await service.list()) == 1
        again = await service.stub.Connect(request)
        assert again == answers[0]
        other = pb.ConnectRequest(url=peer.url + "other", name="the feed", topic="a.c")
        refused = await service.refused("Connect", other)
        assert refused.code is grpc.StatusCode.ALREADY_EXISTS
        for field in ("url", "topic", "tags", "auto_reconnect"):
            assert field in refused.message
            assert field in refused.facts["fields"].split(",")
        assert len(peer.sessions) == 1


async def test_a_name_can_be_used_again_and_no_event_id_repeats() -> None:
    async with (
        running_scripted_api() as api,
        running_peer() as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        request = pb.ConnectRequest(url=peer.url, name="again")
        for _ in range(3):
            which = (await service.stub.Connect(request)).id
            await service.stub.Disconnect(pb.DisconnectRequest(id=which))
        ids = [
            one.metadata["ce-id"]
            for one in await api.wait_published(9, "websocketmanager.lifecycle")
        ]
        assert len(set(ids)) == 9
        assert len(peer.sessions) == 3


async def test_disconnect_while_open() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(silent) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        request = pb.ConnectRequest(url=peer.url, auto_reconnect=True)
        which = (await service.stub.Connect(request)).id
        await _disconnect_twice_at_once(service, which)
        session = peer.sessions[0]
        await session.wait_closed()
        assert session.close_code == 1000
        await _assert_gone(service, api, which)
    assert len(peer.sessions) == 1


async def test_disconnect_while_dialling_a_server_that_never_answers() -> None:
    async def stall(session: RawSession) -> None:
        await session.read_request()

    async with (
        running_scripted_api() as api,
        running_raw_peer(stall) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        request = pb.ConnectRequest(url=peer.url, auto_reconnect=True, options=RETRY)
        answer = await service.stub.Connect(request)
        assert answer.status == "connecting"
        session = await peer.wait_session()
        await _disconnect_twice_at_once(service, answer.id)
        async with asyncio.timeout(5):
            await session.ended.wait()
        await _assert_gone(service, api, answer.id)
    assert len(peer.sessions) == 1


async def test_disconnect_ends_a_connect_that_still_waits_for_its_first_dial() -> None:
    async def stall(session: RawSession) -> None:
        await session.read_request()

    async with (
        running_scripted_api() as api,
        running_raw_peer(stall) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        waiting = asyncio.ensure_future(
            service.refused("Connect", pb.ConnectRequest(url=peer.url, name="slow"))
        )
        await peer.wait_session()
        which = connection_id_of_name("slow")
        assert (await service.list())[which].status == "connecting"
        await service.stub.Disconnect(pb.DisconnectRequest(id=which))
        async with asyncio.timeout(5):
            refused = await waiting
        assert refused.code is grpc.StatusCode.UNAVAILABLE
        assert "stopping" not in refused.message, "the service is not stopping"
        await _assert_gone(service, api, which)


async def test_disconnect_while_waiting_for_the_next_attempt() -> None:
    with refusing_port() as port:
        async with (
            running_scripted_api() as api,
            running_inside(
                api.port, reconnect_base_delay_ms=60_000, max_reconnect_delay_ms=60_000
            ) as service,
        ):
            await service.wait_ready()
            request = pb.ConnectRequest(
                url=f"ws://127.0.0.1:{port}/", auto_reconnect=True, options=RETRY
            )
            which = (await service.stub.Connect(request)).id
            await api.wait_published(3, "websocketmanager.lifecycle")
            one = (await service.list())[which]
            assert one.status == "reconnecting"
            assert one.next_attempt_at
            assert one.cause.error_type == "connect_refused"
            refused = await service.refused("SendRaw", pb.SendRawRequest(id=which, message=b"x"))
            assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
            assert refused.facts["status"] == "reconnecting"
            assert refused.facts["next_attempt_at"] == one.next_attempt_at
            await _disconnect_twice_at_once(service, which)
            await _assert_gone(service, api, which)


async def test_what_was_disconnected_stays_away_after_a_restart() -> None:
    async with running_scripted_api() as api, running_peer(echo) as peer:
        async with running_inside(api.port) as service:
            await service.wait_ready()
            gone = (await service.stub.Connect(pb.ConnectRequest(url=peer.url))).id
            kept = (await service.stub.Connect(pb.ConnectRequest(url=peer.url))).id
            await service.stub.Disconnect(pb.DisconnectRequest(id=gone))
        async with running_inside(api.port) as service:
            await service.wait_ready()
            assert set(await service.list()) == {kept}
            await _assert_gone(service, api, gone)
        assert len(peer.sessions) == 3


async def test_a_caller_that_goes_away_leaves_no_unnamed_connection() -> None:
    async def stall(session: RawSession) -> None:
        await session.read_request()

    async with (
        running_scripted_api() as api,
        running_raw_peer(stall) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        call = service.stub.Connect(pb.ConnectRequest(url=peer.url))
        session = await peer.wait_session()
        call.cancel()
        async with asyncio.timeout(10):
            await session.ended.wait()
            await api.wait_calls(1, "State.DeleteState")
            await api.wait_published(2, "websocketmanager.lifecycle")
        assert await service.list() == {}
        assert not [key for key in api.values if ".connection." in key]
