"""Commands that print what happens: `watch` and `tail`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.cli.parameters import (
    LOCAL,
    AsJson,
    Count,
    Duration,
    Server,
    Tags,
    id_of,
    pairs,
)
from websocketmanager.cli.process import (
    call_service,
    follow,
    for_programs,
    print_bytes,
    print_line,
    run,
    with_own_settings,
)
from websocketmanager.cli.root import cli
from websocketmanager.terminal import lines, live
from websocketmanager.terminal.options import Source
from websocketmanager.terminal.preflight import host_port
from websocketmanager.terminal.received import Received
from websocketmanager.terminal.remote import Service, open_api


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
    server: Server = LOCAL,
    json: AsJson = False,
) -> None:
    """Prints lifecycle events as they happen, of all connections or of one."""
    filters = [pb.TagFilter(key=key, value=value) for key, value in pairs(tag, "--tag").items()]
    request = pb.WatchRequest(id=id_of(id) if id else "", filters=filters, after_event=after)
    console = Console()

    def write(notice: pb.WatchResponse) -> None:
        if for_programs(json):
            print_line(live.notice_json(notice))
        else:
            live.show_notice(console, notice)

    async def call(service: Service) -> None:
        async with service.watch(request) as notices:
            await follow(notices, write, count=count, seconds=duration)

    call_service(server, call)


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
            print_bytes(seen.data)
        elif for_programs(json):
            print_line(live.tailed_json(seen, connection_id))
        else:
            for line in live.tailed_lines(seen):
                print_line(line)

    async def call(service: Service) -> None:
        request = pb.TailRequest(id=connection_id, max_message_bytes=max_bytes)
        async with service.tail(request) as messages:
            await follow(messages, write, count=count, seconds=seconds)

    call_service(server, call)


@cli.command()
@with_own_settings("api_host", "api_grpc_port")
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
    server: Server = LOCAL,
    count: Count = None,
    duration: Duration = None,
    raw: Annotated[bool, typer.Option("--raw", help="the exact bytes and nothing else")] = False,
    json: AsJson = False,
) -> None:
    """Prints the events of a topic as they come, or the messages of one connection.

    A topic is read through the API; --connection asks the service, which shows what
    it can without slowing the connection, and says how much it skipped.
    """
    if bool(topic) == bool(connection):
        raise typer.BadParameter("give one of both: TOPIC or --connection ID")
    if connection:
        _tail_connection(
            id_of(connection),
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
            await follow(events, write, count=count, seconds=duration)

    run(work())


def _event_writer(*, raw: bool, json: bool) -> Callable[[Received], None]:
    if raw:
        return lambda event: print_bytes(event.data)
    if for_programs(json):
        return lambda event: print_line(lines.tail_json(event))
    return lambda event: print_line(lines.tail_line(event))
