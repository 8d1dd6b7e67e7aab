"""Sends for callers on the session of the moment: bounded, in time, with correlated replies."""

from __future__ import annotations

from collections.abc import Callable

from websocketmanager.domain import correlation
from websocketmanager.domain.failure import SocketFailed
from websocketmanager.domain.model import Kind
from websocketmanager.errors import ConnectionEnded, LimitReached, ReplyTimeout, WriteTimeout
from websocketmanager.ports import Clock, Dice
from websocketmanager.service.replies import Replies
from websocketmanager.service.session import Session


class Sender:
    """Writes what callers of one connection send.

    Args:
        clock, dice: for timeouts and correlation ids.
        replies: the connection's.
        connection_id: for errors.
        max_pending: writes that may wait for the peer to read.
        session: returns the open session, or raises NotConnected.

    Attributes:
        sent, sent_bytes: counts of this process.
    """

    __slots__ = (
        "_clock",
        "_connection_id",
        "_dice",
        "_max_pending",
        "_replies",
        "_session",
        "_writing",
        "sent",
        "sent_bytes",
    )

    def __init__(
        self,
        clock: Clock,
        dice: Dice,
        replies: Replies,
        *,
        connection_id: str,
        max_pending: int,
        session: Callable[[], Session],
    ) -> None:
        self._clock = clock
        self._dice = dice
        self._replies = replies
        self._connection_id = connection_id
        self._max_pending = max_pending
        self._session = session
        self._writing = 0
        self.sent = 0
        self.sent_bytes = 0

    async def send(self, data: bytes, kind: Kind, *, timeout_seconds: float) -> None:
        """Writes one message to the open session.

        Raises:
            NotConnected: there is no open session.
            ConnectionEnded: it ended during the write.
            LimitReached: too many writes wait for the peer to read.
            WriteTimeout: the peer did not read in time.
        """
        await self._send(self._session(), data, kind, timeout_seconds)

    async def request(self, data: bytes, kind: Kind, *, timeout_seconds: float) -> bytes:
        """Sends a correlated message and returns its reply.

        Raises:
            NotConnected, ConnectionEnded, LimitReached: as `send`.
            ReplyTimeout: no reply in time.
        """
        session = self._session()
        key, wire = self._replies.frame(data, self._dice.token_bytes(correlation.PREFIX_BYTES))
        reply = self._replies.expect(key, generation=session.generation)
        try:
            async with self._clock.timeout(timeout_seconds):
                await self._send(session, wire, kind, timeout_seconds)
                return await reply
        except TimeoutError as error:
            raise ReplyTimeout(
                connection_id=self._connection_id, timeout_seconds=timeout_seconds
            ) from error
        finally:
            self._replies.forget(key)

    async def _send(
        self, session: Session, data: bytes, kind: Kind, timeout_seconds: float
    ) -> None:
        if self._writing >= self._max_pending:
            raise LimitReached(limit="pending sends of a connection", maximum=self._max_pending)
        self._writing += 1
        try:
            async with self._clock.timeout(timeout_seconds):
                await session.send(data, kind)
        except TimeoutError as error:
            raise WriteTimeout(
                connection_id=self._connection_id, timeout_seconds=timeout_seconds
            ) from error
        except SocketFailed as error:
            raise ConnectionEnded(
                connection_id=self._connection_id, problem=str(error.failure)
            ) from error
        finally:
            self._writing -= 1
        self.sent += 1
        self.sent_bytes += len(data)
