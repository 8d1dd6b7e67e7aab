"""The callers of `Send` that wait for a correlated reply: a bounded table per connection."""

from __future__ import annotations

import asyncio

from websocketmanager.domain import correlation
from websocketmanager.errors import ConnectionEnded, LimitReached


class Replies:
    """Matches incoming messages with waiting callers."""

    def __init__(self, *, connection_id: str, max_pending: int) -> None:
        self._connection_id = connection_id
        self._max_pending = max_pending
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}

    def expect(self, prefix: bytes) -> asyncio.Future[bytes]:
        """Returns what the first reply with this prefix will complete, without the prefix.

        Raises:
            LimitReached: too many callers wait already.
        """
        if len(self._waiting) >= self._max_pending:
            raise LimitReached(limit="pending sends of a connection", maximum=self._max_pending)
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        # A caller that failed to write does not ask what became of its reply.
        reply.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting[prefix] = reply
        return reply

    def forget(self, prefix: bytes) -> None:
        """Gives up on a reply; one that comes later is an ordinary message."""
        self._waiting.pop(prefix, None)

    def take(self, message: bytes) -> bool:
        """Completes the caller that waits for this message; returns whether one did."""
        if not self._waiting:
            return False
        reply = self._waiting.pop(correlation.prefix_of(message), None)
        if reply is None or reply.done():
            return False
        reply.set_result(correlation.reply_of(message))
        return True

    def fail_all(self, problem: str) -> None:
        """Ends all waiting: the socket that should bring the replies is gone."""
        waiting, self._waiting = self._waiting, {}
        for reply in waiting.values():
            if not reply.done():
                reply.set_exception(
                    ConnectionEnded(connection_id=self._connection_id, problem=problem)
                )
