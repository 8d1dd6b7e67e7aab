"""The lifecycle outbox: publishes events in order, at least once, through the lane.

Order is promised per connection, so each connection that has something to tell has a feed of
its own: on an API without batches the events of many go side by side.

Bounded by its writers: the ledger keeps at most as many unacknowledged events per connection as
a record remembers, so that a crash at any point leaves no hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from websocketmanager.domain.envelope import Event, Parcel, each_event, lifecycle_event
from websocketmanager.domain.facts import LifecycleEventsDropped
from websocketmanager.domain.model import ConnectionId, Topic
from websocketmanager.domain.record import Record, RecordedEvent
from websocketmanager.ports import Journal, Refusal
from websocketmanager.service.lane import Feed, Lane


class Outbox:
    """Publishes the lifecycle events of all connections on one topic."""

    def __init__(self, lane: Lane, journal: Journal, *, topic: Topic, type_prefix: str) -> None:
        self._lane = lane
        self._feeds: dict[ConnectionId, Feed] = {}
        self._journal = journal
        self._topic = topic
        self._type_prefix = type_prefix
        self._writers: dict[Event, tuple[ConnectionId, Callable[[int], None]]] = {}

    def publish(
        self,
        record: Record,
        events: Sequence[RecordedEvent],
        acknowledge: Callable[[int], None],
    ) -> None:
        """Queues events of a record; each number is acknowledged once it cannot be lost."""
        for recorded in events:
            event = lifecycle_event(
                topic=self._topic,
                type_prefix=self._type_prefix,
                state=recorded.name,
                connection_id=record.id,
                created_at=record.created_at,
                number=recorded.number,
                at=recorded.at,
                data=recorded.data,
            )
            feed = self._feeds.get(record.id)
            if feed is None:
                feed = self._feeds[record.id] = Feed(self._lane, self)
            self._writers[event] = (record.id, acknowledge)
            feed.push(event)

    # --- lane.FeedOwner -------------------------------------------------------------------------

    def accepted(self, events: Sequence[Parcel]) -> None:
        """Tells the writers that these are published."""
        for event in each_event(events):
            connection_id, acknowledge = self._writers.pop(event)
            feed = self._feeds.get(connection_id)
            if feed is not None and not feed.load:
                del self._feeds[connection_id]  # a quiet connection costs nothing
            acknowledge(event.tag)

    def refused(self, event: Event, refusal: Refusal) -> bool:
        """Drops one event that the API refuses for good; the next is tried all the same."""
        self._journal.emit(LifecycleEventsDropped(1, refusal.problem))
        self.accepted([event])
        return False

    def discarded(self, events: Sequence[Parcel]) -> None:
        """Never happens: `refused` wants nothing discarded."""
        self.accepted(events)
