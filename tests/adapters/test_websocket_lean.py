"""The lean protocol says and hears what the library's does, and keeps nothing of its handshake."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Event, State
from websockets.uri import parse_uri
from websockets.utils import accept_key

from websocketmanager.adapters.websocket.lean import LeanProtocol


def protocols() -> tuple[LeanProtocol, ClientProtocol]:
    """Returns one of each with the same key, both having sent their request."""
    uri = parse_uri("ws://127.0.0.1/")
    lean = LeanProtocol(uri)
    plain = ClientProtocol(uri)
    plain.key = lean.key
    for one in (lean, plain):
        one.send_request(one.connect())
        one.data_to_send()
    return lean, plain


def answer(key: str, status: str = "101 Switching Protocols") -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=False)


FRAMES = (
    frame(Opcode.TEXT, b"one"),
    frame(Opcode.PING, b"?"),
    frame(Opcode.BINARY, b"tw", fin=False),
    frame(Opcode.CONT, b"o" * 300),
    frame(Opcode.CLOSE, b"\x03\xe8"),
    b"\xff\xff",
)


def told(protocol: ClientProtocol) -> list[object]:
    """Returns all that can be seen of it from outside."""
    events: list[Event] = protocol.events_received()
    shown = [event if isinstance(event, Frame) else type(event) for event in events]
    return [
        shown,
        protocol.state,
        [bytes(data)[:1] for data in protocol.data_to_send()],  # the rest has a random mask
        repr(protocol.handshake_exc),
        repr(protocol.parser_exc),
        protocol.close_expected(),
    ]


@given(
    st.sampled_from(["101 Switching Protocols", "404 Not Found", "nonsense"]),
    st.lists(st.sampled_from(FRAMES), max_size=6),
    st.lists(st.integers(1, 60), max_size=40),
)
def test_it_does_as_the_library(status: str, frames: list[bytes], cuts: list[int]) -> None:
    lean, plain = protocols()
    stream = answer(lean.key, status) + b"".join(frames)
    while stream:
        size = cuts.pop() if cuts else len(stream)
        piece, stream = stream[:size], stream[size:]
        lean.receive_data(piece)
        plain.receive_data(piece)
        assert told(lean) == told(plain)
    lean.receive_eof()
    plain.receive_eof()
    assert told(lean) == told(plain)


def test_it_forgets_its_handshake() -> None:
    lean, _ = protocols()
    lean.receive_data(answer(lean.key) + FRAMES[0][:1])
    events = lean.events_received()
    assert isinstance(events[0], Response)
    response = weakref.ref(events[0])
    events.clear()
    gc.collect()
    assert response() is None
    for name in ("uri", "key"):
        with pytest.raises(AttributeError):
            getattr(lean, name)
    lean.receive_data(FRAMES[0][1:])
    assert lean.state is State.OPEN
    (message,) = lean.events_received()
    assert isinstance(message, Frame)
    assert message.data == b"one"
