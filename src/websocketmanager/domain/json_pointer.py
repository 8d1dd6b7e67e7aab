"""Finds and sets places in JSON values by RFC 6901. Pure; stdlib only.

The domain takes no library, so these few lines are our own. No function but `parse_pointer`
raises, and none changes the value that it is given.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, TypeAlias

#: Characters of a pointer.
MAX_POINTER_LENGTH: Final = 1024
#: Tokens of a pointer.
MAX_POINTER_TOKENS: Final = 32

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"
#: Unescaped tokens; none: the whole value.
Pointer: TypeAlias = tuple[str, ...]

#: RFC 6901 §4, with as many digits as any array could need.
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class Missing(Enum):
    """The type of `MISSING`: nothing is there, not even null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


class PointerFault(ValueError):
    """The text is no JSON pointer; the message is a sentence."""


def parse_pointer(text: str) -> Pointer:
    """Parses any text.

    Raises:
        PointerFault: it is no JSON pointer, or too long.
    """
    if len(text) > MAX_POINTER_LENGTH:
        raise PointerFault(f"a JSON pointer has at most {MAX_POINTER_LENGTH} characters here")
    if not text:
        return ()
    if not text.startswith("/"):
        raise PointerFault("a JSON pointer is empty or begins with a slash (RFC 6901)")
    if _SURROGATE.search(text):
        raise PointerFault("a lone surrogate is no Unicode text")
    if _BAD_ESCAPE.search(text):
        raise PointerFault("in a JSON pointer ~ is written ~0 and / within a name ~1 (RFC 6901)")
    tokens = text[1:].split("/")
    if len(tokens) > MAX_POINTER_TOKENS:
        raise PointerFault(f"a JSON pointer has at most {MAX_POINTER_TOKENS} parts here")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def may_be_index(token: str) -> bool:
    """Says whether a token can name an element of an array."""
    return _INDEX.fullmatch(token) is not None


def lookup(value: JsonValue, pointer: Pointer) -> JsonValue | Missing:
    """Returns the value at the place, or MISSING."""
    for token in pointer:
        if isinstance(value, dict):
            if token not in value:
                return MISSING
            value = value[token]
        elif isinstance(value, list) and may_be_index(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            return MISSING
    return value


def insert(value: JsonValue, pointer: Pointer, new: JsonValue) -> JsonValue | Missing:
    """Returns a copy with `new` at the place, instead of what may be there.

    Objects are made where they lack on the way; `-`, or the index one past the end, appends to
    an array. Parts off the way are shared with `value`. MISSING: there is no such place, because
    a text, number, true, false or null is in the way, or an index is none or too large.
    """
    if not pointer:
        return new
    name, *rest = pointer
    if isinstance(value, dict):
        inner = insert(value.get(name, {}), tuple(rest), new)
        return MISSING if inner is MISSING else {**value, name: inner}
    if not isinstance(value, list) or not (name == "-" or may_be_index(name)):
        return MISSING
    index = len(value) if name == "-" else int(name)
    if index > len(value):
        return MISSING
    inner = insert(value[index] if index < len(value) else {}, tuple(rest), new)
    return MISSING if inner is MISSING else [*value[:index], inner, *value[index + 1 :]]
