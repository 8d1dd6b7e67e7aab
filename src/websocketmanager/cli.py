"""The command line: arguments, environment and file → settings; signals and exit codes.

The one place that sees the environment and that ends the process. No product rule: `serve`,
`api` and `dev` run what `app`, `embedded` and `dev` compose, the rest are calls by `terminal`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from websocketmanager import __version__
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.domain.identity import connection_id_of_name
from websocketmanager.domain.model import FirstDial, Format
from websocketmanager.errors import (
    ApiError,
    ApiUnavailable,
    Fault,
    InstanceIdInUse,
    SettingsInvalid,
    WebSocketManagerError,
)
from websocketmanager.settings import KEYS, Settings, load_settings, option_of, parse_file, sources
from websocketmanager.terminal import lines, render
from websocketmanager.terminal.exits import MEANINGS, Exit, advice, exit_of
from websocketmanager.terminal.received import Received
from websocketmanager.terminal.remote import CallFailed, Service, open_api, open_service
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


@dataclass(frozen=True, slots=True)
class Source:
    """What the command line, the environment and the file say, not yet judged."""

    cli: Mapping[str, object]
    environ: Mapping[str, str]
    file: Mapping[str, object]

    def settings(self, **defaults: object) -> Settings:
        """Returns the settings; `defaults`, by field, stand in for keys that nobody set.

        Raises:
            SettingsInvalid: with every fault.
        """
        beneath = {KEYS[field].name: value for field, value in defaults.items()}
        return load_settings(cli=self.cli, environ=self.environ, file={**beneath, **self.file})


def _source(flags: Mapping[str, object], config: Path | None) -> Source:
    file: Mapping[str, object] = {}
    if config is not None:
        try:
            file = parse_file(config.read_text(encoding="utf-8"), path=str(config))
        except (OSError, UnicodeDecodeError) as unreadable:
            raise SettingsInvalid(Fault(str(config), f"cannot be read: {unreadable}")) from None
    host_name = os.environ.get("HOSTNAME") or socket.gethostname()
    return Source(flags, {**os.environ, "HOSTNAME": host_name}, file)


Command = Callable[..., None]


def _with_settings(*only: str) -> Callable[[Command], Command]:
    """Gives a command one option per settings field (or the named ones) and `--config`.

    The command takes them as a `Source` in its parameter `source`.
    """
    fields = only or tuple(field for field, key in KEYS.items() if not key.secret)

    def decorate(command: Command) -> Command:
        def wrapper(**given: Any) -> None:
            flags = {field: given.pop(field) for field in fields}
            config = given.pop("config")
            with _failures_told():
                command(source=_source(flags, config), **given)

        own = inspect.signature(command, eval_str=True).parameters
        added = [_setting_option(field) for field in fields] + [_CONFIG_OPTION]
        parameters = [
            *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own.values()),
            *added,
        ]
        parameters = [one for one in parameters if one.name != "source"]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # typer reads it
        wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
        wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
        return wrapper

    return decorate


def _setting_option(field: str) -> inspect.Parameter:
    """Returns an option that takes any text: `load_settings` judges all of them together."""
    key, default = KEYS[field], Settings.model_fields[field].default
    many = isinstance(default, tuple)
    # The instance id's real default is the host's name, as its meaning says.
    plain = default in ("", None, ()) or field == "instance_id"
    shown = "" if plain else f", default {default}"
    option = typer.Option(
        option_of(field),
        metavar="NUMBER" if isinstance(default, int | float) else "TEXT",
        help=f"{key.meaning} ({key.name}{shown}{'; repeatable' if many else ''})",
        rich_help_panel="Settings",
        show_default=False,
    )
    kind = list[str] | None if many else str | None
    return inspect.Parameter(
        field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


_CONFIG_OPTION = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="WEBSOCKETMANAGER_CONFIG",
            help="settings in YAML, below the environment",
            rich_help_panel="Settings",
        ),
    ],
)


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
    """Turns every expected failure into a sentence, an advice and an exit code."""
    try:
        yield
    except SettingsInvalid as invalid:
        _tell(
            *(f"configuration: {fault}" for fault in invalid.faults),
            then="correct them; `websocketmanager check-config` shows what is in force, and from "
            "where",
        )
        raise typer.Exit(Exit.USAGE) from None
    except CallFailed as failed:
        _tell_call(failed)
        raise typer.Exit(exit_of(failed.code, failed.reason)) from None
    except InstanceIdInUse as taken:
        _tell(str(taken), then="stop the other process, or choose another --instance-id")
        raise typer.Exit(Exit.USAGE) from None
    except ApiError as failed:
        unreachable = isinstance(failed, ApiUnavailable)
        _tell(str(failed), then="check --api-host, --api-grpc-port and VIRTUFIN_API_KEY")
        raise typer.Exit(Exit.UNREACHABLE if unreachable else Exit.REFUSED) from None
    except BrokenPipeError:
        # The reader of our output left, as `head` does; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Exit.OK) from None
    except (WebSocketManagerError, OSError) as failed:
        _tell(str(failed), then="the log above may say more")
        raise typer.Exit(Exit.FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None


def _tell(*sentences: str, then: str) -> None:
    for sentence in sentences:
        _stderr(f"error: {sentence}")
    _stderr(f"next:  {then}")


def _tell_call(failed: CallFailed) -> None:
    _stderr(f"error: {lines.printable(str(failed), limit=2000)}")
    if failed.reason:
        facts = "".join(f" {key}={value}" for key, value in failed.facts.items())
        _stderr(f"       {lines.printable(failed.reason + facts, limit=2000)}")
    unreachable = "start it with `websocketmanager serve` (or `dev`), or point --server to it"
    if failed.peer == "virtufin-api":
        unreachable = "start it (`websocketmanager api` or `dev`), or check --api-host and port"
    _stderr(f"next:  {advice(failed.code, failed.reason, unreachable=unreachable)}")


def _stderr(line: str) -> None:
    sys.stderr.write(line + "\n")


def _check_ports(*wanted: tuple[str, int, str]) -> None:
    """Refuses ports that are in use: host, port, and the flag that changes it.

    Raises:
        SettingsInvalid: with every port that cannot be bound now.
    """
    faults = []
    for host, port, flag in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as refused:
                problem = refused.strerror or str(refused)
                where = _address(host, port)
                faults.append(
                    Fault(flag, f"{where}: {problem}; choose another with {flag} (0: any free one)")
                )
    if faults:
        raise SettingsInvalid(*faults)


def _check_api(settings: Settings) -> None:
    """Refuses an API address that no service can mean.

    Raises:
        SettingsInvalid: the port is 0, or the service would call itself.
    """
    if settings.api_route != "direct":
        return
    local = settings.api_host in {"localhost", "127.0.0.1", "::1", settings.bind_host}
    if settings.api_grpc_port == 0:
        raise SettingsInvalid(Fault("--api-grpc-port", "must name the port of the virtufin-api"))
    if local and settings.api_grpc_port == settings.grpc_port:
        raise SettingsInvalid(
            Fault(
                "--api-grpc-port",
                f"{settings.api_host}:{settings.api_grpc_port} is this service itself; name the "
                "virtufin-api by VIRTUFIN_API_HOST and VIRTUFIN_API_GRPC_PORT",
            )
        )


# --- long-running commands --------------------------------------------------------------------


@cli.command()
@_with_settings()
def serve(source: Source) -> None:
    """Runs the service; needs a virtufin-api."""
    settings = source.settings()
    _check_api(settings)
    _check_ports(
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
        _tell(
            f"{app.dropped} events could not be handed to the API within the grace of "
            f"{settings.shutdown_grace_seconds:g} s and are lost",
            then="allow more with --shutdown-grace-seconds, and look after the API",
        )
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
    _check_ports((settings.bind_host, settings.api_grpc_port, "--api-grpc-port"))

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
            _check_ports(
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
_LOCAL = "localhost:15002"


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
    timeout: Timeout = 30.0,
    server: Server = _LOCAL,
    json: AsJson = False,
) -> None:
    """Opens a connection."""
    request = pb.ConnectRequest(
        url=url,
        name=name,
        topic=topic,
        tags=_tags(tag),
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
    wanted = _tags(tag)

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
@_with_settings("api_host", "api_grpc_port")
def tail(
    *,
    source: Source,
    topic: Annotated[str, typer.Argument(metavar="TOPIC")],
    count: Annotated[int | None, typer.Option(min=0, help="end after so many")] = None,
    duration: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="end after so long")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="the exact bytes and nothing else")] = False,
    json: AsJson = False,
) -> None:
    """Prints the events of a topic as they come, through the API's Subscribe."""
    settings = source.settings()
    write = _event_writer(raw=raw, json=json)
    key = settings.api_key.get_secret_value() if settings.api_key else None

    async def work() -> None:
        stop = Stop()
        stop.listen()
        address = _address(settings.api_host, settings.api_grpc_port)
        async with open_api(address, key=key) as api, api.subscription(topic) as events:
            printing = asyncio.create_task(
                print_events(events, write, count=count, seconds=duration)
            )
            asked = asyncio.create_task(stop.asked.wait())
            try:
                await asyncio.wait({printing, asked}, return_when=asyncio.FIRST_COMPLETED)
                if printing.done():
                    printing.result()
            finally:
                printing.cancel()
                asked.cancel()
                await asyncio.wait({printing, asked})

    _run(work())


@cli.command("check-config")
@_with_settings()
def check_config(source: Source, json: AsJson = False) -> None:
    """Says what is wrong with the configuration, or shows it with the source of each value."""
    settings = source.settings()
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


def _tags(given: Sequence[str] | None) -> dict[str, str]:
    tags = {}
    for one in given or ():
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{one!r} must be KEY=VALUE", param_hint="--tag")
        tags[key] = value
    return tags


def _connection_id(given: str) -> str:
    named = given.removeprefix("name:")
    return given if named == given else connection_id_of_name(named)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
