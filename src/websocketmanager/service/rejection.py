"""A topic that the API refuses: messages are dropped, and one tries it now and then."""

from __future__ import annotations

from websocketmanager.domain.model import Topic

#: Seconds between attempts on a topic that the API refused.
RETRY_TOPIC_SECONDS = 30.0


class Rejection:
    """Of one connection. Times are monotonic seconds.

    Attributes:
        topic: that is refused now, if one is.
        dropped: messages that were dropped for it.
    """

    __slots__ = ("_retry_at", "_trying", "dropped", "topic")

    def __init__(self) -> None:
        self.topic: Topic | None = None
        self.dropped = 0
        self._retry_at = 0.0
        self._trying = False

    def begin(self, topic: Topic, dropped: int, now: float) -> None:
        """The API refuses the topic, and so many messages are dropped with it."""
        self.topic = topic
        self.dropped += dropped
        self._retry_at = now + RETRY_TOPIC_SECONDS

    def end(self) -> int:
        """Nothing is refused any more; returns how many messages were dropped."""
        self.topic = None
        dropped, self.dropped = self.dropped, 0
        return dropped

    def settle(self) -> None:
        """It is known what became of the message that tried."""
        self._trying = False

    def hasten(self) -> None:
        """Lets the next message try at once."""
        self._retry_at = 0.0
        self._trying = False

    def is_worth_trying(self, now: float) -> bool:
        """Whether a message may try."""
        return not self._trying and now >= self._retry_at

    def may_try(self, now: float) -> bool:
        """Whether this message may try; no other does until it is known what became of it."""
        if not self.is_worth_trying(now):
            return False
        self._trying = True
        return True
