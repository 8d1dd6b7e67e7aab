"""The command `test`: tries a target and prints each step as it ends."""

from __future__ import annotations

from typing import Annotated

import typer

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.cli.parameters import (
    LOCAL,
    AsJson,
    Parameters,
    Profile,
    Server,
    pairs,
)
from websocketmanager.cli.process import call_service, for_programs, print_line
from websocketmanager.cli.root import cli
from websocketmanager.terminal import lines, steps
from websocketmanager.terminal.exits import Exit
from websocketmanager.terminal.remote import Service


@cli.command("test")
def try_target(
    *,
    url: Annotated[str, typer.Argument(metavar="URL", help="ws:// or wss://")],
    profile: Profile = "",
    parameter: Parameters = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="SECONDS", help="deadline; else as the options allow"),
    ] = None,
    server: Server = LOCAL,
    json: AsJson = False,
) -> None:
    """Tries whether a connection would come up, from the service, step by step; keeps nothing."""
    request = pb.TestConnectionRequest(
        url=url, profile=profile, profile_parameters=pairs(parameter, "--parameter")
    )
    outcomes = []

    def write(step: pb.TestStep) -> None:
        outcomes.append(step.outcome)
        as_json = for_programs(json)
        print_line(lines.json_line(lines.as_mapping(step)) if as_json else steps.step_line(step))

    async def call(service: Service) -> None:
        async with service.test_steps(request, timeout_seconds=timeout) as told:
            async for step in told:
                write(step)

    call_service(server, call)
    if "failed" in outcomes:
        raise typer.Exit(Exit.FAILED)
