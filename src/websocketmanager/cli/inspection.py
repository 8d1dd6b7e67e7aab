"""Commands on one connection: `get`, `update`, `rotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.cli.parameters import (
    LOCAL,
    AsJson,
    Id,
    Server,
    Tags,
    Timeout,
    id_of,
    pairs,
    text_of,
    told,
)
from websocketmanager.cli.process import call_service, for_programs, print_line
from websocketmanager.cli.root import cli
from websocketmanager.terminal import lines, live
from websocketmanager.terminal.remote import Service
from websocketmanager.terminal.subscriptions import subscription, subscriptions


@cli.command()
def get(id: Id, timeout: Timeout = 10.0, server: Server = LOCAL, json: AsJson = False) -> None:
    """Shows one connection: how it does, and its last transitions."""
    connection_id = id_of(id)

    async def call(service: Service) -> None:
        answer = await service.get(connection_id, timeout_seconds=timeout)
        if for_programs(json):
            print_line(lines.json_line(lines.as_mapping(answer)))
        else:
            live.show_detail(Console(), answer)

    call_service(server, call)


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
    server: Server = LOCAL,
    json: AsJson = False,
) -> None:
    """Changes topic, tags (all that are given are all there are) and subscriptions at once."""
    request = pb.UpdateRequest(id=id_of(id))
    if topic is not None or no_topic:
        request.topic = "" if no_topic else topic or ""
    if tag or no_tags:
        request.tags.tags.update(pairs(tag, "--tag"))
        request.tags.SetInParent()
    if add or remove:
        request.subscriptions.add.extend(told(subscription, one, "--add") for one in add or ())
        request.subscriptions.remove.extend(remove or ())
    if set_ is not None:
        whole = request.subscriptions.set
        whole.SetInParent()
        whole.subscriptions.extend(told(subscriptions, text_of(set_, "--set"), "--set"))

    async def call(service: Service) -> None:
        one = await service.update(request, timeout_seconds=timeout)
        if for_programs(json):
            print_line(lines.json_line(lines.as_mapping(one)))
        else:
            print_line(f"updated  {one.id}")

    call_service(server, call)


@cli.command()
def rotate(id: Id, timeout: Timeout = 60.0, server: Server = LOCAL, json: AsJson = False) -> None:
    """Replaces a connection's session by a fresh one; says its number once that has taken over."""
    connection_id = id_of(id)

    async def call(service: Service) -> None:
        one = await service.rotate(connection_id, timeout_seconds=timeout)
        if for_programs(json):
            print_line(lines.json_line(lines.as_mapping(one)))
        else:
            print_line(f"session {one.session}  {one.id}")

    call_service(server, call)
