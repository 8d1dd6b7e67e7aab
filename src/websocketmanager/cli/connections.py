"""Commands that make, list, use and end connections."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.cli.parameters import (
    LOCAL,
    AsJson,
    Id,
    Parameters,
    Profile,
    Server,
    Tags,
    Timeout,
    id_of,
    pairs,
)
from websocketmanager.cli.process import call_service, for_programs, print_line, stdin_bytes
from websocketmanager.cli.root import cli
from websocketmanager.domain.model import FirstDial, Format
from websocketmanager.terminal import lines, render
from websocketmanager.terminal.remote import Service

#: A gRPC deadline leaves the service this long beyond the wait it was asked for, in seconds.
_DEADLINE_MARGIN = 5.0
#: How long `send` waits when the service's own default decides, in seconds.
_LONG = 3600.0
_FORMATS = {Format.RAW: pb.FORMAT_RAW, Format.ENVELOPE: pb.FORMAT_ENVELOPE}
_FIRST_DIALS = {FirstDial.FAIL: pb.FIRST_DIAL_FAIL, FirstDial.RETRY: pb.FIRST_DIAL_RETRY}


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
    profile: Profile = "",
    parameter: Parameters = None,
    timeout: Timeout = 30.0,
    server: Server = LOCAL,
    json: AsJson = False,
) -> None:
    """Opens a connection."""
    request = pb.ConnectRequest(
        url=url,
        name=name,
        topic=topic,
        tags=pairs(tag, "--tag"),
        profile=profile,
        profile_parameters=pairs(parameter, "--parameter"),
        auto_reconnect=auto_reconnect,
        options=pb.ConnectionOptions(
            reconnect=pb.ReconnectOptions(first_dial=_FIRST_DIALS[first_dial]),
            format=_FORMATS[format],
            markers=markers,
        ),
    )

    async def call(service: Service) -> None:
        answer = await service.connect(request, timeout_seconds=timeout)
        if for_programs(json):
            print_line(lines.json_line(lines.as_mapping(answer)))
        else:
            print_line(f"{answer.status}  {answer.id}")

    call_service(server, call)


@cli.command("list")
def list_(
    tag: Tags = None, timeout: Timeout = 10.0, server: Server = LOCAL, json: AsJson = False
) -> None:
    """Lists the connections that carry all the given tags."""
    wanted = pairs(tag, "--tag")

    async def call(service: Service) -> None:
        connections = await service.list(wanted, timeout_seconds=timeout)
        if not for_programs(json):
            render.show_connections(Console(), connections)
            return
        for one in connections:
            print_line(lines.json_line(lines.as_mapping(one)))

    call_service(server, call)


@cli.command()
def disconnect(
    id: Id, timeout: Timeout = 15.0, server: Server = LOCAL, json: AsJson = False
) -> None:
    """Closes a connection and removes it for good."""
    connection_id = id_of(id)

    async def call(service: Service) -> None:
        await service.disconnect(connection_id, timeout_seconds=timeout)
        if for_programs(json):
            print_line(lines.json_line({"id": connection_id, "status": "removed"}))
        else:
            print_line(f"removed  {connection_id}")

    call_service(server, call)


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
    server: Server = LOCAL,
    json: AsJson = False,
) -> None:
    """Sends a message, correlated by 16 leading bytes, and prints the reply."""
    connection_id = id_of(id)
    data = stdin_bytes() if message == "-" else os.fsencode(message)
    content_type = {True: "text/plain", False: "application/octet-stream", None: ""}[text]
    deadline = _LONG if timeout is None else timeout + _DEADLINE_MARGIN

    async def call(service: Service) -> None:
        if raw:
            await service.send_raw(
                connection_id, data, content_type=content_type, timeout_seconds=deadline
            )
            sent = {"id": connection_id, "sent_bytes": len(data)}
            print_line(lines.json_line(sent) if for_programs(json) else f"sent {len(data)} bytes")
            return
        reply = await service.send(
            connection_id,
            data,
            content_type=content_type,
            timeout_ms=round((timeout or 0) * 1000),
            timeout_seconds=deadline,
        )
        as_json, as_text = lines.reply_lines(connection_id, reply)
        print_line(as_json if for_programs(json) else as_text)

    call_service(server, call)
