"""One open WebSocket: `ports.Socket` on a connection of the driver."""

from __future__ import annotations

from collections import deque
from contextlib import suppress

from websockets.exceptions import ProtocolError

from websocketmanager.adapters.websocket.failures import ending_failure
from websocketmanager.adapters.websocket.protocol import DriverConnection
from websocketmanager.adapters.websocket.session import clipped
from websocketmanager.domain.failure import SocketFailed
from websocketmanager.domain.model import Kind, Message
from websocketmanager.ports import Clock, DialTarget, Receiver


class Ahead:
    """`ports.Receiver` that keeps messages for whoever takes them one by one."""

    __slots__ = ("_messages",)

    def __init__(self, messages: deque[Message]) -> None:
        self._messages = messages

    @property
    def full(self) -> bool:
        """Whether there is a message to take."""
        return bool(self._messages)

    def take(self, kind: Kind, payloads: list[bytes]) -> int:
        """Takes all: they arrived together."""
        self._messages.extend([Message(kind, data) for data in payloads])
        return len(payloads)


class DriverSession:
    """`ports.Socket`. One coroutine at a time receives; sends may overlap."""

    __slots__ = ("_address", "_ahead", "_clock", "_connection", "_target")

    def __init__(
        self, connection: DriverConnection, *, target: DialTarget, address: str, clock: Clock
    ) -> None:
        self._connection = connection
        self._target = target
        self._address = address
        self._clock = clock
        #: Messages that came together with one that `recv` returned.
        self._ahead: deque[Message] | None = None

    def __repr__(self) -> str:
        return f"<DriverSession {self._address} {self._connection.state.name.lower()}>"

    @property
    def address(self) -> str:
        """The address that was dialled, as `host:port`; IPv6 in brackets."""
        return self._address

    @property
    def subprotocol(self) -> str:
        """The subprotocol the server chose, or the empty string."""
        return self._connection.protocol.subprotocol or ""

    @property
    def last_heard(self) -> float:
        """`Clock.monotonic()` when bytes came last, of whatever frame."""
        return self._connection.last_heard

    async def recv_into(self, receiver: Receiver) -> None:
        """Gives the receiver what has arrived and what arrives, until it is full.

        Cancelling loses none.

        Raises:
            SocketFailed: the socket ended, and all messages before its end were given.
        """
        while self._ahead and not receiver.full:
            message = self._ahead[0]
            if not receiver.take(message.kind, [message.data]):
                return
            self._ahead.popleft()
        while not receiver.full:
            if not await self._connection.read_into(receiver):
                raise self._ended()

    async def recv(self) -> Message:
        """Returns the next message. Cancelling loses none.

        Raises:
            SocketFailed: the socket ended, and all messages before its end were returned.
        """
        if self._ahead is None:
            self._ahead = deque()
        ahead = Ahead(self._ahead)
        while not ahead.full:
            if not await self._connection.read_into(ahead):
                raise self._ended()
        return self._ahead.popleft()

    async def send(self, data: bytes, kind: Kind) -> None:
        """Writes one message; waits while the peer reads too slowly.

        Cancelling while it waits does not take the message back.

        Raises:
            SocketFailed: the socket ended.
        """
        if not await self._connection.send(data, kind):
            raise self._ended()

    def send_ping(self) -> None:
        """Writes a ping; does nothing when the socket ended."""
        self._connection.send_ping()

    async def close(self, code: int, reason: str) -> None:
        """Closes with a handshake, at most the target's close timeout long; never raises.

        What the peer sent before it answers can still be received, up to a bound. Cancelling
        drops the transport.
        """
        connection = self._connection
        try:
            async with self._clock.timeout(self._target.close_timeout_seconds):
                # A code that may not be sent (RFC 6455 §7.4.1) is refused: then without.
                with suppress(ProtocolError):
                    connection.start_close(code, clipped(reason))
                    await connection.wait_closed()
        except TimeoutError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Drops the transport at once; never raises."""
        self._connection.transport.abort()

    def _ended(self) -> SocketFailed:
        connection = self._connection
        return SocketFailed(connection.refusal or ending_failure(connection, self._target))
