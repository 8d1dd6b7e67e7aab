"""Proxies: what they are told, what is judged, how they fail, and that nothing goes around them."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence

import pytest

from tests.kit.certificates import client_context, server_context
from tests.kit.opening import LOOPBACK, dialer, failure_of, opened_by, resolving, target
from tests.kit.peer import echo, running_peer, silent
from tests.kit.proxy import HttpProxy, SocksProxy, make_proxy, running_proxy
from tests.kit.raw_peer import RawSession, running_raw_peer
from websocketmanager.adapters.system import SystemClock
from websocketmanager.adapters.websocket.proxying import JudgedProxy
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.handshake_rules import ProxyUrl
from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.url_policy import AddressPolicy

pytestmark = pytest.mark.usefixtures("engine")

#: Where a target "is": nobody listens there, and only a proxy's routes lead on to a peer. Whatever
#: breaks, nothing leaves this machine.
FAR = "127.8.8.8"
OTHER = "127.8.4.4"
SCHEMES = ["http", "socks5", "socks5h"]
NAMING = AddressPolicy.of(["127.0.0.1", "feed.test"])
KNOWN = resolving(feed_test=[FAR])


# --- through -------------------------------------------------------------------------------------


@pytest.mark.parametrize("trickled", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_tunnel_passes_everything_on(scheme: str, trickled: bool) -> None:
    async with running_peer(echo) as peer:
        host = "feed.test" if scheme == "socks5h" else FAR
        proxy = make_proxy(scheme, {host: peer.port}, trickled=trickled)
        dial = dialer(policy=NAMING, resolver=KNOWN)
        async with (
            running_proxy(scheme, proxy) as (_, url),
            opened_by(dial, target("ws://feed.test/ws?x=1", proxy=url)) as session,
        ):
            await session.send(bytes(100_000), Kind.BINARY)
            assert await session.recv() == Message(Kind.BINARY, bytes(100_000))
            asked = await peer.wait_session()
            assert asked.headers["host"] == "feed.test"
            assert asked.path == "/ws?x=1"
            assert proxy.asked == [(host, 80)]
            assert session.address == f"{host}:80"
            await session.close(1001, "done")
            await asked.wait_closed()
            assert asked.close_code == 1001


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_tls_goes_through_with_the_name_of_the_url(scheme: str) -> None:
    names: list[str | None] = []

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    server = server_context("feed.test")
    server.sni_callback = note
    async with running_peer(echo, tls=server) as peer:
        host = "feed.test" if scheme == "socks5h" else FAR
        proxy = make_proxy(scheme, {host: peer.port})
        dial = dialer(policy=NAMING, resolver=KNOWN, tls=client_context())
        async with (
            running_proxy(scheme, proxy) as (_, url),
            opened_by(dial, target("wss://feed.test/", proxy=url)) as session,
        ):
            await session.send(b"x" * 70_000, Kind.TEXT)
            assert len((await session.recv()).data) == 70_000
            assert (await peer.wait_session()).headers["host"] == "feed.test"
    assert names == ["feed.test"]
    assert proxy.asked == [(host, 443)]


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_cannot_pose_as_the_server(scheme: str) -> None:
    async with running_peer(echo, tls=server_context("other.test")) as peer:
        host = "feed.test" if scheme == "socks5h" else FAR
        proxy = make_proxy(scheme, {host: peer.port})
        dial = dialer(policy=NAMING, resolver=KNOWN, tls=client_context())
        async with running_proxy(scheme, proxy) as (_, url):
            failure = await failure_of(dial.dial(target("wss://feed.test/", proxy=url)))
    assert failure.kind is FailureKind.TLS_FAILED


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_an_ipv6_target_is_spelled_as_the_protocol_wants_it(scheme: str) -> None:
    async with running_peer(silent) as peer:
        proxy = make_proxy(scheme, {"::1": peer.port})
        async with (
            running_proxy(scheme, proxy) as (_, url),
            opened_by(dialer(), target("ws://[::1]/", proxy=url)) as session,
        ):
            assert session.address == "[::1]:80"
    assert proxy.asked == [("::1", 80)]


async def test_a_proxy_by_http_is_told_no_more_than_it_needs() -> None:
    async with running_peer(silent) as peer:
        proxy = HttpProxy({FAR: peer.port})
        dialled = "ws://user:hunter2@feed.test:81/secret?token=hunter2"
        dial = dialer(resolver=KNOWN)
        async with (
            running_proxy("http", proxy) as (_, url),
            opened_by(dial, target(dialled, proxy=url, headers=(("X-Key", "hunter2"),))),
        ):
            assert proxy.heads == [f"CONNECT {FAR}:81 HTTP/1.1\r\nHost: {FAR}:81\r\n\r\n"]


async def test_what_follows_the_proxys_answer_is_the_targets() -> None:
    async def script(peer: RawSession) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.0 204\r\nContent-Length: 3\r\n\r\nearly")

    async with running_raw_peer(script) as at:
        proxy = JudgedProxy(ProxyUrl("http", "127.0.0.1", at.port), ["127.0.0.1"])
        raw = await proxy.tunnel(FAR, 80, clock=SystemClock(), seconds=10.0)
        with raw:
            assert await asyncio.get_running_loop().sock_recv(raw, 100) == b"early"


# --- credentials ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_credentials_open_the_tunnel(scheme: str) -> None:
    async with running_peer(silent) as peer:
        proxy = make_proxy(scheme, {FAR: peer.port}, user="us er", password="p@:/")
        async with running_proxy(scheme, proxy) as (_, url):
            knowing = url.replace("://", "://us%20er:p%40%3a%2F@")
            async with opened_by(dialer(), target(f"ws://{FAR}/", proxy=knowing)):
                assert proxy.asked == [(FAR, 80)]


async def test_credentials_for_http_are_utf8() -> None:
    async with running_peer(silent) as peer:
        proxy = HttpProxy({FAR: peer.port}, user="zwölf", password="")
        async with running_proxy("http", proxy) as (_, url):
            knowing = url.replace("://", "://zw%C3%B6lf:@")
            async with opened_by(dialer(), target(f"ws://{FAR}/", proxy=knowing)):
                assert proxy.asked == [(FAR, 80)]


@pytest.mark.parametrize("given", ["", "hunter2:hunter2@"])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_wrong_credentials_are_a_failure_that_shows_none(
    scheme: str, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    proxy = make_proxy(scheme, {FAR: 9, OTHER: 9}, user="right", password="right")
    # One login only, though the name has more addresses: no storm that locks the account.
    dial = dialer(policy=LOOPBACK, resolver=resolving(feed_test=[FAR, OTHER]))
    host = FAR if scheme == "socks5h" else "feed.test"
    async with running_proxy(scheme, proxy) as (at, url):
        dialled = target(f"ws://{host}/", proxy=url.replace("://", f"://{given}"))
        failure = await failure_of(dial.dial(dialled))
        assert len(at.sessions) == 1
        await at.sessions[0].ended.wait()
    assert failure.kind is FailureKind.PROXY_FAILED
    assert failure.http_status == 0
    assert f"the proxy {url}" in failure.message or f"through the proxy {url}" in failure.message
    if scheme == "http":
        assert ("does not accept the credentials" if given else "wants credentials") in str(failure)
    else:
        assert "uthentication" in failure.message
    assert "hunter2" not in str(failure) + repr(dialled) + caplog.text
    assert proxy.asked == []


# --- what is judged ------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_needs_an_entry_like_any_address(scheme: str) -> None:
    async with running_raw_peer(HttpProxy()) as at:
        for host, resolver in (("127.0.0.1", KNOWN), ("p.test", resolving(p_test=["127.0.0.1"]))):
            dial = dialer(policy=AddressPolicy.of([FAR]), resolver=resolver)
            url = f"{scheme}://u:hunter2@{host}:{at.port}"
            failure = await failure_of(dial.dial(target(f"ws://{FAR}/", proxy=url)))
            assert failure.kind is FailureKind.ADDRESS_REFUSED
            assert failure.message.startswith(f"proxy: {host}")
            assert "loopback addresses need an entry in AllowedHosts" in failure.message
            assert "hunter2" not in failure.message
        assert at.sessions == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("host", "rule"),
    [
        ("feed.test", "feed.test (10.0.0.1) is refused: private"),
        ("localhost", "localhost is refused: loopback"),
        ("10.0.0.1", "10.0.0.1 is refused: private"),
        ("[::1]", "::1 is refused: loopback"),
        ("169.254.169.254", "169.254.169.254 is refused: cloud metadata"),
    ],
)
async def test_a_target_is_judged_though_it_is_behind_a_proxy(
    scheme: str, host: str, rule: str
) -> None:
    async with running_raw_peer(HttpProxy()) as at:
        dial = dialer(
            policy=AddressPolicy.of(["proxy.test", FAR]),
            resolver=resolving(feed_test=[FAR, "10.0.0.1"], proxy_test=["127.0.0.1"]),
        )
        proxy = f"{scheme}://proxy.test:{at.port}"
        failure = await failure_of(dial.dial(target(f"ws://{host}/", proxy=proxy)))
        assert failure.kind is FailureKind.ADDRESS_REFUSED
        named = scheme == "socks5h" and host in {"feed.test", "localhost"}
        assert ("socks5h" if named else rule) in failure.message
        assert at.sessions == []


async def test_only_a_name_that_is_allowed_is_left_to_the_proxy() -> None:
    async def never_asked(_: str) -> Sequence[str]:
        raise AssertionError("the name must not be resolved here")

    async with running_peer(silent) as peer:
        proxy = SocksProxy({"feed.test": peer.port, FAR: peer.port})
        async with running_proxy("socks5h", proxy) as (at, url):
            for policy in (LOOPBACK, AddressPolicy.of(["0.0.0.0/0", "::/0", "other.test"])):
                dial = dialer(policy=policy, resolver=never_asked)
                failure = await failure_of(dial.dial(target("ws://feed.test/", proxy=url)))
                assert failure.kind is FailureKind.ADDRESS_REFUSED
                assert "feed.test is refused" in failure.message
            assert at.sessions == []

            for entry in ("feed.test", "*.test"):
                dial = dialer(policy=AddressPolicy.of(["127.0.0.1", entry]), resolver=never_asked)
                async with opened_by(dial, target("ws://feed.test/", proxy=url)) as session:
                    assert session.address == "feed.test:80"
            # An address needs no resolution: it is judged as everywhere.
            async with opened_by(dialer(resolver=never_asked), target(f"ws://{FAR}/", proxy=url)):
                assert proxy.by_name == [True, True, False]


# --- cancelling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_cancelled_after_any_number_of_turns(scheme: str) -> None:
    """Cancels one turn of the loop later each time, until the dial is through."""
    async with running_peer(silent) as peer:
        proxy = make_proxy(scheme, {FAR: peer.port}, user="u", password="p")
        async with running_proxy(scheme, proxy) as (at, url):
            dialled = target(f"ws://{FAR}/", proxy=url.replace("://", "://u:p@"))
            before = asyncio.all_tasks()
            for turns in range(1000):
                dialling = asyncio.create_task(dialer().dial(dialled))
                for _ in range(turns):
                    await asyncio.sleep(0)
                dialling.cancel()
                await asyncio.wait([dialling])
                if not dialling.cancelled():
                    dialling.result().abort()
                    break
            else:
                pytest.fail("the dial never ended")
            for session in at.sessions:
                await session.ended.wait()
            assert turns > 3
            mine = {
                task for task in asyncio.all_tasks() - before if "dial" in repr(task.get_coro())
            }
            assert mine == set()
