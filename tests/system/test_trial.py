"""Tests of targets over the whole service and real sockets: every step, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.kit.certificates import authority, server_context
from tests.kit.peer import (
    PeerSession,
    RawSession,
    closing,
    refusing_port,
    running_peer,
    running_raw_peer,
    silent,
)
from tests.kit.proxy import HttpProxy, running_proxy
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import ServiceInside, running_inside
from tests.system.test_canaries import gossip
from tests.system.test_sessions import FEEDS, LOGIN, Venue
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.service.trials import MAX_TRIALS

STEPS = [
    "resolve", "policy", "proxy", "tcp", "tls", "handshake", "dialogue", "subscriptions",
    "first_data",
]  # fmt: skip
TLS = pb.HandshakeOptions(tls=pb.TlsOptions(ca_pem=authority().cert_pem.bytes().decode()))


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[tuple[ScriptedApi, ServiceInside]]:
    """Runs a service; at the end its store and its topics must be as they were at the start."""
    async with running_scripted_api() as api:
        async with running_inside(api.port, **settings) as service:
            await service.wait_ready()
            keys = set(api.values)
            yield api, service
            assert await service.list() == {}
            assert set(api.values) == keys
        assert api.published == []


async def tried(service: ServiceInside, url: str, **options: Any) -> pb.TestConnectionResponse:
    """Tries a target; both RPCs must tell the same."""
    request = pb.TestConnectionRequest(url=url, options=pb.ConnectionOptions(**options))
    answer: pb.TestConnectionResponse = await service.stub.TestConnection(request, timeout=30)
    stream = service.stub.TestConnectionSteps(request, timeout=30)
    steps = [step async for step in stream]
    assert [step.step for step in steps] == STEPS
    assert [(one.step, one.outcome, one.error_type) for one in answer.steps] == [
        (one.step, one.outcome, one.error_type) for one in steps
    ]
    assert answer.ok == all(one.outcome != "failed" for one in answer.steps)
    return answer


def outcomes(answer: pb.TestConnectionResponse) -> dict[str, str]:
    return {one.step: one.outcome for one in answer.steps}


def details(answer: pb.TestConnectionResponse) -> dict[str, str]:
    return {one.step: one.detail for one in answer.steps}


def failure(answer: pb.TestConnectionResponse) -> tuple[str, str, str]:
    """Returns the failed step; none may have gone well behind it."""
    assert not answer.ok
    found = [one for one in answer.steps if one.outcome == "failed"]
    assert len(found) == 1
    place = STEPS.index(found[0].step)
    assert {one.outcome for one in answer.steps[place + 1 :]} <= {"skipped"}
    return found[0].step, found[0].error_type, found[0].error_message


async def test_a_healthy_server_with_everything(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_text("right")
    venue = Venue("right")
    async with (
        running_peer(venue, tls=server_context("127.0.0.1")) as peer,
        serving(secrets_folder=str(tmp_path)) as (_, service),
    ):
        answer = await tried(service, peer.url, handshake=TLS, opening=LOGIN, subscriptions=FEEDS)
        assert answer.ok
        assert outcomes(answer) == dict.fromkeys(STEPS, "ok") | {"proxy": "skipped"}
        found = details(answer)
        assert found["resolve"] == "127.0.0.1"
        assert found["tcp"] == f"127.0.0.1:{peer.port}"
        assert found["tls"].startswith("TLSv1.3, ")
        assert found["subscriptions"] == "2 written, 2 acknowledged"
        # Of the one feed or of the other: who is first is the network's choice.
        assert found["first_data"] in {"16 bytes, text/plain", "18 bytes, text/plain"}
        assert all(one.duration_ms >= 0 for one in answer.steps)
        assert venue.logins == ["right", "right"]
        for session in peer.sessions:
            await session.wait_closed()
            assert session.close_code == 1000


async def test_through_a_proxy() -> None:
    async def greeting(session: PeerSession) -> None:
        await session.send(b"hello")
        await silent(session)

    async with running_peer(greeting) as peer, serving() as (_, service):
        proxy = HttpProxy({"127.0.0.1": peer.port}, user="user", password="s3cret")
        async with running_proxy("http", proxy) as (_, url):
            handshake = pb.HandshakeOptions(proxy=url.replace("://", "://user:s3cret@"))
            answer = await tried(service, peer.url, handshake=handshake)
        assert answer.ok
        assert {"proxy": "ok", "tcp": "skipped"}.items() <= outcomes(answer).items()
        assert b"s3cret" not in answer.SerializeToString()


async def test_a_refused_address_is_not_dialled() -> None:
    async with running_peer(silent, host="127.0.0.2") as peer, serving() as (_, service):
        step, kind, message = failure(await tried(service, peer.url))
        assert (step, kind) == ("policy", "address_refused")
        assert "AllowedHosts" in message
        assert peer.sessions == []


async def test_a_port_that_refuses() -> None:
    with refusing_port() as port:
        async with serving() as (_, service):
            answer = await tried(service, f"ws://127.0.0.1:{port}/")
    assert failure(answer)[:2] == ("tcp", "connect_refused")
    assert outcomes(answer)["policy"] == "ok"


async def test_a_proxy_that_is_not_there() -> None:
    with refusing_port() as port:
        async with serving() as (_, service):
            handshake = pb.HandshakeOptions(proxy=f"socks5://127.0.0.1:{port}")
            answer = await tried(service, "ws://127.0.0.1:9/", handshake=handshake)
    assert failure(answer)[:2] == ("proxy", "proxy_failed")


async def test_a_certificate_for_another_name() -> None:
    async with (
        running_peer(silent, tls=server_context("other.test")) as peer,
        serving() as (_, service),
    ):
        answer = await tried(service, peer.url, handshake=TLS)
        assert failure(answer)[:2] == ("tls", "tls_failed")
        assert outcomes(answer)["tcp"] == "ok"
        assert peer.sessions == []


async def test_a_handshake_that_is_rejected() -> None:
    async def forbidden(session: RawSession) -> None:
        await session.respond(403)

    async with running_raw_peer(forbidden) as peer, serving() as (_, service):
        answer = await tried(service, peer.url)
        step, kind, message = failure(answer)
        assert (step, kind) == ("handshake", "handshake_rejected")
        assert message.endswith("HTTP status 403")


async def test_a_server_that_never_answers_the_handshake() -> None:
    async def mute(session: RawSession) -> None:
        await session.read_request()

    async with running_raw_peer(mute) as peer, serving() as (_, service):
        handshake = pb.HandshakeOptions(open_timeout_ms=200)
        answer = await tried(service, peer.url, handshake=handshake)
        assert failure(answer)[:2] == ("handshake", "open_timeout")


async def test_a_login_that_is_refused(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_text("wrong")
    async with (
        running_peer(Venue("right")) as peer,
        serving(secrets_folder=str(tmp_path)) as (_, service),
    ):
        step, kind, message = failure(await tried(service, peer.url, opening=LOGIN))
        assert (step, kind) == ("dialogue", "server_refused")
        assert "*** is not the password" in message
        assert "wrong" not in message


async def test_a_dialogue_with_the_wrong_answer() -> None:
    step = pb.Step(expect=pb.Pattern(pointer="/hello"), timeout_ms=200)

    async def other(session: PeerSession) -> None:
        await session.send(b'{"other":1}')
        await silent(session)

    async with running_peer(other) as peer, serving() as (_, service):
        answer = await tried(service, peer.url, opening=pb.Opening(steps=[step]))
        assert failure(answer)[:2] == ("dialogue", "dialogue_timeout")
        (await peer.wait_session(2)).abort()


async def test_a_secret_that_is_missing() -> None:
    async with running_peer(Venue("right")) as peer, serving() as (_, service):
        answer = await tried(service, peer.url, opening=LOGIN)
        assert failure(answer)[:2] == ("resolve", "secret_missing")
        assert peer.sessions == []


async def test_a_server_without_data() -> None:
    async with running_peer(silent) as peer, serving() as (_, service):
        liveness = pb.Liveness(first_data_ms=200)
        answer = await tried(service, peer.url, liveness=liveness)
        assert failure(answer)[:2] == ("first_data", "first_data_missing")
        assert answer.steps[-1].duration_ms > 190
        for session in peer.sessions:
            await session.wait_closed()
            assert session.close_code == 1000


async def test_a_server_that_closes_says_why() -> None:
    async with running_peer(closing(1008, "no such feed")) as peer, serving() as (_, service):
        step, kind, message = failure(await tried(service, peer.url))
        assert (step, kind) == ("first_data", "peer_closed")
        assert message.endswith("code is 1008: no such feed")


NAMES = ("HEADER", "DIALOGUE", "SUBSCRIPTION", "QUERY")


@pytest.mark.parametrize("at", ["refusal", "reason"])
@pytest.mark.parametrize("name", NAMES)
async def test_no_secret_is_in_any_step(at: str, name: str, tmp_path: Path) -> None:
    for one in NAMES:
        (tmp_path / one).write_text(gossip(one)[0])

    async def indiscreet(session: PeerSession) -> None:
        login = (await session.recv()).data.decode()
        said = session.path + json.dumps(session.headers) + login
        assert "4canary" in said
        if at == "refusal":
            await session.send(f"refused {' '.join(gossip(name))}".encode())
            await silent(session)
        await session.send(b'{"ok":1}')
        await session.recv()
        await session.close(4000, gossip(name)[0])

    options = {
        "handshake": pb.HandshakeOptions(
            headers=[pb.Header(name="X-Key", value="${secret:HEADER}")]
        ),
        "opening": pb.Opening(
            steps=[
                pb.Step(
                    send=pb.Payload(text="${secret:DIALOGUE}"), expect=pb.Pattern(pointer="/ok")
                )
            ],
            refusals=[pb.RefusalRule(pattern=pb.Pattern(regex="^refused"))],
        ),
        "subscriptions": [
            pb.Subscription(key="a", subscribe=pb.Payload(text="${secret:SUBSCRIPTION}"))
        ],
    }
    async with (
        running_peer(indiscreet) as peer,
        serving(secrets_folder=str(tmp_path)) as (_, service),
    ):
        url = f"{peer.url}?key=${{secret:QUERY}}"
        answer = await tried(service, url, **options)
        assert failure(answer)[1] == ("server_refused" if at == "refusal" else "peer_closed")
        assert "***" in failure(answer)[2]
        assert "canary" not in str(answer)


async def test_a_caller_that_goes_away_leaves_no_socket() -> None:
    async with running_peer(silent) as peer, serving() as (_, service):
        request = pb.TestConnectionRequest(url=peer.url)
        streamed = service.stub.TestConnectionSteps(request)
        steps = aiter(streamed)
        while (await anext(steps)).step != "handshake":
            pass
        unary = asyncio.ensure_future(service.stub.TestConnection(request))
        await peer.wait_session(2)
        streamed.cancel()
        unary.cancel()
        for session in peer.sessions:
            await session.wait_closed()


async def test_so_many_at_once_and_no_more() -> None:
    async with running_peer(silent) as peer, serving() as (_, service):
        request = pb.TestConnectionRequest(url=peer.url)
        calls = [service.stub.TestConnectionSteps(request) for _ in range(MAX_TRIALS)]
        for call in calls:
            await call.initial_metadata()
        refused = await service.refused("TestConnection", request)
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.reason == "LIMIT_REACHED"
        for call in calls:
            call.cancel()
        for session in peer.sessions:
            await session.wait_closed()


async def test_a_stop_ends_tests_that_run() -> None:
    async with running_peer(silent) as peer, running_scripted_api() as api:
        async with running_inside(api.port, shutdown_grace_seconds=5) as service:
            await service.wait_ready()
            call = service.stub.TestConnectionSteps(pb.TestConnectionRequest(url=peer.url))
            session = await peer.wait_session()
            before = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - before < 4
        await session.wait_closed()
        assert await call.code() is not grpc.StatusCode.OK


async def test_a_test_waits_while_a_connection_has_the_credential() -> None:
    async def greeting(session: PeerSession) -> None:
        await session.send(b"hello")
        await silent(session)

    async with (
        running_scripted_api() as api,
        running_peer(greeting) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        options = pb.ConnectionOptions(exclusive="k")
        connect = pb.ConnectRequest(url=peer.url, options=options)
        which = (await service.stub.Connect(connect)).id
        options.handshake.open_timeout_ms = 200
        request = pb.TestConnectionRequest(url=peer.url, options=options)
        answer = await service.stub.TestConnection(request)
        assert failure(answer)[:2] == ("resolve", "open_timeout")
        assert len(peer.sessions) == 1
        await service.stub.Disconnect(pb.DisconnectRequest(id=which))
        answer = await service.stub.TestConnection(request)
        assert answer.ok
        assert "exclusive credential" in answer.steps[0].detail
