"""What we need of the library's connection and it does not do: end in time, know Text from Binary.

Overridden are only the callbacks that `asyncio.Protocol` defines, and `process_event`, which the
library's own subclasses override too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.frames import CONT, DATA_OPCODES, TEXT, Frame
from websockets.protocol import Event

from websocketmanager.adapters.websocket.gathering import MAX_GATHERED_BYTES, Gathering
from websocketmanager.adapters.websocket.handshake import names_user_agent, protocol_for
from websocketmanager.adapters.websocket.reading import MAX_BYTES_AFTER_CLOSE
from websocketmanager.domain.model import Kind
from websocketmanager.ports import Clock, DialTarget

#: Frames that wait in the library before reading pauses. The service's buffer is behind it.
MAX_QUEUED_FRAMES: Final = 16


class Connection(ClientConnection):
    """A client connection whose end is bounded and whose messages have kinds.

    No keepalive: liveness is the service's.

    Attributes:
        max_message_bytes: of one inbound message, after decompression.
        whole: messages that have arrived to their end and were not returned.
        kinds: of the messages that `recv` has yet to return, in their order.
        cut_off: whether the peer ended the stream before its answer to the handshake was whole.
        last_heard: `Clock.monotonic()` when bytes came last.

    Raises:
        ValueError, InvalidURI: the library cannot read the target's URL.
    """

    def __init__(self, target: DialTarget, clock: Clock, gathering: Gathering) -> None:
        super().__init__(
            protocol_for(target),
            ping_interval=None,
            close_timeout=target.close_timeout_seconds,
            max_queue=MAX_QUEUED_FRAMES,
        )
        self.max_message_bytes = target.max_message_bytes
        self._target = target
        self.whole = 0
        self.kinds: deque[Kind] = deque()
        self.cut_off = False
        self._clock = clock
        self.last_heard = clock.monotonic()
        self._close_timeout_seconds = target.close_timeout_seconds
        self._gathering = gathering
        self._gathered = b""
        self._linger: asyncio.TimerHandle | None = None
        self._bytes_after_release: int | None = None

    @property
    def fault(self) -> Exception | None:
        """What the stream did wrong by the library's rules, if anything."""
        return self.protocol.parser_exc

    @property
    def reading_paused(self) -> bool:
        """Whether the peer is held back, as nobody takes what it sends."""
        return self.recv_messages.paused

    async def open(self, user_agent: str) -> None:
        """Performs the opening handshake with the target's headers.

        Args:
            user_agent: how the service introduces itself, unless a header does.

        Raises:
            InvalidHandshake: the answer is not the right one.
        """
        own = names_user_agent(self._target)
        await self.handshake(self._target.headers, None if own else user_agent)

    def release(self) -> None:
        """Stops holding back the peer, so that its answer to a close is seen.

        Messages that nobody fetches would otherwise keep reading paused. The first of them that
        goes beyond a bound is dropped with all behind it: this side wants no more.
        """
        if self._bytes_after_release is None:
            self._bytes_after_release = 0
        queue = self.recv_messages
        queue.high = None
        if queue.paused:
            queue.paused = False
            self.transport.resume_reading()

    # --- callbacks ---

    def process_event(self, event: Event) -> None:
        """Keeps the kind of each message that begins."""
        if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            if self._bytes_after_release is not None:
                self._bytes_after_release += len(event.data)
                if self._bytes_after_release > MAX_BYTES_AFTER_CLOSE:
                    return
            self.whole += event.fin
            if event.opcode is not CONT:
                self.kinds.append(Kind.TEXT if event.opcode is TEXT else Kind.BINARY)
        super().process_event(event)

    def data_received(self, data: bytes) -> None:
        """Parses bytes, perhaps with those that follow, unless these are many already."""
        now = self.last_heard = self._clock.monotonic()
        self._gathered += data
        if len(self._gathered) <= MAX_GATHERED_BYTES and self._gathering.asks_to_wait(now):
            self._gathering.add(self)
        else:
            self.read_gathered()

    def read_gathered(self) -> None:
        """Parses what was put aside, then ends in time if those bytes were the last that count."""
        data, self._gathered = self._gathered, b""
        if data:
            super().data_received(data)
            self._end_in_time()

    def eof_received(self) -> None:
        """Parses the end of the stream."""
        self.read_gathered()
        self._note_cut()
        super().eof_received()
        self._end_in_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the timer."""
        self.read_gathered()
        self._note_cut()
        super().connection_lost(exc)
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def _note_cut(self) -> None:
        if self.response is None and self.protocol.handshake_exc is None:
            self.cut_off = True

    def _end_in_time(self) -> None:
        """Bounds what the library leaves to the peer: when the transport is closed."""
        protocol = self.protocol
        if protocol.handshake_exc is not None:
            # It would wait for the peer to end a stream of which nothing is wanted any more.
            self.transport.abort()
        elif self._linger is None and (
            protocol.close_rcvd is not None or protocol.parser_exc is not None
        ):
            # RFC 6455 §7.1.1: the server closes first, within a reasonable time.
            self._linger = self.loop.call_later(self._close_timeout_seconds, self.transport.abort)
