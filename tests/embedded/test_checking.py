"""The quick check gives the verdict and the topics of the full parse, whatever the bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.domain.wire import FIELD_1, varint
from websocketmanager.embedded import checking
from websocketmanager.embedded.checking import EventChecker
from websocketmanager.errors import InvalidArgument

FILLING = {"k": "v" * 150}
#: Fields that may stand behind an event: further topics, metadata, strangers, and what is broken.
FIELDS = st.sampled_from(
    [
        b"",
        b"\x0a\x03c.d",  # a topic: the last one counts
        b"\x0a\x00",
        b"\x0a\x01\xff",  # a topic that is not UTF-8
        b"\x08\x01",  # field 1 as a number: a stranger
        b"\x12\x02\xff\xff",
        b"\x1a\x03\x0a\x01k",
        b"\x1a\x03\x12\x01\xff",  # a value that is not UTF-8
        b"\x1a\x02\x0a\x01",  # an entry cut short
        b"\x1a\x7f",  # a field that ends behind the event
        b"\x22\x01\xff",
        b"\x23",  # a group that does not end
        b"\x23\x24",
        b"\x24",
        b"\x00",
        b"\xff",
    ]
)


def framed(event: bytes) -> bytes:
    return FIELD_1 + varint(len(event)) + event


def event(topic: str, data: bytes = b"", filling: str = "v" * 150, **more: str) -> bytes:
    head = pb.PublishRequest(topic=topic, metadata={"k": filling}).SerializeToString()
    tail = pb.PublishRequest(data=data, metadata=more).SerializeToString()
    return head + tail


def full(events: Sequence[bytes]) -> list[str] | None:
    """Returns what each event says parsed alone; None when one of them is invalid."""
    try:
        return [pb.PublishRequest.FromString(one).topic for one in events]
    except Exception:  # noqa: BLE001 - any refusal is one
        return None


def quick(checker: EventChecker, events: Sequence[bytes]) -> list[str] | None:
    body = b"".join(map(framed, events))
    batch = pb.SerialisedBatch.FromString(body)
    assert list(batch.events) == list(events)
    try:
        return checker.topics(body, batch.events[:])
    except InvalidArgument:
        return None


ORDINARY = st.builds(
    event,
    st.sampled_from(["a.b", "a.c", ""]),
    st.binary(max_size=5),
    st.sampled_from(["v" * 150, "w" * 150, "ä" * 100, "short"]),
    id=st.text(max_size=3),
)
ANY = st.builds(lambda one, more: one + b"".join(more), ORDINARY, st.lists(FIELDS, max_size=2))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Returns an event with a byte changed, a piece cut out, or its end cut off."""
    one = bytearray(draw(ORDINARY))
    place = draw(st.integers(0, len(one) - 1))
    match draw(st.sampled_from(["change", "cut", "end"])):
        case "change":
            one[place] = draw(st.integers(0, 255))
        case "cut":
            del one[place : place + draw(st.integers(1, 30))]
        case _:
            del one[place:]
    return bytes(one)


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    """Returns runs of like events, most of them sound, with a few that are anything."""
    events = [one for one in draw(st.lists(ORDINARY, max_size=3)) for _ in range(30)]
    for one in draw(st.lists(ANY | mutated() | st.binary(max_size=9), max_size=3)):
        events.insert(draw(st.integers(0, len(events))), one)
    return events


@given(several=st.lists(batches(), min_size=1, max_size=3))
def test_verdict_and_topics_are_those_of_the_full_parse(several: list[list[bytes]]) -> None:
    checker = EventChecker()
    for events in several:
        assert quick(checker, events) == full(events)


@given(
    ordinary=ORDINARY,
    rests=st.dictionaries(st.integers(0, 39), st.lists(FIELDS, min_size=1, max_size=3), max_size=3),
)
def test_and_where_all_begin_alike_whatever_follows(
    ordinary: bytes, rests: dict[int, list[bytes]]
) -> None:
    checker = EventChecker()
    sound = [ordinary + b"\x12\x01%d" % (number % 10) for number in range(40)]
    assert quick(checker, sound) == full(sound)
    events = [one + b"".join(rests.get(number, ())) for number, one in enumerate(sound)]
    assert quick(checker, events) == full(events)


@given(several=st.lists(st.lists(ANY | mutated(), min_size=8, max_size=20), min_size=1, max_size=2))
def test_it_is_right_about_nothing_but_strangers_too(several: list[list[bytes]]) -> None:
    checker = EventChecker()
    for events in several:
        assert quick(checker, events) == full(events)


def test_events_of_a_connection_are_not_parsed_in_full() -> None:
    checker = EventChecker()
    for number in range(3):
        events = [event("a.b", b"%d" % n, id=f"{number}-{n}") for n in range(50)]
        assert checker._quickly(events) == ["a.b"] * 50
    [known] = checker._known.values()
    assert len(known) == 1


def test_nor_are_those_of_several_connections() -> None:
    checker = EventChecker()
    runs = [event(one, b"%d" % n, filling=one * 150) for one in "abc" for n in range(20)]
    for _ in range(2):
        assert checker._quickly(runs) == ["a"] * 20 + ["b"] * 20 + ["c"] * 20
    assert [len(known) for known in checker._known.values()] == [3]


def test_where_each_begins_otherwise_it_gives_up_for_a_while() -> None:
    checker = EventChecker()
    alike = [event("a", b"%d" % n) for n in range(40)]
    mixed = [event(f"a{n % 20}", b"%d" % n) for n in range(40)]
    assert checker._quickly(alike) == ["a"] * 40
    assert quick(checker, mixed) == [f"a{n % 20}" for n in range(40)]
    for left in range(15, -1, -1):
        assert quick(checker, alike) == ["a"] * 40
        assert checker._full_parses == left
    assert checker._quickly(alike) == ["a"] * 40


def test_a_rest_that_ends_in_the_next_one_is_seen() -> None:
    """Joined without their lengths, the two halves of a field would be one."""
    checker = EventChecker()
    events = [event("a.b", id=f"{n}") for n in range(40)]
    assert quick(checker, events) == ["a.b"] * 40
    halves = [event("a.b") + b"\x12\x04ab", event("a.b") + b"cd"]
    assert full(halves) is None
    assert quick(checker, [*events, *halves]) is None


def test_a_topic_behind_the_beginning_counts() -> None:
    checker = EventChecker()
    events = [event("a.b", id=f"{n}") for n in range(40)]
    assert quick(checker, events) == ["a.b"] * 40
    late = event("a.b") + b"\x0a\x03c.d"
    assert quick(checker, [*events, late]) == ["a.b"] * 40 + ["c.d"]


def test_what_it_remembers_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "_MEMORY", 10_000)
    checker = EventChecker()
    sizes = set()
    for number in range(200):
        events = [event("a.b", b"%d" % n, filling=f"{number:04}" * 50) for n in range(8)]
        assert quick(checker, events) == ["a.b"] * 8
        sizes.add(sum(len(one) for ones in checker._known.values() for one in ones))
    assert 9_000 < max(sizes) < 10_500


def test_and_by_lengths() -> None:
    checker = EventChecker()
    for number in range(200):
        events = [event("a.b", b"%d" % n, filling="x" * (200 + number)) for n in range(8)]
        assert quick(checker, events) == ["a.b"] * 8
        assert len(checker._known) == number % 32 + 1
