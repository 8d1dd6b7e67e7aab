"""Binds the HTTP port, serves the routes, stops within a grace. Makes no task and no signal.

uvicorn brings the HTTP protocol. Its own main loop polls and takes over the process's signals;
ours waits for an event, and signals belong to cli/.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from websocketmanager.domain.readiness import Readiness
from websocketmanager.web.health import health_routes
from websocketmanager.web.metrics import metrics_route

_BACKLOG = 128


class WebServer:
    """The HTTP face. Call `bind`, run `serve` in a task, end it with `stop`."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        readiness: Callable[[], Readiness],
        render_metrics: Callable[[], tuple[bytes, str]],
    ) -> None:
        self._host = host
        self._port = port
        self._server = _Server(_application(readiness, render_metrics))
        self._socket: socket.socket | None = None
        self._serving = False
        self._ended = asyncio.Event()

    def __repr__(self) -> str:
        return f"<WebServer {self._host}:{self._port}>"

    def bind(self) -> int:
        """Listens, and returns the port; connections wait until `serve` runs.

        Raises:
            OSError: the address is taken, or is none of this machine's.
        """
        if self._socket is None:
            self._socket = _listening(self._host, self._port)
            self._port = self._socket.getsockname()[1]
        return self._port

    async def serve(self) -> None:
        """Answers requests until stopped.

        Cancelling drops all connections at once and closes the port.

        Raises:
            OSError: `bind` was not called before, and fails.
        """
        if self._server.stopping.is_set():
            return
        self.bind()
        assert self._socket is not None  # noqa: S101 - bind() made it
        self._serving = True
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._server.abort()
            self._socket.close()
            self._ended.set()

    async def stop(self, grace_seconds: float) -> None:
        """Closes the port, lets running requests end, then drops what is left.

        Returns when `serve` has ended; safe to call twice, and before `serve`.
        """
        self._server.grace_seconds = grace_seconds
        self._server.stopping.set()
        if self._serving:
            await self._ended.wait()
        elif self._socket is not None:
            self._socket.close()


class _Server(uvicorn.Server):
    """uvicorn's server with an event instead of its polled flag, and no signal handlers."""

    def __init__(self, application: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,  # uvicorn's is refreshed by its polling loop; see _dated
                backlog=_BACKLOG,
            )
        )
        self.stopping = asyncio.Event()
        self.grace_seconds = 0.0
        self.servers = []  # uvicorn sets it in startup(), which may be cancelled before

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the process's signals alone."""
        yield

    async def main_loop(self) -> None:
        """Waits for the stop."""
        await self.stopping.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Closes the port and waits for running requests, at most the grace long."""
        try:
            async with asyncio.timeout(self.grace_seconds):
                await super().shutdown(sockets)
        except TimeoutError:
            requests = list(self.server_state.tasks)
            self.abort()
            if requests:
                await asyncio.wait(requests)

    def abort(self) -> None:
        """Drops everything that is still open, without waiting."""
        for server in self.servers:
            server.close()
        for request in list(self.server_state.tasks):
            request.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _application(
    readiness: Callable[[], Readiness], render_metrics: Callable[[], tuple[bytes, str]]
) -> ASGIApp:
    application = Starlette(
        routes=[*health_routes(readiness), metrics_route(render_metrics)],
        exception_handlers={HTTPException: _refused, Exception: _crashed},
    )
    application.router.redirect_slashes = False
    return _dated(application)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this class only
    return JSONResponse(
        {"error": error.detail}, status_code=error.status_code, headers=error.headers
    )


async def _crashed(_request: Request, _error: Exception) -> Response:
    # The error itself goes to the log: Starlette raises it again and uvicorn records it.
    return JSONResponse({"error": "Internal Server Error"}, status_code=500)


def _dated(application: ASGIApp) -> ASGIApp:
    """Adds the Date that a server with a clock owes (RFC 9110 §6.6.1); nothing may be cached."""

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"date", formatdate(usegmt=True).encode("ascii")),
                    (b"cache-control", b"no-store"),
                ]
            await send(message)

        await application(scope, receive, send_dated)

    return dated


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        every = family == socket.AF_INET6 and address[0] == "::"
        return socket.create_server(
            address,
            family=family,
            backlog=_BACKLOG,
            dualstack_ipv6=every and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        raise OSError(
            error.errno, f"the HTTP face cannot listen on {host}:{port}: {error.strerror}"
        ) from error
