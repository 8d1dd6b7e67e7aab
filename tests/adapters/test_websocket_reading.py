"""Which bytes are read the short way, and which are the library's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.protocol import State

from tests.kit.driven import answer_to
from tests.kit.opening import target
from tests.kit.raw_peer import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame
from tests.kit.receiving import Basket
from websocketmanager.adapters.websocket.cutting import MESSAGE_OVERHEAD_BYTES
from websocketmanager.adapters.websocket.handshake import protocol_for
from websocketmanager.adapters.websocket.reading import MessageReader
from websocketmanager.domain.model import Burst, Kind, Message

FAR = 1 << 40
PLAIN = frame(TEXT, b"plain")
LIMIT = 100_000


ODD_TEXT = frame(TEXT, b"a", fin=False) + frame(CONT, b"b")
ODD_MESSAGE = Message(Kind.TEXT, b"ab")


class Observed:
    """A reader, and the bytes that its protocol got behind the handshake."""

    def __init__(self) -> None:
        self.protocol = protocol_for(target("ws://h/", max_message_bytes=LIMIT))
        self.reader = MessageReader(self.protocol, LIMIT)
        self.protocol.send_request(self.protocol.connect())
        self.feed(answer_to(self.protocol.key))
        self.passed = b""
        receive = self.protocol.receive_data

        def receive_data(data: bytes) -> None:
            self.passed += data
            receive(data)

        vars(self.protocol)["receive_data"] = receive_data

    def feed(self, data: bytes) -> None:
        assert self.reader.feed(data, FAR) == len(data)

    def take(self) -> list[Message]:
        basket = Basket()
        self.reader.give(basket)
        return basket.messages


ODD = {
    "a ping": frame(PING, b"x"),
    "fragments": ODD_TEXT,
    "fragments with a ping": frame(TEXT, b"", fin=False) + frame(PING) + frame(CONT),
    "64 KiB": frame(BINARY, bytes(65_536)),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("step", [1, 7, 100, 1 << 20])
def test_the_protocol_gets_what_is_not_plain_and_no_other_byte(odd: bytes, step: int) -> None:
    observed = Observed()
    observed.feed(PLAIN * 3)
    assert observed.passed == b""
    for at in range(0, len(odd), step):
        observed.feed(odd[at : at + step])
    assert observed.passed == odd
    observed.feed(PLAIN * 2 + odd + PLAIN * 2)
    assert observed.passed == odd * 2
    assert observed.take().count(Message(Kind.TEXT, b"plain")) == 7


def test_a_bare_pong_is_nobodys() -> None:
    observed = Observed()
    observed.feed(frame(PONG) + PLAIN + frame(PONG) * 3 + PLAIN)
    assert observed.passed == b""
    assert observed.take() == [Message(Kind.TEXT, b"plain")] * 2


ODD_PONGS = {
    "with a payload": frame(PONG, b"x"),
    "in parts": frame(PONG),
    "among fragments": frame(TEXT, b"", fin=False) + frame(PONG) + frame(CONT),
}


@pytest.mark.parametrize("odd", ODD_PONGS.values(), ids=ODD_PONGS.keys())
def test_any_other_pong_is_the_protocols(odd: bytes) -> None:
    observed = Observed()
    observed.feed(PLAIN + odd[:1])
    observed.feed(odd[1:] + PLAIN)
    assert observed.passed == odd


def test_a_plain_frame_in_parts_is_the_protocols() -> None:
    observed = Observed()
    observed.feed(PLAIN + PLAIN[:3])
    observed.feed(PLAIN[3:] + PLAIN)
    assert observed.passed == PLAIN
    assert observed.take() == [Message(Kind.TEXT, b"plain")] * 3


def test_behind_a_close_everything_is_the_protocols() -> None:
    observed = Observed()
    observed.feed(frame(CLOSE, b"\x03\xe8") + PLAIN)
    assert observed.protocol.state is State.CLOSING
    assert observed.passed == frame(CLOSE, b"\x03\xe8") + PLAIN
    assert observed.reader.bursts == []


def test_the_end_of_the_stream_may_come_twice() -> None:
    observed = Observed()
    observed.reader.feed_eof()
    fault = observed.reader.fault
    observed.reader.feed_eof()
    assert isinstance(fault, EOFError)
    assert observed.reader.fault is fault


def test_what_is_unread_is_weighed_with_its_overhead() -> None:
    observed = Observed()
    observed.feed(frame(TEXT) * 1000)
    assert observed.reader.unread_bytes >= 1000 * MESSAGE_OVERHEAD_BYTES
    observed.take()
    assert observed.reader.unread_bytes == 0


def test_messages_of_a_kind_that_follow_one_another_are_one_burst_whoever_cut_them() -> None:
    observed = Observed()
    observed.feed(PLAIN * 2 + ODD["fragments"] + PLAIN + frame(BINARY) + ODD["64 KiB"] + PLAIN)
    assert observed.reader.bursts == [
        Burst(Kind.TEXT, [b"plain", b"plain", b"ab", b"plain"]),
        Burst(Kind.BINARY, [b"", bytes(65_536)]),
        Burst(Kind.TEXT, [b"plain"]),
    ]


@given(
    st.lists(st.tuples(st.booleans(), st.binary(max_size=5)), max_size=12),
    st.lists(st.integers(0, 4), max_size=8),
)
def test_what_a_receiver_does_not_take_stays_in_order_and_is_weighed(
    messages: list[tuple[bool, bytes]], takes: list[int]
) -> None:
    observed = Observed()
    observed.feed(b"".join(frame(BINARY, b) if odd else ODD_TEXT for odd, b in messages))
    expected = [Message(Kind.BINARY, b) if odd else ODD_MESSAGE for odd, b in messages]
    for most in takes:
        basket = Basket(most)
        observed.reader.give(basket)
        assert basket.messages == expected[:most]
        del expected[:most]
        weight = sum(len(one.data) + MESSAGE_OVERHEAD_BYTES for one in expected)
        assert observed.reader.unread_bytes == weight
    assert observed.take() == expected


def test_what_a_receiver_raises_leaves_what_it_was_offered() -> None:
    class Picky(Basket):
        """Takes no Binary."""

        def take(self, kind: Kind, payloads: list[bytes]) -> int:
            if kind is Kind.BINARY:
                raise LookupError
            return super().take(kind, payloads)

    observed = Observed()
    observed.feed(PLAIN + frame(BINARY, b"1") + frame(BINARY, b"2") + PLAIN)
    picky = Picky()
    for _ in range(2):
        with pytest.raises(LookupError):
            observed.reader.give(picky)
    assert picky.messages == [Message(Kind.TEXT, b"plain")]
    assert observed.reader.unread_bytes == 3 * MESSAGE_OVERHEAD_BYTES + 7
    assert [one.data for one in observed.take()] == [b"1", b"2", b"plain"]
