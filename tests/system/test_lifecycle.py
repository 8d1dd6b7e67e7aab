"""The life of a connection as its events tell it, for every way that a peer can fail."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.kit.peer import (
    Behaviour,
    PeerSession,
    RawSession,
    echo,
    running_peer,
    running_raw_peer,
    silent,
)
from tests.kit.raw_peer import TEXT, refusing_port
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import Service, running_inside
from tests.system.evidence import Life, assert_causal, lives
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

RETRY = pb.ConnectionOptions(reconnect=pb.ReconnectOptions(first_dial=pb.FIRST_DIAL_RETRY))


async def _wait_state(api: ScriptedApi, state: str, count: int = 1) -> list[Life]:
    """Waits until the one connection's event was published so often; returns all of it."""
    while True:
        for events in lives(api.published).values():
            if sum(event.state == state for event in events) >= count:
                assert_causal(events)
                return events
        await api.wait_published(len(api.published) + 1)


async def _connect(service: Service, url: str, **fields: Any) -> str:
    await service.wait_ready()
    request = pb.ConnectRequest(url=url, **{"auto_reconnect": True, **fields})
    return str((await service.stub.Connect(request)).id)


def _once(first: Behaviour, then: Behaviour = silent) -> Behaviour:
    """Does as `first` with the first session, as `then` with those behind it."""
    sessions = 0

    async def behave(session: PeerSession) -> None:
        nonlocal sessions
        sessions += 1
        await (first if sessions == 1 else then)(session)

    return behave


@pytest.mark.parametrize(
    ("code", "again", "orderly"),
    [
        (1000, "soon", True),
        (1001, "soon", True),
        (1008, "late", False),
        (1011, "soon", False),
        (1012, "soon", False),
        (1013, "late", False),
        (4000, "late", False),
        (4999, "late", False),
        (3000, "never", False),
        (3003, "never", False),
    ],
)
async def test_a_close_code_decides_when_to_come_back(code: int, again: str, orderly: bool) -> None:
    async def close(session: PeerSession) -> None:
        await session.recv()
        await session.close(code, "because")

    async with (
        running_scripted_api() as api,
        running_peer(_once(close)) as peer,
        # Full jitter below 40 ms, or the upper half of 400 ms.
        running_inside(api.port, reconnect_base_delay_ms=40, max_reconnect_delay_ms=400) as service,
    ):
        which = await _connect(service, peer.url)
        await service.stub.SendRaw(pb.SendRawRequest(id=which, message=b"go"))
        last = "disconnected" if again == "never" else "connected"
        events = await _wait_state(api, last, 1 if again == "never" else 2)
        one = (await service.list())[which]
    states = [event.state for event in events]
    if again == "never":
        assert states == ["connecting", "connected", "error", "disconnected"]
        assert events[-1].data["reason"] == "fatal"
        assert events[-1].data["final"] is True
        assert one.status == "disconnected"
        assert one.cause.close_code == code
        assert len(peer.sessions) == 1
        return
    lost = ["reconnecting"] if orderly else ["error", "reconnecting"]
    assert states == ["connecting", "connected", *lost, "connected"]
    reconnecting = events[-2]
    assert reconnecting.data["close_code"] == code
    assert reconnecting.data["close_reason"] == "because"
    assert reconnecting.data["reason"] == "peer_closed"
    delay = reconnecting.data["delay_ms"]
    assert (delay <= 40) if again == "soon" else (200 <= delay <= 400)
    assert one.session == 2
    assert one.statistics.reconnects == 1


async def _answer_close(session: RawSession) -> None:
    """Behaves well from here on: nobody has to wait for a closing handshake."""
    await session.read_close()
    await session.send_close(1000)
    session.finish()


async def _reset(session: RawSession) -> None:
    await session.upgrade()
    await session.send_frame(TEXT, b"x")
    session.reset()


async def _finish(session: RawSession) -> None:
    await session.upgrade()
    session.finish()


async def _invalid_text(session: RawSession) -> None:
    await session.upgrade()
    await session.send_frame(TEXT, b"\xff\xfe")
    await _answer_close(session)


async def _reserved_bits(session: RawSession) -> None:
    await session.upgrade()
    await session.send_frame(TEXT, b"x", rsv=4)
    await _answer_close(session)


async def _giant(session: RawSession) -> None:
    await session.upgrade()
    await session.send_frame(TEXT, b"x", claimed_length=1 << 40)
    await _answer_close(session)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (_reset, "connection_lost"),
        (_finish, "connection_lost"),
        (_invalid_text, "invalid_utf8"),
        (_reserved_bits, "protocol_error"),
        (_giant, "message_too_big"),
    ],
)
async def test_a_faulty_session_is_told_by_its_kind_and_begun_anew(script: Any, kind: str) -> None:
    seen = 0

    async def behave(session: RawSession) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            await script(session)
        else:
            await session.upgrade()
            await _answer_close(session)

    async with (
        running_scripted_api() as api,
        running_raw_peer(behave) as peer,
        running_inside(api.port) as service,
    ):
        which = await _connect(service, peer.url, topic="a.b")
        events = await _wait_state(api, "connected", 2)
        assert (await service.list())[which].session == 2
    error = next(event for event in events if event.state == "error")
    assert error.data["error_type"] == kind
    assert error.data["error_message"]
    assert events[events.index(error) + 1].state == "reconnecting"


async def test_a_silent_server_is_found_by_its_missing_pong() -> None:
    async def mute(session: RawSession) -> None:
        await session.upgrade()

    async with (
        running_scripted_api() as api,
        running_raw_peer(mute) as peer,
        running_inside(api.port, ping_interval_ms=100, ping_timeout_ms=100) as service,
    ):
        await _connect(service, peer.url)
        events = await _wait_state(api, "connected", 2)
    assert [event.data.get("error_type") for event in events if event.state == "error"] == [
        "ping_timeout"
    ]


@pytest.mark.parametrize(
    ("status", "lines", "last", "reason"),
    [
        (401, (), "disconnected", "fatal"),
        (403, (), "disconnected", "fatal"),
        (302, ("Location: ws://127.0.0.1:1/",), "disconnected", "fatal"),
        (418, (), "reconnecting", ""),
        (429, ("Retry-After: 7",), "reconnecting", ""),
        (500, (), "reconnecting", ""),
        (502, (), "reconnecting", ""),
        (503, ("Retry-After: 9",), "reconnecting", ""),
        (504, (), "reconnecting", ""),
    ],
)
async def test_a_refused_handshake_is_judged_by_its_status(
    status: int, lines: tuple[str, ...], last: str, reason: str
) -> None:
    async def refuse(session: RawSession) -> None:
        await session.respond(status, *lines, body=b"no")
        session.finish()

    async with (
        running_scripted_api() as api,
        running_raw_peer(refuse) as peer,
        running_inside(
            api.port, reconnect_base_delay_ms=2000, max_reconnect_delay_ms=2000
        ) as service,
    ):
        which = await _connect(service, peer.url, options=RETRY)
        events = await _wait_state(api, last)
        one = (await service.list())[which]
    assert [event.state for event in events] == ["connecting", "error", last]
    assert events[1].data["error_type"] == "handshake_rejected"
    assert str(status) in events[1].data["error_message"]
    assert one.status == last
    if reason:
        assert events[-1].data["reason"] == reason
        assert len(peer.sessions) == 1
    elif lines:
        asked = int(lines[0].split()[1]) * 1000
        assert asked <= events[-1].data["delay_ms"] <= asked * 1.1
        assert one.next_attempt_at


async def test_a_failed_first_dial_tells_its_cause_and_leaves_no_record() -> None:
    with refusing_port() as port:
        async with running_scripted_api() as api, running_inside(api.port) as service:
            await service.wait_ready()
            request = pb.ConnectRequest(url=f"ws://127.0.0.1:{port}/", auto_reconnect=True)
            refused = await service.refused("Connect", request)
            assert refused.code is grpc.StatusCode.UNAVAILABLE
            assert refused.facts["error_type"] == "connect_refused"
            assert "could not be opened" in refused.message
            assert await service.list() == {}
            events = await _wait_state(api, "disconnected")
            assert [key for key in api.values if ".connection." in key] == []
    assert [event.state for event in events] == ["connecting", "error", "disconnected"]


async def test_a_server_that_accepts_and_never_answers_is_given_up_in_time() -> None:
    async def stall(session: RawSession) -> None:
        await session.read_request()

    async with (
        running_scripted_api() as api,
        running_raw_peer(stall) as peer,
        running_inside(api.port, default_timeout_ms=300) as service,
    ):
        await service.wait_ready()
        async with asyncio.timeout(5):
            refused = await service.refused("Connect", pb.ConnectRequest(url=peer.url))
        assert refused.code is grpc.StatusCode.UNAVAILABLE
        assert refused.facts["error_type"] == "open_timeout"
        assert await service.list() == {}


async def test_attempts_end_where_the_caller_said() -> None:
    with refusing_port() as port:
        async with running_scripted_api() as api, running_inside(api.port) as service:
            options = pb.ConnectionOptions(
                reconnect=pb.ReconnectOptions(
                    first_dial=pb.FIRST_DIAL_RETRY, max_attempts=3, base_delay_ms=1, max_delay_ms=2
                )
            )
            which = await _connect(service, f"ws://127.0.0.1:{port}/", options=options)
            events = await _wait_state(api, "disconnected")
            one = (await service.list())[which]
            assert one.status == "disconnected"
            assert one.cause.error_type == "connect_refused"
    # A reconnecting event stands before every further attempt, and before no other.
    attempts = [event.data["attempt"] for event in events if event.state == "reconnecting"]
    assert attempts == [2, 3]
    assert events[-1].data["reason"] == "attempts_exhausted"
    assert [event.state for event in events] == [
        "connecting",
        *["error", "reconnecting"] * 2,
        "error",
        "disconnected",
    ]


async def test_without_auto_reconnect_a_closed_connection_stays_listed_with_its_cause() -> None:
    async with running_scripted_api() as api, running_peer(_once(echo)) as peer:
        async with running_inside(api.port) as service:
            which = await _connect(service, peer.url, auto_reconnect=False, topic="a.b")
            await peer.sessions[0].close(1011, "trouble")
            events = await _wait_state(api, "disconnected")
            one = (await service.list())[which]
            assert (one.status, one.cause.close_code) == ("disconnected", 1011)
        async with running_inside(api.port) as service:
            await service.wait_ready()
            one = (await service.list())[which]
            assert (one.status, one.cause.close_code) == ("disconnected", 1011)
            assert len(peer.sessions) == 1, "it is not dialled at recovery"
            await service.stub.Disconnect(pb.DisconnectRequest(id=which))
            assert await service.list() == {}
    assert [event.state for event in events] == ["connecting", "connected", "error", "disconnected"]


async def test_a_disconnected_connection_goes_after_its_retention() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(_once(echo)) as peer,
        running_inside(api.port, disconnected_retention_seconds=1) as service,
    ):
        which = await _connect(service, peer.url, auto_reconnect=False)
        await peer.sessions[0].close(1000)
        await _wait_state(api, "disconnected")
        assert which in await service.list()
        async with asyncio.timeout(10):
            await api.wait_calls(1, "State.DeleteState")
        assert not [key for key in api.values if ".connection." in key]


async def test_events_carry_what_the_contract_says() -> None:
    async with (
        running_scripted_api() as api,
        running_peer(_once(echo)) as peer,
        running_inside(api.port) as service,
    ):
        which = await _connect(service, peer.url + "path?token=secret", topic="a.b")
        await service.stub.SendRaw(pb.SendRawRequest(id=which, message=b"1"))
        await api.wait_published(1, "a.b")
        peer.sessions[0].abort()
        events = await _wait_state(api, "connected", 2)
        raw = next(one for one in api.published if one.topic == "websocketmanager.lifecycle")
        assert "secret" not in str(api.published)
        assert "secret" not in str(await service.list())
    assert raw.metadata["ce-specversion"] == "1.0"
    assert raw.metadata["ce-source"] == "urn:com.virtufin.websocketmanager"
    assert raw.metadata["ce-datacontenttype"] == "application/json"
    assert raw.metadata["ce-subject"] == f"connection/{which}"
    assert raw.metadata["ce-time"].endswith("Z")
    connecting, connected, error, reconnecting, again = events
    for event in events:
        assert event.data["instance_id"] == "one"
        assert event.data["owner_epoch"] == 1
        assert event.data["url"].startswith(peer.url)
    assert connecting.data["attempt"] == 1
    assert connected.data["address"] == f"127.0.0.1:{peer.port}"
    assert connected.data["resumed"] is False
    assert error.data["error_type"] == "connection_lost"
    assert reconnecting.data["last_sequence"] == 1
    assert reconnecting.data["reason"] == "connection_lost"
    assert again.data["session"] == 2
    assert again.data["resumed"] is True
    assert again.data["downtime_ms"] >= 0
