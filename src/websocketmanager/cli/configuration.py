"""The command `check-config`."""

from __future__ import annotations

from rich.console import Console

from websocketmanager.cli.parameters import AsJson
from websocketmanager.cli.process import for_programs, print_line, with_own_settings
from websocketmanager.cli.root import cli
from websocketmanager.settings import KEYS, sources
from websocketmanager.terminal import lines, render
from websocketmanager.terminal.options import Source


@cli.command("check-config")
@with_own_settings()
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
    if for_programs(json):
        for row in rows:
            print_line(lines.json_line(row))
    else:
        render.show_settings(Console(), rows)


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    # SecretStr: that it is set is all that shows.
    return value if isinstance(value, str | int | float | None) else "(set)"
