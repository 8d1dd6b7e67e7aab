"""The process around a command: environment, streams, signals, and how it ends.

The one module that sees the environment, and, with the commands, that ends the process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import typer

from websocketmanager.errors import Fault, SettingsInvalid, WebSocketManagerError
from websocketmanager.settings import parse_file
from websocketmanager.terminal.exits import Exit
from websocketmanager.terminal.failures import explain
from websocketmanager.terminal.options import Command, Source, with_settings
from websocketmanager.terminal.remote import Service, open_service
from websocketmanager.terminal.tail import print_events

T = TypeVar("T")

# --- settings: one option per key -----------------------------------------------------------


def _source(flags: Mapping[str, object], config: Path | None) -> Source:
    file: Mapping[str, object] = {}
    if config is not None:
        try:
            file = parse_file(config.read_text(encoding="utf-8"), path=str(config))
        except (OSError, UnicodeDecodeError) as unreadable:
            raise SettingsInvalid(Fault(str(config), f"cannot be read: {unreadable}")) from None
    host_name = os.environ.get("HOSTNAME") or socket.gethostname()
    return Source(flags, {**os.environ, "HOSTNAME": host_name}, file)


def with_own_settings(*only: str) -> Callable[[Command], Command]:
    """Gives a command its settings options; failures of reading them are told like its own."""
    add_options = with_settings(_source, *only)
    return lambda command: failures_told()(add_options(command))


# --- how commands run, fail and end ----------------------------------------------------------


class Stop:
    """The first signal asks for a graceful stop, the second ends the process at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.reason = ""

    def listen(self) -> None:
        """Takes SIGINT and SIGTERM of the running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.hear, number)

    def hear(self, number: signal.Signals) -> None:
        """Acts on one signal."""
        if self.asked.is_set():
            sys.stderr.write(f"second signal ({number.name}): ended at once\n")
            sys.stderr.flush()
            # Every open transport goes with the process; nothing may delay it any more.
            os._exit(128 + number)
        self.reason = number.name
        self.asked.set()


def run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a command's work on uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


@contextmanager
def failures_told() -> Iterator[None]:
    """Turns every expected failure into sentences on stderr and an exit code."""
    try:
        yield
    except BrokenPipeError:
        # The reader of our output left, as `head` does; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Exit.OK) from None
    except (WebSocketManagerError, OSError) as failure:
        told = explain(failure)
        for line in told.lines:
            stderr_line(line)
        raise typer.Exit(told.exit) from None
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None


def stderr_line(line: str) -> None:
    """Prints a line to standard error."""
    sys.stderr.write(line + "\n")


def call_service(server: str, call: Callable[[Service], Coroutine[Any, Any, None]]) -> None:
    """Runs a command that calls a service."""

    async def work() -> None:
        async with open_service(server) as service:
            await call(service)

    with failures_told():
        run(work())


async def follow(
    events: AsyncIterator[T],
    write: Callable[[T], None],
    *,
    count: int | None,
    seconds: float | None,
) -> None:
    """Prints a stream to its end, or until a signal, which is its usual end."""
    stop = Stop()
    stop.listen()
    printing = asyncio.create_task(print_events(events, write, count=count, seconds=seconds))
    asked = asyncio.create_task(stop.asked.wait())
    try:
        await asyncio.wait({printing, asked}, return_when=asyncio.FIRST_COMPLETED)
        if printing.done():
            printing.result()
    finally:
        printing.cancel()
        asked.cancel()
        await asyncio.wait({printing, asked})


# --- streams ----------------------------------------------------------------------------------


def for_programs(json: bool) -> bool:
    """Whether the output is for programs, not for a person."""
    return json or not sys.stdout.isatty()


def print_line(line: str) -> None:
    """Prints a line whatever the terminal's encoding."""
    print_bytes(line.encode(sys.stdout.encoding or "utf-8", "backslashreplace") + b"\n")


def print_bytes(data: bytes) -> None:
    """Prints bytes at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def stdin_bytes() -> bytes:
    """Returns all of standard input."""
    return sys.stdin.buffer.read()
