"""The one ordered lane to the API: groups what waited while the last publish was in flight.

Every stream of events (a connection's messages, the lifecycle outbox) has a `Feed`. The lane
takes from feeds in turn, by bytes, so that a noisy one starves nobody; the events of one feed
are in one publish call at a time, so their order holds on any kind of sink. An unreachable API
stops the lane and loses nothing; a refused event stops its own feed at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from websocketmanager.domain.envelope import Event
from websocketmanager.domain.facts import PublishingResumed, PublishingStalled
from websocketmanager.errors import ApiUnauthenticated, ApiUnavailable
from websocketmanager.ports import Clock, Dice, EventSink, Journal, Refusal

#: Bytes that one feed may put into a batch before the next feed's turn.
_TURN_BYTES = 64 * 1024
#: What an event costs beside its data, roughly: its attributes and its handling.
_EVENT_BYTES = 512
#: Bytes of one batch; the sink may cut it further.
_BATCH_BYTES = 1024 * 1024
#: A feed whose head failed without a reason is tried this often before it counts as refused.
_MAX_STRIKES = 8
_FIRST_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 2.0
_MAX_HOLD_SECONDS = 5.0
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


class Feed:
    """Events of one stream that wait for their turn, in order.

    Attributes:
        gate: only events whose tag is at most this are published; the others wait.
        events: what waits, in order, without what is in flight.
        load: events not yet accepted, those in flight included.
        owner: whose events they are.
        queued: whether it waits for its turn or is in flight. The lane's, as are these two:
        held_until: monotonic time before which it is not tried again, or None.
        strikes: how often its head failed in a row without a reason.
    """

    __slots__ = ("_lane", "events", "gate", "held_until", "load", "owner", "queued", "strikes")

    def __init__(self, lane: Lane, owner: FeedOwner, *, gate: int = OPEN) -> None:
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


@dataclass(slots=True, eq=False)
class _Batch:
    """Events of one publish call and whose they are, side by side."""

    events: list[Event]
    feeds: list[Feed]


class Lane:
    """Publishes the events of all feeds through one sink."""

    def __init__(self, sink: EventSink, clock: Clock, dice: Dice, journal: Journal) -> None:
        self._sink = sink
        self._clock = clock
        self._dice = dice
        self._journal = journal
        self._ready: deque[Feed] = deque()
        self._held: set[Feed] = set()
        self._flying: set[_Batch] = set()
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._in_flight = 0
        self._stalled_since: float | None = None
        #: Events of all feeds that are not yet accepted.
        self.pending = 0

    @property
    def stalled(self) -> bool:
        """Whether the API takes no events now."""
        return self._stalled_since is not None

    def offer(self, feed: Feed) -> None:
        """Queues the feed for its turn if it has something to publish."""
        if feed.publishable and not feed.queued:
            feed.queued = True
            self._ready.append(feed)
            self._wake.set()

    async def run(self) -> None:
        """Publishes until cancelled. What waits then is still in its feeds."""
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - the lane owns its calls
            while True:
                self._wake.clear()
                self._release_held()
                while self._ready and self._in_flight < self._sink.max_in_flight:
                    batch = self._take_batch(self._sink.max_batch)
                    if not batch.events:
                        continue
                    self._in_flight += 1
                    self._flying.add(batch)
                    tasks.create_task(self._settle(batch))
                await self._wait_for_work()

    def oldest(self, feed: Feed) -> Event | None:
        """Returns the feed's oldest event that is not accepted yet; looks through what flies."""
        for batch in self._flying:
            if feed in batch.feeds:
                return batch.events[batch.feeds.index(feed)]
        return feed.events[0] if feed.events else None

    async def wait_drained(self) -> None:
        """Waits until nothing is pending."""
        while self.pending:
            self._drained.clear()
            await self._drained.wait()

    async def _wait_for_work(self) -> None:
        if not self._held:
            await self._wake.wait()
            return
        due = min(feed.held_until or 0.0 for feed in self._held)
        try:
            async with self._clock.timeout(max(0.0, due - self._clock.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    def _release_held(self) -> None:
        now = self._clock.monotonic()
        for feed in [f for f in self._held if (f.held_until or 0.0) <= now]:
            self._held.discard(feed)
            feed.held_until = None
            self.offer(feed)

    def _take_batch(self, max_events: int) -> _Batch:
        """Takes from the ready feeds in turn; a feed stays queued while it is in flight."""
        batch = _Batch([], [])
        size = 0
        turns = deque(self._ready)
        taken: dict[Feed, None] = {}
        while turns and len(batch.events) < max_events and size < _BATCH_BYTES:
            feed = turns.popleft()
            taken[feed] = None
            turn = 0
            while feed.publishable and len(batch.events) < max_events:
                event = feed.events.popleft()
                batch.events.append(event)
                batch.feeds.append(feed)
                turn += len(event.data) + _EVENT_BYTES
                if turn >= _TURN_BYTES or size + turn >= _BATCH_BYTES:
                    break
            size += turn
            if feed.publishable:
                turns.append(feed)
        busy = set(batch.feeds)
        for feed in taken:
            self._ready.popleft()
            feed.queued = feed in busy  # its owner may have taken out what waited
        return batch

    async def _settle(self, batch: _Batch) -> None:
        """Publishes the batch to its end and gives the feeds back."""
        feeds = dict.fromkeys(batch.feeds)
        try:
            while batch.events:
                await self._publish_some(batch)
        finally:
            self._give_back(batch)
            self._flying.discard(batch)
            self._in_flight -= 1
            for feed in feeds:
                feed.queued = False
                self.offer(feed)
            self._wake.set()

    async def _publish_some(self, batch: _Batch) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                result = await self._sink.publish(batch.events)
                if result.accepted or result.refusal is not None:
                    break
                self._stall("it accepted nothing and gave no reason")
            except (ApiUnavailable, ApiUnauthenticated) as error:
                self._stall(error.problem)
            await self._clock.sleep(pause * (0.5 + 0.5 * self._dice.uniform()))
            pause = min(pause * 2.0, _MAX_PAUSE_SECONDS)
        self._resume()
        count = result.accepted
        if count:
            self._accept(batch, count)
        if result.refusal is not None and batch.events:
            self._refuse(batch, result.refusal)

    def _accept(self, batch: _Batch, count: int) -> None:
        start = 0
        for index in range(1, count + 1):
            if index == count or batch.feeds[index] is not batch.feeds[start]:
                feed = batch.feeds[start]
                feed.strikes = 0
                self.lighten(feed, index - start)
                feed.owner.accepted(batch.events[start:index])
                start = index
        del batch.events[:count], batch.feeds[:count]

    def _refuse(self, batch: _Batch, refusal: Refusal) -> None:
        """The batch's first event was refused: drop it, or hold its feed and go on without."""
        event, feed = batch.events[0], batch.feeds[0]
        feed.strikes += 1
        if not refusal.definite and feed.strikes < _MAX_STRIKES:
            self._hold(batch, feed)
            return
        feed.strikes = 0
        del batch.events[0], batch.feeds[0]
        self.lighten(feed, 1)
        if not feed.owner.refused(event, refusal):
            return
        self._take_out(batch, feed)
        kept = deque(e for e in feed.events if e.route.topic != event.route.topic)
        dropped = [e for e in feed.events if e.route.topic == event.route.topic]
        feed.events = kept
        self.lighten(feed, len(dropped))
        feed.owner.discarded(dropped)

    def _hold(self, batch: _Batch, feed: Feed) -> None:
        cap = min(_MAX_HOLD_SECONDS, 0.05 * 2.0**feed.strikes)
        self._take_out(batch, feed)
        held_until = self._clock.monotonic() + cap * (0.5 + 0.5 * self._dice.uniform())
        feed.held_until = held_until
        self._held.add(feed)

    def _take_out(self, batch: _Batch, feed: Feed) -> None:
        """Moves a feed's events from the batch back to the front of the feed."""
        mine = [e for e, f in zip(batch.events, batch.feeds, strict=True) if f is feed]
        others = [(e, f) for e, f in zip(batch.events, batch.feeds, strict=True) if f is not feed]
        batch.events[:] = [event for event, _ in others]
        batch.feeds[:] = [owner for _, owner in others]
        feed.events.extendleft(reversed(mine))

    def _give_back(self, batch: _Batch) -> None:
        """Returns what an interrupted call held, so that nothing is lost."""
        while batch.events:
            self._take_out(batch, batch.feeds[-1])

    def lighten(self, feed: Feed, count: int) -> None:
        """Counts events of a feed out."""
        feed.load -= count
        self.pending -= count
        if not self.pending:
            self._drained.set()

    def _stall(self, problem: str) -> None:
        if self._stalled_since is None:
            self._stalled_since = self._clock.monotonic()
            self._journal.emit(PublishingStalled(problem))

    def _resume(self) -> None:
        if self._stalled_since is not None:
            seconds = self._clock.monotonic() - self._stalled_since
            self._stalled_since = None
            self._journal.emit(PublishingResumed(seconds))
