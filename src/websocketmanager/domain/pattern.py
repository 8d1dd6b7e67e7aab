"""Says whether a message is like a pattern, on the receive path. Pure; stdlib only.

A compiled pattern never raises, whatever the bytes. Before it parses JSON it looks for bytes
that a match must contain, so that most messages that are not meant cost a fraction of a parse.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, NoReturn, Protocol

from websocketmanager.domain.json_pointer import (
    MISSING,
    JsonValue,
    Missing,
    Pointer,
    PointerFault,
    lookup,
    may_be_index,
    parse_pointer,
)
from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.options import Match, Pattern

#: Larger messages match no POINTER pattern: parsing them would hold up everything else.
MAX_JSON_BYTES: Final = 1_048_576
#: Characters of an expected value.
MAX_VALUE_LENGTH: Final = 4096
#: Arrays and objects within one another in an expected value.
MAX_VALUE_DEPTH: Final = 16


class PatternFault(ValueError):
    """The pattern makes no sense; `field` of `options.Pattern` has the `problem`, a sentence."""

    def __init__(self, *, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}")


class ByteSearch(Protocol):
    """A compiled regular expression. Linear in the data, never raises."""

    def search(self, data: bytes) -> bool:
        """Says whether the expression is found anywhere in the data."""


class CompileRegex(Protocol):
    """Compiles a regular expression."""

    def __call__(self, expression: str, /) -> ByteSearch:
        """Returns the compiled expression.

        Raises:
            ValueError: with a sentence that says what is wrong.
        """


class CompiledPattern(Protocol):
    """A pattern that is ready for messages."""

    def matches(self, message: Message) -> bool:
        """Says whether the message is like the pattern; never raises."""


def compile_pattern(pattern: Pattern, compile_regex: CompileRegex) -> CompiledPattern:
    """Compiles a pattern.

    Raises:
        PatternFault: a field is wrong, or does not belong to this kind of pattern.
    """
    for field, value, match in (
        ("pointer", pattern.pointer, Match.POINTER),
        ("value", pattern.value, Match.POINTER),
        ("regex", pattern.regex, Match.REGEX),
    ):
        if value and pattern.match is not match:
            problem = f"belongs to match {match.value}, and this pattern's is {pattern.match.value}"
            raise PatternFault(field=field, problem=problem)
    match pattern.match:
        case Match.ANY:
            return _Any(pattern.frame)
        case Match.POINTER:
            return _compiled_pointer(pattern)
        case Match.REGEX:
            if not pattern.regex:
                raise PatternFault(field="regex", problem="match regex needs an expression")
            try:
                regex = compile_regex(pattern.regex)
            except ValueError as error:
                raise PatternFault(field="regex", problem=str(error)) from error
            return _Regex(pattern.frame, regex)


class _Any:
    __slots__ = ("_frame",)

    def __init__(self, frame: Kind | None) -> None:
        self._frame = frame

    def matches(self, message: Message) -> bool:
        return self._frame is None or message.kind is self._frame


class _Regex:
    __slots__ = ("_frame", "_regex")

    def __init__(self, frame: Kind | None, regex: ByteSearch) -> None:
        self._frame = frame
        self._regex = regex

    def matches(self, message: Message) -> bool:
        if self._frame is not None and message.kind is not self._frame:
            return False
        return self._regex.search(message.data)


class _AtPointer:
    __slots__ = ("_expected", "_frame", "_needles", "_pointer")

    def __init__(
        self,
        frame: Kind | None,
        pointer: Pointer,
        expected: JsonValue | Missing,
    ) -> None:
        self._frame = frame
        self._pointer = pointer
        self._expected = expected
        #: What a match contains as it is, unless it spells strings with backslashes.
        self._needles = _needles(pointer, expected)

    def matches(self, message: Message) -> bool:
        if self._frame is not None and message.kind is not self._frame:
            return False
        if not self._may_match(message.data):
            return False
        try:
            value: JsonValue = _load(str(message.data, "utf-8"))
        except (ValueError, RecursionError):
            # No JSON: not UTF-8, a broken text, a number beyond reason, or too deep.
            return False
        return self._is_like(value) or self._has_like(value)

    def _may_match(self, data: bytes) -> bool:
        """A small part of a parse: whether everything is there that a match contains."""
        if len(data) > MAX_JSON_BYTES:
            return False
        for needle in self._needles:  # noqa: SIM110 - a generator costs more than the search
            if needle not in data and b"\\" not in data:
                return False
        return True

    def _has_like(self, value: JsonValue) -> bool:
        if not isinstance(value, list):
            return False
        # A sieve, because an array may hold very many elements.
        first = self._pointer[:1]
        elements = [
            element
            for element in value
            if isinstance(element, dict) and (not first or first[0] in element)
        ]
        return any(map(self._is_like, elements))

    def _is_like(self, value: JsonValue) -> bool:
        found = lookup(value, self._pointer)
        if found is MISSING:
            return False
        return self._expected is MISSING or _equal(self._expected, found)


def _compiled_pointer(pattern: Pattern) -> CompiledPattern:
    try:
        pointer = parse_pointer(pattern.pointer)
    except PointerFault as error:
        raise PatternFault(field="pointer", problem=str(error)) from error
    return _AtPointer(pattern.frame, pointer, _expected(pattern.value))


def _expected(text: str) -> JsonValue | Missing:
    if not text:
        return MISSING
    if len(text) > MAX_VALUE_LENGTH:
        raise PatternFault(field="value", problem=f"has more than {MAX_VALUE_LENGTH} characters")
    too_deep = PatternFault(field="value", problem=f"is more than {MAX_VALUE_DEPTH} levels deep")
    try:
        value: JsonValue = _load(text)
    except ValueError as error:
        problem = 'is no JSON value; a text needs its quotes, as in "ok"'
        raise PatternFault(field="value", problem=problem) from error
    except RecursionError as error:
        raise too_deep from error
    if not _is_shallow(value, MAX_VALUE_DEPTH):
        raise too_deep
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise PatternFault(field="value", problem="holds a lone surrogate") from error
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


#: A decoder made once: `json.loads` makes one per call when told to refuse NaN.
_load: Final[Callable[[str], JsonValue]] = json.JSONDecoder(parse_constant=_refuse).decode


def _needles(pointer: Pointer, expected: JsonValue | Missing) -> tuple[bytes, ...]:
    """The expected value first, for it is rarer than its place. Numbers have many spellings."""
    needles: list[bytes] = []
    if isinstance(expected, str):
        needles.append(b'"%s"' % expected.encode())
    elif expected is None or isinstance(expected, bool):
        needles.append(json.dumps(expected).encode())
    needles += [b'"%s"' % name.encode() for name in pointer[-1:] if not may_be_index(name)]
    return tuple(needles)


def _is_shallow(value: JsonValue, levels: int) -> bool:
    """Whether arrays and objects are at most so deep within one another."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(element, levels - 1) for element in inner)


def _equal(expected: JsonValue, found: JsonValue | Missing) -> bool:
    """JSON equality: as in Python, but true is not 1. As deep as the expected value."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and expected.keys() == found.keys()
            and all(_equal(value, found[key]) for key, value in expected.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(expected) == len(found)
            and all(map(_equal, expected, found))
        )
    return isinstance(expected, bool) == isinstance(found, bool) and expected == found
