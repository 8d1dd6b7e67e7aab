"""What options are made of, judged one by one: each fault at its path, each expression once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from websocketmanager.domain.frames import Kind
from websocketmanager.domain.option_judge import MAX_PAYLOAD_BYTES, MAX_REGEXES, OptionJudge
from websocketmanager.domain.options import Match, Pattern, Payload


class Found:
    def search(self, data: bytes) -> bool:
        return True


class Compiler:
    """Knows every expression but one with a bracket; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, expression: str, /) -> Found:
        self.asked.append(expression)
        if expression == "(":
            raise ValueError("has an open bracket")
        return Found()


def found(judged: Callable[[OptionJudge], object]) -> list[str]:
    judge = OptionJudge(Compiler())
    judged(judge)
    return [str(fault) for fault in judge.faults]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, []),
        (5, []),
        (9, []),
        (4, ["p: must be from 5 to 9, not 4"]),
        (-1, ["p: must be from 5 to 9, not -1"]),
    ],
)
def test_numbers_have_bounds_and_zero_is_the_default(value: int, expected: list[str]) -> None:
    assert found(lambda judge: judge.number(value, "p", 5, 9)) == expected


def test_lists_have_a_length() -> None:
    assert found(lambda judge: judge.count("ab", 2, "p")) == []
    assert found(lambda judge: judge.count("abc", 2, "p")) == ["p: must be at most 2, not 3"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (Payload("hi"), ""),
        (Payload("${secret:A.b}"), ""),
        (Payload(binary=b"x" * MAX_PAYLOAD_BYTES), ""),
        (Payload(), "p: must have one of text and binary"),
        (Payload("a", b"b"), "p: must have one of text and binary"),
        (Payload(binary=b"x" * (MAX_PAYLOAD_BYTES + 1)), "p.binary: must have at most 65536 bytes"),
        (Payload("${"), "p.text: "),
    ],
)
def test_a_message_to_send_is_a_text_or_bytes(payload: Payload, expected: str) -> None:
    faults = found(lambda judge: judge.payload(payload, "p"))
    assert len(faults) == bool(expected)
    assert not expected or faults[0].startswith(expected)


def test_a_template_is_evaluated_with_samples() -> None:
    judge = OptionJudge(Compiler())
    assert judge.evaluated("a ${secret:A} b", "p") == "a AAAA b"
    assert judge.faults == []
    assert judge.evaluated("${nothing()}", "p") == ""
    assert [fault.path for fault in judge.faults] == ["p"]


def test_pointers_are_empty_or_begin_with_a_slash() -> None:
    assert found(lambda judge: judge.pointer("", "p")) == []
    assert found(lambda judge: judge.pointer("/a/0", "p")) == []
    (fault,) = found(lambda judge: judge.pointer("a", "p"))
    assert fault.startswith("p: ")


def test_what_ends_or_refuses_must_not_match_every_message() -> None:
    everything, texts = Pattern(), Pattern(frame=Kind.TEXT)
    assert found(lambda judge: judge.pattern(everything, "p")) == []
    assert found(lambda judge: judge.selective(texts, "p")) == []
    assert found(lambda judge: judge.selective(everything, "p")) == [
        "p: must not match every message"
    ]


def test_each_expression_is_compiled_once_also_one_that_cannot_be() -> None:
    compiler = Compiler()
    judge = OptionJudge(compiler)
    for path in ("p", "q"):
        judge.pattern(Pattern(Match.REGEX, regex="a"), path)
        judge.pattern(Pattern(Match.REGEX, regex="("), path)
    assert compiler.asked == ["a", "("]
    assert [str(fault) for fault in judge.faults] == [
        "p.regex: has an open bracket",
        "q.regex: has an open bracket",
    ]


def test_expressions_beyond_the_bound_are_counted_and_not_compiled() -> None:
    compiler = Compiler()
    judge = OptionJudge(compiler)
    for number in range(MAX_REGEXES + 2):
        judge.pattern(Pattern(Match.REGEX, regex=str(number)), "p")
    assert len(compiler.asked) == MAX_REGEXES
    assert len(judge.regexes) == MAX_REGEXES + 2


def test_without_a_compiler_each_expression_is_a_fault() -> None:
    judge = OptionJudge(None)
    judge.pattern(Pattern(Match.REGEX, regex="a"), "p")
    assert [str(fault) for fault in judge.faults] == [
        "p.regex: regular expressions are not available here"
    ]
