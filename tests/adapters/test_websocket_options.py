"""What a target's options put into the opening handshake, as the peer sees it."""

from __future__ import annotations

import base64

import pytest

from tests.kit.opening import dialer, failure_of, opened_by, target
from tests.kit.peer import closing, running_peer, silent
from tests.kit.raw_peer import RawSession, running_raw_peer
from websocketmanager import __version__
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.options import TlsOptions
from websocketmanager.ports import DialTarget

pytestmark = pytest.mark.usefixtures("engine")


async def head_of(peer: RawSession) -> None:
    await peer.upgrade()


async def test_headers_arrive_in_order_and_as_often_as_given() -> None:
    lines: list[bytes] = []

    async def script(peer: RawSession) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        lines.extend(head.split(b"\r\n"))
        peer.finish()

    headers = (("X-Feed", "a, b"), ("x-other", ""), ("X-FEED", "c\td"), ("Cookie", 'k="v"; w'))
    async with running_raw_peer(script) as peer:
        await failure_of(dialer().dial(target(peer.url, headers=headers)))
    mine = [line for line in lines if line.lower().startswith((b"x-", b"cookie"))]
    assert mine == [b"X-Feed: a, b", b"x-other: ", b"X-FEED: c\td", b'Cookie: k="v"; w']
    # Nothing that the handshake owns came twice.
    names = [line.split(b":")[0].lower() for line in lines[1:-2]]
    assert all(names.count(name) == 1 for name in names if not name.startswith(b"x-"))


async def test_the_callers_user_agent_and_authorization_go_first() -> None:
    headers = (("user-agent", "theirs"), ("authorization", "Bearer t"))
    async with running_peer(silent) as peer:
        url = peer.url.replace("://", "://user:password@")
        async with opened_by(dialer(), target(url, headers=headers)):
            request = (await peer.wait_session()).connection.request
            assert request is not None
            assert request.headers.get_all("User-Agent") == ["theirs"]
            assert request.headers.get_all("Authorization") == ["Bearer t"]

        async with opened_by(dialer(), target(url, headers=(("User-Agent", "a"),) * 2)):
            request = (await peer.wait_session(2)).connection.request
            assert request is not None
            assert request.headers.get_all("User-Agent") == ["a", "a"]
            basic = base64.b64encode(b"user:password").decode()
            assert request.headers.get_all("Authorization") == [f"Basic {basic}"]

        async with opened_by(dialer(), target(peer.url)):
            asked = await peer.wait_session(3)
            assert asked.headers["user-agent"] == f"websocketmanager/{__version__}"


async def test_subprotocols_are_offered_in_order_and_the_choice_is_told() -> None:
    async with running_peer(silent, subprotocols=("b",)) as peer:
        dialled = target(peer.url, subprotocols=("a", "b", "c+json"))
        async with opened_by(dialer(), dialled) as session:
            assert (await peer.wait_session()).headers["sec-websocket-protocol"] == "a, b, c+json"
            assert session.subprotocol == "b"


async def test_a_server_may_choose_no_subprotocol_but_none_of_its_own() -> None:
    async def choose(peer: RawSession) -> None:
        await peer.read_request()
        lines = ("Sec-WebSocket-Protocol: other",) if len(raw.sessions) > 1 else ()
        await peer.upgrade(*lines)

    async with running_raw_peer(choose) as raw:
        async with opened_by(dialer(), target(raw.url, subprotocols=("a",))) as session:
            assert session.subprotocol == ""
        failure = await failure_of(dialer().dial(target(raw.url, subprotocols=("a",))))
    assert failure.kind is FailureKind.HANDSHAKE_INVALID
    assert "was not offered" in failure.message


async def test_the_origin_is_sent() -> None:
    async with (
        running_peer(silent) as peer,
        opened_by(dialer(), target(peer.url, origin="https://feed.test")),
    ):
        assert (await peer.wait_session()).headers["origin"] == "https://feed.test"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (target("", headers=(("X", "hunter2\r\nX-Smuggled: 1"),)), "headers[0].value"),
        (target("", headers=(("X", "hunter2\n"),)), "headers[0].value"),
        (target("", headers=(("X: hunter2\r\nY", "1"),)), "headers[0].name"),
        (target("", headers=(("A", "1"), ("Host", "hunter2"))), "headers[1].name"),
        (target("", headers=(("Sec-WebSocket-Protocol", "hunter2"),)), "headers[0].name"),
        (target("", subprotocols=("a", "hunter2, b")), "subprotocols[1]"),
        (target("", origin="https://feed.test\r\nX: hunter2"), "origin"),
        (target("", tls=TlsOptions(server_name="hunter2.test")), "tls"),
    ],
)
async def test_what_a_secret_makes_wrong_is_not_sent(target: DialTarget, path: str) -> None:
    """Values are judged after evaluation: the texts of the options were fine."""
    async with running_raw_peer(head_of) as peer:
        dialled = DialTarget(
            peer.url,
            *(10.0, 10.0, 1000),
            headers=target.headers,
            subprotocols=target.subprotocols,
            origin=target.origin,
            tls=target.tls,
        )
        failure = await failure_of(dialer().dial(dialled))
        assert failure.kind is FailureKind.UNKNOWN
        assert failure.message.startswith(f"{path}: must ")
        assert "hunter2" not in failure.message
        assert peer.sessions == []


async def test_a_close_reason_that_repeats_a_header_is_scrubbed() -> None:
    headers = (("Authorization", "Bearer hunter2hunter2"), ("Cookie", "sid=canary00; a=1"))
    for said in ("bad token hunter2hunter2", "Bearer hunter2hunter2?", "who is canary00"):
        async with running_peer(closing(1008, said)) as peer:
            dialled = target(peer.url, headers=headers)
            async with opened_by(dialer(), dialled) as session:
                failure = await failure_of(session.recv())
        assert failure.close_code == 1008
        assert "***" in failure.close_reason
        assert "hunter2" not in str(failure) + failure.close_reason
        assert "canary" not in failure.close_reason


async def test_a_target_shows_no_secret_of_its_own() -> None:
    secretive = target(
        "wss://u:canary@h/?k=canary",
        headers=(("X", "canary"),),
        proxy="http://u:canary@p:1",
        tls=TlsOptions(key_pem="canary"),
    )
    assert "canary" not in repr(secretive)
