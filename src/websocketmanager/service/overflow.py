"""Makes room in a full buffer: drops the oldest or the newest, or keeps the latest of each key.

Only what waits is touched: what is on its way to the API belongs to the lane. What is given up is
counted, and a marker with its bounds stands in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from websocketmanager.domain.envelope import Event, Parcel, event_place
from websocketmanager.domain.model import Topic
from websocketmanager.domain.options import Overflow
from websocketmanager.domain.overflow import Gap, superseded
from websocketmanager.service.lane import Feed, Lane

#: Session and topic: a gap is told to those who read that.
_Stream: TypeAlias = tuple[int, Topic]


def _stream_of(event: Event) -> _Stream:
    return event.tag, event.route.topic


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
        mark: returns the marker of a gap on the topic of an event; None: the stream has none.
        hold: counts a marker in.
        release: counts out what is no longer there, for whatever reason.
        dropped: told the messages that were given up, and what is said of it.
        size: bytes of all events of the buffer, those in flight included.
        overdrawn: whether the process holds too much.
    """

    mark: Callable[[Gap, Event], Event | None]
    hold: Callable[[Event], None]
    release: Callable[[Sequence[Event]], None]
    dropped: Callable[[int], None]
    size: Callable[[], int]
    overdrawn: Callable[[], bool]


class Shedder:
    """Gives up messages of one buffer by its policy.

    Args:
        policy: DROP_OLDEST, DROP_NEWEST, CONFLATE or CLOSE, which refuses what still comes.
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
        self._gaps: dict[Event, Gap] = {}  # by its marker, as long as that waits
        self._keys: dict[Event, Hashable | None] = {}  # of those looked at and still waiting
        self._pending: tuple[Gap, Event] | None = None  # behind all that waits
        self._due = 0

    def admits(self, event: Event) -> bool:
        """Makes room for an event, or gives the event up and returns False."""
        match self._policy:
            case Overflow.DROP_OLDEST:
                self._drop_oldest(len(event.data))
                return True
            case Overflow.CONFLATE:
                return True
            case _:
                return self._has_room_for(event)

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

    def settled(self, events: Sequence[Event]) -> None:
        """Forgets events that are no longer there."""
        for known in (self._gaps, self._keys):
            if known:
                for event in events:
                    known.pop(event, None)

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
        waiting = self._waiting
        if len(waiting) < self._due:
            return True
        for event in waiting:
            if event.route.is_message and event not in self._keys:
                self._keys[event] = self._key(event.data)
        gone = superseded((e.route.topic, k) if (k := self._keys.get(e)) else None for e in waiting)
        if any(gone):
            self._conflate(list(waiting), gone)
        count = len(self._waiting)
        size = sum(len(event.data) for event in self._waiting)
        bounds = self._bounds
        if count * 8 > bounds.max_messages * 7 or size * 8 > bounds.max_bytes * 7:
            self._due = 0
            return False
        self._due = count + max(count // 8, 1)
        return True

    # --- inside -------------------------------------------------------------------------------

    @property
    def _waiting(self) -> deque[Event]:
        """What waits; its buffer puts in no runs, as each message must be looked at."""
        return cast("deque[Event]", self._feed.events)

    def _conflate(self, waiting: list[Event], gone: list[bool]) -> None:
        """Takes out what is gone, with a marker per session where the first of it stood."""
        gaps: dict[_Stream, Gap] = {}
        likes: dict[_Stream, Event] = {}
        kept: list[Event | _Stream] = []  # a stream: where its marker goes
        released: list[Event] = []
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
        waiting, held = len(self._feed.events), self._hands.size()
        overdrawn = self._hands.overdrawn()
        if waiting < most and held + size <= largest and not overdrawn:
            return
        few = most - most // 64 - 1
        little = (held if overdrawn else largest - largest // 64) - size
        kept: list[Event] = []  # markers of sessions: they stay
        dropped: list[Event] = []
        gap: Gap | None = None
        events = self._waiting
        while events and (len(events) > few or held > little):
            event = events.popleft()
            earlier = self._gaps.get(event)
            is_marker = earlier is None and not event.route.is_message
            if gap is not None and (is_marker or _stream_of(event) != _stream_of(dropped[-1])):
                kept += self._marked(gap, dropped[-1])
                gap = None
            if is_marker:
                kept.append(event)
                continue
            dropped.append(event)
            held -= len(event.data)
            place = event_place(event)
            this = earlier or Gap(place, place, 1, self._policy.value)
            gap = gap.joined(this) if gap else this
        if gap is not None:
            kept += self._marked(gap, dropped[-1])
        events.extendleft(reversed(kept))
        markers = sum(event in self._gaps for event in kept)
        self._lane.lighten(self._feed, len(dropped) - markers)
        self._give_up(dropped)

    def _marked(self, gap: Gap, like: Event) -> list[Event]:
        marker = self._hands.mark(gap, like)
        if marker is None:
            return []
        self._hands.hold(marker)
        self._gaps[marker] = gap
        return [marker]

    def _give_up(self, events: list[Event]) -> None:
        self.settled(events)
        self._hands.release(events)
        if count := sum(event.route.is_message for event in events):
            self._hands.dropped(count)

    def _has_room_for(self, event: Event) -> bool:
        if self._pending is not None:
            if self._is_eighth_free():
                self.close()
                return True
        elif (
            self._feed.load < self._bounds.max_messages
            and self._hands.size() + len(event.data) <= self._bounds.max_bytes
            and not self._hands.overdrawn()
        ):
            return True
        place = event_place(event)
        gap = Gap(place, place, 1, self._policy.value)
        if self._pending is not None:
            before, like = self._pending
            if _stream_of(like) == _stream_of(event):
                gap = before.joined(gap)
            else:
                self.close()
        self._pending = gap, event
        self._hands.dropped(1)
        return False

    def _is_eighth_free(self) -> bool:
        most, largest = self._bounds.max_messages, self._bounds.max_bytes
        return (
            self._feed.load <= most - max(most // 8, 1)
            and self._hands.size() * 8 <= largest * 7
            and not self._hands.overdrawn()
        )
