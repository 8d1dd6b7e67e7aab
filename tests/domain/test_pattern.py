"""Patterns: what matches, that the quick look never lies, and that nothing raises."""

from __future__ import annotations

import json
import os
import random
import time
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain import pattern as patterns
from websocketmanager.domain.json_pointer import JsonValue
from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.options import Match, Pattern
from websocketmanager.domain.pattern import CompiledPattern, PatternFault, compile_pattern

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "2"))
JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "é", "0", "~", '"', "\\"]), inner)
    ),
    max_leaves=12,
)
TRADE = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1719234567890,"s":"BTCUSDT",'
    b'"a":3012345678,"p":"61234.56000000","q":"0.00123000","f":3698765432,"l":3698765433,'
    b'"T":1719234567889,"m":true,"M":true}}'
)


class Found:
    """Stands for a compiled expression: finds plain bytes."""

    def __init__(self, expression: str) -> None:
        self.wanted = expression.encode()

    def search(self, data: bytes) -> bool:
        return self.wanted in data


def text(data: str | bytes) -> Message:
    return Message(Kind.TEXT, data if isinstance(data, bytes) else data.encode())


def at_pointer(pointer: str, value: str = "", frame: Kind | None = None) -> CompiledPattern:
    return compile_pattern(Pattern(Match.POINTER, pointer, value, frame=frame), Found)


@pytest.mark.parametrize(
    ("pointer", "value", "data", "answer"),
    [
        ("/e", '"serverShutdown"', '{"e":"serverShutdown","E":1}', True),
        ("/e", '"serverShutdown"', '{"e":"servershutdown"}', False),
        ("/e", '"serverShutdown"', '{"x":"serverShutdown","e":"other"}', False),
        ("/e", "", '{"e":null}', True),
        ("/e", "", '{"f":1}', False),
        ("/a/b", "1", '{"a":{"b":1}}', True),
        ("/a/b", "1", '{"a":{"b":1.0}}', True),
        ("/a/b", "1", '{"a":{"b":true}}', False),
        ("/a", "true", '{"a":1}', False),
        ("/a", "true", '{"a":true}', True),
        ("/a", "false", '{"a":0}', False),
        ("/a", "null", '{"a":null}', True),
        ("/a", "null", '{"a":"null"}', False),
        ("/a", "1e3", '{"a":1000}', True),
        ("/a", '"1"', '{"a":1}', False),
        ("/a", '{"x":[1,true]}', '{"a":{"x":[1,true]}}', True),
        ("/a", '{"x":[1,true]}', '{"a":{"x":[1,1]}}', False),
        ("/a", '{"x":1}', '{"a":{"x":1,"y":2}}', False),
        ("/a", '{"x":1}', '{"a":[1]}', False),
        ("/a", "[1]", '{"a":[1,2]}', False),
        ("/a", "[1]", '{"a":{"0":1}}', False),
        ("", '{"op":"pong"}', ' {"op" : "pong"} ', True),
        ("", "", "[]", True),
        ("", "", "not json", False),
        ("", '"pong"', '"pong"', True),
        # An element of an array, and the array's own places.
        ("/T", '"success"', '[{"T":"info"},{"T":"success","msg":"authenticated"}]', True),
        ("/T", '"success"', '[{"T":"info"},["success"],"T",{"T":"error"}]', False),
        ("/T", '"success"', '[[{"T":"success"}]]', False),
        ("/0/T", '"success"', '[{"T":"success"}]', True),
        ("/1", '"subscribed"', '[5,"subscribed"]', True),
        ("", '{"a":1}', '[0,{"a":1}]', True),
        ("", "1", "[1]", False),
        ("/a", "", '[7,"a",null,{"a":1}]', True),
        # Other spellings of the same text.
        ("/a~1b", '"é"', '{"a/b":"\\u00e9"}', True),
        ("/a", '"x/y"', r'{"a":"x\/y"}', True),
        ("/a", r'"x\ny"', r'{"\u0061":"x\ny"}', True),
        ("/a", r'"\u00e9"', '{"a":"é"}', True),
        # What is no JSON after all.
        ("/a", "", '{"a":NaN}', False),
        ("/a", "", '{"a":-Infinity}', False),
        ("/a", "", '{"a":1}x', False),
        ("/a", "", "\ufeff" + '{"a":1}', False),
        ("/a", "", '{"a":' + "9" * 5000 + "}", False),
        ("/a", "", '{"a":' + "[" * 100_000, False),
    ],
)  # fmt: skip
def test_pointer(pointer: str, value: str, data: str, answer: bool) -> None:
    assert at_pointer(pointer, value).matches(text(data)) is answer


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b'{"a":"\xff"}', '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-32"), b"\0"],
)  # fmt: skip
def test_bytes_that_are_no_utf8_json_match_nothing(data: bytes) -> None:
    for kind in Kind:
        assert not at_pointer("/a").matches(Message(kind, data))


def test_a_message_that_is_too_large_matches_no_pointer() -> None:
    data = b'{"a":1}'
    largest = data + b" " * (patterns.MAX_JSON_BYTES - len(data))
    assert at_pointer("/a").matches(text(largest))
    assert not at_pointer("/a").matches(text(largest + b" "))


def test_any_and_frames() -> None:
    messages = [Message(kind, b'{"a":1}') for kind in (Kind.TEXT, Kind.BINARY)]
    for frame, answers in (
        (None, [True, True]),
        (Kind.TEXT, [True, False]),
        (Kind.BINARY, [False, True]),
    ):
        for pattern in (
            Pattern(frame=frame),
            Pattern(Match.POINTER, "/a", "1", frame=frame),
            Pattern(Match.REGEX, regex="a", frame=frame),
        ):
            compiled = compile_pattern(pattern, Found)
            assert [compiled.matches(message) for message in messages] == answers


def test_regex_goes_over_the_bytes() -> None:
    compiled = compile_pattern(Pattern(Match.REGEX, regex="é"), Found)
    assert compiled.matches(Message(Kind.BINARY, b"\xff\xc3\xa9"))
    assert not compiled.matches(text("e"))


@pytest.mark.parametrize(
    ("pattern", "field", "words"),
    [
        (Pattern(Match.POINTER, "a"), "pointer", "slash"),
        (Pattern(Match.POINTER, "/\udfff"), "pointer", "surrogate"),
        (Pattern(Match.POINTER, "/a", "ok"), "value", "quotes"),
        (Pattern(Match.POINTER, "/a", "NaN"), "value", "no JSON"),
        (Pattern(Match.POINTER, "/a", "1" * 4097), "value", "4096"),
        (Pattern(Match.POINTER, "/a", "[" * 17 + "]" * 17), "value", "deep"),
        (Pattern(Match.POINTER, "/a", "[" * 2048 + "]" * 2048), "value", "deep"),
        (Pattern(Match.POINTER, "/a", '{"a":' * 17 + "1" + "}" * 17), "value", "deep"),
        (Pattern(Match.POINTER, "/a", r'"\ud800"'), "value", "surrogate"),
        (Pattern(Match.POINTER, "/a", '"\ud800"'), "value", "surrogate"),
        (Pattern(Match.REGEX), "regex", "needs an expression"),
        (Pattern(pointer="/a"), "pointer", "belongs to match pointer"),
        (Pattern(Match.REGEX, value="1", regex="a"), "value", "this pattern's is regex"),
        (Pattern(Match.POINTER, "/a", regex="a"), "regex", "belongs to match regex"),
    ],
)
def test_faults(pattern: Pattern, field: str, words: str) -> None:
    with pytest.raises(PatternFault, match=words) as caught:
        compile_pattern(pattern, Found)
    assert caught.value.field == field


def test_the_deepest_value() -> None:
    value = "[" * 16 + "]" * 16
    assert at_pointer("/a", value).matches(text(f'{{"a":{value}}}'))


def test_what_the_compiler_says_is_the_fault() -> None:
    def refuse(expression: str) -> NoReturn:
        raise ValueError("is no expression")

    with pytest.raises(PatternFault, match=r"^regex: is no expression$"):
        compile_pattern(Pattern(Match.REGEX, regex="("), refuse)


def equal(one: JsonValue, other: JsonValue) -> bool:
    """JSON equality by another road: true and false are spelled as what numbers never are."""

    def told(value: JsonValue) -> JsonValue:
        if isinstance(value, dict):
            return {key: told(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [told(inner) for inner in value]
        return f"bool {value}" if isinstance(value, bool) else value

    return told(one) == told(other)


@given(JSON, JSON, st.booleans())
def test_as_a_slow_reading_without_the_quick_look(
    expected: JsonValue, found: JsonValue, ascii_only: bool
) -> None:
    try:
        pattern = at_pointer("/b", json.dumps(expected))
    except PatternFault:
        return
    for candidate in (found, expected):
        try:
            data = json.dumps({"a": 0, "b": candidate}, ensure_ascii=ascii_only, allow_nan=False)
        except ValueError:
            continue
        assert pattern.matches(text(data)) is equal(json.loads(data)["b"], expected)


@given(JSON, st.binary(), st.sampled_from(list(Kind)))
def test_any_bytes_are_answered(value: JsonValue, data: bytes, kind: Kind) -> None:
    for pointer in ("", "/a", "/0/a"):
        try:
            pattern = at_pointer(pointer, json.dumps(value))
        except PatternFault:
            continue
        assert pattern.matches(Message(kind, data)) in {True, False}


@given(st.text(), st.text(), st.text(), st.sampled_from(list(Match)))
def test_compiling_is_total(pointer: str, value: str, regex: str, match: Match) -> None:
    try:
        compiled = compile_pattern(Pattern(match, pointer, value, regex), Found)
    except PatternFault:
        return
    compiled.matches(text(TRADE))


@pytest.mark.timeout(FUZZ_SECONDS + 60)
def test_fuzzed_messages_are_answered() -> None:
    """Random damage to real messages. FUZZ_SECONDS=60 looks longer."""
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    seeds = [TRADE, b'[{"T":"success","msg":"authenticated"}]', b'{"a":' * 50 + b"1" + b"}" * 50]
    pieces = [
        b'"',
        b"\\",
        b"\\u",
        b"[",
        b"{",
        b"}",
        b":",
        b",",
        b"1e9",
        b"NaN",
        b"\xff",
        b"\0",
        b"true",
    ]
    compiled = [
        at_pointer(pointer, value)
        for pointer in ("", "/a", "/data/e", "/T", "/0/T")
        for value in ("", '"aggTrade"', "1", "true", '{"a":[1]}')
    ]
    end = time.monotonic() + FUZZ_SECONDS
    runs = 0
    while time.monotonic() < end:
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(8)):
            place = dice.randrange(len(data) + 1)
            cut = place + dice.choice((0, 0, 1, 5, 50))
            data[place:cut] = dice.choice([*pieces, dice.randbytes(3), bytes(data[:20])])
        data *= dice.choice((1, 1, 1, 300))
        message = Message(dice.choice(list(Kind)), bytes(data))
        for pattern in compiled:
            assert pattern.matches(message) in {True, False}, (seed, runs)
        runs += 1
    assert runs > 100


def test_a_message_that_is_not_meant_costs_less_than_a_parse() -> None:
    """On the receive path: well under 10 µs, and a fraction of what JSON costs."""

    def best(call: object, argument: object) -> float:
        assert callable(call)
        rounds = []
        for _ in range(7):
            start = time.perf_counter()
            for _ in range(2000):
                call(argument)
            rounds.append((time.perf_counter() - start) / 2000)
        return min(rounds)

    message = text(TRADE)
    parse = best(json.loads, TRADE)
    skip = best(at_pointer("/e", '"serverShutdown"').matches, message)
    assert skip < parse / 2
    assert skip < 10e-6
    # One that must be parsed costs little more than the parse.
    full = best(at_pointer("/data/e", '"aggTrade"').matches, message)
    assert full < parse * 3
