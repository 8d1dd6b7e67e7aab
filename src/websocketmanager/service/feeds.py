"""What waits for the lane: a feed per stream of events, and the batches that are made of feeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from websocketmanager.domain.envelope import Event, MessageRun, Parcel, count_events, divided
from websocketmanager.domain.overflow import begun_within
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
#: What waits in feeds that never had anything, shared: an empty deque takes 760 bytes.
_NOTHING: Final[deque[Parcel]] = deque(maxlen=0)


class FeedOwner(Protocol):
    """Whose events a feed carries. Called synchronously, must not raise."""

    def accepted(self, events: Sequence[Parcel]) -> None:
        """These events, in order, are published for good."""

    def refused(self, event: Event, refusal: Refusal) -> bool:
        """The event was refused for good; returns whether to drop what waits on its topic."""

    def discarded(self, events: Sequence[Parcel]) -> None:
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
        flying: those in flight, in some batch.
        owner: whose events they are.
        queued: whether it waits for its turn, or may have none now. The lane's, as are these two:
        held_until: monotonic time before which it is not tried again, or None.
        strikes: how often its head failed in a row without a reason.
    """

    __slots__ = (
        "_lane",
        "events",
        "flying",
        "gate",
        "held_until",
        "load",
        "owner",
        "queued",
        "strikes",
    )

    def __init__(self, lane: Way, owner: FeedOwner, *, gate: int = OPEN) -> None:
        self._lane = lane
        self.owner = owner
        self.queued = False
        self.held_until: float | None = None
        self.strikes = 0
        self.gate = gate
        self.events = _NOTHING
        self.load = 0
        self.flying = 0

    def push(self, parcel: Parcel) -> None:
        """Appends events; never blocks. Bounds are the owner's."""
        if self.events is _NOTHING:
            self.events = deque()
        self.events.append(parcel)
        self.load += parcel.count
        self._lane.pending += parcel.count
        if not self.queued:
            self._lane.offer(self)

    def open_gate(self, tag: int) -> None:
        """Lets events up to this tag pass."""
        if tag > self.gate:
            self.gate = tag
            self._lane.offer(self)

    def clear(self) -> list[Parcel]:
        """Takes out what waits and is not in flight."""
        parcels = list(self.events)
        self.events.clear()
        self._lane.lighten(self, count_events(parcels))
        return parcels

    @property
    def waiting(self) -> int:
        """Events that wait, without what is in flight."""
        return self.load - self.flying

    @property
    def publishable(self) -> bool:
        """Whether its head may go now."""
        return bool(self.events) and self.events[0].tag <= self.gate and self.held_until is None


class Batch:
    """Events of one publish call and whose they are.

    Attributes:
        events: what is not settled yet, in order.
        count: how many events that are.
        outcome: of the call, once it has ended.
    """

    __slots__ = ("_shares", "count", "events", "outcome")

    def __init__(self) -> None:
        self.events: list[Parcel] = []
        self.count = 0
        self.outcome: PublishResult | ApiError | None = None
        #: Feeds and how many parcels each has there, in the order of `events`.
        self._shares: list[tuple[Feed, int]] = []

    @property
    def feeds(self) -> set[Feed]:
        """Whose events it holds."""
        return {feed for feed, _ in self._shares}

    @property
    def complete(self) -> bool:
        """Whether the call has accepted everything."""
        outcome = self.outcome
        return isinstance(outcome, PublishResult) and outcome.accepted == self.count

    def fill(self, ready: deque[Feed], max_events: int) -> set[Feed]:
        """Takes events from the ready feeds in turn, by bytes; returns the feeds that had a turn.

        They are the first of `ready`, which is left as it is.
        """
        turns = deque(ready)
        taken: set[Feed] = set()
        size = 0
        while turns and self.count < max_events and size < _BATCH_BYTES:
            feed = turns.popleft()
            taken.add(feed)
            if not feed.publishable:
                continue
            # Who is alone waits for nobody's turn.
            room = min(_TURN_BYTES, _BATCH_BYTES - size) if turns else _BATCH_BYTES - size
            before = len(self.events)
            size += self._take(feed, room, max_events)
            self._shares.append((feed, len(self.events) - before))
            if feed.publishable:
                turns.append(feed)
        return taken

    def _take(self, feed: Feed, room: int, max_events: int) -> int:
        """Takes a feed's events until they need `room` bytes; returns how many they need."""
        waiting, gate, append = feed.events, feed.gate, self.events.append
        most = count = max_events - self.count
        need = 0
        while waiting and need < room and count and waiting[0].tag <= gate:
            parcel = waiting[0]
            cost = parcel.size + _EVENT_BYTES * parcel.count
            if parcel.count > 1 and (parcel.count > count or need + cost > room):
                # More than one only as far as they fit; the last one may go beyond, as always.
                assert isinstance(parcel, MessageRun)  # noqa: S101 - one event counts one
                fitting = min(_fitting(parcel, room - need), count)
                if fitting < parcel.count:
                    waiting[0] = parcel.part(fitting, parcel.count)
                    parcel = parcel.part(0, fitting)
                    cost = parcel.size + _EVENT_BYTES * fitting
                else:
                    waiting.popleft()
            else:
                waiting.popleft()
            append(parcel)
            count -= parcel.count
            need += cost
        self.count = max_events - count
        feed.flying += most - count
        return need

    def accept(self, count: int, tell: Callable[[Feed, Sequence[Parcel]], None]) -> None:
        """Takes out events from the front and tells of them, feed by feed.

        Whoever is told counts them out of what flies.
        """
        accepted, rest = (self.events, []) if count == self.count else divided(self.events, count)
        #: The run that was divided has a part on either side.
        divides = len(accepted) + len(rest) > len(self.events)
        start, shares = 0, []
        told: list[tuple[Feed, list[Parcel]]] = []
        for feed, length in self._shares:
            end = min(start + length, len(accepted))
            if end > start:
                told.append((feed, accepted[start:end]))
            left = length - (end - start)
            if divides and end == len(accepted) and end > start:
                left, divides = left + 1, False
            if left:
                shares.append((feed, left))
            start = end
        self.events, self._shares = rest, shares
        self.count -= count
        for feed, parcels in told:
            tell(feed, parcels)

    def drop_head(self) -> tuple[Event, Feed]:
        """Takes out the first event."""
        feed, length = self._shares[0]
        feed.flying -= 1
        self.count -= 1
        head = self.events[0]
        if isinstance(head, MessageRun) and head.count > 1:
            self.events[0] = head.part(1, head.count)
        else:
            del self.events[0]
            if length == 1:
                del self._shares[0]
            else:
                self._shares[0] = (feed, length - 1)
        return (head.events()[0] if isinstance(head, MessageRun) else head), feed

    @property
    def head_feed(self) -> Feed:
        """Whose the first event is."""
        return self._shares[0][0]

    def give_back(self, feed: Feed) -> None:
        """Moves a feed's events back to the front of the feed."""
        mine: list[Parcel] = []
        others: list[Parcel] = []
        start = 0
        for owner, length in self._shares:
            (mine if owner is feed else others).extend(self.events[start : start + length])
            start += length
        self._shares = [share for share in self._shares if share[0] is not feed]
        self.events = others
        count = count_events(mine)
        self.count -= count
        feed.flying -= count
        feed.events.extendleft(reversed(mine))

    def give_back_all(self) -> None:
        """Moves everything back to the front of its feeds."""
        for feed in self.feeds:
            self.give_back(feed)

    def first_of(self, feed: Feed) -> Parcel | None:
        """Returns the feed's first events, if there are any."""
        start = 0
        for owner, length in self._shares:
            if owner is feed:
                return self.events[start]
            start += length
        return None


def _fitting(run: MessageRun, room: int) -> int:
    """Returns how many messages of a run a turn of so many bytes takes: one at least.

    Each begins while there is room, so that the last one may go beyond.
    """
    return begun_within(run.payloads, room, _EVENT_BYTES)
