"""In-process publish and subscribe: exact topics, one bounded queue per subscriber.

Publishing never waits. A subscriber that lets more wait than its bounds allow is cut: what
waited is forgotten, its reader is told, and nobody else notices. Single-threaded: everything
here belongs to one event loop. Events wait in the chunks that they were published in, which all
their subscribers share.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from websocketmanager.domain.facts import SubscriberCut
from websocketmanager.embedded.chunk import Chunk, entry_end
from websocketmanager.ports import Journal


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What may wait for one subscriber.

    An event larger than `max_bytes` passes when nothing else waits.
    """

    max_events: int = 65536
    max_bytes: int = 64 * 1024 * 1024


class End(Enum):
    """Why a subscription ended."""

    UNSUBSCRIBED = auto()
    TOO_SLOW = auto()
    STOPPING = auto()


class Subscription:
    """One subscriber's queue, in the order of publication over all its topics."""

    def __init__(self, id: str, topics: Collection[str], limits: QueueLimits) -> None:
        self.id = id
        self.topics = tuple(dict.fromkeys(topics))
        self.end: End | None = None
        self._limits = limits
        self._waiting: deque[Chunk] = deque()
        self._waiting_events = 0
        self._waiting_bytes = 0
        # Of the oldest chunk, when a reader took less than all of it.
        self._taken_events = 0
        self._taken_bytes = 0
        #: Of the reader that waits.
        self._wake: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        state = self.end.name if self.end else "in force"
        return f"<Subscription {self.id} {state} topics={self.topics} waiting={self.waiting}>"

    @property
    def waiting(self) -> int:
        """How many events wait to be taken."""
        return self._waiting_events

    async def take(self, max_events: int, max_bytes: int) -> bytes:
        """Waits for events and takes of those that wait, oldest first and at least one.

        As many whole chunks as fit, or of one that does not fit alone what does.

        Empty once the subscription has ended, when all that it still had to give was taken;
        `end` then says why. Cancelling takes nothing. For one reader at a time.

        Args:
            max_events: events to take at most.
            max_bytes: their size together at most, unless the first alone is larger.

        Returns:
            The events, entries of `PubsubEvents`.
        """
        while not self._waiting:
            if self.end is not None:
                return b""
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        bodies: list[bytes] = []
        events = size = 0
        while self._waiting:
            chunk = self._waiting[0]
            count = chunk.events - self._taken_events
            events += count
            size += len(chunk.body) - self._taken_bytes
            if (events > max_events or size > max_bytes) and (bodies or count > 1):
                if not bodies:
                    bodies.append(self._cut(chunk.body, max_events, max_bytes))
                break
            bodies.append(chunk.body[self._taken_bytes :])
            self._waiting.popleft()
            self._taken_events = self._taken_bytes = 0
            self._waiting_events -= count
        taken = bodies[0] if len(bodies) == 1 else b"".join(bodies)
        self._waiting_bytes -= len(taken)
        return taken

    def _cut(self, body: bytes, max_events: int, max_bytes: int) -> bytes:
        """Takes what fits from the oldest chunk, of which not everything does."""
        start = self._taken_bytes
        end, count = entry_end(body, start), 1
        while count < max_events and (further := entry_end(body, end)) - start <= max_bytes:
            end, count = further, count + 1
        self._taken_events += count
        self._taken_bytes = end
        self._waiting_events -= count
        return body[start:end]

    def offer(self, chunk: Chunk) -> bool:
        """Queues events; False, and none is queued, when not all of them fit."""
        size = self._waiting_bytes + len(chunk.body)
        events = self._waiting_events + chunk.events
        if (size > self._limits.max_bytes or events > self._limits.max_events) and events > 1:
            return False
        self._waiting.append(chunk)
        self._waiting_bytes = size
        self._waiting_events = events
        self._notify()
        return True

    def finish(self, reason: End) -> None:
        """Ends the subscription; only a slow reader loses what waits."""
        self.end = reason
        if reason is End.TOO_SLOW:
            self._waiting.clear()
            self._waiting_events = self._waiting_bytes = 0
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class Fanout:
    """Who is subscribed to what."""

    def __init__(self, limits: QueueLimits, journal: Journal) -> None:
        self._limits = limits
        self._journal = journal
        self._stopped = False
        self._subscriptions: dict[str, Subscription] = {}
        self._by_topic: dict[str, list[Subscription]] = {}

    def __repr__(self) -> str:
        return f"<Fanout subscriptions={len(self._subscriptions)} topics={len(self._by_topic)}>"

    def subscribe(self, id: str, topics: Collection[str]) -> Subscription:
        """Puts a new subscription in force: it gets every event published from now on."""
        subscription = Subscription(id, topics, self._limits)
        if self._stopped:
            subscription.finish(End.STOPPING)
            return subscription
        self._subscriptions[id] = subscription
        for topic in subscription.topics:
            self._by_topic.setdefault(topic, []).append(subscription)
        return subscription

    def unsubscribe(self, id: str) -> bool:
        """Ends a subscription, which still gives what waits; False when there is none."""
        subscription = self._subscriptions.get(id)
        if subscription is None:
            return False
        self._end(subscription, End.UNSUBSCRIBED)
        return True

    def stop(self) -> None:
        """Ends all subscriptions, now and later; each still gives what waits."""
        self._stopped = True
        for subscription in tuple(self._subscriptions.values()):
            self._end(subscription, End.STOPPING)

    @property
    def stopped(self) -> bool:
        """Whether nothing is delivered any more."""
        return self._stopped

    def has_subscribers(self, topic: str) -> bool:
        """Says whether an event on this topic would go anywhere."""
        return topic in self._by_topic

    def publish(self, topic: str, chunk: Chunk) -> None:
        """Queues events for all subscribers of the topic and cuts those that are full."""
        subscribers = self._by_topic.get(topic)
        if not subscribers:
            return
        slow = [subscriber for subscriber in subscribers if not subscriber.offer(chunk)]
        for subscription in slow:  # apart: ending them changes the list above
            waiting = subscription.waiting
            self._end(subscription, End.TOO_SLOW)
            topics = ", ".join(subscription.topics)
            self._journal.emit(SubscriberCut(topics=topics, waiting=waiting))

    def _end(self, subscription: Subscription, reason: End) -> None:
        del self._subscriptions[subscription.id]
        for topic in subscription.topics:
            others = self._by_topic[topic]
            others.remove(subscription)
            if not others:
                del self._by_topic[topic]
        subscription.finish(reason)
