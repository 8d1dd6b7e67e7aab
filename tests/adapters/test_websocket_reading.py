"""Which bytes are read the short way, and which are the library's."""

from __future__ import annotations

import pytest
from websockets.protocol import State

from tests.kit.driven import answer_to
from tests.kit.opening import target
from tests.kit.raw_peer import BINARY, CLOSE, CONT, PING, TEXT, frame
from websocketmanager.adapters.websocket.handshake import protocol_for
from websocketmanager.adapters.websocket.reading import MessageReader
from websocketmanager.domain.model import Kind, Message

FAR = 1 << 40
PLAIN = frame(TEXT, b"plain")
LIMIT = 100_000


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


ODD = {
    "a ping": frame(PING, b"x"),
    "fragments": frame(TEXT, b"a", fin=False) + frame(CONT, b"b"),
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
    assert observed.reader.messages.count(Message(Kind.TEXT, b"plain")) == 7


def test_a_plain_frame_in_parts_is_the_protocols() -> None:
    observed = Observed()
    observed.feed(PLAIN + PLAIN[:3])
    observed.feed(PLAIN[3:] + PLAIN)
    assert observed.passed == PLAIN
    assert observed.reader.take() == [Message(Kind.TEXT, b"plain")] * 3


def test_behind_a_close_everything_is_the_protocols() -> None:
    observed = Observed()
    observed.feed(frame(CLOSE, b"\x03\xe8") + PLAIN)
    assert observed.protocol.state is State.CLOSING
    assert observed.passed == frame(CLOSE, b"\x03\xe8") + PLAIN
    assert observed.reader.messages == []


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
    assert observed.reader.unread_bytes > 100_000
    observed.reader.take()
    assert observed.reader.unread_bytes == 0
