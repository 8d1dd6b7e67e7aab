"""One connection of the driver: asyncio's callbacks on one side, `MessageReader` on the other.

No task of its own and no timer while it is open: bytes are read in the turn of the loop that
brings them, and whoever waits is woken once.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, cast

from websockets.protocol import State

from websocketmanager.adapters.websocket.budget import ReadBudget
from websocketmanager.adapters.websocket.gathering import MAX_GATHERED_BYTES, Gathering
from websocketmanager.adapters.websocket.handshake import protocol_for, request_for
from websocketmanager.adapters.websocket.reading import MessageReader
from websocketmanager.adapters.websocket.waiting import WriteGate, wake
from websocketmanager.domain.failure import Failure
from websocketmanager.domain.model import Kind
from websocketmanager.ports import Clock, DialTarget, Receiver

#: Bytes that the kernel has not taken yet, above which writers wait.
_MAX_UNWRITTEN_BYTES: Final = 32_768
_UNBOUNDED: Final = 1 << 62


class DriverConnection(asyncio.Protocol):
    """Drives `websockets.client.ClientProtocol`.

    Attributes:
        protocol: the library's part.
        max_message_bytes: of one inbound message, after decompression.
        connection_exc: with which the transport ended, if with any.
        cut_off: whether the peer ended the stream before its answer to the handshake was whole.
        is_closed: whether the transport is gone and all it brought was read.
        last_heard: `Clock.monotonic()` when bytes came last.
        transport: from the moment there is one.

    Raises:
        ValueError, InvalidURI: the library cannot read the target's URL.
    """

    __slots__ = (
        "_answered",
        "_budget",
        "_clock",
        "_closed",
        "_gate",
        "_gathered",
        "_gathering",
        "_held",
        "_linger",
        "_loop",
        "_paused",
        "_reader",
        "_receiver",
        "_share",
        "_target",
        "_waiter",
        "connection_exc",
        "cut_off",
        "is_closed",
        "last_heard",
        "protocol",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self, target: DialTarget, clock: Clock, budget: ReadBudget, gathering: Gathering
    ) -> None:
        self.protocol = protocol_for(target)
        self.connection_exc: BaseException | None = None
        self.cut_off = False
        self.last_heard = clock.monotonic()
        self._reader = MessageReader(self.protocol, target.max_message_bytes)
        self._target = target
        self._clock = clock
        self._budget = budget
        self._gathering = gathering
        self._gathered = b""
        self._loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[None] | None = None
        self.is_closed = False
        # Made for whoever waits first.
        self._closed: asyncio.Future[None] | None = None
        self._receiver: Receiver | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._gate = WriteGate()
        self._linger: asyncio.TimerHandle | None = None
        self._share = 0
        self._held = b""
        self._paused = False

    # --- what failures are told from ---

    @property
    def max_message_bytes(self) -> int:
        """Of one inbound message, after decompression."""
        return self._target.max_message_bytes

    @property
    def fault(self) -> Exception | None:
        """What the stream did wrong by the library's rules, if anything."""
        return self._reader.fault

    @property
    def refusal(self) -> Failure | None:
        """Why a message was refused by a rule of ours, if one was."""
        return self._reader.refusal

    @property
    def state(self) -> State:
        """Where the connection is in its life (RFC 6455 §4.1, §7.1)."""
        return self.protocol.state

    @property
    def reading_paused(self) -> bool:
        """Whether the peer is held back, as nobody takes what it sends."""
        return self._paused

    # --- opening ---

    async def open(self, user_agent: str) -> None:
        """Performs the opening handshake with the target's headers.

        Args:
            user_agent: how the service introduces itself, unless a header does.

        Raises:
            InvalidHandshake: the answer is not the right one.
        """
        self.protocol.send_request(request_for(self.protocol, self._target, user_agent))
        self._flush()
        if self._is_unanswered:
            self._answered = self._loop.create_future()
            await self._answered
            self._answered = None
        if self.protocol.handshake_exc is not None:
            raise self.protocol.handshake_exc

    # --- reading ---

    async def read_into(self, receiver: Receiver) -> bool:
        """Gives messages to the receiver as they come, until it is full; one caller at a time.

        Cancelling loses none. Raises what the receiver raises.

        Returns:
            Whether to go on: otherwise the connection is closed, and all was given.
        """
        self._give(receiver)
        if receiver.full:
            return True
        if self.is_closed:
            return False
        waiter = self._waiter = self._loop.create_future()
        self._receiver = receiver
        try:
            await waiter
        finally:
            self._receiver = self._waiter = None
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # seen, also where the caller was cancelled meanwhile
        return True

    # --- writing ---

    async def send(self, data: bytes, kind: Kind) -> bool:
        """Writes one message; waits while the peer reads too slowly.

        Returns:
            Whether the connection was open and lasted until the waiting was over.
        """
        if self.state is not State.OPEN:
            await self.wait_closed()
            return False
        if kind is Kind.TEXT:
            self.protocol.send_text(data)
        else:
            self.protocol.send_binary(data)
        self._flush()
        await self._gate.wait_open()
        return not self.is_closed

    def send_ping(self) -> None:
        """Writes a ping while the connection is open.

        Without a payload: which ping a pong answers is nothing that anybody asks.
        """
        if self.state is State.OPEN:
            self.protocol.send_ping(b"")
            self._flush()

    # --- closing ---

    def start_close(self, code: int, reason: str) -> None:
        """Sends a close frame if none was, and holds the peer back no longer.

        Raises:
            ProtocolError: the code may not be sent (RFC 6455 §7.4.1).
        """
        if self.state is State.OPEN:
            self.protocol.send_close(code, reason)
        self._settle()

    async def wait_closed(self) -> None:
        """Waits until the transport is gone. Cancelling leaves nothing behind."""
        if self.is_closed:
            return
        if self._closed is None:
            self._closed = self._loop.create_future()
        await asyncio.shield(self._closed)

    # --- asyncio's callbacks ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(_MAX_UNWRITTEN_BYTES)

    def data_received(self, data: bytes) -> None:
        """Reads bytes, and wakes whoever waits for messages."""
        now = self.last_heard = self._clock.monotonic()
        if self._held:
            # Some transports bring what they had when they were told to pause.
            self._held += data
            return
        if self._gathered:
            data = self._gathered + data
            self._gathered = b""
        if self._receiver is None or len(data) > MAX_GATHERED_BYTES:
            self._read(data)
        elif self._gathering.asks_to_wait(now):
            self._gathered = data
            self._gathering.add(self)
        else:
            self._read(data)

    def read_gathered(self) -> None:
        """Reads what was put aside, if it still is."""
        data, self._gathered = self._gathered, b""
        if data:
            self._read(data)

    def eof_received(self) -> None:
        """Reads the end of the stream; the transport then closes itself."""
        self._end_stream()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends everything that waits."""
        self.connection_exc = exc
        self._end_stream()
        self._budget.used -= self._share
        self._share = 0
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self.is_closed = True
        self._gate.open()
        wake(self._waiter, self._answered, self._closed)

    def pause_writing(self) -> None:
        """Makes writers wait."""
        self._gate.shut()

    def resume_writing(self) -> None:
        """Lets writers go on."""
        self._gate.open()

    # --- the way in ---

    def _read(self, data: bytes) -> None:
        """Reads bytes, gives the messages to whoever waits, and holds the peer back if need be."""
        self._feed(data)
        while self._receiver is not None and self._reader.bursts and self._hand_over():
            held, self._held = self._held, b""
            if held:
                self._feed(held)
        self._weigh()

    def _feed(self, data: bytes) -> None:
        reader = self._reader
        read = reader.feed(data, self._budget.allowance)
        if read < len(data):
            self._held = data[read:]
        if reader.stirred:
            reader.stirred = False
            self._settle()

    def _hand_over(self) -> bool:
        """Gives what was read to the receiver that waits; returns whether it waits for more."""
        receiver, waiter = self._receiver, self._waiter
        assert receiver is not None  # noqa: S101 - the caller's condition
        assert waiter is not None  # noqa: S101 - as above
        if waiter.done():
            return False  # its caller was cancelled, and does not know yet
        try:
            self._reader.give(receiver)
        except Exception as error:  # noqa: BLE001 - it is raised where the receiver is from
            waiter.set_exception(error)
        else:
            if not receiver.full:
                return True
            waiter.set_result(None)
        self._receiver = None
        return False

    def _weigh(self) -> None:
        """Counts what waits, and holds the peer back if that is too much."""
        unread = self._reader.unread_bytes
        if unread != self._share:
            self._budget.used += unread - self._share
            self._share = unread
        if self._held or unread > self._budget.allowance:
            self._pause()

    def _give(self, receiver: Receiver) -> None:
        """Gives what waits, and lets more of it come, until the receiver is full."""
        reader = self._reader
        while True:
            reader.give(receiver)
            self._weigh()
            if receiver.full:
                return
            if self._paused:
                self._go_on()
            if not reader.bursts:
                return

    def _pause(self) -> None:
        if not self._paused and self.state is State.OPEN:
            self._paused = True
            self.transport.pause_reading()

    def _go_on(self) -> None:
        """Reads what was held back, and then from the transport unless that was enough."""
        held, self._held = self._held, b""
        if held:
            self._read(held)
        enough = self._held or self._reader.unread_bytes > self._budget.allowance
        if enough and self.state is State.OPEN:
            return
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _end_stream(self) -> None:
        """Reads all that was held back, however much that is, and then the end of the stream."""
        self.read_gathered()
        if self._is_unanswered:
            self.cut_off = True
        held, self._held = self._held, b""
        if held:
            self._reader.feed(held, _UNBOUNDED)
        self._reader.feed_eof()
        self._settle()
        if self._receiver is not None and self._reader.bursts:
            self._hand_over()

    # --- after the protocol was given something ---

    def _settle(self) -> None:
        """Sends what the protocol has to say, and does what its state asks for."""
        self._flush()
        if self._is_unanswered:
            return
        wake(self._answered)
        if self.state is State.OPEN or self.protocol.handshake_exc is not None:
            # Who opens drops the transport when that failed.
            return
        if self._paused:
            # Nobody is held back any longer, so that the answer to a close is seen.
            self._go_on()
        if self._linger is None and not self.is_closed and self._reader.is_over:
            # RFC 6455 §7.1.1: the server closes first, within a reasonable time.
            self._linger = self._loop.call_later(
                self._target.close_timeout_seconds, self.transport.abort
            )

    @property
    def _is_unanswered(self) -> bool:
        return self.state is State.CONNECTING and self.protocol.handshake_exc is None

    def _flush(self) -> None:
        """Writes what the protocol has to say."""
        for data in self.protocol.data_to_send():
            if self.transport.is_closing():
                return
            if data:
                self.transport.write(data)
            elif self.transport.can_write_eof():
                # uvloop raises a RuntimeError where asyncio does nothing.
                with suppress(OSError, RuntimeError):
                    self.transport.write_eof()
            else:
                self.transport.close()
