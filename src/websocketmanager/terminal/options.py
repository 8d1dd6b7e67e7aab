"""One command line option for every settings key, all judged together later. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from websocketmanager.settings import KEYS, Settings, load_settings, option_of

Command = Callable[..., None]


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
        named = {KEYS[field].name: value for field, value in defaults.items()}
        unset = {key: value for key, value in named.items() if self.file.get(key) is None}
        return load_settings(cli=self.cli, environ=self.environ, file={**self.file, **unset})


#: Makes a Source of the options given (by field) and of the file that `--config` names.
SourceMaker = Callable[[Mapping[str, object], Path | None], Source]


def with_settings(make_source: SourceMaker, *only: str) -> Callable[[Command], Command]:
    """Gives a command one option per settings field (or the named ones) and `--config`.

    The command takes them as a `Source` in its parameter `source`.
    """
    fields = only or tuple(field for field, key in KEYS.items() if not key.secret)

    def decorate(command: Command) -> Command:
        def wrapper(**given: Any) -> None:
            flags = {field: given.pop(field) for field in fields}
            command(source=make_source(flags, given.pop("config")), **given)

        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [
            *(_keyword(one.name, one.annotation, one.default) for one in own),
            *(_keyword(field, _setting_annotation(field), None) for field in fields),
            _keyword("config", _CONFIG, None),
        ]
        parameters = [one for one in parameters if one.name != "source"]
        # Typer reads the signature and, through typing, the annotations.
        vars(wrapper)["__signature__"] = inspect.Signature(parameters)
        wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
        wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
        return wrapper

    return decorate


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _setting_annotation(field: str) -> Any:
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
    return Annotated[kind, option]


_CONFIG = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        envvar="WEBSOCKETMANAGER_CONFIG",
        help="settings in YAML, below the environment",
        rich_help_panel="Settings",
    ),
]
