"""The command line: arguments, environment and file → settings; signals and exit codes.

The one place that sees the environment and that ends the process. No product rule: `serve`,
`api` and `dev` run what `app`, `embedded` and `dev` compose, the rest are calls by `terminal`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from websocketmanager import __version__
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.domain.identity import connection_id_of_name
from websocketmanager.domain.model import FirstDial, Format
from websocketmanager.errors import Fault, SettingsInvalid, WebSocketManagerError
from websocketmanager.settings import KEYS, Settings, parse_file, sources
from websocketmanager.terminal import lines, live, render
from websocketmanager.terminal.exits import MEANINGS, Exit
from websocketmanager.terminal.failures import explain
from websocketmanager.terminal.options import Command, Source, with_settings
from websocketmanager.terminal.preflight import check_api, check_ports, host_port
from websocketmanager.terminal.received import Received
from websocketmanager.terminal.remote import Service, open_api, open_service
from websocketmanager.terminal.subscriptions import subscription, subscriptions
from websocketmanager.terminal.tail import print_events

#: A gRPC deadline leaves the service this long beyond the wait it was asked for, in seconds.
_DEADLINE_MARGIN = 5.0
#: How long `send` waits when the service's own default decides, in seconds.
_LONG = 3600.0
_FORMATS = {Format.RAW: pb.FORMAT_RAW, Format.ENVELOPE: pb.FORMAT_ENVELOPE}
_FIRST_DIALS = {FirstDial.FAIL: pb.FIRST_DIAL_FAIL, FirstDial.RETRY: pb.FIRST_DIAL_RETRY}

cli = typer.Typer(
    name="websocketmanager",
    help="Holds outbound WebSocket connections for other services.",
    epilog="Exit codes:\n\n" + "\n\n".join(f"{code:d}  {text}" for code, text in MEANINGS.items()),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Runs the command line of this process, and ends it with the command's exit code."""
    cli()


# --- settings: one option per key ---------------------------------------------------------


def _source(flags: Mapping[str, object], config: Path | None) -> Source:
    file: Mapping[str, object] = {}
    if config is not None:
        try:
            file = parse_file(config.read_text(encoding="utf-8"), path=str(config))
        except (OSError, UnicodeDecodeError) as unreadable:
            raise SettingsInvalid(Fault(str(config), f"cannot be read: {unreadable}")) from None
    host_name = os.environ.get("HOSTNAME") or socket.gethostname()
    return Source(flags, {**os.environ, "HOSTNAME": host_name}, file)


def _with_settings(*only: str) -> Callable[[Command], Command]:
    """Gives a command its settings options; failures of reading them are told like its own."""
    add_options = with_settings(_source, *only)
    return lambda command: _failures_told()(add_options(command))


# --- how commands run, fail and end ---------------------------------------------------------


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


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a command's work on uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


@contextmanager
def _failures_told() -> Iterator[None]:
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
            _stderr(line)
        raise typer.Exit(told.exit) from None
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None


def _stderr(line: str) -> None:
    sys.stderr.write(line + "\n")


# --- long-running commands --------------------------------------------------------------------


@cli.command()
@_with_settings()
def serve(source: Source) -> None:
    """Runs the service; needs a virtufin-api."""
    settings = source.settings()
    check_api(settings)
    check_ports(
        (settings.bind_host, settings.http_port, "--http-port"),
        (settings.bind_host, settings.grpc_port, "--grpc-port"),
    )

    _run(_serve(settings, source.environ))


async def _serve(settings: Settings, environ: Mapping[str, str]) -> None:
    # Here, because clients start in half the time without them.
    from websocketmanager.adapters.telemetry import configure_logging  # noqa: PLC0415
    from websocketmanager.app import running_app  # noqa: PLC0415

    configure_logging(settings.log_level, settings.log_format, sys.stderr)
    stop = Stop()
    stop.listen()
    # A part that fails by itself cancels the block, and leaving it raises the cause.
    async with running_app(settings, environ=environ) as app:
        await stop.asked.wait()
        app.stop_reason = stop.reason
    if app.dropped:
        _stderr(
            f"error: {app.dropped} events could not be handed to the API within the grace of "
            f"{settings.shutdown_grace_seconds:g} s and are lost"
        )
        _stderr("next:  allow more with --shutdown-grace-seconds, and look after the API")
        raise typer.Exit(Exit.FAILED)


@cli.command()
@_with_settings(
    "bind_host",
    "api_grpc_port",
    "database",
    "topic_rules",
    "api_max_message_bytes",
    "log_level",
    "log_format",
)
def api(source: Source) -> None:
    """Runs the embedded API alone: State and Pubsub on SQLite."""
    settings = source.settings()
    check_ports((settings.bind_host, settings.api_grpc_port, "--api-grpc-port"))

    async def work() -> None:
        from websocketmanager.dev import running_api  # noqa: PLC0415 - as above

        stop = Stop()
        stop.listen()
        async with running_api(settings, environ=source.environ, log=sys.stderr) as running:
            _stderr(f"virtufin-api (embedded) at {running.address}, state in {settings.database}")
            await stop.asked.wait()

    _run(work())


@cli.command()
@_with_settings(
    "http_port",
    "grpc_port",
    "bind_host",
    "api_grpc_port",
    "allowed_hosts",
    "database",
    "topic_rules",
    "log_level",
    "log_format",
)
def dev(
    source: Source,
    duration: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="end after so long")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="lines, even on a terminal")] = False,
) -> None:
    """Runs everything in one process: embedded API, service, demo exchange, live view."""
    from websocketmanager import dev as dev_mode  # noqa: PLC0415 - as above

    async def work() -> None:
        stop = Stop()
        stop.listen()
        with dev_mode.scratch_database() as scratch:
            # The view tells what happens; the log is for what it cannot show.
            settings = source.settings(database=scratch, log_level="error")
            check_ports(
                (settings.bind_host, settings.http_port, "--http-port"),
                (settings.bind_host, settings.grpc_port, "--grpc-port"),
                (dev_mode.LOOPBACK, settings.api_grpc_port, "--api-grpc-port"),
            )
            await dev_mode.run_dev(
                settings,
                dev_mode.view_for(Console(), plain=plain),
                environ=source.environ,
                log=sys.stderr,
                stop=stop.asked,
                duration_seconds=duration,
            )

    _run(work())


# --- clients of a running service ---------------------------------------------------------------

Server = Annotated[
    str,
    typer.Option(
        envvar="WEBSOCKETMANAGER_SERVER", metavar="HOST:PORT", help="gRPC address of the service"
    ),
]
Timeout = Annotated[float, typer.Option(min=0.001, metavar="SECONDS", help="deadline of the call")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON lines, even on a terminal")]
Id = Annotated[str, typer.Argument(metavar="ID", help="connection id, or name:NAME")]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="repeatable")]
Count = Annotated[int | None, typer.Option(min=0, help="end after so many")]
Duration = Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="end after so long")]
_LOCAL = "localhost:15002"
T = TypeVar("T")


@cli.command()
def connect(
    *,
    url: Annotated[str, typer.Argument(metavar="URL", help="ws:// or wss://")],
    name: Annotated[str, typer.Option(help="makes the call idempotent")] = "",
    topic: Annotated[str, typer.Option(help="where messages are published")] = "",
    tag: Tags = None,
    auto_reconnect: Annotated[bool, typer.Option(help="dial again whenever it is lost")] = True,
    first_dial: Annotated[FirstDial, typer.Option(help="what a failure means")] = FirstDial.FAIL,
    format: Annotated[Format, typer.Option(help="what an event's data holds")] = Format.RAW,
    markers: Annotated[bool, typer.Option(help="publish stream.started, gap, ended")] = True,
    profile: Annotated[str, typer.Option(help="ready-made options of a venue")] = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="what the profile asks for, as symbol=a,b; repeatable"
        ),
    ] = None,
    timeout: Timeout = 30.0,
    server: Server = _LOCAL,
    json: AsJson = False,
) -> None:
    """Opens a connection."""
    request = pb.ConnectRequest(
        url=url,
        name=name,
        topic=topic,
        tags=_pairs(tag, "--tag"),
        profile=profile,
        profile_parameters=_pairs(parameter, "--parameter"),
        auto_reconnect=auto_reconnect,
        options=pb.ConnectionOptions(
            reconnect=pb.ReconnectOptions(first_dial=_FIRST_DIALS[first_dial]),
            format=_FORMATS[format],
            markers=markers,
        ),
    )

    async def call(service: Service) -> None:
        answer = await service.connect(request, timeout_seconds=timeout)
        if _for_programs(json):
            _print(lines.json_line(lines.as_mapping(answer)))
        else:
            _print(f"{answer.status}  {answer.id}")

    _call(server, call)


@cli.command("list")
def list_(
    tag: Tags = None, timeout: Timeout = 10.0, server: Server = _LOCAL, json: AsJson = False
) -> None:
    """Lists the connections that carry all the given tags."""
    wanted = _pairs(tag, "--tag")

    async def call(service: Service) -> None:
        connections = await service.list(wanted, timeout_seconds=timeout)
        if not _for_programs(json):
            render.show_connections(Console(), connections)
            return
        for one in connections:
            _print(lines.json_line(lines.as_mapping(one)))

    _call(server, call)


@cli.command()
def disconnect(
    id: Id, timeout: Timeout = 15.0, server: Server = _LOCAL, json: AsJson = False
) -> None:
    """Closes a connection and removes it for good."""
    connection_id = _connection_id(id)

    async def call(service: Service) -> None:
        await service.disconnect(connection_id, timeout_seconds=timeout)
        if _for_programs(json):
            _print(lines.json_line({"id": connection_id, "status": "removed"}))
        else:
            _print(f"removed  {connection_id}")

    _call(server, call)


@cli.command()
def send(
    *,
    id: Id,
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="the text; - reads stdin")],
    raw: Annotated[bool, typer.Option("--raw", help="as it is: wait for no reply")] = False,
    text: Annotated[
        bool | None,
        typer.Option("--text/--binary", help="frame type; by default Text if valid UTF-8"),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="SECONDS", help="for the reply; else the service's"),
    ] = None,
    server: Server = _LOCAL,
    json: AsJson = False,
) -> None:
    """Sends a message, correlated by 16 leading bytes, and prints the reply."""
    connection_id = _connection_id(id)
    data = sys.stdin.buffer.read() if message == "-" else os.fsencode(message)
    content_type = {True: "text/plain", False: "application/octet-stream", None: ""}[text]
    deadline = _LONG if timeout is None else timeout + _DEADLINE_MARGIN

    async def call(service: Service) -> None:
        if raw:
            await service.send_raw(
                connection_id, data, content_type=content_type, timeout_seconds=deadline
            )
            sent = {"id": connection_id, "sent_bytes": len(data)}
            _print(lines.json_line(sent) if _for_programs(json) else f"sent {len(data)} bytes")
            return
        reply = await service.send(
            connection_id,
            data,
            content_type=content_type,
            timeout_ms=round((timeout or 0) * 1000),
            timeout_seconds=deadline,
        )
        as_json, as_text = lines.reply_lines(connection_id, reply)
        _print(as_json if _for_programs(json) else as_text)

    _call(server, call)


@cli.command()
def get(id: Id, timeout: Timeout = 10.0, server: Server = _LOCAL, json: AsJson = False) -> None:
    """Shows one connection: how it does, and its last transitions."""
    connection_id = _connection_id(id)

    async def call(service: Service) -> None:
        answer = await service.get(connection_id, timeout_seconds=timeout)
        if _for_programs(json):
            _print(lines.json_line(lines.as_mapping(answer)))
        else:
            live.show_detail(Console(), answer)

    _call(server, call)


@cli.command()
def update(
    *,
    id: Id,
    topic: Annotated[str | None, typer.Option(help="publish there from now on")] = None,
    no_topic: Annotated[bool, typer.Option("--no-topic", help="publish no more")] = False,
    tag: Tags = None,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="remove all tags")] = False,
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="JSON", help="a subscription, by its key; repeatable"),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="a subscription's key; repeatable")
    ] = None,
    set_: Annotated[
        Path | None,
        typer.Option(
            "--set",
            metavar="FILE",
            help="the list of all subscriptions, in JSON or YAML; - reads stdin",
            allow_dash=True,
        ),
    ] = None,
    timeout: Timeout = 15.0,
    server: Server = _LOCAL,
    json: AsJson = False,
) -> None:
    """Changes topic, tags (all that are given are all there are) and subscriptions at once."""
    request = pb.UpdateRequest(id=_connection_id(id))
    if topic is not None or no_topic:
        request.topic = "" if no_topic else topic or ""
    if tag or no_tags:
        request.tags.tags.update(_pairs(tag, "--tag"))
        request.tags.SetInParent()
    if add or remove:
        request.subscriptions.add.extend(_told(subscription, one, "--add") for one in add or ())
        request.subscriptions.remove.extend(remove or ())
    if set_ is not None:
        whole = request.subscriptions.set
        whole.SetInParent()
        whole.subscriptions.extend(_told(subscriptions, _text_of(set_, "--set"), "--set"))

    async def call(service: Service) -> None:
        one = await service.update(request, timeout_seconds=timeout)
        if _for_programs(json):
            _print(lines.json_line(lines.as_mapping(one)))
        else:
            _print(f"updated  {one.id}")

    _call(server, call)


@cli.command()
def watch(
    *,
    id: Annotated[str, typer.Argument(metavar="[ID]", help="connection id, or name:NAME")] = "",
    tag: Tags = None,
    after: Annotated[
        int | None,
        typer.Option(min=0, metavar="EVENT", help="first those behind this number; needs ID"),
    ] = None,
    count: Count = None,
    duration: Duration = None,
    server: Server = _LOCAL,
    json: AsJson = False,
) -> None:
    """Prints lifecycle events as they happen, of all connections or of one."""
    filters = [pb.TagFilter(key=key, value=value) for key, value in _pairs(tag, "--tag").items()]
    request = pb.WatchRequest(
        id=_connection_id(id) if id else "", filters=filters, after_event=after
    )
    console = Console()

    def write(notice: pb.WatchResponse) -> None:
        if _for_programs(json):
            _print(live.notice_json(notice))
        else:
            live.show_notice(console, notice)

    async def call(service: Service) -> None:
        async with service.watch(request) as notices:
            await _follow(notices, write, count=count, seconds=duration)

    _call(server, call)


def _tail_connection(
    connection_id: str,
    *,
    server: str,
    raw: bool,
    json: bool,
    max_bytes: int,
    count: int | None,
    seconds: float | None,
) -> None:
    def write(seen: pb.TailResponse) -> None:
        if raw:
            _print_bytes(seen.data)
        elif _for_programs(json):
            _print(live.tailed_json(seen, connection_id))
        else:
            for line in live.tailed_lines(seen):
                _print(line)

    async def call(service: Service) -> None:
        request = pb.TailRequest(id=connection_id, max_message_bytes=max_bytes)
        async with service.tail(request) as messages:
            await _follow(messages, write, count=count, seconds=seconds)

    _call(server, call)


@cli.command()
@_with_settings("api_host", "api_grpc_port")
def tail(
    *,
    source: Source,
    topic: Annotated[str, typer.Argument(metavar="[TOPIC]")] = "",
    connection: Annotated[
        str,
        typer.Option(metavar="ID", help="messages of this connection, in place of a topic: lossy"),
    ] = "",
    max_bytes: Annotated[
        int, typer.Option(min=0, help="of each message, with --connection; 0: all")
    ] = 0,
    server: Server = _LOCAL,
    count: Count = None,
    duration: Duration = None,
    raw: Annotated[bool, typer.Option("--raw", help="the exact bytes and nothing else")] = False,
    json: AsJson = False,
) -> None:
    """Prints the events of a topic as they come, or the messages of one connection.

    A topic is read through the API's Subscribe; --connection asks the service, which shows what
    it can without slowing the connection, and says how much it skipped.
    """
    if bool(topic) == bool(connection):
        raise typer.BadParameter("give one of both: TOPIC or --connection ID")
    if connection:
        _tail_connection(
            _connection_id(connection),
            server=server,
            raw=raw,
            json=json,
            max_bytes=max_bytes,
            count=count,
            seconds=duration,
        )
        return
    settings = source.settings()
    write = _event_writer(raw=raw, json=json)
    key = settings.api_key.get_secret_value() if settings.api_key else None

    async def work() -> None:
        address = host_port(settings.api_host, settings.api_grpc_port)
        async with open_api(address, key=key) as api, api.subscription(topic) as events:
            await _follow(events, write, count=count, seconds=duration)

    _run(work())


async def _follow(
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


@cli.command("check-config")
@_with_settings()
def check_config(source: Source, json: AsJson = False) -> None:
    """Says what is wrong with the configuration, or shows it with the source of each value."""
    from websocketmanager.app import profiles_of  # noqa: PLC0415 - as in _serve

    settings = source.settings()
    profiles_of(settings)
    given = sources(cli=source.cli, environ=source.environ, file=source.file)
    rows = [
        {"key": key.name, "value": _shown(getattr(settings, field)), "origin": given[field].origin}
        for field, key in KEYS.items()
    ]
    if _for_programs(json):
        for row in rows:
            _print(lines.json_line(row))
    else:
        render.show_settings(Console(), rows)


@cli.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        _print(__version__)
        raise typer.Exit


def _call(server: str, call: Callable[[Service], Coroutine[Any, Any, None]]) -> None:
    async def work() -> None:
        async with open_service(server) as service:
            await call(service)

    with _failures_told():
        _run(work())


def _event_writer(*, raw: bool, json: bool) -> Callable[[Received], None]:
    if raw:
        return lambda event: _print_bytes(event.data)
    if _for_programs(json):
        return lambda event: _print(lines.tail_json(event))
    return lambda event: _print(lines.tail_line(event))


def _pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for one in given or ():
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{one!r} must be KEY=VALUE", param_hint=option)
        pairs[key] = value
    return pairs


def _told(parse: Callable[[str], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _text_of(path: Path, option: str) -> str:
    try:
        if str(path) == "-":
            return sys.stdin.buffer.read().decode()
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint=option) from None


def _connection_id(given: str) -> str:
    named = given.removeprefix("name:")
    return given if named == given else connection_id_of_name(named)


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    # SecretStr: that it is set is all that shows.
    return value if isinstance(value, str | int | float | None) else "(set)"


def _for_programs(json: bool) -> bool:
    return json or not sys.stdout.isatty()


def _print(line: str) -> None:
    _print_bytes(line.encode(sys.stdout.encoding or "utf-8", "backslashreplace") + b"\n")


def _print_bytes(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
