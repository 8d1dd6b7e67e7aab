"""A small exchange on a loopback port: ticks, quotes, acknowledgements, and bad days.

    /ticker    JSON text ticks of all symbols
    /stream?symbols=ACME-USD,BOLT-USD    the same of some symbols; none until SUBSCRIBE
    /binary    packed quotes (market.QUOTE)

Now and then it falls silent or closes the session, as real exchanges do.
"""

from __future__ import annotations

import http
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from websocketmanager.demo.market import LISTED, Market, reply_to
from websocketmanager.ports import Clock, Dice

_PATHS = ("/ticker", "/stream", "/binary")
#: More clients than a demonstration needs are turned away.
_MAX_CLIENTS = 16
_MAX_MESSAGE_BYTES = 64 * 1024
#: A client that takes nothing for so long is dropped.
_SEND_SECONDS = 3.0
_CLOSE_SECONDS = 2.0
_GOING_AWAY, _SERVICE_RESTART = 1001, 1012


@dataclass(frozen=True, slots=True)
class Tempo:
    """How lively the exchange is, in seconds.

    Attributes:
        tick_seconds: between ticks of one session.
        quote_seconds: between quotes of one session.
        first_close_seconds: after which the first tick session of the feed is closed.
        close_seconds: least and most length of every later session.
        silence_every_seconds: mean time between silences of one session.
        silence_seconds: least and most length of a silence.
    """

    tick_seconds: float = 0.05
    quote_seconds: float = 0.02
    first_close_seconds: float = 4.0
    close_seconds: tuple[float, float] = (25.0, 50.0)
    silence_every_seconds: float = 30.0
    silence_seconds: tuple[float, float] = (1.0, 2.5)


class Feed:
    """The running exchange."""

    def __init__(self, clock: Clock, dice: Dice, tempo: Tempo) -> None:
        self._clock = clock
        self._dice = dice
        self._tempo = tempo
        self._tick_sessions = 0
        self._clients = 0
        self.port = 0

    def url(self, path: str) -> str:
        """Returns the WebSocket URL of one of its paths."""
        return f"ws://127.0.0.1:{self.port}{path}"

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuses unknown paths and too many clients before the handshake."""
        if urlsplit(request.path).path not in _PATHS:
            problem = f"this exchange has {', '.join(_PATHS)}\n"
            return connection.respond(http.HTTPStatus.NOT_FOUND, problem)
        if self._clients >= _MAX_CLIENTS:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n")
        return None

    async def serve_client(self, connection: ServerConnection) -> None:
        """Serves one session until it is over, by either side."""
        assert connection.request is not None  # noqa: S101 - set by the handshake
        self._clients += 1
        try:
            await self._session(connection, urlsplit(connection.request.path))
        except ConnectionClosed:
            pass  # the client left: the usual end
        except TimeoutError:
            connection.transport.abort()  # it takes nothing more, not even a close
        finally:
            self._clients -= 1

    async def _session(self, connection: ServerConnection, url: SplitResult) -> None:
        binary = url.path == "/binary"
        market = Market(_symbols(url), self._dice.uniform)
        pause = self._tempo.quote_seconds if binary else self._tempo.tick_seconds
        start = self._clock.monotonic()
        code, end = self._plan(start, binary=binary)
        silent_at = self._next_silence(start)
        next_at = start
        while (now := self._clock.monotonic()) < end:
            if now >= silent_at:
                next_at = now + self._between(*self._tempo.silence_seconds)
                silent_at = self._next_silence(next_at)
            await self._answer_until(connection, market, min(next_at, end))
            message = (market.quote if binary else market.tick)(self._clock.now())
            if message is not None and self._clock.monotonic() < end:
                await self._send(connection, message)
            # Late is late: no burst to catch up.
            next_at = max(next_at + pause, self._clock.monotonic())
        reason = "service restart" if code == _SERVICE_RESTART else "going away"
        await connection.close(code, reason)

    async def _answer_until(
        self, connection: ServerConnection, market: Market, deadline: float
    ) -> None:
        while (left := deadline - self._clock.monotonic()) > 0:
            try:
                async with self._clock.timeout(left):
                    message = await connection.recv()
            except TimeoutError:
                return
            reply = reply_to(message, market)
            if reply is not None:
                await self._send(connection, reply)

    async def _send(self, connection: ServerConnection, message: str | bytes) -> None:
        async with self._clock.timeout(_SEND_SECONDS):
            await connection.send(message)

    def _plan(self, start: float, *, binary: bool) -> tuple[int, float]:
        """Returns the code and the time at which the exchange will close the session."""
        if not binary:
            self._tick_sessions += 1
            if self._tick_sessions == 1:
                return _SERVICE_RESTART, start + self._tempo.first_close_seconds
        code = _GOING_AWAY if self._dice.uniform() < 0.5 else _SERVICE_RESTART
        return code, start + self._between(*self._tempo.close_seconds)

    def _next_silence(self, now: float) -> float:
        mean = self._tempo.silence_every_seconds
        return now + self._between(0.5 * mean, 1.5 * mean)

    def _between(self, least: float, most: float) -> float:
        return least + (most - least) * self._dice.uniform()


@asynccontextmanager
async def running_feed(
    *, clock: Clock, dice: Dice, tempo: Tempo | None = None, port: int = 0
) -> AsyncIterator[Feed]:
    """Serves the exchange on 127.0.0.1 until the block is left; port 0 takes any free one.

    Raises:
        OSError: the port cannot be bound.
    """
    feed = Feed(clock, dice, tempo or Tempo())
    async with serve(
        feed.serve_client,
        "127.0.0.1",
        port,
        process_request=feed.admit,
        compression=None,
        max_size=_MAX_MESSAGE_BYTES,
        ping_interval=5,
        ping_timeout=10,
        close_timeout=_CLOSE_SECONDS,
        server_header=None,
    ) as server:
        feed.port = _port(server)
        yield feed


def _port(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


def _symbols(url: SplitResult) -> list[str]:
    if url.path != "/stream":
        return list(LISTED)
    asked = ",".join(parse_qs(url.query).get("symbols", [])).split(",")
    return [symbol for symbol in asked if symbol in LISTED]
