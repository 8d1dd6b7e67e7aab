"""The command line's root: its name, its help, and `--version`."""

from __future__ import annotations

from typing import Annotated

import typer

from websocketmanager import __version__
from websocketmanager.cli.process import print_line
from websocketmanager.terminal.exits import MEANINGS

cli = typer.Typer(
    name="websocketmanager",
    help="Holds outbound WebSocket connections for other services.",
    epilog="Exit codes:\n\n" + "\n\n".join(f"{code:d}  {text}" for code, text in MEANINGS.items()),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@cli.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        print_line(__version__)
        raise typer.Exit
