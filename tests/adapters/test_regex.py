"""Regular expressions: RE2 syntax over bytes, in bounded time."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.adapters.regex import (
    MAX_EXPRESSION_LENGTH,
    MAX_STEPS,
    compile_regex,
)


@pytest.mark.parametrize(
    ("expression", "data", "answer"),
    [
        ("pong", b'{"op":"pong"}', True),
        ("pong", b"PONG", False),
        ("(?i)pong", b"PONG", True),
        ("^ping$", b"ping", True),
        ("^ping$", b"pinging", False),
        ("^b", b"a\nb", False),
        ("(?m)^b", b"a\nb", True),
        ("a.b", b"a\nb", False),
        ("(?s)a.b", b"a\nb", True),
        ("é", "café".encode(), True),
        ("^.$", "é".encode(), True),
        ("^.$", b"\xff", False),
        ("b", b"\xff\x00b", True),
        ("a\0b", b"a\0b", True),
        ("", b"", True),
        ("x", b"", False),
        (r"\d{3}", b"12", False),
        (r"(a)(b)?", b"a", True),
    ],
)
def test_search(expression: str, data: bytes, answer: bool) -> None:
    assert compile_regex(expression).search(data) is answer


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("(a", r"no RE2 expression: missing \): \(a"),
        (r"(a)\1", "invalid escape"),
        ("(?=a)", "invalid perl operator"),
        ("a{2000}", "repetition"),
        ("\ud800", "surrogate"),
        ("a" * (MAX_EXPRESSION_LENGTH + 1), f"{MAX_EXPRESSION_LENGTH} characters"),
        ("(?:ab?){400}", "512 instructions"),
        (r"\pL{900}", "pattern too large"),
    ],
)
def test_faults(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compile_regex(expression)


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        # Each takes a backtracking engine longer than the universe has.
        ("(a+)+$", 0.1),
        ("(a|aa)+$", 0.1),
        ("(a*)*[bc]d", 0.5),
        # The worst for RE2: an automaton with 2^400 states, simulated instead.
        ("[ab]*a[ab]{400}c", 2.0),
    ],
)
def test_no_expression_holds_up_the_process(expression: str, seconds: float) -> None:
    dice = random.Random(7)
    for data in (b"a" * 3_000_000 + b"!", bytes(dice.choices(b"ab", k=3_000_000))):
        regex = compile_regex(expression)
        start = time.perf_counter()
        assert not regex.search(data)
        assert time.perf_counter() - start < seconds


def test_only_the_front_of_a_message_is_searched() -> None:
    regex = compile_regex("needle")
    assert 100_000 < regex.searched_bytes < MAX_STEPS
    hay = b"-" * (regex.searched_bytes - len(b"needle"))
    assert regex.search(hay + b"needle")
    assert not regex.search(b"-" + hay + b"needle")


def test_the_largest_expression_still_sees_32_kib() -> None:
    # Some instructions are the library's own.
    assert 32_768 <= compile_regex("(?:ab){250}").searched_bytes < 34_000


@given(st.text(), st.binary())
def test_any_expression_and_any_bytes_are_answered(expression: str, data: bytes) -> None:
    try:
        regex = compile_regex(expression)
    except ValueError as fault:
        said = str(fault)
        assert said
        assert not said.startswith("b'")
    else:
        assert regex.search(data) in {True, False}


def test_repr_shows_the_expression() -> None:
    assert repr(compile_regex("é+")) == r"<Regex '\xe9+'>"
