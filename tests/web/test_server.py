"""Twin of web/server.py."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import suppress
from email.utils import parsedate_to_datetime

import pytest

from tests.web.client import connected, fetch, read_answer, serving
from websocketmanager.domain.readiness import Readiness
from websocketmanager.web.server import WebServer


def server_on(port: int = 0, host: str = "127.0.0.1") -> WebServer:
    return WebServer(
        host=host, port=port, readiness=Readiness, render_metrics=lambda: (b"", "text/plain")
    )


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("path", ["/", "/health/", "/health/live/x", "/metrics/", "/../etc"])
async def test_unknown_path_is_404_in_json(path: str) -> None:
    async with serving() as port:
        answer = await fetch(port, path)
    assert (answer.status, answer.json) == (404, {"error": "Not Found"})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
async def test_other_methods_are_405_and_say_which_are_allowed(path: str, method: str) -> None:
    async with serving() as port:
        answer = await fetch(port, path, method)
    assert (answer.status, answer.json) == (405, {"error": "Method Not Allowed"})
    assert set(answer.headers["allow"].split(", ")) == {"get", "head"}


async def test_answers_are_dated_never_cached_and_do_not_name_the_server() -> None:
    async with serving() as port:
        answer = await fetch(port, "/health")
    parsedate_to_datetime(answer.headers["date"])
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


async def test_a_fault_of_ours_is_500_without_details() -> None:
    def broken() -> Readiness:
        raise RuntimeError("secret detail")

    async with serving(readiness=broken) as port:
        answer = await fetch(port, "/health/ready")
        alive = await fetch(port, "/health/live")
    assert (answer.status, answer.json) == (500, {"error": "Internal Server Error"})
    assert alive.status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"A" * 70_000 + b"\r\n\r\n",
    ],
    ids=["tls", "no host", "long"],
)
async def test_garbage_is_refused_and_harms_nobody(garbage: bytes) -> None:
    async with serving() as port:
        async with connected(port) as (reader, writer):
            writer.write(garbage)
            # The server may reset the connection before it has read all of it.
            with suppress(ConnectionError):
                assert (await read_answer(reader)).status == 400
        assert (await fetch(port, "/health/live")).status == 200


async def test_a_websocket_upgrade_is_answered_as_plain_http() -> None:
    async with serving() as port, connected(port) as (reader, writer):
        writer.write(
            b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\n"
            b"upgrade: websocket\r\n\r\n"
        )
        assert (await read_answer(reader)).status == 200


def test_bind_gives_the_port_before_anything_serves() -> None:
    server = server_on()
    port = server.bind()
    assert port > 0
    assert server.bind() == port
    assert repr(server) == f"<WebServer 127.0.0.1:{port}>"
    asyncio.run(server.stop(0))
    assert refuses(port)


async def test_who_connects_between_bind_and_serve_is_answered() -> None:
    server = server_on()
    async with connected(server.bind()) as (reader, writer):
        writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        task = asyncio.create_task(server.serve())
        assert (await read_answer(reader)).status == 200
    await server.stop(1)
    await task


def test_a_taken_port_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"HTTP face cannot listen on 127.0.0.1:{port}: Address"):
            server_on(port).bind()


def test_an_address_of_another_machine_is_a_clear_error() -> None:
    with pytest.raises(OSError, match=r"HTTP face cannot listen on 192\.0\.2\.1:0: "):
        server_on(host="192.0.2.1").bind()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_every_address_means_both_families() -> None:
    server = server_on(host="::")
    port = server.bind()
    assert not refuses(port)
    asyncio.run(server.stop(0))


async def test_signals_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serving() as port:
        await fetch(port, "/health")
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert during == before


async def test_stop_closes_the_port_and_idle_connections() -> None:
    server = server_on()
    port = server.bind()
    task = asyncio.create_task(server.serve())
    async with connected(port) as (reader, writer):
        writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b'live"}')
        await server.stop(1)
        assert await reader.read() == b""
    await task
    assert refuses(port)


async def test_stop_is_bounded_while_an_answer_cannot_be_written() -> None:
    """A client that never reads its answer does not hold the process up."""
    page = b"x" * 64_000_000
    server = WebServer(
        host="127.0.0.1", port=0, readiness=Readiness, render_metrics=lambda: (page, "text/plain")
    )
    port = server.bind()
    task = asyncio.create_task(server.serve())
    async with connected(port, limit=1024) as (reader, writer):
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(5):
            await server.stop(0.2)
            await task
            with suppress(ConnectionError):
                assert len(await reader.read()) < len(page), "the rest was dropped"
    assert refuses(port)


async def test_stop_before_serve_and_twice() -> None:
    server = server_on()
    port = server.bind()
    await server.stop(1)
    await server.stop(1)
    assert refuses(port)
    await server.serve()


async def test_cancelling_serve_leaves_nothing_behind() -> None:
    server = server_on()
    port = server.bind()
    task = asyncio.create_task(server.serve())
    async with connected(port) as (reader, writer):
        writer.write(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b'live"}')
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    assert refuses(port)
    await server.stop(1)
