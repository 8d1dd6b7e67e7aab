"""Every way in which a dial fails has its kind, and a sentence without secrets."""

from __future__ import annotations

import asyncio
import errno
import ssl
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import InvalidURI, SecurityError

from tests.kit.certificates import client_context, server_context
from tests.kit.clock import START, ManualClock
from tests.kit.opening import dialer, failure_of, opened, resolving, target
from tests.kit.peer import running_peer, silent
from tests.kit.raw_peer import RawSession, refusing_port, running_raw_peer
from websocketmanager.adapters.websocket.failures import opening_failure, retry_after_seconds
from websocketmanager.domain.failure import FailureKind

pytestmark = pytest.mark.usefixtures("engine")

SECRET = "hunter2"


# --- answers to the handshake ------------------------------------------------------------------


@pytest.mark.parametrize(
    "status",
    [
        *(100, 103, 200, 204, 300, 301, 302, 303, 304, 307, 308),
        *(400, 401, 403, 404, 418, 426, 429, 500, 501, 502, 503, 504, 599),
    ],
)
async def test_a_status_is_told(status: int) -> None:
    async def script(peer: RawSession) -> None:
        await peer.respond(status, f"X-Echo: {SECRET}", body=SECRET.encode())

    async with running_raw_peer(script) as peer:
        failure = await failure_of(dialer().dial(target(f"{peer.url}?token={SECRET}")))
        assert failure.kind is FailureKind.HANDSHAKE_REJECTED
        assert failure.http_status == status
        assert failure.retry_after_seconds is None
        assert str(status) in failure.message
        assert SECRET not in failure.message


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    async def script(peer: RawSession) -> None:
        request = await peer.read_request()
        where = "/again" if request.path == "/same" else f"ws://127.0.0.1:{other.port}/"
        await peer.respond(status, f"Location: {where}")

    async with running_peer(silent) as other, running_raw_peer(script) as peer:
        for path in ("same", "other"):
            failure = await failure_of(dialer().dial(target(peer.url + path)))
            assert (failure.kind, failure.http_status) == (FailureKind.HANDSHAKE_REJECTED, status)
        assert len(peer.sessions) == 2
        assert other.sessions == []


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Retry-After: 120"], 120.0),
        (["Retry-After: 0"], 0.0),
        ([f"Retry-After: {formatdate(START + 90, usegmt=True)}"], 90.0),
        ([f"Retry-After: {formatdate(START - 90, usegmt=True)}"], 0.0),
        (["Retry-After: soon"], None),
        (["Retry-After: -5"], None),
        (["Retry-After: 7", "Retry-After: 9"], 7.0),
    ],
)
async def test_the_servers_advice_to_wait_is_told(lines: list[str], seconds: float | None) -> None:
    async def script(peer: RawSession) -> None:
        await peer.respond(429, *lines)

    async with running_raw_peer(script) as peer:
        failure = await failure_of(dialer(clock=ManualClock()).dial(target(peer.url)))
        assert (failure.http_status, failure.retry_after_seconds) == (429, seconds)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        (" 3 ", 3.0),
        ("9" * 5000, None),
        ("1e3", None),
        ("٣", None),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60.0),
        ("Tue, 14 Nov 2023 23:14:20 +0100", 60.0),
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60.0),
        ("Tue Nov 14 22:14:20 2023", 60.0),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
    ],
)
def test_retry_after_in_every_form(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, START) == seconds


@given(st.text())
def test_retry_after_is_total(value: str) -> None:
    seconds = retry_after_seconds(value, START)
    assert seconds is None or seconds >= 0


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 1, 1)))
def test_retry_after_reads_every_date(date: datetime) -> None:
    aware = date.replace(tzinfo=UTC, microsecond=0)
    expected = max(0.0, aware.timestamp() - START)
    assert retry_after_seconds(format_datetime(aware, usegmt=True), START) == expected


GARBAGE = {
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "bare line feeds": b"HTTP/1.1 101 X\n\n",
    "HTTP/1.0": b"HTTP/1.0 101 X\r\n\r\n",
    "HTTP/2 settings": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\r\n",
    "status that is no number": b"HTTP/1.1 abc X\r\n\r\n",
    "status out of range": b"HTTP/1.1 999 X\r\n\r\n",
    "header without colon": b"HTTP/1.1 101 X\r\nUpgrade\r\n\r\n",
    "endless line": b"HTTP/1.1 101 " + b"x" * 20000,
    "endless headers": b"HTTP/1.1 101 X\r\n" + b"A: b\r\n" * 1000,
    "unknown transfer coding": b"HTTP/1.1 403 X\r\nTransfer-Encoding: gzip\r\n\r\n",
    "enormous body": b"HTTP/1.1 403 X\r\nContent-Length: 99999999999\r\n\r\n",
    "101 without headers": b"HTTP/1.1 101 X\r\n\r\n",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
async def test_an_answer_that_is_no_handshake_fails_at_once(answer: bytes) -> None:
    failed = asyncio.Event()

    # The peer neither ends its stream nor answers the end of ours: nobody may wait for it.
    async def script(peer: RawSession) -> None:
        await peer.read_request()
        await peer.send(answer)
        await failed.wait()

    async with running_raw_peer(script) as peer:
        failure = await failure_of(dialer(clock=ManualClock()).dial(target(peer.url)))
        failed.set()
        assert failure.kind is FailureKind.HANDSHAKE_INVALID
        assert failure.http_status == 0
        await (await peer.wait_session()).ended.wait()


async def test_a_wrong_accept_value_is_refused() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade(accept=SECRET)

    async with running_raw_peer(script) as peer:
        failure = await failure_of(dialer().dial(target(peer.url)))
        assert failure.kind is FailureKind.HANDSHAKE_INVALID
        assert "Sec-WebSocket-Accept" in failure.message
        assert SECRET not in failure.message


@pytest.mark.parametrize(
    "line",
    [
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Protocol: mqtt",
        "Upgrade: h2c",
    ],
)
async def test_what_was_not_offered_is_refused(line: str) -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade(line)

    async with running_raw_peer(script) as peer:
        failure = await failure_of(dialer().dial(target(peer.url)))
        assert failure.kind is FailureKind.HANDSHAKE_INVALID


# --- the network -------------------------------------------------------------------------------


async def test_refused() -> None:
    with refusing_port() as port:
        failure = await failure_of(dialer().dial(target(f"ws://127.0.0.1:{port}/?t={SECRET}")))
    assert failure.kind is FailureKind.CONNECT_REFUSED
    assert failure.message == f"127.0.0.1:{port} refused the connection"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("how", ["FIN", "RST"])
@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 101 Switching"])
async def test_a_connection_that_ends_before_the_answer(
    scheme: str, how: str, after: bytes
) -> None:
    server = server_context("127.0.0.1") if scheme == "wss" else None

    async def script(peer: RawSession) -> None:
        await peer.read_request()
        if after:
            await peer.send(after)
        if how == "FIN":
            peer.finish()
        else:
            peer.reset()

    async with running_raw_peer(script, tls=server) as peer:
        failure = await failure_of(dialer(tls=client_context()).dial(target(peer.url)))
        assert failure.kind is FailureKind.NETWORK_ERROR
        assert "ended the connection before it answered" in failure.message


@pytest.mark.parametrize("how", ["FIN", "RST"])
async def test_a_connection_that_ends_within_tls(how: str) -> None:
    async def script(peer: RawSession) -> None:
        await peer.reader.readexactly(1)
        if how == "FIN":
            peer.finish()
        else:
            peer.reset()

    async with running_raw_peer(script) as peer:
        failure = await failure_of(dialer().dial(target(f"wss://127.0.0.1:{peer.port}/")))
        assert failure.kind in {FailureKind.NETWORK_ERROR, FailureKind.TLS_FAILED}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENETUNREACH, "Network is unreachable"), FailureKind.NETWORK_ERROR),
        (OSError(errno.EHOSTUNREACH, "No route to host"), FailureKind.NETWORK_ERROR),
        (OSError(errno.EMFILE, "Too many open files"), FailureKind.NETWORK_ERROR),
        (ConnectionResetError(), FailureKind.NETWORK_ERROR),
        (ConnectionAbortedError("SSL handshake"), FailureKind.NETWORK_ERROR),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), FailureKind.OPEN_TIMEOUT),
        (ssl.SSLError(1, SECRET), FailureKind.TLS_FAILED),
        (SecurityError(SECRET), FailureKind.HANDSHAKE_INVALID),
        (InvalidURI(SECRET, SECRET), FailureKind.UNKNOWN),
        (RuntimeError(SECRET), FailureKind.UNKNOWN),
    ],
)
def test_whatever_an_attempt_raises_is_named(error: Exception, kind: FailureKind) -> None:
    failure = opening_failure(error, "192.0.2.1:443", now=START)
    assert failure.kind is kind
    assert failure.message.startswith("192.0.2.1:443 ")
    assert SECRET not in failure.message


# --- TLS ---------------------------------------------------------------------------------------


async def test_tls_with_the_right_name_and_with_an_address() -> None:
    context = client_context()
    async with running_peer(silent, tls=server_context("feed.test", "127.0.0.1")) as peer:
        async with opened(peer.url, tls=context):
            pass
        dial = dialer(tls=context, resolver=resolving(feed_test=["127.0.0.1"]))
        session = await dial.dial(target(f"wss://feed.test:{peer.port}/"))
        await session.close(1000, "")


@pytest.mark.parametrize("names", [("other.test",), ("sub.feed.test",), ("127.0.0.1",)])
async def test_tls_with_a_wrong_name(names: tuple[str, ...]) -> None:
    async with running_peer(silent, tls=server_context(*names)) as peer:
        dial = dialer(tls=client_context(), resolver=resolving(feed_test=["127.0.0.1"]))
        failure = await failure_of(dial.dial(target(f"wss://feed.test:{peer.port}/?t={SECRET}")))
        assert failure.kind is FailureKind.TLS_FAILED
        assert "not valid for 'feed.test'" in failure.message
        assert SECRET not in failure.message
        assert peer.sessions == []


async def test_tls_with_an_authority_that_is_not_trusted() -> None:
    async with running_peer(silent, tls=server_context("127.0.0.1")) as peer:
        failure = await failure_of(dialer().dial(target(peer.url)))
        assert failure.kind is FailureKind.TLS_FAILED
        assert "certificate" in failure.message


async def test_tls_towards_a_peer_that_does_not_speak_it() -> None:
    async def script(peer: RawSession) -> None:
        await peer.reader.readexactly(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    async with running_raw_peer(script) as peer:
        failure = await failure_of(dialer().dial(target(f"wss://127.0.0.1:{peer.port}/")))
        assert failure.kind is FailureKind.TLS_FAILED


async def test_a_plain_dial_towards_a_peer_that_speaks_tls() -> None:
    async with running_peer(silent, tls=server_context("127.0.0.1")) as peer:
        failure = await failure_of(dialer().dial(target(f"ws://127.0.0.1:{peer.port}/")))
        assert failure.kind in {FailureKind.NETWORK_ERROR, FailureKind.HANDSHAKE_INVALID}


async def test_the_next_address_is_tried_when_tls_fails_at_one() -> None:
    async with (
        running_peer(silent, tls=server_context("feed.test")) as peer,
        running_peer(
            silent, tls=server_context("other.test"), host="127.0.0.2", port=peer.port
        ) as other,
    ):
        dial = dialer(
            tls=client_context(), resolver=resolving(feed_test=["127.0.0.2", "127.0.0.1"])
        )
        session = await dial.dial(target(f"wss://feed.test:{peer.port}/"))
        assert session.address == f"127.0.0.1:{peer.port}"
        assert other.sessions == []
        await session.close(1000, "")
