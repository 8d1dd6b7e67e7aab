"""What waits for the lane: a feed per stream of events, and the batches that are made of feeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from websocketmanager.domain.envelope import Event
from websocketmanager.errors import ApiError
from websocketmanager.ports import PublishResult, Refusal

#: Bytes that one feed may put into a batch before the next feed's turn.
_TURN_BYTES = 64 * 1024
#: What an event costs beside its data, roughly: its attributes and its handling.
_EVENT_BYTES = 512
#: Bytes of one batch; the sink may cut it further.
_BATCH_BYTES = 1024 * 1024
#: A feed without a gate publishes everything.
OPEN = 1 << 62


class FeedOwner(Protocol):
    """Whose events a feed carries. Called synchronously, must not raise."""

    def accepted(self, events: Sequence[Event]) -> None:
        """These events, in order, are published for good."""

    def refused(self, event: Event, refusal: Refusal) -> bool:
        """The event was refused for good; returns whether to drop what waits on its topic."""

    def discarded(self, events: Sequence[Event]) -> None:
        """These events were dropped behind a refused one, as the owner wanted."""


class Way(Protocol):
    """What a feed leads to: the lane."""

    #: Events of all feeds that are not yet accepted.
    pending: int

    def offer(self, feed: Feed) -> None:
        """Queues the feed for its turn if it has something to publish."""

    def lighten(self, feed: Feed, count: int) -> None:
        """Counts events of a feed out."""


class Feed:
    """Events of one stream that wait for their turn, in order.

    Attributes:
        gate: only events whose tag is at most this are published; the others wait.
        events: what waits, in order, without what is in flight.
        load: events not yet accepted, those in flight included.
        owner: whose events they are.
        queued: whether it waits for its turn, or may have none now. The lane's, as are these two:
        held_until: monotonic time before which it is not tried again, or None.
        strikes: how often its head failed in a row without a reason.
    """

    __slots__ = ("_lane", "events", "gate", "held_until", "load", "owner", "queued", "strikes")

    def __init__(self, lane: Way, owner: FeedOwner, *, gate: int = OPEN) -> None:
        self._lane = lane
        self.owner = owner
        self.queued = False
        self.held_until: float | None = None
        self.strikes = 0
        self.gate = gate
        self.events: deque[Event] = deque()
        self.load = 0

    def push(self, event: Event) -> None:
        """Appends an event; never blocks. Bounds are the owner's."""
        self.events.append(event)
        self.load += 1
        self._lane.pending += 1
        if not self.queued:
            self._lane.offer(self)

    def push_many(self, events: Sequence[Event]) -> None:
        """Appends events; never blocks. Bounds are the owner's."""
        self.events.extend(events)
        count = len(events)
        self.load += count
        self._lane.pending += count
        if not self.queued:
            self._lane.offer(self)

    def open_gate(self, tag: int) -> None:
        """Lets events up to this tag pass."""
        if tag > self.gate:
            self.gate = tag
            self._lane.offer(self)

    def clear(self) -> list[Event]:
        """Takes out what waits and is not in flight."""
        events = list(self.events)
        self.events.clear()
        self._lane.lighten(self, len(events))
        return events

    @property
    def publishable(self) -> bool:
        """Whether its head may go now."""
        return bool(self.events) and self.events[0].tag <= self.gate and self.held_until is None


class Batch:
    """Events of one publish call and whose they are.

    Attributes:
        events: what is not settled yet, in order.
        outcome: of the call, once it has ended.
    """

    __slots__ = ("_runs", "events", "outcome")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.outcome: PublishResult | ApiError | None = None
        #: Feeds and how many events each has there, in the order of `events`.
        self._runs: list[tuple[Feed, int]] = []

    @property
    def feeds(self) -> set[Feed]:
        """Whose events it holds."""
        return {feed for feed, _ in self._runs}

    @property
    def complete(self) -> bool:
        """Whether the call has accepted everything."""
        outcome = self.outcome
        return isinstance(outcome, PublishResult) and outcome.accepted == len(self.events)

    def fill(self, ready: deque[Feed], max_events: int) -> set[Feed]:
        """Takes events from the ready feeds in turn, by bytes; returns the feeds that had a turn.

        They are the first of `ready`, which is left as it is.
        """
        events, append = self.events, self.events.append
        turns = deque(ready)
        taken: set[Feed] = set()
        size = 0
        while turns and len(events) < max_events and size < _BATCH_BYTES:
            feed = turns.popleft()
            taken.add(feed)
            before = len(events)
            if feed.publishable:
                waiting, gate = feed.events, feed.gate
                room = min(_TURN_BYTES, _BATCH_BYTES - size)
                turn = 0
                take = waiting.popleft
                for _ in range(min(len(waiting), max_events - before)):
                    if turn >= room or waiting[0].tag > gate:
                        break
                    event = take()
                    append(event)
                    turn += len(event.data) + _EVENT_BYTES
                size += turn
                self._runs.append((feed, len(events) - before))
                if feed.publishable:
                    turns.append(feed)
        return taken

    def accept(self, count: int, tell: Callable[[Feed, Sequence[Event]], None]) -> None:
        """Takes out events from the front and tells of them, feed by feed."""
        start, runs = 0, self._runs
        for place, (feed, length) in enumerate(runs):
            if start == count:
                del runs[:place]
                break
            end = min(start + length, count)
            tell(feed, self.events[start:end])
            if end - start < length:
                runs[place] = (feed, length - (end - start))
                del runs[:place]
                break
            start = end
        else:
            runs.clear()
        del self.events[:count]

    def drop_head(self) -> tuple[Event, Feed]:
        """Takes out the first event."""
        feed, length = self._runs[0]
        if length == 1:
            del self._runs[0]
        else:
            self._runs[0] = (feed, length - 1)
        return self.events.pop(0), feed

    @property
    def head_feed(self) -> Feed:
        """Whose the first event is."""
        return self._runs[0][0]

    def give_back(self, feed: Feed) -> None:
        """Moves a feed's events back to the front of the feed."""
        mine: list[Event] = []
        others: list[Event] = []
        start = 0
        for owner, length in self._runs:
            (mine if owner is feed else others).extend(self.events[start : start + length])
            start += length
        self._runs = [run for run in self._runs if run[0] is not feed]
        self.events[:] = others
        feed.events.extendleft(reversed(mine))

    def give_back_all(self) -> None:
        """Moves everything back to the front of its feeds."""
        for feed in self.feeds:
            self.give_back(feed)

    def first_of(self, feed: Feed) -> Event | None:
        """Returns the feed's first event, if there is one."""
        start = 0
        for owner, length in self._runs:
            if owner is feed:
                return self.events[start]
            start += length
        return None
