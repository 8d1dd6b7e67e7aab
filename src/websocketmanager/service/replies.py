"""The callers of `Send` that wait for a correlated reply: a bounded table per connection."""

from __future__ import annotations

import asyncio

from websocketmanager.domain.correlation import Correlator
from websocketmanager.errors import ConnectionEnded, Fault, InvalidArgument, LimitReached


class Replies:
    """Matches incoming messages with waiting callers."""

    __slots__ = ("_connection_id", "_correlator", "_max_pending", "_waiting")

    def __init__(self, correlator: Correlator, *, connection_id: str, max_pending: int) -> None:
        self._correlator = correlator
        self._connection_id = connection_id
        self._max_pending = max_pending
        # Each with the number of the socket that should bring it.
        self._waiting: dict[bytes, tuple[int, asyncio.Future[bytes]]] = {}

    @property
    def waiting(self) -> bool:
        """Whether a message may be a reply."""
        return bool(self._waiting)

    def frame(self, message: bytes, random_bytes: bytes) -> tuple[bytes, bytes]:
        """Returns the key to expect and the bytes to send.

        Raises:
            InvalidArgument: the message has no place for an id, or its id waits already.
        """
        key, wire = self._correlator.framed(message, random_bytes)
        if key in self._waiting:
            raise InvalidArgument(Fault("message", "another Send waits for the reply to its id"))
        return key, wire

    def expect(self, key: bytes, *, generation: int) -> asyncio.Future[bytes]:
        """Returns what the first reply with this key will complete.

        Args:
            key: of the request.
            generation: of the socket that it is sent on.

        Raises:
            LimitReached: too many callers wait already.
        """
        if len(self._waiting) >= self._max_pending:
            raise LimitReached(limit="pending sends of a connection", maximum=self._max_pending)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        # A caller that failed to write does not ask what became of its reply.
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting[key] = generation, reply
        return reply

    def forget(self, key: bytes) -> None:
        """Gives up on a reply; one that comes later is an ordinary message."""
        self._waiting.pop(key, None)

    def take(self, message: bytes) -> bool:
        """Completes the caller that waits for this message; returns whether one did."""
        if not self._waiting:
            return False
        key = self._correlator.key_of(message)
        _, reply = (0, None) if key is None else self._waiting.pop(key, (0, None))
        if reply is None or reply.done():
            return False
        reply.set_result(self._correlator.reply_of(message))
        return True

    def fail_all(self, problem: str, *, generation: int | None = None) -> None:
        """Ends the waiting of all, or of those whose replies this socket should have brought."""
        for key, (number, reply) in list(self._waiting.items()):
            if generation is not None and number != generation:
                continue
            del self._waiting[key]
            if not reply.done():
                reply.set_exception(
                    ConnectionEnded(connection_id=self._connection_id, problem=problem)
                )
