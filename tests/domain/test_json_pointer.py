"""JSON pointers: the examples of RFC 6901, and that nothing is changed or raised."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.json_pointer import (
    MAX_POINTER_LENGTH,
    MAX_POINTER_TOKENS,
    MISSING,
    JsonValue,
    Missing,
    PointerFault,
    insert,
    lookup,
    may_be_index,
    parse_pointer,
)

JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)
TOKENS = st.lists(st.text(max_size=3) | st.sampled_from(["0", "1", "2", "-", "a"]), max_size=4)
#: RFC 6901 section 5.
DOCUMENT: JsonValue = json.loads(
    r"""{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5,
         "k\"l": 6, " ": 7, "m~n": 8}"""
)


def spelled(tokens: list[str]) -> str:
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in tokens)


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        (r"/i\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
        ("/foo/2", MISSING),
        ("/foo/-", MISSING),
        ("/foo/00", MISSING),
        ("/foo/+1", MISSING),
        ("/foo/\u0661", MISSING),
        ("/foo/" + "9" * 900, MISSING),
        ("/foo/0/0", MISSING),
        ("/none", MISSING),
        ("//x", MISSING),
    ],
)
def test_lookup(pointer: str, expected: JsonValue | Missing) -> None:
    assert lookup(DOCUMENT, parse_pointer(pointer)) == expected


def test_null_is_found() -> None:
    assert lookup({"a": None}, ("a",)) is None


def test_an_escaped_tilde_is_not_escaped_twice() -> None:
    assert parse_pointer("/~01") == ("~1",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a", "begins with a slash"),
        ("/~", "~0"),
        ("/~2", "~0"),
        ("/a~", "~0"),
        ("/\ud800", "surrogate"),
        ("/" * (MAX_POINTER_TOKENS + 1), "parts"),
        ("/" + "a" * MAX_POINTER_LENGTH, "characters"),
    ],
)
def test_faults(text: str, words: str) -> None:
    with pytest.raises(PointerFault, match=words):
        parse_pointer(text)


def test_bounds_are_inclusive() -> None:
    assert len(parse_pointer("/" * MAX_POINTER_TOKENS)) == MAX_POINTER_TOKENS
    assert parse_pointer("/" + "a" * (MAX_POINTER_LENGTH - 1))


@pytest.mark.parametrize(
    ("value", "pointer", "expected"),
    [
        ({"a": 1}, "", "new"),
        ({"a": 1}, "/id", {"a": 1, "id": "new"}),
        ({"id": 1, "a": 2}, "/id", {"id": "new", "a": 2}),
        ({}, "/meta/id", {"meta": {"id": "new"}}),
        ({"meta": None}, "/meta/id", MISSING),
        ([{"x": 1}, 2], "/0/id", [{"x": 1, "id": "new"}, 2]),
        ([1, 2], "/1", [1, "new"]),
        ([1], "/1", [1, "new"]),
        ([1], "/-", [1, "new"]),
        ([1], "/-/id", [1, {"id": "new"}]),
        ([1], "/2", MISSING),
        ([1], "/x", MISSING),
        ([1], "/01", MISSING),
        ("text", "/id", MISSING),
        ({"a": [0]}, "/a/5/id", MISSING),
    ],
)
def test_insert(value: JsonValue, pointer: str, expected: JsonValue | Missing) -> None:
    before = copy.deepcopy(value)
    assert insert(value, parse_pointer(pointer), "new") == expected
    assert value == before


@given(TOKENS)
def test_spelling_round_trip(tokens: list[str]) -> None:
    assert parse_pointer(spelled(tokens)) == tuple(tokens)


@given(JSON, TOKENS, JSON)
def test_what_was_inserted_is_found_and_the_original_kept(
    value: JsonValue, tokens: list[str], new: JsonValue
) -> None:
    before = copy.deepcopy(value)
    result = insert(value, tuple(tokens), new)
    assert value == before
    if result is not MISSING and "-" not in tokens:
        assert lookup(result, tuple(tokens)) == new
    if lookup(value, tuple(tokens)) is not MISSING:
        assert result is not MISSING


@given(st.text())
def test_parsing_is_total(text: str) -> None:
    try:
        pointer = parse_pointer(text)
    except PointerFault:
        return
    assert spelled(list(pointer)) == text
    lookup(DOCUMENT, pointer)
    insert(DOCUMENT, pointer, 1)


@pytest.mark.parametrize(
    ("token", "answer"),
    [
        ("0", True),
        ("10", True),
        ("01", False),
        ("1" * 11, False),
        ("", False),
        ("-", False),
        ("-1", False),
    ],
)
def test_which_tokens_may_be_indexes(token: str, answer: bool) -> None:
    assert may_be_index(token) is answer
