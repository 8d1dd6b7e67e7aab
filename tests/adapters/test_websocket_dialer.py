"""Dialling: what is resolved, judged, dialled and asked; and that leaving early leaves nothing."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from tests.kit.certificates import client_context, server_context
from tests.kit.clock import ManualClock
from tests.kit.opening import dialer, failure_of, opened, resolving, target
from tests.kit.peer import echo, running_peer, silent
from tests.kit.raw_peer import RawSession, black_hole_port, refusing_port, running_raw_peer
from websocketmanager import __version__
from websocketmanager.adapters.websocket.dialer import Session
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.model import Kind
from websocketmanager.domain.url_policy import AddressPolicy, parse_url
from websocketmanager.errors import AddressRefused, InvalidArgument
from websocketmanager.ports import DialTarget

pytestmark = pytest.mark.usefixtures("engine")


async def never(_: object) -> list[str]:
    await asyncio.Event().wait()
    return []


async def stay_silent(peer: RawSession) -> None:
    """The script of a peer that accepts and says nothing."""


# --- the request -------------------------------------------------------------------------------


async def test_the_request_is_plain() -> None:
    async with running_peer(silent) as peer, opened(f"{peer.url}ws/a%20b?stream=x") as session:
        asked = await peer.wait_session()
        assert asked.path == "/ws/a%20b?stream=x"
        assert asked.headers["host"] == f"127.0.0.1:{peer.port}"
        assert asked.headers["user-agent"] == f"websocketmanager/{__version__}"
        assert asked.headers.keys() == {
            "host",
            "upgrade",
            "connection",
            "sec-websocket-key",
            "sec-websocket-version",
            "user-agent",
        }
        assert session.address == f"127.0.0.1:{peer.port}"


async def test_user_information_becomes_basic_authorization() -> None:
    async with running_peer(silent) as peer:
        url = peer.url.replace("://", "://us%65r:p%40ss@")
        async with opened(url):
            asked = await peer.wait_session()
            expected = base64.b64encode(b"user:p@ss").decode()
            assert asked.headers["authorization"] == f"Basic {expected}"


async def test_the_url_names_the_host_and_the_judged_address_is_dialled() -> None:
    async with running_peer(echo, tls=server_context("feed.test")) as peer:
        dial = dialer(tls=client_context(), resolver=resolving(feed_test=["127.0.0.1"]))
        session = await dial.dial(target(f"wss://feed.test:{peer.port}/"))
        asked = await peer.wait_session()
        assert asked.headers["host"] == f"feed.test:{peer.port}"
        assert session.address == f"127.0.0.1:{peer.port}"
        await session.close(1000, "")


async def test_an_ipv6_address_is_dialled() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        async with running_peer(silent, host="::1") as peer, opened(peer.url) as session:
            assert session.address == f"[::1]:{peer.port}"
    except OSError as unavailable:
        pytest.skip(f"no IPv6 loopback here: {unavailable}")


async def test_small_messages_are_not_held_back() -> None:
    async with running_peer(silent) as peer, opened(peer.url) as session:
        raw = session._connection.transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_compression_is_not_offered() -> None:
    async with running_peer(echo, compression="deflate") as peer, opened(peer.url) as session:
        await session.send(b"a" * 1000, Kind.TEXT)
        assert (await session.recv()).data == b"a" * 1000
        assert "sec-websocket-extensions" not in peer.sessions[0].headers


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY", "socks_proxy"])
async def test_no_proxy_of_the_environment_is_used(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_raw_peer(stay_silent) as proxy, running_peer(silent) as peer:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with opened(peer.url):
            await peer.wait_session()
        assert proxy.sessions == []


async def test_secrets_are_not_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets.client").setLevel(logging.DEBUG)
    async with running_peer(echo) as peer:
        url = peer.url.replace("://", "://user:hunter2@") + "?token=hunter2"
        async with opened(url) as session:
            await session.send(b"hunter2", Kind.TEXT)
            await session.recv()
            await session.close(1000, "hunter2")
    ours = [record for record in caplog.records if record.name != "websockets.server"]
    assert "hunter2" not in "".join(record.getMessage() for record in ours)


# --- names and addresses -------------------------------------------------------------------------


async def test_a_name_that_does_not_resolve() -> None:
    async def unknown(_: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    failure = await failure_of(dialer(resolver=unknown).dial(target("ws://feed.test/?k=secret")))
    assert failure.kind is FailureKind.DNS_FAILED
    assert failure.message == "feed.test cannot be resolved: Name or service not known"


async def test_a_name_without_addresses_and_one_that_cannot_be_spelled() -> None:
    async def unspeakable(_: str) -> Sequence[str]:
        raise UnicodeError("label too long")

    for resolver in (resolving(feed_test=[]), unspeakable):
        failure = await failure_of(dialer(resolver=resolver).dial(target("ws://feed.test/")))
        assert failure.kind is FailureKind.DNS_FAILED


async def test_the_system_resolves_names() -> None:
    async with running_peer(silent) as peer:
        session = await dialer().dial(target(f"ws://localhost:{peer.port}/"))
        assert (await peer.wait_session()).headers["host"] == f"localhost:{peer.port}"
        await session.close(1000, "")


async def test_a_slow_resolver_is_bounded_by_the_open_timeout() -> None:
    clock = ManualClock()
    dialling = asyncio.create_task(
        failure_of(dialer(clock=clock, resolver=never).dial(target("ws://feed.test/")))
    )
    assert await clock.wait_for_timeout() == 10.0
    clock.advance(10.0)
    failure = await dialling
    assert failure.kind is FailureKind.OPEN_TIMEOUT
    assert failure.message == "feed.test was not open within 10 s"


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        (["10.0.0.1"], "feed.test (10.0.0.1) is refused: private"),
        (["127.0.0.2", "127.0.0.1"], "feed.test (127.0.0.1) is refused: loopback"),
        (["::ffff:127.0.0.2"], "feed.test (::ffff:127.0.0.2) is refused: IPv4-mapped"),
        (["fe80::1%eth0"], "feed.test (fe80::1%eth0) is refused: zoned"),
        (["169.254.169.254"], "feed.test (169.254.169.254) is refused: cloud metadata"),
        (["nonsense"], "feed.test (nonsense) is refused: invalid"),
    ],
)
async def test_one_refused_answer_refuses_the_name(answers: list[str], refused: str) -> None:
    # Judged, never dialled: a broken policy must not let a test reach out of this machine.
    dial = dialer(policy=AddressPolicy.of(["127.0.0.2"]), resolver=resolving(feed_test=answers))
    with pytest.raises(AddressRefused) as caught:
        await dial.judge("ws://feed.test/")
    assert refused in str(caught.value)


@pytest.mark.parametrize("answers", [["127.0.0.2", "127.0.0.1"], ["::ffff:127.0.0.2"]])
async def test_one_refused_answer_refuses_the_dial(answers: list[str]) -> None:
    dial = dialer(policy=AddressPolicy.of(["127.0.0.2"]), resolver=resolving(feed_test=answers))
    failure = await failure_of(dial.dial(target("ws://feed.test/")))
    assert failure.kind is FailureKind.ADDRESS_REFUSED


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "metadata.google.internal"])
async def test_a_refused_host_is_not_even_resolved(host: str) -> None:
    dial = dialer(policy=AddressPolicy.of([]), resolver=never)
    failure = await failure_of(dial.dial(target(f"ws://{host}/")))
    assert failure.kind is FailureKind.ADDRESS_REFUSED
    with pytest.raises(AddressRefused):
        await dial.judge(f"ws://{host}/")


async def test_nothing_is_sent_to_a_refused_address() -> None:
    async with running_peer(silent) as peer:
        dial = dialer(
            policy=AddressPolicy.of(["127.0.0.1"]),
            resolver=resolving(feed_test=["127.0.0.1", "127.0.0.2"]),
        )
        await failure_of(dial.dial(target(f"ws://feed.test:{peer.port}/")))
        assert peer.sessions == []


async def test_judging_passes_what_may_be_dialled_and_what_does_not_resolve() -> None:
    async def unknown(_: str) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    await dialer().judge("ws://127.0.0.1/")
    await dialer(resolver=resolving(feed_test=["8.8.8.8"])).judge("ws://feed.test/")
    await dialer(resolver=unknown).judge("ws://feed.test/")
    with pytest.raises(InvalidArgument):
        await dialer().judge("http://feed.test/")


async def test_a_malformed_url_is_a_failure_of_the_dial() -> None:
    failure = await failure_of(dialer().dial(target("http://user:hunter2@h/")))
    assert failure.kind is FailureKind.UNKNOWN
    assert "hunter2" not in str(failure)


async def test_the_name_is_resolved_anew_for_each_dial() -> None:
    answers = [["127.0.0.2"], ["127.0.0.1"]]

    async def changing(_: str) -> Sequence[str]:
        return answers.pop(0)

    async with running_peer(silent) as peer:
        dial = dialer(resolver=changing)
        url = f"ws://feed.test:{peer.port}/"
        assert (await failure_of(dial.dial(target(url)))).kind is FailureKind.CONNECT_REFUSED
        session = await dial.dial(target(url))
        assert session.address == f"127.0.0.1:{peer.port}"
        assert answers == []
        await session.close(1000, "")


async def test_every_address_is_tried() -> None:
    async with running_peer(silent) as peer:
        dial = dialer(resolver=resolving(feed_test=["127.0.0.2", "127.0.0.3", "127.0.0.1"]))
        session = await dial.dial(target(f"ws://feed.test:{peer.port}/"))
        assert session.address == f"127.0.0.1:{peer.port}"
        await session.close(1000, "")


async def test_when_no_address_answers_all_are_named() -> None:
    with refusing_port() as port:
        dial = dialer(resolver=resolving(feed_test=["127.0.0.1", "127.0.0.2"]))
        failure = await failure_of(dial.dial(target(f"ws://feed.test:{port}/")))
    assert failure.kind is FailureKind.CONNECT_REFUSED
    assert failure.message == (
        f"127.0.0.1:{port} refused the connection; 127.0.0.2:{port} refused the connection"
    )


async def test_an_answer_that_says_no_is_not_asked_elsewhere() -> None:
    async def script(peer: RawSession) -> None:
        await peer.respond(403)

    async with running_raw_peer(script) as peer:
        dial = dialer(resolver=resolving(feed_test=["127.0.0.1", "127.0.0.1"]))
        failure = await failure_of(dial.dial(target(f"ws://feed.test:{peer.port}/")))
        assert failure.http_status == 403
        assert len(peer.sessions) == 1


async def test_a_silent_address_leaves_time_for_the_next() -> None:
    clock = ManualClock()
    with black_hole_port() as port:
        dial = dialer(clock=clock, resolver=resolving(feed_test=["127.0.0.1", "127.0.0.2"]))
        dialling = asyncio.create_task(failure_of(dial.dial(target(f"ws://feed.test:{port}/"))))
        assert await clock.wait_for_timeout(2) == 5.0
        clock.advance(5.0)
        failure = await dialling
    assert failure.kind is FailureKind.CONNECT_REFUSED
    assert failure.message == (
        f"127.0.0.1:{port} did not answer in time; 127.0.0.2:{port} refused the connection"
    )


# --- silence -------------------------------------------------------------------------------------


async def test_a_black_hole_before_the_connection() -> None:
    clock = ManualClock()
    with black_hole_port() as port:
        dialling = asyncio.create_task(
            failure_of(dialer(clock=clock).dial(target(f"ws://127.0.0.1:{port}/")))
        )
        await clock.wait_for_timeout(2)
        clock.advance(10.0)
        assert (await dialling).kind is FailureKind.OPEN_TIMEOUT


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_peer_that_accepts_and_says_nothing(scheme: str) -> None:
    clock = ManualClock()
    async with running_raw_peer(stay_silent) as peer:
        dialling = asyncio.create_task(
            failure_of(dialer(clock=clock).dial(target(f"{scheme}://127.0.0.1:{peer.port}/")))
        )
        session = await peer.wait_session()
        clock.advance(10.0)
        assert (await dialling).kind is FailureKind.OPEN_TIMEOUT
        await session.ended.wait()


async def test_an_answer_that_trickles_too_slowly_and_one_that_comes_late() -> None:
    go = asyncio.Event()

    async def script(peer: RawSession) -> None:
        await peer.read_request()
        answer = peer.upgrade_response()
        await peer.trickle(answer[:-1])
        await go.wait()
        await peer.send(answer[-1:])

    clock = ManualClock()
    async with running_raw_peer(script) as peer:
        late = asyncio.create_task(dialer(clock=clock).dial(target(peer.url)))
        session = await peer.wait_session()
        clock.advance(9.99)
        go.set()
        (await late).abort()

        go.clear()
        too_late = asyncio.create_task(failure_of(dialer(clock=clock).dial(target(peer.url))))
        session = await peer.wait_session(2)
        clock.advance(10.0)
        assert (await too_late).kind is FailureKind.OPEN_TIMEOUT
        go.set()
        await session.ended.wait()


# --- cancelling ----------------------------------------------------------------------------------


async def cancel(dialling: asyncio.Task[Session]) -> None:
    dialling.cancel()
    await asyncio.wait([dialling])
    assert dialling.cancelled()


async def test_cancelled_while_resolving() -> None:
    clock = ManualClock()
    dialling = asyncio.create_task(
        dialer(clock=clock, resolver=never).dial(target("ws://feed.test/"))
    )
    await clock.wait_for_timeout()
    await cancel(dialling)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelled_while_connecting() -> None:
    clock = ManualClock()
    with black_hole_port() as port:
        dialling = asyncio.create_task(dialer(clock=clock).dial(target(f"ws://127.0.0.1:{port}/")))
        await clock.wait_for_timeout(2)
        await cancel(dialling)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_cancelled_while_shaking_hands(scheme: str) -> None:
    begun = asyncio.Event()

    # The peer speaks no TLS: with wss it is that handshake which waits.
    async def script(peer: RawSession) -> None:
        await peer.reader.readexactly(1)
        begun.set()

    async with running_raw_peer(script) as peer:
        dialling = asyncio.create_task(dialer().dial(target(f"{scheme}://127.0.0.1:{peer.port}/")))
        await begun.wait()
        await cancel(dialling)
        await peer.sessions[0].ended.wait()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_cancelled_after_any_number_of_turns(scheme: str) -> None:
    """Cancels one turn of the loop later each time, until the dial is through."""
    server = server_context("127.0.0.1") if scheme == "wss" else None
    async with running_peer(silent, tls=server) as peer:
        dial = dialer(tls=client_context())
        before = asyncio.all_tasks()
        for turns in range(1000):
            dialling = asyncio.create_task(dial.dial(target(peer.url)))
            for _ in range(turns):
                await asyncio.sleep(0)
            dialling.cancel()
            await asyncio.wait([dialling])
            if not dialling.cancelled():
                dialling.result().abort()
                break
        else:
            pytest.fail("the dial never ended")
        # Every connection that reached the peer is seen to end; none is held by anybody.
        for session in peer.sessions:
            await session.wait_closed()
        assert turns > 3
        mine = {task for task in asyncio.all_tasks() - before if "dial" in repr(task.get_coro())}
        assert mine == set()


# --- one reading of the URL ----------------------------------------------------------------------


URLS = st.builds(
    "{}://{}{}{}{}".format,
    st.sampled_from(["ws", "wss", "WS"]),
    st.sampled_from(["", "u:p@", "%41:%42@", "ü:ß@"]),
    st.one_of(
        st.from_regex(r"[a-zA-Z0-9._-]{1,20}", fullmatch=True),
        st.ip_addresses(v=4).map(str),
        st.ip_addresses(v=6).map("[{}]".format),
        st.text(min_size=1, max_size=10),
    ),
    st.one_of(st.just(""), st.integers(-1, 70000).map(":{}".format)),
    st.one_of(st.just(""), st.text(max_size=10).map("/{}".format), st.text().map("?{}".format)),
)


@given(URLS)
def test_the_library_reads_what_we_judged(url: str) -> None:
    try:
        ours = parse_url(url)
    except InvalidArgument:
        return
    theirs = parse_uri(url)
    assert (theirs.secure, theirs.host, theirs.port) == (ours.is_tls, ours.host, ours.port)
    theirs.resource_name.encode("ascii")


def test_the_library_would_accept_what_we_refuse() -> None:
    """Why the policy has a parser of its own."""
    for url in ("ws://h\t/", "ws://h\\@evil/", "ws://2130706433/", "ws://h/#"):
        with pytest.raises(InvalidArgument):
            parse_url(url)
        with suppress(InvalidURI):
            assert parse_uri(url).host


def test_the_targets_bounds_reach_the_library() -> None:
    async def build() -> None:
        from websocketmanager.adapters.websocket.connection import Connection
        from websocketmanager.adapters.websocket.gathering import Gathering

        connection = Connection(DialTarget("ws://h/", 1.0, 2.0, 3), ManualClock(), Gathering())
        assert connection.protocol.max_message_size == 3
        assert connection.close_timeout == 2.0
        assert connection.ping_interval is None

    asyncio.run(build())
