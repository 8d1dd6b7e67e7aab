"""Options as JSON values, both ways, led by the fields of their classes. Pure; stdlib only.

What has its default is left out, so that a record stays small. Readers tolerate unknown and
missing members and refuse values of the wrong shape. Bytes are base64.
"""

from __future__ import annotations

import base64
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from websocketmanager.domain.model import ConnectionOptions


def to_value(options: ConnectionOptions) -> dict[str, Any]:
    """Returns the options as `json.dumps` takes them."""
    return _written_members(options)


def from_value(value: object) -> ConnectionOptions:
    """Returns the options in a parsed JSON value.

    Raises:
        TypeError: something has the wrong shape, or lacks.
        ValueError: a text is none of those known, or no base64.
    """
    options: ConnectionOptions = _read_members(ConnectionOptions, value)
    return options


def _written_members(value: Any) -> dict[str, Any]:
    kind: Any = type(value)
    return {
        name: _written(member)
        for name, default in _defaults(kind)
        if (member := getattr(value, name)) != default
    }


def _written(value: Any) -> Any:
    match value:
        case StrEnum():
            return value.value
        case bytes():
            return base64.b64encode(value).decode()
        case tuple():
            return [_written(element) for element in value]
        case _ if is_dataclass(value):
            return _written_members(value)
    return value


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Returns the fields' names and defaults; MISSING, which equals no value, for none."""
    return tuple(
        (field.name, field.default if field.default_factory is MISSING else field.default_factory())
        for field in fields(kind)
    )


def _read_members(kind: Any, value: object) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"an object expected for {kind.__name__}, not {type(value).__name__}")
    hints = _hints(kind)
    members = {name: _read(hints[name], value[name]) for name in hints if name in value}
    # A member without default that lacks is a TypeError, too.
    return kind(**members)


@cache
def _hints(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _read(hint: Any, value: object) -> Any:
    if get_origin(hint) is types.UnionType:
        # Of all unions the options have only `X | None`.
        return None if value is None else _read(get_args(hint)[0], value)
    if get_origin(hint) is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise TypeError(f"a list expected, not {type(value).__name__}")
        return tuple(_read(get_args(hint)[0], element) for element in value)
    if is_dataclass(hint) and isinstance(hint, type):
        return _read_members(hint, value)
    wanted = str if hint is bytes or issubclass(hint, StrEnum) else hint
    # To Python a boolean is a number, to JSON it is none.
    if type(value) is not wanted:
        raise TypeError(f"{wanted.__name__} expected, not {type(value).__name__}")
    if hint is bytes:
        return base64.b64decode(value, validate=True)
    return hint(value)
