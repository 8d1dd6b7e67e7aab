"""Counts what one connection has received and delivered, and how fast it does."""

from __future__ import annotations

from dataclasses import dataclass

from websocketmanager.domain.rates import Rate

#: How often the rates look at the counts, at most: not with every message.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Rates:
    """Of messages and of bytes, each over 10 and over 60 seconds."""

    messages: tuple[Rate, Rate]
    bytes: tuple[Rate, Rate]

    @classmethod
    def begin(cls, since: float, at: float) -> _Rates:
        """Returns rates of counts that were zero from the one time to the other."""
        none = Rate(10.0, since, at), Rate(60.0, since, at)
        return cls(none, none)

    def advanced(self, messages: int, size: int, at: float) -> _Rates:
        """Returns the rates after a look at both counts."""
        (short, long), (short_bytes, long_bytes) = self.messages, self.bytes
        return _Rates(
            (short.advanced(messages, at), long.advanced(messages, at)),
            (short_bytes.advanced(size, at), long_bytes.advanced(size, at)),
        )


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
        "_began_at",
        "_look_again_at",
        "_looked_at",
        "_rates",
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
        self._began_at = self._looked_at = now
        self._look_again_at = now + _LOOK_SECONDS
        # Made when there is something to see: idle connections have none.
        self._rates: _Rates | None = None

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
        if self.received:
            if self._rates is None:
                self._rates = _Rates.begin(self._began_at, self._looked_at)
            self._rates = self._rates.advanced(self.received, self.received_bytes, at)
        elif at < self._looked_at:
            self._began_at = at
        self._looked_at, self._look_again_at = at, at + _LOOK_SECONDS

    @property
    def messages_per_second(self) -> tuple[float, float]:
        """Over 10 and over 60 seconds, as of the last look."""
        rates = self._rates
        return (rates.messages[0].per_second, rates.messages[1].per_second) if rates else (0.0, 0.0)

    @property
    def bytes_per_second(self) -> tuple[float, float]:
        """Over 10 and over 60 seconds, as of the last look."""
        rates = self._rates
        return (rates.bytes[0].per_second, rates.bytes[1].per_second) if rates else (0.0, 0.0)
