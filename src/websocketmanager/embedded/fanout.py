"""In-process publish and subscribe: exact topics, one bounded queue per subscriber.

Publishing never waits. A subscriber that lets more wait than its bounds allow is cut: what
waited is forgotten, its reader is told, and nobody else notices. Single-threaded: everything
here belongs to one event loop. Events are opaque bytes, shared by all their subscribers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from websocketmanager.domain.facts import SubscriberCut
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
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        state = self.end.name if self.end else "in force"
        return f"<Subscription {self.id} {state} topics={self.topics} waiting={len(self._waiting)}>"

    @property
    def waiting(self) -> int:
        """How many events wait to be taken."""
        return len(self._waiting)

    async def take(self, max_events: int, max_bytes: int) -> Sequence[bytes]:
        """Waits for events and takes those that wait, oldest first and at least one.

        Empty once the subscription has ended, when all that it still had to give was taken;
        `end` then says why. Cancelling takes nothing. For one reader at a time.

        Args:
            max_events: events to take at most.
            max_bytes: their size together at most, unless the first alone is larger.
        """
        while not self._waiting:
            if self.end is not None:
                return ()
            self._changed.clear()
            await self._changed.wait()
        taken = [self._waiting.popleft()]
        size = len(taken[0])
        while self._waiting and len(taken) < max_events:
            size += len(self._waiting[0])
            if size > max_bytes:
                size -= len(self._waiting[0])
                break
            taken.append(self._waiting.popleft())
        self._waiting_bytes -= size
        return taken

    def offer(self, events: Sequence[bytes], size: int) -> bool:
        """Queues events of `size` bytes together; False when not all of them fit."""
        waiting, limits = self._waiting, self._limits
        total = self._waiting_bytes + size
        fit = total <= limits.max_bytes and len(waiting) + len(events) <= limits.max_events
        if fit:
            waiting.extend(events)
            self._waiting_bytes = total
        else:
            fit = all(self._offer_one(event) for event in events)
        self._changed.set()
        return fit

    def _offer_one(self, event: bytes) -> bool:
        waiting = self._waiting
        size = self._waiting_bytes + len(event)
        if waiting and (len(waiting) >= self._limits.max_events or size > self._limits.max_bytes):
            return False
        waiting.append(event)
        self._waiting_bytes = size
        return True

    def finish(self, reason: End) -> None:
        """Ends the subscription; only a slow reader loses what waits."""
        self.end = reason
        if reason is End.TOO_SLOW:
            self._waiting.clear()
            self._waiting_bytes = 0
        self._changed.set()


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

    def publish(self, topic: str, events: Sequence[bytes]) -> None:
        """Queues events for all subscribers of the topic and cuts those that are full."""
        subscribers = self._by_topic.get(topic)
        if not subscribers:
            return
        size = sum(map(len, events))
        slow = [s for s in subscribers if not s.offer(events, size)]
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
