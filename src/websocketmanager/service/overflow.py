"""Makes room in a full buffer: drops the oldest or the newest, or keeps the latest of each key.

Only what waits is touched: what is on its way to the API belongs to the lane. What is given up is
counted, and a marker with its bounds stands in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import TypeAlias

from websocketmanager.domain.envelope import (
    Event,
    MessageRun,
    Parcel,
    count_events,
    each_event,
    event_place,
)
from websocketmanager.domain.model import Topic
from websocketmanager.domain.options import Overflow
from websocketmanager.domain.overflow import Gap, begun_within, superseded
from websocketmanager.service.lane import Feed, Lane

#: Session and topic: a gap is told to those who read that.
_Stream: TypeAlias = tuple[int, Topic]


def _stream_of(parcel: Parcel) -> _Stream:
    return parcel.tag, parcel.route.topic


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait.

    Attributes:
        max_messages: events that wait.
        max_bytes: of their data.
    """

    max_messages: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Hands:
    """What the buffer does for its policy.

    Attributes:
        mark: returns the marker of a gap on the topic of a parcel; None: the stream has none.
        push: puts messages behind all that waits.
        hold: counts a marker in.
        release: counts out what is no longer there, for whatever reason.
        dropped: told the messages that were given up, and what is said of it.
        size: bytes of all events of the buffer, those in flight included.
        overdrawn: whether the process holds too much.
    """

    mark: Callable[[Gap, Parcel], Event | None]
    push: Callable[[MessageRun], None]
    hold: Callable[[Event], None]
    release: Callable[[Sequence[Parcel]], None]
    dropped: Callable[[int], None]
    size: Callable[[], int]
    overdrawn: Callable[[], bool]


class Shedder:
    """Gives up messages of one buffer by its policy.

    Args:
        policy: DROP_OLDEST, DROP_NEWEST, CONFLATE or CLOSE, which refuses what still comes. With
            CONFLATE all is taken, and `conflate` makes room.
        lane, feed: where the buffer's events wait.
        bounds: of what waits.
        hands: what the buffer does for it.
        key: finds the key of a message, for CONFLATE.
    """

    def __init__(
        self,
        policy: Overflow,
        *,
        lane: Lane,
        feed: Feed,
        bounds: Bounds,
        hands: Hands,
        key: Callable[[bytes], Hashable | None],
    ) -> None:
        self._policy = policy
        self._lane = lane
        self._feed = feed
        self._bounds = bounds
        self._hands = hands
        self._key = key
        self._gaps: dict[Parcel, Gap] = {}  # by its marker, as long as that waits
        self._keys: dict[Parcel, Hashable | None] = {}  # of those looked at and still waiting
        self._pending: tuple[Gap, Parcel] | None = None  # behind all that waits
        self._due = 0

    def take(self, run: MessageRun) -> None:
        """Puts messages behind all that waits; makes room for them, or gives them up."""
        if self._policy is Overflow.CONFLATE:
            self._hands.push(run)
            return
        while True:
            count = self._room_for(run)
            if not count and self._policy is Overflow.DROP_OLDEST:
                self._drop_oldest(len(run.payloads[0]))
                count = max(self._room_for(run), 1)
            if count:
                self._hands.push(run if count == run.count else run.part(0, count))
            else:
                # The first that is refused changes what holds for the others; they change nothing.
                count = 1 if self._pending is None else run.count
                self._refuse(run if count == run.count else run.part(0, count))
            if count == run.count:
                return
            run = run.part(count, run.count)

    @property
    def owes(self) -> bool:
        """Whether the marker of what was refused is still to come."""
        return self._pending is not None

    def flush(self) -> None:
        """Puts the marker of what was refused behind all that waits, if there is room again."""
        if self._pending is not None and self._is_eighth_free():
            self.close()

    def close(self) -> None:
        """Puts the marker of what was refused behind all that waits."""
        if self._pending is None:
            return
        (gap, like), self._pending = self._pending, None
        marker = self._hands.mark(gap, like)
        if marker is not None:
            self._hands.hold(marker)
            self._feed.push(marker)

    def settled(self, parcels: Sequence[Parcel]) -> None:
        """Forgets events that are no longer there."""
        for known in (self._gaps, self._keys):
            if known:
                for parcel in parcels:
                    known.pop(parcel, None)

    def forget(self) -> None:
        """Forgets everything: nothing waits any more, and nothing is told of."""
        self._pending = None
        self._gaps.clear()
        self._keys.clear()

    def conflate(self) -> bool:
        """Keeps of the waiting messages with one key the latest; returns whether there is room.

        Looks at them again only when there are an eighth more than it left: each look costs as
        much as all of them.
        """
        if self._feed.waiting < self._due:
            return True
        waiting = each_event(self._feed.events)
        self._feed.events = deque(waiting)
        for event in waiting:
            if event.route.is_message and event not in self._keys:
                self._keys[event] = self._key(event.data)
        gone = superseded((e.route.topic, k) if (k := self._keys.get(e)) else None for e in waiting)
        if any(gone):
            self._conflate(waiting, gone)
        count = len(self._feed.events)
        size = sum(parcel.size for parcel in self._feed.events)
        bounds = self._bounds
        if count * 8 > bounds.max_messages * 7 or size * 8 > bounds.max_bytes * 7:
            self._due = 0
            return False
        self._due = count + max(count // 8, 1)
        return True

    # --- inside -------------------------------------------------------------------------------

    def _conflate(self, waiting: list[Event], gone: list[bool]) -> None:
        """Takes out what is gone, with a marker per session where the first of it stood."""
        gaps: dict[_Stream, Gap] = {}
        likes: dict[_Stream, Event] = {}
        kept: list[Event | _Stream] = []  # a stream: where its marker goes
        released: list[Parcel] = []
        for event, is_gone in zip(waiting, gone, strict=True):
            earlier = self._gaps.get(event)
            if not is_gone and earlier is None:
                kept.append(event)
                continue
            released.append(event)
            place = event_place(event)
            gap = earlier or Gap(place, place, 1, self._policy.value)
            stream = _stream_of(event)
            if stream not in gaps:
                kept.append(stream)
                likes[stream] = event
            before = gaps.get(stream)
            gaps[stream] = before.joined(gap) if before else gap
        events: deque[Parcel] = deque()
        markers: list[Event] = []
        for one in kept:
            if isinstance(one, Event):
                events.append(one)
            elif (marker := self._hands.mark(gaps[one], likes[one])) is not None:
                events.append(marker)
                markers.append(marker)
                self._hands.hold(marker)
                self._gaps[marker] = gaps[one]
        self._feed.events = events
        self._lane.lighten(self._feed, len(released) - len(markers))
        self._give_up(released)

    def _drop_oldest(self, size: int) -> None:
        """Drops what waits longest, a little more than must go: a marker is made each time."""
        most, largest = self._bounds.max_messages, self._bounds.max_bytes
        waiting, held = self._feed.waiting, self._hands.size()
        excess = waiting - (most - most // 64 - 1)
        little = (held if self._hands.overdrawn() else largest - largest // 64) - size
        kept: list[Parcel] = []  # markers of sessions: they stay
        dropped: list[Parcel] = []
        gap: Gap | None = None
        events = self._feed.events
        while events and (excess > 0 or held > little):
            parcel = events.popleft()
            if isinstance(parcel, MessageRun):
                few = max(excess, _fewest(parcel, held - little))
                if few < parcel.count:
                    events.appendleft(parcel.part(few, parcel.count))
                    parcel = parcel.part(0, few)
            excess -= parcel.count
            earlier = self._gaps.get(parcel)
            is_marker = earlier is None and not parcel.route.is_message
            if gap is not None and (is_marker or _stream_of(parcel) != _stream_of(dropped[-1])):
                kept += self._marked(gap, dropped[-1])
                gap = None
            if is_marker:
                kept.append(parcel)
                continue
            dropped.append(parcel)
            held -= parcel.size
            this = earlier or self._gap_of(parcel)
            gap = gap.joined(this) if gap else this
        if gap is not None:
            kept += self._marked(gap, dropped[-1])
        events.extendleft(reversed(kept))
        markers = sum(parcel in self._gaps for parcel in kept)
        self._lane.lighten(self._feed, count_events(dropped) - markers)
        self._give_up(dropped)

    def _gap_of(self, parcel: Parcel) -> Gap:
        if isinstance(parcel, MessageRun):
            session, first = parcel.tag, parcel.first
            last = first + parcel.count - 1
            return Gap((session, first), (session, last), parcel.count, self._policy.value)
        place = event_place(parcel)
        return Gap(place, place, 1, self._policy.value)

    def _marked(self, gap: Gap, like: Parcel) -> list[Event]:
        marker = self._hands.mark(gap, like)
        if marker is None:
            return []
        self._hands.hold(marker)
        self._gaps[marker] = gap
        return [marker]

    def _give_up(self, parcels: list[Parcel]) -> None:
        self.settled(parcels)
        self._hands.release(parcels)
        if count := sum(parcel.count for parcel in parcels if parcel.route.is_message):
            self._hands.dropped(count)

    def _room_for(self, run: MessageRun) -> int:
        """Returns how many messages of a run, from its front, there is room for."""
        if self._pending is not None:
            if not self._is_eighth_free():
                return 0
            self.close()
            return 1  # it has a place, whatever the marker has taken
        feed = self._feed
        load = feed.waiting if self._policy is Overflow.DROP_OLDEST else feed.load
        places = self._bounds.max_messages - load
        room = self._bounds.max_bytes - self._hands.size()
        if self._hands.overdrawn() or places <= 0:
            return 0
        if run.size <= room:
            return min(places, run.count)
        ends = takewhile(lambda end: end <= room, accumulate(map(len, run.payloads)))
        return min(places, sum(1 for _ in ends))

    def _refuse(self, run: MessageRun) -> None:
        gap = self._gap_of(run)
        if self._pending is not None:
            before, like = self._pending
            if _stream_of(like) == _stream_of(run):
                gap = before.joined(gap)
            else:
                self.close()
        self._pending = gap, run
        self._hands.dropped(run.count)

    def _is_eighth_free(self) -> bool:
        most, largest = self._bounds.max_messages, self._bounds.max_bytes
        return (
            self._feed.load <= most - max(most // 8, 1)
            and self._hands.size() * 8 <= largest * 7
            and not self._hands.overdrawn()
        )


def _fewest(run: MessageRun, size: int) -> int:
    """Returns how many messages from the front have at least so many bytes, or else all."""
    if size <= 0:
        return 0
    return begun_within(run.payloads, size)
