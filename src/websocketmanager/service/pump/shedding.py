"""What happens at the bounds of a buffer whose policy gives messages up, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from websocketmanager.domain.envelope import (
    Event,
    Parcel,
    Route,
    StreamIdentity,
    marker_event,
    marker_route,
)
from websocketmanager.domain.model import Format, Topic
from websocketmanager.domain.options import Overflow
from websocketmanager.domain.overflow import GAP, Gap, key_reader
from websocketmanager.ports import Clock
from websocketmanager.service.lane import Lane
from websocketmanager.service.overflow import Bounds, Hands, Shedder
from websocketmanager.service.pump.buffer import Buffer


def make_shedder(
    policy: Overflow,
    *,
    lane: Lane,
    buffer: Buffer,
    gaps: GapMarkers,
    dropped: Callable[[int], None],
    push: Callable[[Parcel], None],
    conflate_pointer: str,
    format: Format,
) -> Shedder:
    """Returns what gives messages of a buffer up.

    Args:
        policy: one that does.
        lane: the way to the API.
        buffer: where they wait.
        gaps: what stands in their place.
        dropped: told how many were given up.
        push: puts messages into the buffer.
        conflate_pointer: where a message has its key.
        format: what an event's data holds.
    """
    hands = Hands(
        mark=gaps.event,
        push=push,
        hold=buffer.hold,
        release=buffer.release,
        dropped=dropped,
        size=lambda: buffer.size,
        overdrawn=lambda: buffer.budget.overdrawn,
    )
    return Shedder(
        policy,
        lane=lane,
        feed=buffer.feed,
        bounds=Bounds(buffer.max_messages, buffer.max_bytes),
        hands=hands,
        key=key_reader(conflate_pointer, format),
    )


class GapMarkers:
    """Makes the markers of one stream that tell what was given up.

    Args:
        identity: returns that of the present session.
        clock: for their times.
        wanted: whether the stream has markers.
    """

    __slots__ = ("_clock", "_identity", "_last", "_wanted")

    def __init__(
        self, identity: Callable[[], StreamIdentity | None], clock: Clock, *, wanted: bool
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._wanted = wanted
        # A marker is made for each time that something must go: mostly on one route.
        self._last: tuple[tuple[int, Topic], Route] | None = None

    def event(self, gap: Gap, like: Parcel) -> Event | None:
        """Returns the marker of a gap on the topic of a parcel; None: the stream has none."""
        present = self._identity()
        if not self._wanted or present is None:
            return None
        session, sequence = gap.last
        identity, topic = replace(present, session=session), like.route.topic
        if self._last is None or self._last[0] != (session, topic):
            self._last = (session, topic), marker_route(identity, topic, GAP)
        return marker_event(
            self._last[1],
            identity,
            marker=GAP,
            sequence=sequence,
            at=self._clock.now(),
            facts=gap.facts,
        )
