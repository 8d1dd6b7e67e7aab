"""The driver's connection on a transport of ours: no network, no peer, no turn of a loop.

driven = Driven(target("ws://h/"))
driven.open()                                 # the handshake's answer
driven.connection.data_received(frame(TEXT, b"tick"))
driven.take()
driven.messages, driven.transport.paused, list(unmasked(driven.transport.written))
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from websockets.utils import accept_key

from tests.kit.clock import ManualClock
from tests.kit.receiving import Basket
from websocketmanager.adapters.websocket.budget import ReadBudget
from websocketmanager.adapters.websocket.gathering import Gathering
from websocketmanager.adapters.websocket.handshake import request_for
from websocketmanager.adapters.websocket.protocol import DriverConnection
from websocketmanager.domain.model import Message
from websocketmanager.ports import Clock, DialTarget


class Transport(asyncio.Transport):
    """Keeps what is written, and insists on pausing and resuming in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.paused = False
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def abort(self) -> None:
        self.aborted = True


def driver_connection(
    dialled: DialTarget, budget: ReadBudget | None = None, clock: Clock | None = None
) -> DriverConnection:
    """Returns a connection that nothing was sent on yet."""
    return DriverConnection(dialled, clock or ManualClock(), budget or ReadBudget(), Gathering())


class Driven:
    """One connection that has sent its opening request; its messages are kept as they are taken.

    Attributes:
        messages: what was taken so far.
        portions: how many messages were offered each time.

    Args:
        most: how many messages `feed` takes at once while reading is paused.
    """

    def __init__(
        self,
        dialled: DialTarget,
        budget: ReadBudget | None = None,
        clock: Clock | None = None,
        *,
        most: int = 1 << 62,
    ) -> None:
        self._most = most
        self.connection = driver_connection(dialled, budget, clock)
        self.protocol = self.connection.protocol
        self.transport = Transport()
        self.connection.connection_made(self.transport)
        self.protocol.send_request(request_for(self.protocol, dialled, "test"))
        self.protocol.data_to_send()
        self.messages: list[Message] = []
        self.portions: list[int] = []

    def open(self, extension: str = "") -> None:
        """Gives the handshake's answer."""
        self.connection.data_received(answer_to(self.protocol.key, extension))

    def feed(self, data: bytes) -> None:
        """Gives bytes as an event loop does: none while reading is paused."""
        while self.transport.paused:
            self.take(self._most)
        self.connection.data_received(data)

    def paused(self) -> bool:
        return self.transport.paused

    def take(self, most: int = 1 << 62) -> list[Message]:
        """Takes what is there without waiting, as far as so many; returns it."""
        basket = Basket(most)
        reading = self.connection.read_into(basket)
        with suppress(StopIteration):
            reading.send(None)  # as far as to where it would wait
        reading.close()
        paused = self.transport.paused
        assert basket.messages or not paused, "paused, and nothing is there to take"
        self.messages += basket.messages
        self.portions += basket.portions
        return basket.messages

    def close(self, code: int) -> None:
        self.connection.start_close(code, "")

    def feed_eof(self) -> None:
        """Ends the stream and the transport, and takes what is left."""
        self.connection.eof_received()
        self.connection.connection_lost(None)
        self.take()


def answer_to(key: str, extension: str = "") -> bytes:
    """Returns a right answer to the opening request with this key."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
    ]
    if extension:
        lines.append(f"Sec-WebSocket-Extensions: {extension}")
    return "\r\n".join([*lines, "", ""]).encode()


def unmasked(written: bytes) -> Iterator[tuple[int, bytes]]:
    """Gives the first byte and the payload of each of our frames below 126 bytes."""
    at = 0
    while at < len(written):
        length = written[at + 1] & 0x7F
        assert written[at + 1] & 0x80, "a client's frames are masked"
        assert length < 126
        mask = written[at + 2 : at + 6]
        payload = written[at + 6 : at + 6 + length]
        yield written[at], bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
        at += 6 + length
