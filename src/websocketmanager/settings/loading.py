"""Judges the values of all sources together: every fault, by the spelling that somebody used."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from websocketmanager.errors import Fault, SettingsInvalid
from websocketmanager.settings.model import KEYS, Settings
from websocketmanager.settings.rules import broken_rules
from websocketmanager.settings.sources import Given, sources

#: How much of a refused value a fault repeats.
_SHOWN_LENGTH = 60


def load_settings(
    *, cli: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object]
) -> Settings:
    """Returns the settings of all sources together: cli, then environ, then file, then defaults.

    Args:
        cli: by field name; None means not given.
        environ: the whole environment; names count in any case, empty values do not count.
            HOSTNAME stands in for a missing InstanceId.
        file: by key; None means not given, an unknown key is a fault.

    Raises:
        SettingsInvalid: with every fault of every source.
    """
    faults = list(_unknown_keys(file))
    given = sources(cli=cli, environ=environ, file=file)
    values = {field: one.value for field, one in given.items() if one.origin != "default"}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as invalid:
        errors = {str(error["loc"][0]): error for error in invalid.errors(include_url=False)}
        faults += [_fault(given[field], field, error) for field, error in errors.items()]
        good = {field: value for field, value in values.items() if field not in errors}
        faults += broken_rules(Settings.model_validate(good), given, except_for=errors.keys())
        raise SettingsInvalid(*faults) from None
    if faults := [*faults, *broken_rules(settings, given, except_for=())]:
        raise SettingsInvalid(*faults)
    return settings


def _unknown_keys(file: Mapping[str, object]) -> Iterator[Fault]:
    known = {key.name.lower(): key.name for key in KEYS.values()}
    for name in file:
        if known.get(name.lower()) == name:
            continue
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f"; did you mean {known[close[0]]}?" if close else ""
        yield Fault(name, f"is not a key (file){hint}")


_SENTENCES = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "string_type": "must be a text: put it in quotes",
    "string_too_short": "must not be empty",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}


def _fault(given: Given, field: str, error: ErrorDetails) -> Fault:
    sentence = _SENTENCES.get(error["type"], error["msg"]).format_map(error.get("ctx", {}))
    shown = repr(given.value)
    if len(shown) > _SHOWN_LENGTH:
        shown = shown[:_SHOWN_LENGTH] + "…"
    # A secret never shows, not even a wrong one.
    but = "" if KEYS[field].secret else f", not {shown}"
    return Fault(given.spelling, f"{sentence}{but} ({given.origin})")
