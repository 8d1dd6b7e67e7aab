"""One open WebSocket: `ports.Socket` on the library's own client, the reference engine."""

from __future__ import annotations

from contextlib import suppress
from typing import Final, NoReturn

from websockets.exceptions import ConnectionClosed, ProtocolError, TooManyFragments
from websockets.frames import CloseCode
from websockets.protocol import State

from websocketmanager.adapters.websocket.connection import Connection
from websocketmanager.adapters.websocket.cutting import is_utf8
from websocketmanager.adapters.websocket.failures import ending_failure
from websocketmanager.adapters.websocket.reading import NOT_UTF8, TOO_MANY_FRAGMENTS
from websocketmanager.domain.failure import Failure, SocketFailed
from websocketmanager.domain.model import Burst, Kind, Message
from websocketmanager.ports import Clock, DialTarget, Receiver

#: RFC 6455 §5.5: a control frame has 125 bytes at most, and the code takes two.
_MAX_REASON_BYTES: Final = 123


class WebSocketSession:
    """`ports.Socket`. One coroutine at a time receives; sends may overlap."""

    def __init__(
        self, connection: Connection, *, target: DialTarget, address: str, clock: Clock
    ) -> None:
        self._connection = connection
        self._target = target
        self._address = address
        self._clock = clock
        self._refusal: Failure | None = None
        #: What a receiver did not take.
        self._held: Burst | None = None

    def __repr__(self) -> str:
        return f"<WebSocketSession {self._address} {self._connection.state.name.lower()}>"

    @property
    def address(self) -> str:
        """The address that was dialled, as `host:port`; IPv6 in brackets."""
        return self._address

    @property
    def subprotocol(self) -> str:
        """The subprotocol the server chose, or the empty string."""
        return self._connection.subprotocol or ""

    @property
    def last_heard(self) -> float:
        """`Clock.monotonic()` when bytes came last, of whatever frame."""
        return self._connection.last_heard

    async def recv_into(self, receiver: Receiver) -> None:
        """Gives the receiver what the library holds and what arrives, until it is full.

        Cancelling loses none.

        Raises:
            SocketFailed: as `recv` does.
        """
        while not receiver.full:
            if self._held is None:
                await self._hold()
                continue  # it may have become full meanwhile
            # Held until it is taken: a receiver that raises takes nothing along.
            kind, payloads = self._held.kind, self._held.payloads
            left = payloads[receiver.take(kind, payloads) :]
            self._held = Burst(kind, left) if left else None

    async def _hold(self) -> None:
        """Holds whole messages of one kind that the library has, one at least."""
        connection, first = self._connection, await self._next()
        # At once: cancelling must not lose them while one behind them is refused.
        held = self._held = Burst(first.kind, [first.data])
        with suppress(SocketFailed):  # the next call says so again
            while connection.whole and connection.kinds[0] is first.kind:
                held.payloads.append((await self._next()).data)  # which does not wait then

    async def recv(self) -> Message:
        """Returns the next message. Cancelling loses none.

        Raises:
            SocketFailed: the socket ended, and all messages before its end were returned.
        """
        if self._held is not None:
            held, self._held = self._held, None
            if len(held.payloads) > 1:
                self._held = Burst(held.kind, held.payloads[1:])
            return Message(held.kind, held.payloads[0])
        return await self._next()

    async def _next(self) -> Message:
        """Returns the next message of the library's."""
        self._raise_refusal()
        connection = self._connection
        try:
            # Not the library's `recv`: that one is unusable behind too many fragments, and keeps
            # the peer's answer to its close unread.
            data = await connection.recv_messages.get(decode=False)
        except EOFError:
            await connection.wait_closed()
            raise self._ended() from None
        except TooManyFragments:
            await self._refuse(TOO_MANY_FRAGMENTS, CloseCode.MESSAGE_TOO_BIG)
        connection.whole -= 1
        kind = connection.kinds.popleft()
        if kind is Kind.TEXT and not is_utf8(data):
            await self._refuse(NOT_UTF8, CloseCode.INVALID_DATA)
        return Message(kind, data)

    async def send(self, data: bytes, kind: Kind) -> None:
        """Writes one message; waits while the peer reads too slowly.

        Cancelling while it waits does not take the message back.

        Raises:
            SocketFailed: the socket ended.
        """
        self._raise_refusal()
        try:
            await self._connection.send(data, text=kind is Kind.TEXT)
        except ConnectionClosed:
            raise self._ended() from None
        if self._connection.state is State.CLOSED:
            # The library returns when the connection is dropped under a write that waits.
            raise self._ended()

    def send_ping(self) -> None:
        """Writes a ping; does nothing when the socket ended."""
        connection = self._connection
        if connection.state is State.OPEN:
            # Not the library's `ping`: that one keeps a future for each.
            connection.protocol.send_ping(b"")
            connection.send_data()

    async def close(self, code: int, reason: str) -> None:
        """Closes with a handshake, at most the target's close timeout long; never raises.

        What the peer sent before it answers can still be received, up to a bound. Cancelling
        drops the transport.
        """
        self._connection.release()
        try:
            # The library's own bound does not cover a peer that stopped reading.
            async with self._clock.timeout(self._target.close_timeout_seconds):
                # A code that may not be sent (RFC 6455 §7.4.1) is refused: then without.
                with suppress(ProtocolError):
                    await self._connection.close(code, clipped(reason))
        except TimeoutError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Drops the transport at once; never raises."""
        self._connection.transport.abort()

    async def _refuse(self, failure: Failure, code: CloseCode) -> NoReturn:
        """Fails the connection over a message (RFC 6455 §7.1.7): nothing behind it counts.

        Raises:
            SocketFailed: always.
        """
        self._refusal = failure
        connection = self._connection
        connection.release()
        try:
            async with self._clock.timeout(self._target.close_timeout_seconds):
                with suppress(ConnectionClosed):
                    async with connection.send_context():
                        connection.protocol.fail(code, failure.message)
        except TimeoutError:
            pass
        finally:
            self.abort()
        raise SocketFailed(failure)

    def _raise_refusal(self) -> None:
        if self._refusal is not None:
            raise SocketFailed(self._refusal)

    def _ended(self) -> SocketFailed:
        return SocketFailed(self._refusal or ending_failure(self._connection, self._target))


def clipped(reason: str) -> str:
    """Shortens a reason to what fits, never within a character."""
    return reason.encode(errors="replace")[:_MAX_REASON_BYTES].decode(errors="ignore")
