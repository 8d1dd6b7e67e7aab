"""Sessions over real sockets: dialogue, subscriptions, detectors, secrets that come and change.

The timing is proven in virtual time (`tests/service/test_session*.py`); here the mechanism.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from tests.kit.peer import Behaviour, Peer, PeerSession, RawSession, running_peer, running_raw_peer
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import ServiceInside, running_inside
from tests.system.evidence import assert_causal, assert_in_order, lives, messages
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

RETRY = pb.ReconnectOptions(first_dial=pb.FIRST_DIAL_RETRY)
LOGIN = pb.Opening(
    steps=[
        pb.Step(expect=pb.Pattern(pointer="/hello")),
        pb.Step(
            send=pb.Payload(text='{"login":"${json(secret:KEY)}","at":${time.ms}}'),
            expect=pb.Pattern(pointer="/login", value='"ok"'),
            timeout_ms=2000,
        ),
    ],
    refusals=[
        pb.RefusalRule(
            pattern=pb.Pattern(pointer="/login", value='"no"'), advice=pb.ADVICE_AGAIN, name="login"
        )
    ],
)
FEEDS = [
    pb.Subscription(
        key=key,
        subscribe=pb.Payload(text=f'{{"subscribe":"{key}"}}'),
        acknowledge=pb.Pattern(pointer="/subscribed", value=f'"{key}"'),
    )
    for key in ("trades", "book")
]


class Venue:
    """A server with a login, subscriptions and data; it knows one password at a time.

    Attributes:
        password: the right one.
        logins: what it was told to let somebody in, over all sessions.
        subscribed: what each session subscribed to.
    """

    def __init__(self, password: str) -> None:
        self.password = password
        self.logins: list[str] = []
        self.subscribed: list[list[str]] = []

    async def __call__(self, session: PeerSession) -> None:
        await session.send(b'{"early":1}')
        await session.send(b'{"hello":1}')
        login = json.loads((await session.recv()).data)["login"]
        self.logins.append(login)
        if login != self.password:
            words = {"login": "no", "why": f"{login} is not the password"}
            await session.send(json.dumps(words).encode())
            await session.recv()
        await session.send(b'{"early":2}')
        await session.send(b'{"login":"ok"}')
        keys: list[str] = []
        self.subscribed.append(keys)
        while True:
            key = json.loads((await session.recv()).data)["subscribe"]
            keys.append(key)
            await session.send(json.dumps({"subscribed": key}).encode())
            await session.send(json.dumps({"data": key}).encode())


@asynccontextmanager
async def serving(
    behaviour: Behaviour, folder: Path | None = None
) -> AsyncIterator[tuple[ScriptedApi, Peer, ServiceInside]]:
    async with (
        running_scripted_api() as api,
        running_peer(behaviour) as peer,
        running_inside(api.port, secrets_folder=str(folder or "")) as service,
    ):
        await service.wait_ready()
        yield api, peer, service


def states(api: ScriptedApi, which: str) -> list[str]:
    """Returns the announced states; a recovery from `degraded` is not told apart."""
    events = lives(api.published)[which]
    assert_causal(events)
    return [event.state for event in events]


async def test_a_login_and_subscriptions_in_every_session_and_renewed_secrets(
    tmp_path: Path,
) -> None:
    (tmp_path / "KEY").write_text("first\n")
    venue = Venue("first")
    async with serving(venue, tmp_path) as (api, peer, service):
        options = pb.ConnectionOptions(opening=LOGIN, subscriptions=FEEDS)
        request = pb.ConnectRequest(url=peer.url, topic="a.b", auto_reconnect=True, options=options)
        answer = await service.stub.Connect(request)
        assert answer.status == "connected", "Connect answers behind the dialogue"
        assert venue.logins == ["first"]
        await api.wait_published(4, "a.b")
        # The password changes: the server throws everybody out, the secret follows a moment later.
        venue.password = "second"
        peer.abort_all()
        await service.wait_listed(answer.id, lambda one: one.cause.error_type == "server_refused")
        assert "first" not in (await service.list())[answer.id].cause.message
        (tmp_path / "KEY").write_text("second\n")
        await service.wait_listed(answer.id, lambda one: one.status == "connected")
        await api.wait_published(8, "a.b")
        delivered = messages(api.published, "a.b")
        assert_in_order(delivered)
        once = [b'{"early":1}', b'{"early":2}', b'{"data": "trades"}', b'{"data": "book"}']
        assert [message.data for message in delivered] == once * 2
        assert venue.subscribed == [["trades", "book"], ["trades", "book"]]
        assert set(venue.logins[1:-1]) == {"first"}
        assert venue.logins[-1] == "second"
        assert states(api, answer.id)[:3] == ["connecting", "connected", "error"]


async def test_a_first_dial_that_is_refused_in_the_dialogue_answers_unavailable(
    tmp_path: Path,
) -> None:
    (tmp_path / "KEY").write_text("wrong")
    async with serving(Venue("right"), tmp_path) as (_, peer, service):
        options = pb.ConnectionOptions(opening=LOGIN)
        refused = await service.refused("Connect", pb.ConnectRequest(url=peer.url, options=options))
        assert refused.code is grpc.StatusCode.UNAVAILABLE
        assert refused.facts["error_type"] == "server_refused"
        assert "*** is not the password" in refused.message
        assert await service.list() == {}


async def test_a_connection_waits_for_a_secret_that_is_mounted_later(tmp_path: Path) -> None:
    venue = Venue("late")
    async with serving(venue, tmp_path) as (_, peer, service):
        options = pb.ConnectionOptions(reconnect=RETRY, opening=LOGIN)
        request = pb.ConnectRequest(url=peer.url, auto_reconnect=True, options=options)
        which = (await service.stub.Connect(request)).id
        one = await service.wait_listed(which, lambda one: one.cause.error_type)
        assert one.cause.error_type == "secret_missing"
        assert "KEY" in one.cause.message
        assert peer.sessions == []
        (tmp_path / "KEY").write_text("late")
        await service.wait_listed(which, lambda one: one.status == "connected")
        assert venue.logins == ["late"]


# --- detectors ------------------------------------------------------------------------------------


async def mute(session: PeerSession) -> None:
    """Takes everything and says nothing, the library's pongs apart."""
    while True:
        await session.recv()


async def idle(session: PeerSession) -> None:
    """Sends data at first."""
    for _ in range(3):
        await session.send(b'{"p":1}')
    await mute(session)


async def chatty(session: PeerSession) -> None:
    """Answers everything, and none of it is data."""
    await session.send(b'{"p":1}')
    while True:
        await session.recv()
        await session.send(b'{"pong":1}')
        await session.send(b'{"status":1}')


async def deaf_to_beats(session: PeerSession) -> None:
    """Answers every message with data, and a heartbeat never."""
    while True:
        await session.recv()
        await session.send(b'{"p":1}')


BEAT = pb.ApplicationHeartbeat(
    send=pb.Payload(text="beat"), interval_ms=100, expect=pb.Pattern(pointer="/pong")
)
DATA = pb.Pattern(pointer="/p")


@pytest.mark.parametrize(
    ("kind", "limit", "behaviour", "options"),
    [
        ("read_idle", 0.3, idle, {"liveness": pb.Liveness(read_idle_ms=300)}),
        (
            "first_data_missing",
            0.3,
            mute,
            {"liveness": pb.Liveness(first_data_ms=300, data=DATA, heartbeat=None)},
        ),
        (
            "data_stale",
            0.4,
            chatty,
            {"liveness": pb.Liveness(data_age_ms=400, data=DATA, heartbeat=BEAT)},
        ),
        ("heartbeat_timeout", 0.1, deaf_to_beats, {"liveness": pb.Liveness(heartbeat=BEAT)}),
        (
            "dialogue_timeout",
            0.2,
            mute,
            {"opening": pb.Opening(steps=[pb.Step(expect=DATA, timeout_ms=200)])},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_dead_feed_is_noticed_and_dialled_again(
    kind: str, limit: float, behaviour: Behaviour, options: dict[str, object]
) -> None:
    async with serving(behaviour) as (api, peer, service):
        chosen = pb.ConnectionOptions(reconnect=RETRY, **options)  # type: ignore[arg-type] # varies by case
        request = pb.ConnectRequest(url=peer.url, topic="a.b", auto_reconnect=True, options=chosen)
        which = (await service.stub.Connect(request)).id
        session = await peer.wait_session(1)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await session.wait_closed()
        assert loop.time() - begin > limit * 0.9
        await peer.wait_session(3)
        await api.wait_published(6, "websocketmanager.lifecycle")
        errors = [
            event.data["error_type"]
            for event in lives(api.published)[which]
            if event.state == "error"
        ]
        assert set(errors) == {kind}
        assert not [one for one in messages(api.published) if b"pong" in one.data]


async def test_a_link_that_is_half_open_is_noticed_by_reading() -> None:
    """The peer's kernel takes every byte; nobody is there to answer a ping."""

    async def gone(session: RawSession) -> None:
        await session.upgrade()
        await session.send_frame(1, b"tick")
        await session.ended.wait()

    async with (
        running_scripted_api() as api,
        running_raw_peer(gone) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        options = pb.ConnectionOptions(
            liveness=pb.Liveness(ping_interval_ms=100, ping_timeout_ms=100)
        )
        request = pb.ConnectRequest(url=peer.url, auto_reconnect=True, options=options)
        which = (await service.stub.Connect(request)).id
        await peer.wait_session(2)
        await api.wait_published(3, "websocketmanager.lifecycle")
        errors = [event for event in lives(api.published)[which] if event.state == "error"]
        assert errors[0].data["error_type"] == "ping_timeout"


async def test_a_healthy_feed_with_every_detector_stays() -> None:
    async def healthy(session: PeerSession) -> None:
        await session.send(b'{"p":0}')
        for number in range(1, 11):
            await session.recv()
            await session.send(b'{"pong":1}')
            await session.send(b'{"p":%d}' % number)
        await session.recv()
        await session.send(b'{"p":"last"}')
        await mute(session)

    async with serving(healthy) as (api, peer, service):
        liveness = pb.Liveness(
            ping_interval_ms=100,
            ping_timeout_ms=5000,
            read_idle_ms=5000,
            first_data_ms=5000,
            data_age_ms=5000,
            data=DATA,
            heartbeat=BEAT,
        )
        liveness.heartbeat.timeout_ms = 5000
        request = pb.ConnectRequest(
            url=peer.url,
            topic="a.b",
            auto_reconnect=True,
            options=pb.ConnectionOptions(liveness=liveness),
        )
        which = (await service.stub.Connect(request)).id
        await api.wait_published(12, "a.b")
        assert len(peer.sessions) == 1
        assert states(api, which) == ["connecting", "connected"]
        assert [one.data for one in messages(api.published)][:2] == [b'{"p":0}', b'{"p":1}']


async def test_sends_of_a_caller_are_spaced_among_all_others() -> None:
    times: list[float] = []

    async def noting(session: PeerSession) -> None:
        while True:
            await session.recv()
            times.append(asyncio.get_running_loop().time())

    async with serving(noting) as (_, peer, service):
        request = pb.ConnectRequest(
            url=peer.url,
            options=pb.ConnectionOptions(send_spacing_ms=50, subscriptions=FEEDS),
        )
        which = (await service.stub.Connect(request)).id
        raw = pb.SendRawRequest(id=which, message=b"x")
        await asyncio.gather(*(service.stub.SendRaw(raw) for _ in range(8)))
        await peer.sessions[0].wait_received(10)
        # Arrival on a busy machine wavers; a burst would take no time at all.
        assert times[-1] - times[0] > 9 * 0.05 * 0.9
