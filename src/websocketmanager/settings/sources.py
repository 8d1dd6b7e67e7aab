"""Which source's value counts for each key: cli, then environ, then file, then the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from websocketmanager.settings.model import KEYS, Settings, option_of


@dataclass(frozen=True, slots=True)
class Given:
    """One value as a source gave it: `origin` is command line, environment, file or default."""

    value: object
    origin: str
    spelling: str


def sources(
    *, cli: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object]
) -> Mapping[str, Given]:
    """Returns, for every field, the value that counts and where it came from; validates nothing."""
    return {field: _given(field, cli, environ, file) for field in KEYS}


def _given(
    field: str, cli: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object]
) -> Given:
    key = KEYS[field]
    if (value := cli.get(field)) not in (None, [], ()):
        return Given(value, "command line", option_of(field))
    if found := _in_environment(key.name, environ):
        return found
    if (value := file.get(key.name)) is not None:
        return Given(value, "file", key.name)
    if field == "instance_id" and (found := _in_environment("HOSTNAME", environ)):
        return found
    return Given(Settings.model_fields[field].default, "default", key.name)


def _in_environment(name: str, environ: Mapping[str, str]) -> Given | None:
    """The exact spelling wins over others, so that LOGLEVEL of another program may stay."""
    spellings = sorted(
        (spelled for spelled in environ if spelled.lower() == name.lower() and environ[spelled]),
        key=lambda spelled: (spelled != name, spelled),
    )
    if not spellings:
        return None
    return Given(environ[spellings[0]], "environment", spellings[0])
