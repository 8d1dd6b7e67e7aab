"""Cutting plain messages out of bytes: exactly those, exactly there."""

from __future__ import annotations

import struct
from copy import deepcopy
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.raw_peer import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame
from websocketmanager.adapters.websocket.cutting import (
    MESSAGE_OVERHEAD_BYTES,
    cut_packed,
    cut_plain,
    frame_length,
    is_utf8,
    payloads_of,
)
from websocketmanager.domain.model import Burst, Kind, Message

LIMIT = 70_000
FAR = 1 << 30

MESSAGES = st.one_of(
    st.builds(Message, st.just(Kind.TEXT), st.text(max_size=200).map(str.encode)),
    st.builds(Message, st.just(Kind.BINARY), st.binary(max_size=200)),
    st.builds(
        Message,
        st.just(Kind.BINARY),
        st.sampled_from([125, 126, 127, 255, 256, 65_534, 65_535]).map(bytes),
    ),
)


def spelled(message: Message) -> bytes:
    return frame(TEXT if message.kind is Kind.TEXT else BINARY, message.data)


def apart(bursts: list[Burst]) -> list[Message]:
    """Returns the messages one by one; bursts are not empty, and no two of a kind adjoin."""
    assert all(burst.payloads for burst in bursts)
    assert all(one.kind is not other.kind for one, other in pairwise(bursts))
    return [Message(burst.kind, data) for burst in bursts for data in burst.payloads]


def cut(
    data: bytes,
    at: int = 0,
    *,
    stop: int = FAR,
    limit: int = LIMIT,
    before: list[Burst] | None = None,
) -> tuple[int, list[Message]]:
    """Cuts by both ways, which must agree, behind what was cut before."""
    bursts = deepcopy(before or [])
    end, count = cut_plain(data, at, stop=stop, limit=limit, into=bursts)
    messages = apart(bursts)
    assert count == len(messages) - len(apart(before or []))
    if stop >= len(data):
        others = deepcopy(before or [])
        ended, room = cut_packed(data, at, room=FAR, limit=limit, into=others, unpack=upper)
        assert (ended, others) == (end, bursts)
        cut_ones = messages[len(messages) - count :]
        assert room == FAR - sum(len(one.data) + MESSAGE_OVERHEAD_BYTES for one in cut_ones)
    return end, messages


def upper(packed: bytes, limit: int) -> bytes:
    """Stands in for an extension."""
    assert limit == LIMIT
    return packed.upper()


@given(st.lists(MESSAGES, max_size=5), st.binary(max_size=3), st.data())
def test_whole_frames_are_cut_and_a_part_is_left(
    messages: list[Message], before: bytes, draw: st.DataObject
) -> None:
    ends = [len(before)]
    data = before
    for message in messages:
        data += spelled(message)
        ends.append(len(data))
    short = draw.draw(st.integers(len(before), len(data)))
    whole = max(number for number, end in enumerate(ends) if end <= short)
    assert cut(data[:short], len(before)) == (ends[whole], messages[:whole])


@given(st.lists(MESSAGES, min_size=1, max_size=5), st.integers(0, 500))
def test_no_frame_behind_the_stop_is_begun(messages: list[Message], stop: int) -> None:
    data = b"".join(map(spelled, messages))
    end, found = cut(data, stop=stop)
    count = 0
    at = 0
    while at < min(stop, len(data)):
        at += len(spelled(messages[count]))
        count += 1
    assert (end, found) == (at, messages[:count])


NOT_PLAIN = {
    "a fragment's beginning": frame(TEXT, b"x", fin=False),
    "a continuation": frame(CONT, b"x"),
    "a continuation that goes on": frame(CONT, b"x", fin=False),
    "ping": frame(PING, b"x"),
    "pong": frame(PONG, b"x"),
    "close": frame(CLOSE, b"\x03\xe8"),
    "opcode 3": frame(3, b"x"),
    "reserved bit 2": frame(TEXT, b"x", rsv=2),
    "reserved bit 3": frame(BINARY, b"x", rsv=1),
    "masked": frame(TEXT, b"x", masked=True),
    "masked, long": frame(TEXT, bytes(300), masked=True),
    "masked, very long": frame(TEXT, bytes(65_536), masked=True),
    "64 KiB": frame(BINARY, bytes(65_536)),
    "a long spelling": struct.pack("!BBQ", 0x82, 127, 1) + b"x",
}


@pytest.mark.parametrize("odd", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_what_is_not_plain_stops_the_cutting(odd: bytes) -> None:
    good = frame(TEXT, b"good")
    assert cut(good + odd + good) == (len(good), [Message(Kind.TEXT, b"good")])
    assert cut(odd) == (0, [])


@pytest.mark.parametrize("size", [20, 200, 1000])
def test_a_payload_of_exactly_the_limit_and_one_byte_more(size: int) -> None:
    data = frame(BINARY, bytes(size))
    assert cut(data, limit=size) == (len(data), [Message(Kind.BINARY, bytes(size))])
    assert cut(data, limit=size - 1) == (0, [])


def test_a_length_in_more_bytes_than_it_needs() -> None:
    data = struct.pack("!BBH", 0x81, 126, 3) + b"abc"
    assert cut(data) == (7, [Message(Kind.TEXT, b"abc")])


@pytest.mark.parametrize("packed", [False, True])
def test_text_that_is_not_utf8_raises_behind_the_good_ones(packed: bool) -> None:
    data = frame(BINARY, b"\xff") + frame(TEXT, "ü".encode()) + frame(TEXT, b"\xff")
    bursts: list[Burst] = []
    way = partial(cut_packed, room=FAR, unpack=upper) if packed else partial(cut_plain, stop=FAR)
    with pytest.raises(UnicodeDecodeError):
        way(data, 0, limit=LIMIT, into=bursts)
    assert apart(bursts) == [Message(Kind.BINARY, b"\xff"), Message(Kind.TEXT, "ü".encode())]


def test_packed_messages_are_unpacked_only_where_that_was_agreed_on() -> None:
    data = frame(TEXT, b"a", rsv=4) + frame(BINARY, b"b") + frame(BINARY, b"c", rsv=4)
    bursts: list[Burst] = []
    assert cut_plain(data, 0, stop=FAR, limit=LIMIT, into=bursts) == (0, 0)
    assert bursts == []
    end, room = cut_packed(data, 0, room=1000, limit=LIMIT, into=bursts, unpack=upper)
    assert (end, room) == (len(data), 1000 - 3 * (1 + MESSAGE_OVERHEAD_BYTES))
    assert bursts == [Burst(Kind.TEXT, [b"A"]), Burst(Kind.BINARY, [b"b", b"C"])]


def test_unpacking_ends_with_the_message_that_goes_beyond_the_room() -> None:
    data = frame(BINARY, b"a", rsv=4) * 10
    bursts: list[Burst] = []
    grown = 10_000
    end, room = cut_packed(
        data,
        0,
        room=2 * (grown + MESSAGE_OVERHEAD_BYTES),
        limit=LIMIT,
        into=bursts,
        unpack=lambda packed, limit: packed * grown,
    )
    assert (end, room, len(apart(bursts))) == (9, -grown - MESSAGE_OVERHEAD_BYTES, 3)


@given(st.lists(MESSAGES, max_size=4), st.lists(MESSAGES, max_size=4))
def test_what_is_cut_continues_the_burst_that_is_there(
    before: list[Message], messages: list[Message]
) -> None:
    there: list[Burst] = []
    for message in before:
        payloads_of(message.kind, there).append(message.data)
    data = b"".join(map(spelled, messages))
    assert cut(data, before=there) == (len(data), before + messages)


@given(st.integers(0, 2**16), st.booleans(), st.sampled_from([0, 126, 127]))
def test_a_frames_length_is_known_when_its_header_is_whole(
    length: int, masked: bool, longer: int
) -> None:
    code = max(longer, 127 if length > 65_535 else 126 if length > 125 else length)
    mask = 0x80 if masked else 0
    head = struct.pack("!BB", 0x82, mask | code)
    head += {126: struct.pack("!H", length % 2**16), 127: struct.pack("!Q", length)}.get(code, b"")
    expected = len(head) + (length % 2**16 if code == 126 else length)
    for known in range(len(head)):
        assert frame_length(head[:known]) is None
    assert frame_length(head) == frame_length(head + b"payload") == expected


@given(st.binary(max_size=6))
def test_utf8_is_what_python_decodes(data: bytes) -> None:
    assert is_utf8(data) == (data.decode(errors="replace").encode() == data)
