"""Loopback WebSocket servers: `running_peer` for good manners, `running_raw_peer` for faults.

    async with running_peer(numbered(100)) as peer:
        ...                                  # dial peer.url
        session = await peer.wait_session(1)
        await session.wait_received(1)
        await session.close(1012, "restart")
        await session.wait_closed()
        assert session.close_code == 1012

A behaviour is a coroutine function that gets the `PeerSession` of each new connection; when it
returns, the peer closes with 1000. Everything a client did is recorded, waiting is by events.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.kit.raw_peer import (
    RawPeer,
    RawSession,
    black_hole_port,
    refusing_port,
    running_raw_peer,
)
from websocketmanager.domain.model import Kind, Message

__all__ = [
    "Behaviour",
    "Peer",
    "PeerSession",
    "RawPeer",
    "RawSession",
    "black_hole_port",
    "closing",
    "echo",
    "numbered",
    "refusing_port",
    "replying",
    "running_peer",
    "running_raw_peer",
    "silent",
]


@dataclass(eq=False)
class PeerSession:
    """One connection as the peer sees it.

    Attributes:
        path: the request's path and query.
        headers: the request's headers; names in lower case, the last of each.
        received: messages in the order of receipt.
    """

    path: str
    headers: dict[str, str]
    connection: ServerConnection
    received: list[Message] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def close_code(self) -> int | None:
        """The code of the close frame that the client sent, 1006 without one, None while open."""
        return self.connection.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason that came with it."""
        return self.connection.close_reason

    @property
    def query(self) -> str:
        """The request's query."""
        return urlsplit(self.path).query

    async def send(self, data: bytes, kind: Kind = Kind.TEXT) -> None:
        """Sends one message."""
        await self.connection.send(data, text=kind is Kind.TEXT)

    async def recv(self) -> Message:
        """Receives and records one message, for behaviours.

        Raises:
            ConnectionClosed: the session ended; it also ends the behaviour.
        """
        data = await self.connection.recv()
        message = (
            Message(Kind.TEXT, data.encode())
            if isinstance(data, str)
            else Message(Kind.BINARY, data)
        )
        async with self._changed:
            self.received.append(message)
            self._changed.notify_all()
        return message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes with a handshake."""
        await self.connection.close(code, reason)

    def abort(self) -> None:
        """Drops the connection without a close frame."""
        self.connection.transport.abort()

    async def wait_received(self, count: int) -> Message:
        """Waits until `count` messages were received; returns the last of them."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.received) >= count)
        return self.received[count - 1]

    async def wait_closed(self) -> None:
        """Waits until the connection is gone."""
        await self.connection.wait_closed()


Behaviour = Callable[[PeerSession], Awaitable[None]]


async def echo(session: PeerSession) -> None:
    """Sends every message back, as it came; serves correlated sends too."""
    while True:
        message = await session.recv()
        await session.send(message.data, message.kind)


async def silent(session: PeerSession) -> None:
    """Receives, and says nothing."""
    while True:
        await session.recv()


def replying(answer: Callable[[bytes], bytes], *, prefix_bytes: int = 16) -> Behaviour:
    """Answers each message with its own prefix and a new body, as a correlated `Send` expects."""

    async def behave(session: PeerSession) -> None:
        while True:
            message = await session.recv()
            prefix, body = message.data[:prefix_bytes], message.data[prefix_bytes:]
            await session.send(prefix + answer(body), message.kind)

    return behave


def numbered(
    count: int,
    *,
    kind: Kind = Kind.TEXT,
    then: Behaviour = silent,
    start: asyncio.Event | None = None,
) -> Behaviour:
    """Streams the decimal numbers 1 to `count`, once `start` is set; then does as `then`."""

    async def behave(session: PeerSession) -> None:
        if start is not None:
            await start.wait()
        for number in range(1, count + 1):
            await session.send(b"%d" % number, kind)
        await then(session)

    return behave


def closing(code: int, reason: str = "") -> Behaviour:
    """Closes at once with this code."""

    async def behave(session: PeerSession) -> None:
        await session.close(code, reason)

    return behave


@dataclass(eq=False)
class Peer:
    """A running peer and the log of its connections, oldest first."""

    host: str
    scheme: str
    sessions: list[PeerSession] = field(default_factory=list)
    port: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """The URL of its root, with the address it listens at."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/"

    @property
    def open_sessions(self) -> list[PeerSession]:
        """Those that have not ended."""
        return [session for session in self.sessions if session.close_code is None]

    async def wait_session(self, count: int = 1) -> PeerSession:
        """Waits until `count` connections were opened; returns the last of them."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.sessions) >= count)
        return self.sessions[count - 1]

    def abort_all(self) -> None:
        """Drops every connection without a close frame."""
        for session in self.open_sessions:
            session.abort()

    async def _opened(self, session: PeerSession) -> None:
        async with self._changed:
            self.sessions.append(session)
            self._changed.notify_all()


@asynccontextmanager
async def running_peer(
    behaviour: Behaviour = echo,
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    subprotocols: tuple[str, ...] = (),
    compression: str | None = None,
) -> AsyncIterator[Peer]:
    """Runs a well-mannered server on loopback; raises what a behaviour raised, when it ends.

    Args:
        behaviour: what it does with each connection.
        tls: serves wss:// with this context (see `tests.kit.certificates`).
        host: the address to listen at.
        port: 0 for any that is free; a given one lets a peer come back where it was.
        subprotocols: those it can choose.
        compression: "deflate" to accept permessage-deflate.
    """
    peer = Peer(host, "wss" if tls else "ws")
    faults: list[Exception] = []

    async def handle(connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        session = PeerSession(request.path, headers, connection)
        await peer._opened(session)
        try:
            await behaviour(session)
        except ConnectionClosed:
            return
        except Exception as fault:  # noqa: BLE001 - told to the test when the peer ends
            faults.append(fault)

    server: Server = await serve(
        handle,
        host,
        port,
        ssl=tls,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        compression=compression,
        max_size=None,
        ping_interval=None,
        close_timeout=1,
    )
    try:
        peer.port = next(iter(server.sockets)).getsockname()[1]
        yield peer
    finally:
        peer.abort_all()
        server.close()
        await server.wait_closed()
    if faults:
        raise ExceptionGroup("faults in the peer's behaviour", faults)
