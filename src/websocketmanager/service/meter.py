"""Counts what one connection has received and delivered, and how fast it does."""

from __future__ import annotations

from websocketmanager.domain.rates import Rate

#: How often the rates look at the counts, at most: not with every message.
_LOOK_SECONDS = 1.0


class Meter:
    """Counts of one connection in this process.

    Args:
        now: Unix seconds.

    Attributes:
        received: messages.
        received_bytes: of their data.
        published: messages that the API has accepted.
        unrouted: messages that came while there was no topic.
        dropped: messages that nobody gets.
        last_message_at: Unix seconds; None before the first message.
    """

    __slots__ = (
        "_bytes_10s",
        "_bytes_60s",
        "_look_again_at",
        "_looked_at",
        "_messages_10s",
        "_messages_60s",
        "dropped",
        "last_message_at",
        "published",
        "received",
        "received_bytes",
        "unrouted",
    )

    def __init__(self, now: float) -> None:
        self.received = self.received_bytes = 0
        self.published = self.unrouted = self.dropped = 0
        self.last_message_at: float | None = None
        self._looked_at, self._look_again_at = now, now + _LOOK_SECONDS
        self._messages_10s = self._bytes_10s = Rate.begin(10.0, now)
        self._messages_60s = self._bytes_60s = Rate.begin(60.0, now)

    def count(self, messages: int, size: int, at: float) -> None:
        """Counts messages that came together.

        Args:
            messages: how many.
            size: bytes of their data.
            at: Unix seconds; may jump.
        """
        if at >= self._look_again_at or at < self._looked_at:
            self.look(at)
        self.received += messages
        self.received_bytes += size
        self.last_message_at = at

    def look(self, at: float) -> None:
        """Has the rates see the counts."""
        count, size = self.received, self.received_bytes
        self._messages_10s = self._messages_10s.advanced(count, at)
        self._messages_60s = self._messages_60s.advanced(count, at)
        self._bytes_10s = self._bytes_10s.advanced(size, at)
        self._bytes_60s = self._bytes_60s.advanced(size, at)
        self._looked_at, self._look_again_at = at, at + _LOOK_SECONDS

    @property
    def messages_per_second(self) -> tuple[float, float]:
        """Over 10 and over 60 seconds, as of the last look."""
        return self._messages_10s.per_second, self._messages_60s.per_second

    @property
    def bytes_per_second(self) -> tuple[float, float]:
        """Over 10 and over 60 seconds, as of the last look."""
        return self._bytes_10s.per_second, self._bytes_60s.per_second
