"""Options and arguments that several commands take, and what their texts mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from websocketmanager.cli.process import stdin_bytes
from websocketmanager.domain.identity import connection_id_of_name

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
Profile = Annotated[str, typer.Option(help="ready-made options of a venue")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="what the profile asks for, as symbol=a,b; repeatable"),
]
#: Of a service on this machine.
LOCAL = "localhost:15002"
T = TypeVar("T")


def pairs(given: Sequence[str] | None, option: str) -> dict[str, str]:
    """Returns KEY=VALUE texts as a mapping. Raises BadParameter."""
    pairs = {}
    for one in given or ():
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{one!r} must be KEY=VALUE", param_hint=option)
        pairs[key] = value
    return pairs


def told(parse: Callable[[str], T], text: str, option: str) -> T:
    """Returns what a parser makes of an option's text. Raises BadParameter with its words."""
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def text_of(path: Path, option: str) -> str:
    """Returns what a file holds; `-` is standard input. Raises BadParameter."""
    try:
        if str(path) == "-":
            return stdin_bytes().decode()
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read: {error}", param_hint=option) from None


def id_of(given: str) -> str:
    """Returns the connection's id, also that of `name:NAME`."""
    named = given.removeprefix("name:")
    return given if named == given else connection_id_of_name(named)
