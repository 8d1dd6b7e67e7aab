"""Repetitions between the sessions of a rotation."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.options import Overlap, Rotation
from websocketmanager.domain.overlap import MAX_NOTED, OverlapFilter, overlap_filter


def text(data: str) -> Message:
    return Message(Kind.TEXT, data.encode())


def content(window_ms: int = 5000) -> OverlapFilter:
    made = overlap_filter(Rotation(overlap=Overlap.CONTENT, overlap_window_ms=window_ms))
    assert made is not None
    return made


def test_nothing_is_compared_unless_chosen() -> None:
    assert overlap_filter(Rotation()) is None


def test_text_and_binary_are_different_content() -> None:
    overlap = content()
    overlap.note(Message(Kind.BINARY, b"a"), 0.0)
    assert not overlap.repeats(text("a"), 0.0)
    assert overlap.repeats(Message(Kind.BINARY, b"a"), 0.0)


@pytest.mark.parametrize(
    ("at", "repeats"), [(9.9, False), (10.0, True), (20.0, True), (20.1, False)]
)
def test_the_window_reaches_both_ways(at: float, repeats: bool) -> None:
    overlap = content(window_ms=5000)
    overlap.note(text("a"), 15.0)
    assert overlap.repeats(text("a"), at) is repeats


def test_keys_are_compared_as_values() -> None:
    overlap = overlap_filter(Rotation(overlap=Overlap.POINTER, overlap_pointer="/a/0"))
    assert overlap is not None
    overlap.note(text('{"a":[{"x":1,"y":2}]}'), 0.0)
    overlap.note(text('{"a":["1"]}'), 0.0)
    assert not overlap.repeats(text('{"a":[1]}'), 0.0)
    assert not overlap.repeats(text("[" * 100_000), 0.0)
    assert overlap.repeats(text('{"a": [{"y": 2, "x": 1}], "b": 0}'), 0.0)


def test_it_is_over_when_nothing_can_repeat_any_more() -> None:
    overlap = content(window_ms=1000)
    assert overlap.over(0.0)
    overlap.note(text("a"), 5.0)
    assert not overlap.over(6.0)
    assert overlap.over(6.1)


def test_what_nobody_needs_is_forgotten() -> None:
    overlap = content(window_ms=1000)
    for second in range(100):
        overlap.note(text(str(second)), float(second))
    assert len(overlap._noted) <= 2
    overlap.begin(99.0)
    for second in range(100, 200):
        overlap.note(text(str(second)), float(second))
    assert len(overlap._noted) >= 100  # the new session waits with what it has since then
    assert overlap.repeats(text("99"), 99.5)


def test_memory_is_bounded() -> None:
    overlap = content(window_ms=60_000)
    for number in range(MAX_NOTED + 100):
        overlap.note(text(str(number)), 0.0)
    assert len(overlap._noted) == len(overlap._times) == MAX_NOTED
    assert not overlap.repeats(text("0"), 0.0)
    assert overlap.repeats(text(str(MAX_NOTED)), 0.0)


@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
def test_each_noted_message_answers_for_one_repetition(old: list[str], new: list[str]) -> None:
    overlap = content()
    for letter in old:
        overlap.note(text(letter), 0.0)
    kept = [letter for letter in new if not overlap.repeats(text(letter), 1.0)]
    assert Counter(kept) == Counter(new) - Counter(old)
    assert overlap.repeated == len(new) - len(kept)
