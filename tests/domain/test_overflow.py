"""What is given up, and what the stream says of it."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import Format, Topic
from websocketmanager.domain.overflow import (
    GAP,
    Gap,
    LogEntry,
    LogRun,
    Place,
    gap_of_entries,
    key_reader,
    own_gap,
    runs_of_entries,
    superseded,
)

PLACES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def entry(session: int, sequence: int, marker: str = "", data: bytes = b"x") -> LogEntry:
    return LogEntry(session, sequence, 1.5, 2, Topic("a.b"), Kind.TEXT, marker, data)


@given(st.lists(st.tuples(PLACES, PLACES, st.integers(1, 9)), min_size=1, max_size=5))
def test_joined_gaps_hold_every_place_and_every_count(
    parts: list[tuple[Place, Place, int]],
) -> None:
    gaps = [Gap(min(a, b), max(a, b), lost, "spill") for a, b, lost in parts]
    whole = gaps[0]
    for gap in gaps[1:]:
        whole = whole.joined(gap)
    assert whole.lost == sum(gap.lost for gap in gaps)
    assert whole.first == min(gap.first for gap in gaps)
    assert whole.last == max(gap.last for gap in gaps)
    assert Gap.of_facts(json.loads(json.dumps(whole.facts))) == whole


def test_a_marker_names_the_last_place_before_and_the_first_behind() -> None:
    assert Gap((1, 5), (2, 3), 7, "spill").facts == {
        "session": 2,
        "from_session": 1,
        "from_sequence": 4,
        "to_sequence": 4,
        "cause": "spill",
        "lost": 7,
    }


def test_entries_become_one_gap_with_the_gap_before_them() -> None:
    first = gap_of_entries([entry(1, 3), entry(1, 4)], cause="spill", at=9.0)
    assert first is not None
    assert (first.marker, first.place, first.at, first.owner_epoch) == (GAP, (1, 4), 9.0, 2)
    ended = entry(1, 5, "ended", b"{}")
    foreign = entry(2, 0, GAP, json.dumps({"cause": "connection_lost"}).encode())
    both = gap_of_entries([first, entry(1, 5), ended, foreign, entry(2, 1)], cause="spill", at=9.0)
    assert both is not None
    assert own_gap(both, "spill") == Gap((1, 3), (2, 1), 4, "spill")
    assert own_gap(both, "other") is None
    assert gap_of_entries([ended, foreign], cause="spill", at=9.0) is None


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b'{"s":{"id":"A"}}', '"A"'),
        (b'{"s":{"id":1}}', "1"),
        (b'{"s":{"id":{"b":1,"a":2}}}', '{"a": 2, "b": 1}'),
        (b'{"s":{"id":null}}', "null"),
        (b'{"s":[]}', None),
        (b"no json", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
)
def test_the_key_of_a_message(data: bytes, key: str | None) -> None:
    assert key_reader("/s/id", Format.RAW)(data) == key


def test_the_key_of_an_enveloped_message() -> None:
    payload = base64.b64encode(b'{"id":"A"}').decode()
    read = key_reader("/id", Format.ENVELOPE)
    assert read(json.dumps({"Payload": payload}).encode()) == '"A"'
    assert read(json.dumps({"Payload": "e3"}).encode()) is None


@given(st.lists(st.none() | st.integers(0, 3), max_size=12))
def test_the_latest_of_each_key_stays_and_what_has_none(keys: list[int | None]) -> None:
    gone = superseded(keys)
    kept = [(index, key) for index, key in enumerate(keys) if not gone[index]]
    assert {key for _, key in kept} == set(keys)
    assert all(keys[index + 1 :].count(key) == 0 for index, key in kept if key is not None)
    assert sum(gone) == sum(keys.count(key) - 1 for key in set(keys) - {None})


def run(first: int, *datas: bytes, marker: str = "") -> LogRun:
    return LogRun(3, first, 1.5, 2, Topic("a.b"), Kind.TEXT, marker, datas)


def test_a_run_is_its_entries() -> None:
    three = run(7, b"1", b"", b"333")
    assert (three.count, three.size) == (3, sum(one.size for one in three.entries()))
    assert [(one.sequence, one.data) for one in three.entries()] == [
        (7, b"1"),
        (8, b""),
        (9, b"333"),
    ]
    assert three.part(1, 3) == run(8, b"", b"333")
    assert three.part(3, 3).entries() == []


def test_entries_are_runs_again_where_they_follow_one_another() -> None:
    runs = [
        (4, run(7, b"1", b"2")),
        (6, run(9, b"", marker="gap")),
        (7, run(10, b"3")),
        (9, run(11, b"4")),  # a place between them is free
        (10, run(13, b"5")),  # a number is missing
        (11, replace(run(14, b"6"), at=2.5)),
        (12, replace(run(15, b"7", b"8"), kind=Kind.BINARY)),
        (14, replace(run(17, b"9"), topic=Topic("b.b"))),
    ]
    entries = [
        (position, entry)
        for first, one in runs
        for position, entry in enumerate(one.entries(), first)
    ]
    found = [
        (first, replace(one, payloads=tuple(one.payloads)))
        for first, one in runs_of_entries(entries)
    ]
    assert found == runs
    assert list(runs_of_entries([])) == []
