"""Starts what a measurement needs, each on its core: builds, processes, the service's API.

The rig (feed and sink) and a virtufin-api in another process stay on core 0; the program under
test has core 1 for itself. On a machine with one core both share it, and the figures say little.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from tests.kit.service import Service
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).resolve().parent / "peers"
BUILD = ROOT / "build" / "bench"
RIG_CORE = 0
TESTED_CORE = 1
TOPIC = "marketdata.bench"
PATIENCE_SECONDS = 60.0
_IDLE_LOOK_SECONDS, _IDLE_LOOKS, _IDLE_SHARE = 0.25, 80, 0.15


class ProgramFailed(Exception):
    """A program ended, or said that it cannot go on, when it was needed."""


def say(line: str = "") -> None:
    """Prints a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def build(*names: str) -> None:
    """Builds Go programs of `peers/` into `build/bench/`, unless nothing of them has changed.

    Raises:
        SystemExit: there is no Go, or it could not build them.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            subprocess.run(
                ["go", "build", "-trimpath", "-o", str(BUILD / name), "."],
                cwd=PEERS / name,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"error: {name} cannot be built with go, which must be on the PATH: {error}")


def free_port() -> int:
    """Returns a loopback port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in this block has this core alone, where the machine has it."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[core % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(eq=False)
class Program:
    """A running process. What it says is kept; a waiter sees each line of it."""

    name: str
    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def rss_bytes(self) -> int:
        """Returns its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Returns the processor time it has used, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def wait_idle(self) -> None:
        """Waits until what its start and its connections left to do is done."""
        for _ in range(_IDLE_LOOKS):
            used = self.cpu_seconds()
            await asyncio.sleep(_IDLE_LOOK_SECONDS)
            if self.cpu_seconds() - used < _IDLE_SHARE * _IDLE_LOOK_SECONDS:
                return

    def kill(self) -> None:
        """Ends it as the kernel does."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)


@asynccontextmanager
async def running(
    name: str,
    arguments: Sequence[str],
    *,
    core: int,
    environ: Mapping[str, str] | None = None,
    ready: Callable[[str], Any] | None = None,
) -> AsyncIterator[tuple[Program, Any]]:
    """Runs a program until the block is left, which kills it.

    Yields it with what `ready` returned of the first line that it did not return None of.

    Raises:
        ProgramFailed: it ended before it was ready.
    """
    with on_core(core):
        process = await asyncio.create_subprocess_exec(
            *arguments,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
                **(environ or {}),
            },
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
    program = Program(name, process)
    heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def read() -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            program.lines.append(line.decode(errors="replace").rstrip())
            del program.lines[:-50]
            if ready and not heard.done() and (found := ready(program.lines[-1])) is not None:
                heard.set_result(found)
        if not heard.done():
            heard.set_result(None)

    reading = asyncio.create_task(read())
    try:
        if ready is not None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await heard
            if found is None:
                raise ProgramFailed(f"{name} ended: " + "\n".join(program.lines))
            yield program, found
        else:
            yield program, None
    finally:
        program.kill()
        await process.wait()
        await reading


@asynccontextmanager
async def running_api(port: int, *, core: int = RIG_CORE) -> AsyncIterator[Program]:
    """Runs the embedded API in a process of its own, state in memory."""
    arguments = [
        *(sys.executable, "-m", "websocketmanager", "api", "--api-grpc-port", str(port)),
        *("--database", ":memory:"),
    ]
    async with running(
        "api", arguments, core=core, ready=lambda line: True if "virtufin-api" in line else None
    ) as (program, _):
        yield program


@asynccontextmanager
async def running_service(
    api_port: int,
    *,
    flags: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    core: int = TESTED_CORE,
    ready_seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[tuple[Program, Service]]:
    """Runs `websocketmanager serve`; yields it once it is ready, with its face."""
    arguments = [
        *(sys.executable, "-m", "websocketmanager", "serve", "--http-port", "0"),
        *("--grpc-port", "0", "--api-host", "127.0.0.1", "--api-grpc-port", str(api_port)),
        *("--allow-host", "127.0.0.0/8", "--instance-id", "bench", "--log-format", "json"),
        *flags,
    ]
    options = (("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))
    async with running("service", arguments, core=core, environ=environ, ready=_listening) as (
        program,
        addresses,
    ):
        address = addresses["grpc_address"]
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            service = Service(address, addresses["http_address"], channel)
            await service.wait_ready(ready_seconds)
            yield program, service


def _listening(line: str) -> dict[str, str] | None:
    with suppress(ValueError):
        said = json.loads(line)
        if said.get("fact") == "ServiceListening":
            fields: dict[str, str] = said["fields"]
            return fields
    return None


async def connect_all(
    service: Service,
    urls: Sequence[str],
    options: pb.ConnectionOptions | None = None,
    *,
    in_flight: int = 64,
) -> float:
    """Connects to every URL, `in_flight` calls at a time; returns the seconds it took."""
    waiting = list(reversed(urls))

    async def caller() -> None:
        while waiting:
            await service.stub.Connect(
                pb.ConnectRequest(
                    url=waiting.pop(), auto_reconnect=True, topic=TOPIC, options=options
                ),
                timeout=PATIENCE_SECONDS,
            )

    began = time.monotonic()
    async with asyncio.TaskGroup() as callers:
        for _ in range(min(in_flight, len(urls))):
            callers.create_task(caller())
    return time.monotonic() - began


@dataclass(eq=False)
class Rig:
    """The feed and the sink.

    Attributes:
        feeds: `host:port` of every address it listens at.
        sink: URL of the HTTP sink, or empty when it subscribes at an API.
    """

    process: asyncio.subprocess.Process
    feeds: list[str]
    sink: str

    async def ask(self, do: str, seconds: float = 600.0, **facts: Any) -> dict[str, Any]:
        """Gives an order and returns its answer.

        Raises:
            ProgramFailed: it could not be done.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **facts}).encode() + b"\n")
        await self.process.stdin.drain()
        async with asyncio.timeout(seconds):
            return await heard_from(self.process)


async def heard_from(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """Returns the next thing the rig says.

    Raises:
        ProgramFailed: it ended, or it cannot go on.
    """
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise ProgramFailed("the rig ended")
    said: dict[str, Any] = json.loads(line)
    if said["event"] in {"failed", "unsubscribed"}:
        raise ProgramFailed(f"the rig: {said['problem']}")
    return said


@asynccontextmanager
async def running_rig(*flags: str) -> AsyncIterator[Rig]:
    """Runs the rig with these flags; where it subscribes, the subscription is in force."""
    with on_core(RIG_CORE):
        process = await asyncio.create_subprocess_exec(
            str(BUILD / "rig"),
            *flags,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
    try:
        said = await heard_from(process)
        if any(flag.startswith("-api=") for flag in flags):
            await heard_from(process)
        yield Rig(process, said["feeds"], said.get("sink", ""))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
