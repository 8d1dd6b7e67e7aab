"""Cutting plain messages out of bytes: exactly those, exactly there."""

from __future__ import annotations

import struct
from functools import partial

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
)
from websocketmanager.domain.model import Kind, Message

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


def cut(
    data: bytes, at: int = 0, *, stop: int = FAR, limit: int = LIMIT
) -> tuple[int, list[Message]]:
    """Cuts by both ways, which must agree."""
    messages: list[Message] = []
    end = cut_plain(data, at, stop=stop, limit=limit, into=messages)
    if stop >= len(data):
        others: list[Message] = []
        assert end == cut_packed(data, at, room=FAR, limit=limit, into=others, unpack=upper)
        assert others == messages
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
    messages: list[Message] = []
    way = partial(cut_packed, room=FAR, unpack=upper) if packed else partial(cut_plain, stop=FAR)
    with pytest.raises(UnicodeDecodeError):
        way(data, 0, limit=LIMIT, into=messages)
    assert messages == [Message(Kind.BINARY, b"\xff"), Message(Kind.TEXT, "ü".encode())]


def test_packed_messages_are_unpacked_only_where_that_was_agreed_on() -> None:
    data = frame(TEXT, b"a", rsv=4) + frame(BINARY, b"b") + frame(BINARY, b"c", rsv=4)
    messages: list[Message] = []
    assert cut_plain(data, 0, stop=FAR, limit=LIMIT, into=messages) == 0
    assert cut_packed(data, 0, room=FAR, limit=LIMIT, into=messages, unpack=upper) == len(data)
    assert messages == [
        Message(Kind.TEXT, b"A"),
        Message(Kind.BINARY, b"b"),
        Message(Kind.BINARY, b"C"),
    ]


def test_unpacking_ends_with_the_message_that_goes_beyond_the_room() -> None:
    data = frame(BINARY, b"a", rsv=4) * 10
    messages: list[Message] = []
    grown = 10_000
    end = cut_packed(
        data,
        0,
        room=2 * (grown + MESSAGE_OVERHEAD_BYTES),
        limit=LIMIT,
        into=messages,
        unpack=lambda packed, limit: packed * grown,
    )
    assert (end, len(messages)) == (9, 3)


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


def test_a_cut_message_is_like_any_other() -> None:
    """It is made past the constructor of its frozen class."""
    _, [message] = cut(frame(TEXT, b"x"))
    assert message == Message(Kind.TEXT, b"x")
    assert hash(message) == hash(Message(Kind.TEXT, b"x"))
    assert repr(message) == repr(Message(Kind.TEXT, b"x"))
    assert type(message.data) is bytes
    with pytest.raises(AttributeError):
        message.data = b""  # type: ignore[misc] # that it is frozen is what is tested
