"""Dials for the tests: a dialer that may dial loopback, and a session that is cleaned up."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from websocketmanager.adapters.system import SystemClock
from websocketmanager.adapters.websocket import WebSocketDialer
from websocketmanager.adapters.websocket.dialer import Engine, Session
from websocketmanager.adapters.websocket.judging import system_resolver
from websocketmanager.domain.failure import Failure, SocketFailed
from websocketmanager.domain.options import Compression, TlsOptions
from websocketmanager.domain.url_policy import AddressPolicy
from websocketmanager.ports import Clock, DialTarget

MIB = 1_048_576
LOOPBACK = AddressPolicy.of(["127.0.0.0/8", "::1"])
ENGINES: tuple[Engine, ...] = ("driver", "client")


class Chosen:
    """The engine of dialers that are made now; the fixture `engine` lets a module run with each."""

    engine: Engine = "driver"


def resolving(**answers: Sequence[str]) -> Callable[[str], Awaitable[Sequence[str]]]:
    """Returns a resolver that knows these names (an underscore stands for a dot)."""

    async def resolve(host: str) -> Sequence[str]:
        return answers[host.replace(".", "_")]

    return resolve


def dialer(
    *,
    policy: AddressPolicy = LOOPBACK,
    clock: Clock | None = None,
    tls: ssl.SSLContext | None = None,
    resolver: Callable[[str], Awaitable[Sequence[str]]] | None = None,
) -> WebSocketDialer:
    return WebSocketDialer(
        policy,
        clock or SystemClock(),
        tls=tls,
        resolver=resolver or system_resolver,
        engine=Chosen.engine,
    )


def target(
    url: str,
    *,
    open_timeout_seconds: float = 10.0,
    close_timeout_seconds: float = 10.0,
    max_message_bytes: int = 2 * MIB,
    headers: tuple[tuple[str, str], ...] = (),
    subprotocols: tuple[str, ...] = (),
    origin: str = "",
    compression: Compression = Compression.NONE,
    proxy: str = "",
    tls: TlsOptions | None = None,
) -> DialTarget:
    return DialTarget(
        url,
        open_timeout_seconds,
        close_timeout_seconds,
        max_message_bytes,
        headers=headers,
        subprotocols=subprotocols,
        origin=origin,
        compression=compression,
        proxy=proxy,
        tls=tls or TlsOptions(),
    )


@asynccontextmanager
async def opened(
    url: str,
    *,
    close_timeout_seconds: float = 10.0,
    max_message_bytes: int = 2 * MIB,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Session]:
    """Dials, gives the session, drops it. Nothing may be left running behind."""
    dialled = target(
        url,
        close_timeout_seconds=close_timeout_seconds,
        max_message_bytes=max_message_bytes,
    )
    async with opened_by(dialer(tls=tls), dialled) as session:
        yield session


@asynccontextmanager
async def opened_by(dial: WebSocketDialer, dialled: DialTarget) -> AsyncIterator[Session]:
    """Dials, gives the session, drops it."""
    session = await dial.dial(dialled)
    try:
        async with asyncio.timeout(30):
            yield session
    finally:
        session.abort()
        await session._connection.wait_closed()


async def failure_of(awaitable: Awaitable[object]) -> Failure:
    """Returns the failure that the operation must end with."""
    with pytest.raises(SocketFailed) as raised:
        await awaitable
    return raised.value.failure
