"""The whole service, as a process of its own or inside the test, and what a caller sees of it.

    async with running_scripted_api() as api, running_process(api_port=api.port) as service:
        await service.wait_ready()
        answer = await service.stub.Connect(pb.ConnectRequest(url=peer.url))
        assert (await service.get("/health/ready")).status == 200
        service.kill(); await service.wait_exit()

`running_process` runs `python -m websocketmanager serve`; `running_inside` runs the same
composition in the test's loop. Both have the faces at free ports, allow 127.0.0.1 and are quick to
reconnect, unless the settings given say otherwise. Waiting is by events: log lines of the process,
the health service's `Watch`, the end of the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager._proto.websocketmanager.websocketmanager_pb2_grpc import (
    WebSocketManagerStub,
)
from websocketmanager.app import App, running_app
from websocketmanager.settings import load_settings, option_of

PATIENCE_SECONDS = 30.0
#: Larger than any message a test sends or lists.
_CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))


@dataclass(frozen=True)
class HttpAnswer:
    """What the HTTP face said."""

    status: int
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Refused:
    """A call that ended with an error: code, sentence, and the ErrorInfo in its details."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    facts: Mapping[str, str]


@dataclass(eq=False)
class Service:
    """A running service, by its faces."""

    grpc_address: str
    http_address: str
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        self.stub: Any = WebSocketManagerStub(self.channel)

    async def wait_ready(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until the health service says SERVING."""
        await self.wait_health(health_pb2.HealthCheckResponse.SERVING, seconds)

    async def wait_health(self, wanted: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits until the health service says so."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        async with asyncio.timeout(seconds):
            call = stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            try:
                async for answer in call:
                    if answer.status == wanted:
                        return
            finally:
                call.cancel()
        raise AssertionError("the health service ended its answer")

    async def get(self, path: str) -> HttpAnswer:
        """Asks the HTTP face."""
        host, _, port = self.http_address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()
        return HttpAnswer(int(head.split()[1]), body)

    async def list(self, **tags: str) -> dict[str, pb.WebSocketConnection]:
        """Returns the connections with these tags, by id."""
        filters = [pb.TagFilter(key=key, value=value) for key, value in tags.items()]
        answer = await self.stub.List(pb.ListRequest(filters=filters))
        return {one.id: one for one in answer.connections}

    async def wait_listed(
        self,
        which: str,
        holds: Callable[[pb.WebSocketConnection], object],
        seconds: float = PATIENCE_SECONDS,
    ) -> pb.WebSocketConnection:
        """Lists again and again until the condition holds for the connection; returns it."""
        async with asyncio.timeout(seconds):
            while not holds(one := (await self.list())[which]):
                pass  # each call goes through the loop and the network
        return one

    async def refused(self, method: str, request: Any, timeout: float | None = 20.0) -> Refused:
        """Calls, and returns the error that it must end with."""
        try:
            answer = await getattr(self.stub, method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return refusal(error)
        raise AssertionError(f"{method} was accepted: {answer!r}")


def refusal(error: grpc.aio.AioRpcError) -> Refused:
    """Reads the error of a call."""
    info = error_details_pb2.ErrorInfo()
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                detail.Unpack(info)
    return Refused(
        error.code(), error.details() or "", info.reason, info.domain, dict(info.metadata)
    )


@dataclass(eq=False)
class ServiceProcess(Service):
    """A service in a process of its own.

    Attributes:
        log: its log lines so far, parsed.
        said: lines of its standard error that are not log lines.
    """

    process: asyncio.subprocess.Process
    log: list[dict[str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def kill(self) -> None:
        """Ends it as the kernel does, without a last word."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Asks it to end, as an orchestrator does."""
        self.process.send_signal(signal.SIGTERM)

    async def wait_exit(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Waits for its end; returns the exit code, negative for a signal."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    def facts(self, name: str) -> list[dict[str, Any]]:
        """Returns the fields of the facts of this name that it logged."""
        return [line["fields"] for line in self.log if line.get("fact") == name]


@dataclass(eq=False)
class ServiceInside(Service):
    """A service in the test's own loop."""

    app: App


def _with_defaults(api_port: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "http_port": 0,
        "grpc_port": 0,
        "api_host": "127.0.0.1",
        "api_grpc_port": api_port,
        "allowed_hosts": ("127.0.0.1",),
        "instance_id": "one",
        "reconnect_base_delay_ms": 50,
        "max_reconnect_delay_ms": 200,
        **settings,
    }


@asynccontextmanager
async def running_inside(api_port: int, **settings: Any) -> AsyncIterator[ServiceInside]:
    """Runs the service in this loop; leaving is its graceful stop."""
    chosen = load_settings(cli=_with_defaults(api_port, settings), environ={}, file={})
    async with (
        running_app(chosen) as app,
        grpc.aio.insecure_channel(app.grpc_address, options=_CHANNEL_OPTIONS) as channel,
    ):
        yield ServiceInside(app.grpc_address, app.http_address, channel, app)


@asynccontextmanager
async def running_process(
    api_port: int, *, environ: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[ServiceProcess]:
    """Runs the service as a process; yields once it listens, kills it on leaving.

    Raises:
        StartRefused: it ended before it listened.
    """
    flags = []
    for name, value in _with_defaults(api_port, {"log_format": "json", **settings}).items():
        for one in value if isinstance(value, tuple) else (value,):
            flags += [option_of(name), str(one)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "websocketmanager", "serve", *flags),
        env={**os.environ, **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    listening: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    log: list[dict[str, Any]] = []
    said: list[str] = []

    def heard(line: dict[str, Any]) -> None:
        log.append(line)
        if line.get("fact") == "ServiceListening" and not listening.done():
            listening.set_result(line["fields"])

    reading = asyncio.create_task(_read_log(process, heard, said.append))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            futures: set[asyncio.Future[Any]] = {listening, reading}
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            raise StartRefused(await process.wait(), "\n".join(said))
        addresses = listening.result()
        async with grpc.aio.insecure_channel(
            addresses["grpc_address"], options=_CHANNEL_OPTIONS
        ) as channel:
            yield ServiceProcess(
                addresses["grpc_address"],
                addresses["http_address"],
                channel,
                process,
                log=log,
                said=said,
            )
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        await reading


class StartRefused(Exception):
    """The process ended before it listened, with this exit code and these words."""

    def __init__(self, code: int, said: str) -> None:
        self.code = code
        self.said = said
        super().__init__(f"exit code {code}: {said}")


async def _read_log(
    process: asyncio.subprocess.Process,
    heard: Callable[[dict[str, Any]], None],
    said: Callable[[str], None],
) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        text = line.decode(errors="replace").rstrip()
        try:
            heard(json.loads(text))
        except ValueError:
            said(text)
