"""A small HTTP client for the tests, so that what is on the wire can be seen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from websocketmanager.domain.readiness import Readiness
from websocketmanager.web.server import WebServer


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Reads up to the end of the connection."""
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)


@asynccontextmanager
async def connected(
    port: int, limit: int = 65536
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """One connection to the server, closed in any case."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def fetch(port: int, path: str, method: str = "GET") -> Answer:
    """One request on a connection of its own."""
    async with connected(port) as (reader, writer):
        writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        return await read_answer(reader)


@asynccontextmanager
async def serving(
    readiness: Callable[[], Readiness] = Readiness,
    render_metrics: Callable[[], tuple[bytes, str]] = lambda: (b"", "text/plain"),
) -> AsyncIterator[int]:
    """Runs a server on a free port of the loopback, and gives the port."""
    server = WebServer(host="127.0.0.1", port=0, readiness=readiness, render_metrics=render_metrics)
    port = server.bind()
    task = asyncio.create_task(server.serve())
    try:
        yield port
    finally:
        await server.stop(1.0)
        await task
