"""Proxies that fail: each in its own way, told as it is, and never gone around."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.kit.clock import ManualClock
from tests.kit.opening import dialer, failure_of, opened_by, resolving, target
from tests.kit.peer import running_peer, silent
from tests.kit.proxy import HttpProxy, SocksProxy, make_proxy, running_proxy, socks_reply
from tests.kit.raw_peer import (
    RawSession,
    Script,
    black_hole_port,
    refusing_port,
    running_raw_peer,
)
from websocketmanager.adapters.system import SystemClock
from websocketmanager.adapters.websocket.proxying import MAX_ANSWER_BYTES, JudgedProxy
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.handshake_rules import ProxyUrl
from websocketmanager.domain.url_policy import AddressPolicy

pytestmark = pytest.mark.usefixtures("engine")

#: Where a target "is": nobody listens there, and only a proxy's routes lead on to a peer. Whatever
#: breaks, nothing leaves this machine.
FAR = "127.8.8.8"
OTHER = "127.8.4.4"
SCHEMES = ["http", "socks5", "socks5h"]
NAMING = AddressPolicy.of(["127.0.0.1", "feed.test"])
KNOWN = resolving(feed_test=[FAR])


# --- failing -------------------------------------------------------------------------------------


async def garbage(peer: RawSession) -> None:
    await peer.send(b"SSH-2.0-OpenSSH_9.2\r\n")


async def hang(peer: RawSession) -> None:
    """Accepts, and says nothing."""


async def ends_at_once(peer: RawSession) -> None:
    peer.finish()


async def resets(peer: RawSession) -> None:
    await peer.reader.readexactly(1)
    peer.reset()


def saying(*answers: bytes) -> Script:
    """Answers each thing that comes with the next of these, then ends."""

    async def script(peer: RawSession) -> None:
        for answer in answers:
            await peer.reader.read(4096)
            await peer.send(answer)
        peer.finish()

    return script


MISBEHAVIOUR: dict[str, tuple[list[str], Script]] = {
    "another protocol": (SCHEMES, garbage),
    "an end": (SCHEMES, ends_at_once),
    "a reset": (SCHEMES, resets),
    "half a head": (["http"], saying(b"HTTP/1.1 200 OK\r\nVia: x\r\n")),
    "HTTP/2": (["http"], saying(b"HTTP/2 200\r\n\r\n")),
    "no number": (["http"], saying(b"HTTP/1.1 OK 200\r\n\r\n")),
    "an informal status": (["http"], saying(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")),
    "a redirect": (["http"], saying(b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1/\r\n\r\n")),
    "no end of head": (["http"], saying(b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_ANSWER_BYTES)),
    "SOCKS4": (["socks5"], saying(b"\x04\x00")),
    "a method that was not offered": (["socks5"], saying(b"\x05\x02")),
    "no method": (["socks5"], saying(b"\x05\xff")),
    "half a reply": (["socks5"], saying(b"\x05\x00", socks_reply(0)[:-1])),
    "an unknown code": (["socks5"], saying(b"\x05\x00", b"\x05\x63\x00")),
    "an unknown type": (["socks5"], saying(b"\x05\x00", b"\x05\x00\x00\x09")),
    "a name that is none": (["socks5"], saying(b"\x05\x00", b"\x05\x00\x00\x03\x01\xff\x00\x00")),
}


@pytest.mark.parametrize(
    ("scheme", "script"),
    [
        pytest.param(scheme, script, id=f"{scheme}: {name}")
        for name, (schemes, script) in MISBEHAVIOUR.items()
        for scheme in schemes
    ],
)
async def test_a_proxy_that_misbehaves(scheme: str, script: Script) -> None:
    async with running_proxy(scheme, script) as (at, url):
        failure = await failure_of(dialer().dial(target(f"ws://{FAR}/", proxy=url)))
        assert failure.kind is FailureKind.PROXY_FAILED
        assert failure.message.startswith(f"{FAR}:80 through the proxy {url} was not reached")
        await at.sessions[0].ended.wait()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_proxy_that_says_nothing(scheme: str) -> None:
    clock = ManualClock()
    async with running_proxy(scheme, hang) as (at, url):
        dial = dialer(clock=clock)
        dialling = asyncio.create_task(failure_of(dial.dial(target(f"ws://{FAR}/", proxy=url))))
        session = await at.wait_session()
        await clock.wait_for_timeout(2)
        clock.advance(10.0)
        failure = await dialling
        assert failure.kind is FailureKind.OPEN_TIMEOUT
        await session.ended.wait()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_no_proxy_that_fails_is_gone_around(scheme: str) -> None:
    """The target stands open on loopback, and nobody may knock."""

    async def unknown(host: str) -> Sequence[str]:
        if host == "nowhere.test":
            raise OSError(-2, "Name or service not known")
        return ["127.0.0.1"]

    no_route = make_proxy(scheme, {})
    locked = make_proxy(scheme, {}, user="u", password="p")
    async with (
        running_raw_peer(ends_at_once) as peer,
        running_proxy(scheme, garbage) as (_, garbled),
        running_proxy(scheme, ends_at_once) as (_, ended),
        running_proxy(scheme, no_route) as (_, refusing),
        running_proxy(scheme, locked) as (_, closed),
    ):
        dial = dialer(policy=AddressPolicy.of(["127.0.0.1", "feed.test"]), resolver=unknown)
        with refusing_port() as down:
            proxies = [
                *(garbled, ended, refusing, closed),
                f"{scheme}://127.0.0.1:{down}",
                f"{scheme}://nowhere.test:1080",
            ]
            for host in ("127.0.0.1", "feed.test"):
                for proxy in proxies:
                    dialled = target(f"ws://{host}:{peer.port}/", proxy=proxy)
                    failure = await failure_of(dial.dial(dialled))
                    assert failure.kind is FailureKind.PROXY_FAILED, proxy
        assert peer.sessions == []
        # The log would show it.
        await failure_of(dial.dial(target(f"ws://127.0.0.1:{peer.port}/")))
        assert len(peer.sessions) == 1


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_tunnel_has_its_own_bound_too(scheme: str) -> None:
    """For a caller that sets none: in SOCKS5 the library's, which closes the socket."""
    proxy = ProxyUrl(scheme, "127.0.0.1", 1)
    with black_hole_port() as port:
        silent_proxy = JudgedProxy(replace(proxy, port=port), ["127.0.0.1"])
        with pytest.raises(TimeoutError):
            await silent_proxy.tunnel(FAR, 80, clock=SystemClock(), seconds=0.05)
    if scheme == "http":
        return
    async with running_raw_peer(hang) as at:
        hanging_proxy = JudgedProxy(replace(proxy, port=at.port), ["127.0.0.1"])
        with pytest.raises(TimeoutError):
            await hanging_proxy.tunnel(FAR, 80, clock=SystemClock(), seconds=0.05)
        await at.sessions[0].ended.wait()


async def test_a_proxy_that_cannot_be_reached_is_not_the_target() -> None:
    # The kernel knows no way to connect to a group.
    dial = dialer(policy=AddressPolicy.of(["224.0.0.1", FAR]))
    failure = await failure_of(dial.dial(target(f"ws://{FAR}/", proxy="http://224.0.0.1:1")))
    assert failure.kind is FailureKind.PROXY_FAILED
    assert "the proxy cannot be reached: " in failure.message


async def test_a_proxy_that_is_down_is_named() -> None:
    with refusing_port() as port:
        url = f"http://u:hunter2@127.0.0.1:{port}"
        failure = await failure_of(dialer().dial(target(f"ws://{FAR}/", proxy=url)))
    assert failure.message == (
        f"{FAR}:80 through the proxy http://127.0.0.1:{port} was not reached:"
        " the proxy refused the connection"
    )


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:1", "http://hunter2", "127.0.0.1:3128", "x"])
async def test_a_proxys_url_that_is_none_is_no_reason_to_go_without(proxy: str) -> None:
    async with running_raw_peer(ends_at_once) as peer:
        failure = await failure_of(dialer().dial(target(peer.url, proxy=proxy)))
        assert failure.kind is FailureKind.UNKNOWN
        assert failure.message.startswith("proxy: must ")
        assert "hunter2" not in failure.message
        assert peer.sessions == []


# --- more than one address -----------------------------------------------------------------------


@pytest.mark.parametrize("answer", [1, 3, 4, 5, 6, 8, 502, 503, 504])
async def test_another_address_of_the_target_is_tried(answer: int) -> None:
    scheme = "http" if answer > 255 else "socks5"
    async with running_peer(silent) as peer:
        routes = {FAR: peer.port}
        proxy = (
            HttpProxy(routes, statuses={OTHER: answer})
            if scheme == "http"
            else SocksProxy(routes, replies={OTHER: answer})
        )
        dial = dialer(resolver=resolving(feed_test=[OTHER, FAR]))
        async with (
            running_proxy(scheme, proxy) as (_, url),
            opened_by(dial, target("ws://feed.test/", proxy=url)) as session,
        ):
            assert session.address == f"{FAR}:80"
            assert proxy.asked == [(OTHER, 80), (FAR, 80)]


@pytest.mark.parametrize("answer", [2, 7, 400, 403, 429])
async def test_a_proxy_that_does_not_want_to_is_asked_once(answer: int) -> None:
    scheme = "http" if answer > 255 else "socks5"
    proxy = (
        HttpProxy(statuses={OTHER: answer})
        if scheme == "http"
        else SocksProxy(replies={OTHER: answer})
    )
    dial = dialer(resolver=resolving(feed_test=[OTHER, FAR]))
    async with running_proxy(scheme, proxy) as (_, url):
        failure = await failure_of(dial.dial(target("ws://feed.test/", proxy=url)))
    assert failure.kind is FailureKind.PROXY_FAILED
    assert "hunter2" not in failure.message  # the reason phrase is the proxy's text
    assert proxy.asked == [(OTHER, 80)]


async def test_when_the_proxy_reaches_no_address_all_are_named() -> None:
    proxy = SocksProxy()
    dial = dialer(resolver=resolving(feed_test=[OTHER, FAR]))
    async with running_proxy("socks5", proxy) as (_, url):
        failure = await failure_of(dial.dial(target("ws://feed.test/", proxy=url)))
    assert failure.kind is FailureKind.PROXY_FAILED
    assert failure.message == "; ".join(
        f"{host}:80 through the proxy {url} was not reached: the proxy says: host unreachable"
        for host in (OTHER, FAR)
    )


async def test_another_address_of_the_proxy_is_tried() -> None:
    async with running_peer(silent) as peer:
        proxy = HttpProxy({FAR: peer.port})
        async with running_raw_peer(proxy) as at:
            dial = dialer(resolver=resolving(p_test=["127.0.0.2", "127.0.0.1"]))
            url = f"http://p.test:{at.port}"
            async with opened_by(dial, target(f"ws://{FAR}/", proxy=url)):
                assert proxy.asked == [(FAR, 80)]


async def test_a_silent_address_of_the_proxy_leaves_time_for_the_next() -> None:
    clock = ManualClock()
    with black_hole_port() as port:
        dial = dialer(clock=clock, resolver=resolving(p_test=["127.0.0.1", "127.0.0.2"]))
        dialled = target(f"ws://{FAR}/", proxy=f"http://p.test:{port}")
        dialling = asyncio.create_task(failure_of(dial.dial(dialled)))
        assert await clock.wait_for_timeout(3) == 5.0
        clock.advance(5.0)
        failure = await dialling
    assert failure.kind is FailureKind.PROXY_FAILED
    assert failure.message.endswith("the proxy refused the connection")
