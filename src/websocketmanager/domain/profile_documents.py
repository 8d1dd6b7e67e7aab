"""Reads a profile from a parsed document, strictly: every fault by the path of its key. Pure.

A document has `meaning`, `parameters` (name → `meaning`, `default`, `several`) and `options`, whose
keys are the fields of `ConnectionOptions` as the proto spells them. Choices are words in lower
case, bytes are base64.
"""

from __future__ import annotations

import base64
import binascii
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints

from websocketmanager.domain import limits as judge
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.option_faults import option_faults
from websocketmanager.domain.options import Match, Pattern
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.profiles import (
    NUMBER,
    PARAMETERS_PATH,
    Parameter,
    Profile,
    filled,
    places,
)
from websocketmanager.errors import Fault

#: Of a profile: also the name of its file, without the ending.
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_PARAMETER_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_KINDS: Final = {"text": Kind.TEXT, "binary": Kind.BINARY}
#: What a place is filled with to judge what stands around it.
_SAMPLE: Final = "sample"
_TYPE_NAMES: Final = {str: "a text (in quotes)", int: "a whole number", bool: "true or false"}


class _Faulty:
    """Stands for a value that could not be read; the fault is told."""


_FAULTY: Final = _Faulty()


def profile_of(
    name: str, document: object, *, compile_regex: CompileRegex | None, limits: Limits
) -> tuple[Profile | None, tuple[Fault, ...]]:
    """Returns the profile, or everything that is wrong with the document.

    Args:
        name: of the profile.
        document: as a YAML or JSON parser gives it.
        compile_regex: judges regular expressions; None refuses each.
        limits: the service's bounds.
    """
    reader = _Reader()
    profile = reader.profile(name, document)
    if reader.faults:
        return None, tuple(reader.faults)
    faults = _place_faults(profile) or _option_faults(profile, compile_regex, limits)
    return (None if faults else profile), tuple(faults)


def _place_faults(profile: Profile) -> list[Fault]:
    several = {one.name: one.several for one in profile.parameters}
    faults = []
    for path, name in places(profile.options, "options"):
        in_subscription = path.startswith("options.subscriptions[")
        if name == NUMBER:
            if not in_subscription:
                faults.append(Fault(path, f"must not hold {{{NUMBER}}}: it is no subscription"))
        elif name not in several:
            faults.append(Fault(path, f"holds {{{name}}}, and there is no such parameter"))
        elif several[name] and not in_subscription:
            faults.append(Fault(path, f"must not hold {{{name}}}, which takes several values"))
    return faults


def _option_faults(
    profile: Profile, compile_regex: CompileRegex | None, limits: Limits
) -> list[Fault]:
    for one in profile.parameters:
        if one.default and (bad := filled(profile, {one.name: one.default})[1]):
            of_this = [fault for fault in bad if fault.path == f"{PARAMETERS_PATH}.{one.name}"]
            if of_this:
                return [Fault(f"parameters.{one.name}.default", of_this[0].problem)]
    options, faults = filled(profile, {one.name: _SAMPLE for one in profile.parameters})
    return [
        *faults,
        *judge.options_faults(options, auto_reconnect=True, limits=limits),
        *option_faults(options, compile_regex=compile_regex),
    ]


class _Reader:
    """Reads one document and remembers the faults."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def profile(self, name: str, document: object) -> Profile:
        found = self._mapping(document, "", ("meaning", "parameters", "options"))
        meaning = self._text(found, "meaning", "")
        parameters = tuple(
            self._parameter(key, value)
            for key, value in self._mapping(found.get("parameters", {}), "parameters").items()
        )
        options = self._read(ConnectionOptions, found.get("options", {}), "options")
        if self.faults:
            options = ConnectionOptions()
        return Profile(name, meaning, parameters, options)

    def _parameter(self, name: str, value: object) -> Parameter:
        path = f"parameters.{name}"
        if not _PARAMETER_NAME.fullmatch(name) or name == NUMBER:
            problem = f"must be named by lower case letters, digits and _, and not {NUMBER}"
            self._fault(path, problem)
        found = self._mapping(value, path, ("meaning", "default", "several"))
        default = found.get("default", "")
        several = found.get("several", False)
        return Parameter(
            name,
            self._text(found, "meaning", path),
            default=self._typed(str, default, f"{path}.default"),
            several=self._typed(bool, several, f"{path}.several"),
        )

    def _text(self, found: Mapping[str, object], key: str, path: str) -> str:
        at = f"{path}.{key}" if path else key
        if key not in found:
            self._fault(at, "must be given")
            return ""
        return str(self._typed(str, found[key], at))

    def _mapping(
        self, value: object, path: str, known: tuple[str, ...] = ()
    ) -> Mapping[str, object]:
        if not isinstance(value, Mapping):
            self._fault(path or "document", "must have keys and values")
            return {}
        for key in value:
            if known and key not in known:
                at = f"{path}.{key}" if path else str(key)
                self._fault(at, f"is not a key here; there are {', '.join(known)}")
        return {str(key): member for key, member in value.items()}

    def _read(self, hint: Any, value: object, path: str) -> Any:
        if get_origin(hint) is types.UnionType:
            # Of all unions the options have only `X | None`; None is a key that is not there.
            return self._read(get_args(hint)[0], value, path)
        if get_origin(hint) is tuple:
            return self._list(get_args(hint)[0], value, path)
        if is_dataclass(hint):
            return self._members(hint, value, path)
        if issubclass(hint, StrEnum):
            words = _KINDS if hint is Kind else {one.value: one for one in hint}
            return self._word(words, value, path)
        return self._bytes(value, path) if hint is bytes else self._typed(hint, value, path)

    def _members(self, hint: Any, value: object, path: str) -> Any:
        hints = _hints(hint)
        found = self._mapping(value, path, tuple(hints))
        members = {
            name: self._read(of, found[name], f"{path}.{name}")
            for name, of in hints.items()
            if name in found
        }
        for one in fields(hint):
            required = one.default is MISSING and one.default_factory is MISSING
            if required and one.name not in members:
                self._fault(f"{path}.{one.name}", "must be given")
                members[one.name] = _FAULTY
        if any(member is _FAULTY for member in members.values()):
            return _FAULTY
        if hint is Pattern and "match" not in members:
            members["match"] = _obvious_match(members)
        return hint(**members)

    def _list(self, hint: Any, value: object, path: str) -> Any:
        if not isinstance(value, list):
            return self._fault(path, "must be a list")
        elements = [self._read(hint, one, f"{path}[{at}]") for at, one in enumerate(value)]
        return _FAULTY if any(one is _FAULTY for one in elements) else tuple(elements)

    def _word(self, words: Mapping[str, StrEnum], value: object, path: str) -> Any:
        if not isinstance(value, str) or value not in words:
            return self._fault(path, f"must be one of {', '.join(words)}")
        return words[value]

    def _bytes(self, value: object, path: str) -> Any:
        try:
            return base64.b64decode(self._typed(str, value, path), validate=True)
        except (binascii.Error, ValueError, TypeError):
            return self._fault(path, "must be base64")

    def _typed(self, wanted: type, value: object, path: str) -> Any:
        # To Python a boolean is a number, to a document it is none.
        if type(value) is not wanted:
            return self._fault(path, f"must be {_TYPE_NAMES[wanted]}")
        return value

    def _fault(self, path: str, problem: str) -> _Faulty:
        self.faults.append(Fault(path, problem))
        return _FAULTY


def _obvious_match(members: Mapping[str, Any]) -> Match:
    if members.get("regex"):
        return Match.REGEX
    return Match.POINTER if members.get("pointer") else Match.ANY


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}
