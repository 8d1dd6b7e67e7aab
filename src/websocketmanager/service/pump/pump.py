"""Takes what comes from a connection's socket: the only way from there to its topic.

Stamps each message with session, sequence and receive time, routes it, and says when the reader
must wait. What happens when the buffer is full is its policy: `overflow` drops, `spool` has the log
on disk. `meter` counts, `continuity` knows what to say of sessions, `rejection` of a refused topic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from websocketmanager.domain.envelope import (
    Event,
    Parcel,
    Route,
    StreamIdentity,
    json_bytes,
    marker_event,
    marker_route,
    message_route,
    message_run,
)
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import (
    Format,
    LiveStatistics,
    Message,
    Statistics,
    Topic,
)
from websocketmanager.domain.options import Overflow
from websocketmanager.domain.overflow import LogRun
from websocketmanager.ports import Clock, Refusal
from websocketmanager.service.budget import Budget
from websocketmanager.service.continuity import Continuity, Mark
from websocketmanager.service.lane import Feed, Lane
from websocketmanager.service.meter import Meter
from websocketmanager.service.overflow import Shedder
from websocketmanager.service.pump.buffer import Buffer
from websocketmanager.service.pump.causes import (
    DISK_FULL,
    LOG_UNAVAILABLE,
    MESSAGE_REFUSED,
    PUBLISHING_BEHIND,
    SHEDDING,
    TOPIC_REJECTED,
)
from websocketmanager.service.pump.figures import live_statistics_of, statistics_of
from websocketmanager.service.pump.shedding import GapMarkers, make_shedder
from websocketmanager.service.rejection import Rejection
from websocketmanager.service.spool import Spool, SpoolHands
from websocketmanager.service.tap import Taps

#: Shared: each empty one would take 216 bytes.
_NOT_DEGRADED: frozenset[str] = frozenset()
#: Shared: a session that had no message yet has no route.
_NO_ROUTES: Final[dict[Topic, Route]] = {}


class Pump:
    """One connection's buffer.

    Args:
        lane: the way to the API.
        budget: shared by all pumps.
        clock: for receive times and the topic's retry.
        format: what an event's data holds.
        markers: whether to publish in-stream markers.
        max_messages: bound of waiting messages.
        max_bytes: bound of waiting bytes.
        overflow: what happens at the bounds.
        conflate_pointer: where a message has its key.
        make_spool: makes the way through the log on disk; None: there is none.
        on_degraded: told a cause and its detail when delivery is worse than promised.
        on_restored: told the cause when it is as promised again.
    """

    __slots__ = (
        "_abandoned",
        "_buffer",
        "_clock",
        "_continuity",
        "_feed",
        "_format",
        "_given_up",
        "_identity",
        "_lane",
        "_markers",
        "_meter",
        "_never_full",
        "_on_degraded",
        "_on_restored",
        "_overflow",
        "_rejection",
        "_routes",
        "_shedder",
        "_spool",
        "_waiting",
        "degraded",
        "last_kind",
        "sequence",
        "taps",
        "topic",
    )

    def __init__(
        self,
        *,
        lane: Lane,
        budget: Budget,
        clock: Clock,
        format: Format,
        markers: bool,
        max_messages: int,
        max_bytes: int,
        overflow: Overflow = Overflow.BLOCK,
        conflate_pointer: str = "",
        make_spool: Callable[[SpoolHands], Spool] | None = None,
        on_degraded: Callable[[str, str, int], None],
        on_restored: Callable[[str, int], None],
    ) -> None:
        self._lane = lane
        self._feed = Feed(lane, self, gate=-1)
        self._buffer = Buffer(self._feed, budget, max_messages=max_messages, max_bytes=max_bytes)
        self._clock = clock
        self._format = format
        self._markers = markers
        self._on_degraded = on_degraded
        self._on_restored = on_restored
        self._continuity = Continuity()
        self._identity: StreamIdentity | None = None
        self._routes = _NO_ROUTES
        self._meter = Meter(clock.now())
        self._rejection = Rejection()
        self._waiting = False
        self._abandoned = False
        self.taps = Taps()
        self.topic: Topic | None = None
        self.sequence = 0
        self.last_kind: Kind | None = None
        self.degraded = _NOT_DEGRADED
        self._overflow = overflow
        self._given_up = 0
        self._shedder: Shedder | None = None
        if overflow in SHEDDING:
            self._shedder = make_shedder(
                overflow,
                lane=lane,
                buffer=self._buffer,
                gaps=GapMarkers(lambda: self._identity, clock, wanted=markers),
                dropped=self._shed,
                push=self._push,
                conflate_pointer=conflate_pointer,
                format=format,
            )
        self._spool = make_spool(self._spool_hands()) if make_spool else None
        self._never_full = overflow in {Overflow.DROP_OLDEST, Overflow.DROP_NEWEST}

    # --- sessions -----------------------------------------------------------------------------

    def open_session(self, identity: StreamIdentity, at: float, *, seamless: bool = False) -> None:
        """Numbers what comes from now on as the identity's session, from 1.

        Args:
            identity: with the session's number.
            at: now.
            seamless: nothing can be missing since the session before: there is no gap.
        """
        marks = self._continuity.begin(identity, at, last_sequence=self.sequence, seamless=seamless)
        self._identity = identity
        self._routes = _NO_ROUTES
        self.sequence = 0
        self._publish_marks(marks, at)

    def extend_gap(self, at: float) -> None:
        """Says that the gap before this session reaches to here: all feeds are there only now."""
        self._publish_marks(self._continuity.reach(at, sequence=self.sequence), at)

    def end_session(self, at: float, cause: str) -> None:
        """Says in the stream that the session is over."""
        self._publish_marks(self._continuity.end(at, cause, sequence=self.sequence), at)

    def abandon(self) -> None:
        """Drops what waits: another process owns the connection, and its stream."""
        self._abandoned = True
        self.forget_log()
        if self._shedder is not None:
            self._shedder.forget()
        events = self._feed.clear()
        self._meter.dropped += _messages(events)
        self._release(events)

    def forget_log(self) -> int:
        """Removes what the disk holds of it; returns how many messages nobody gets now."""
        count = self._spool.remove() if self._spool is not None else 0
        self._meter.dropped += count
        return count

    def resume_from(self, sequence: int) -> None:
        """Tells the last position that an earlier process has saved."""
        self._continuity.resumed_from = sequence

    @property
    def position(self) -> int:
        """The number of the last message in the present, or else the last known, session."""
        return self._continuity.resumed_from if self._identity is None else self.sequence

    def confirm_session(self, session: int) -> None:
        """Lets the session's messages go: its number is in the store and is never used again."""
        self._feed.open_gate(session)

    def set_topic(self, topic: Topic | None) -> None:
        """Routes from the next message on; a topic that was refused is tried again at once."""
        self.topic = topic
        self._rejection.hasten()
        if topic is None:
            self._end_rejection()

    # --- messages -----------------------------------------------------------------------------

    def accept(self, message: Message, at: float) -> None:
        """Takes one message; never blocks. `full` says afterwards whether the reader must wait."""
        self.accept_run(message.kind, [message.data], at)

    def accept_run(self, kind: Kind, payloads: list[bytes], at: float) -> int:
        """Takes messages of one kind until the reader must wait.

        As one by one, but what can be done once is not done for every message.

        Returns:
            How many it took from the front: one at least.
        """
        taken = self._accept_some(kind, payloads, at)
        while taken < len(payloads) and not self.full:
            taken += self._accept_some(kind, payloads[taken:], at)
        return taken

    def _accept_some(self, kind: Kind, payloads: list[bytes], at: float) -> int:
        """Takes messages from the front with which the same is done; returns how many."""
        topic, identity = self.topic, self._identity
        if topic is None or self._abandoned:
            payloads = payloads[:1] if self.full else payloads
            if topic is None:
                self._meter.unrouted += len(payloads)
            else:
                self._meter.dropped += len(payloads)
            return self._count_received(kind, payloads, at)
        if topic == self._rejection.topic:
            is_tried = self._is_worth_trying()
            payloads = payloads[:1] if is_tried or self.full else payloads
            if not is_tried:
                self._meter.dropped += len(payloads)
                self._rejection.dropped += len(payloads)
                return self._count_received(kind, payloads, at)
        assert identity is not None  # noqa: S101 - open_session comes first
        route = self._routes.get(topic)
        if route is None:
            route = message_route(identity, topic)
            self._routes = {**self._routes, topic: route}
        run = message_run(route, identity, kind, payloads, self.sequence + 1, at, self._format)
        if (
            self._spool is not None
            or self._shedder is not None
            or run.count > self._buffer.max_messages - self._feed.load
            or run.size >= self._buffer.max_bytes - self._buffer.size
        ):
            room = self._fitting(run.payloads, run.size)
            if room < run.count:
                run, payloads = run.part(0, room), payloads[:room]
        self._count_received(kind, payloads, at, run.size if run.payloads is payloads else None)
        if self._spool is not None:
            self._spool.take(run, self._entries(run.first, topic, at, kind, "", payloads))
        elif self._shedder is not None:
            self._shedder.take(run)
        else:
            self._push(run)
        return run.count

    def _count_received(
        self, kind: Kind, payloads: list[bytes], at: float, size: int | None = None
    ) -> int:
        """Numbers and counts messages, and shows them to who looks on; returns how many."""
        count = len(payloads)
        self._meter.count(count, sum(map(len, payloads)) if size is None else size, at)
        self.last_kind = kind
        if self.taps.open and self._identity is not None:
            self.taps.take(kind, payloads, self._identity, self.sequence + 1, at, self.topic)
        self.sequence += count
        return count

    def fitting(self, payloads: Sequence[bytes]) -> int:
        """Returns how many messages may come until the reader must wait: one at least."""
        return self._fitting(payloads, sum(map(len, payloads)))

    def _fitting(self, payloads: Sequence[bytes], size: int) -> int:
        count = len(payloads)
        if self._spool is not None:
            return self._spool.fitting(payloads, size, self.topic or "")
        if self._never_full:
            return count
        if self.full:
            return 1
        if self._overflow is Overflow.CLOSE and self._shedder is not None and self._shedder.owes:
            return 1  # the marker of what was refused may take the place of what comes
        return max(self._buffer.room_for(payloads, size), 1)

    @property
    def bounds(self) -> tuple[int, int]:
        """How many messages, and how many bytes of them, may wait."""
        return self._buffer.max_messages, self._buffer.max_bytes

    @property
    def full(self) -> bool:
        """Whether the reader must wait before it takes the next message."""
        spool = self._spool
        if spool is not None and not spool.failing:
            return not self._buffer.room.is_set()  # what comes needs no memory for long
        return not self._never_full and (
            self._buffer.budget.overdrawn or not self._buffer.room.is_set()
        )

    async def wait_room(self) -> None:
        """Waits until there is room; says so when it has to wait.

        Raises:
            SocketFailed: the session shall end instead.
        """
        if not self.full:
            return
        if self._overflow is Overflow.CLOSE:
            text = "as much waits for the API as may"
            raise SocketFailed(Failure(FailureKind.BUFFER_OVERFLOW, text))
        if self._relieved():
            return
        self.degrade(PUBLISHING_BEHIND, "the buffer is full; the socket is read slower", 0)
        self._waiting = True
        try:
            await self._buffer.room.wait()
            if self._spool is None or self._spool.failing:
                await self._buffer.budget.wait_room()
        finally:
            self._waiting = False
            if self._buffer.room.is_set() and not (self._spool and self._spool.behind):
                self.restore(PUBLISHING_BEHIND, 0)

    def _relieved(self) -> bool:
        """Makes room if its policy can: of messages with one key the latest is kept."""
        if self._overflow is not Overflow.CONFLATE or self._shedder is None:
            return False
        if not self._shedder.conflate():
            return False
        self._buffer.room.set()
        return not self.full

    def statistics(self) -> Statistics:
        """Returns the counts of this process; sending and reconnects are the runner's."""
        return statistics_of(self._meter, self._buffer, self._spool)

    def live(self) -> LiveStatistics:
        """Returns how it goes now; reconnects and sessions are not known here."""
        return live_statistics_of(self._meter, self._buffer, self._lane, self._clock.now())

    @property
    def kept(self) -> int:
        """Events of the feed that a crash would not lose, less those that only memory has."""
        return self._spool.logged - self._spool.unstored if self._spool else 0

    def lament(self, problem: str) -> None:
        """Says that there is no log, though the connection asks for one."""
        self.degrade(LOG_UNAVAILABLE, problem, 0)

    def degrade(self, cause: str, detail: str, count: int = 0) -> None:
        """Delivery is worse than promised: told once, until it is restored.

        Args:
            cause: a stable word.
            detail: for people.
            count: messages dropped so far.
        """
        if cause not in self.degraded:
            self.degraded |= {cause}
            self._on_degraded(cause, detail, count)

    def restore(self, cause: str, count: int = 0) -> None:
        """Delivery is as promised again, if it was not; `count` messages were dropped."""
        if cause in self.degraded:
            self.degraded -= {cause}
            self._on_restored(cause, count)

    # --- what became of them (lane.FeedOwner) -------------------------------------------------

    def accepted(self, events: Sequence[Parcel]) -> None:
        """Counts published events; a topic that accepts again is no longer rejected."""
        self._meter.published += _messages(events)
        self._release(events)
        if self._rejection.topic is not None and any(e.route.topic == self.topic for e in events):
            self._end_rejection()

    def refused(self, event: Event, refusal: Refusal) -> bool:
        """Drops one event, and with a refused topic all that waits for it."""
        dropped = _messages([event])
        self._meter.dropped += dropped
        self._release([event])
        self._rejection.settle()
        if not refusal.whole_topic:
            self._on_degraded(MESSAGE_REFUSED, refusal.problem, dropped)
            return False
        self._rejection.begin(event.route.topic, dropped, self._clock.monotonic())
        self.degrade(TOPIC_REJECTED, refusal.problem, self._rejection.dropped)
        return True

    def discarded(self, events: Sequence[Parcel]) -> None:
        """Counts events that were dropped behind a refused one."""
        dropped = _messages(events)
        self._meter.dropped += dropped
        self._rejection.dropped += dropped
        self._release(events)
        if self.topic is None:
            self._end_rejection()  # what was refused came from before: nothing is wanted now

    # --- inside -------------------------------------------------------------------------------

    def _push(self, parcel: Parcel) -> None:
        buffer = self._buffer
        buffer.push(parcel)
        if self._spool is None and buffer.at_bounds:
            buffer.room.clear()

    def _release(self, parcels: Sequence[Parcel]) -> None:
        self._buffer.release(parcels)
        if self._spool is not None:
            self._spool.settled(parcels)
            return
        if self._shedder is not None:
            self._shedder.settled(parcels)
            self._shedder.flush()
        # Half empty: waking the reader for each freed place would make it stutter.
        if self._buffer.half_empty:
            self._open_room()

    def _open_room(self) -> None:
        if not self._buffer.room.is_set():
            self._buffer.room.set()
        if not self._waiting:
            self.restore(PUBLISHING_BEHIND, 0)
        if self._given_up:
            count, self._given_up = self._given_up, 0
            self.restore(SHEDDING.get(self._overflow, DISK_FULL)[0], count)

    def _end_rejection(self) -> None:
        self.restore(TOPIC_REJECTED, self._rejection.end())

    def _is_worth_trying(self) -> bool:
        """Whether a message on the refused topic is taken all the same, to try it."""
        now = self._clock.monotonic()
        if self._spool is None:
            return self._rejection.may_try(now)
        # The one that tries is chosen when it leaves the log.
        return self._rejection.is_worth_trying(now)

    def _wanted(self, parcel: Parcel) -> int:
        """Returns how many events that leave the log are not refused before they are tried."""
        if parcel.route.topic != self._rejection.topic:
            return parcel.count
        return int(self._rejection.may_try(self._clock.monotonic()))

    def _publish_marks(self, marks: Sequence[Mark], at: float) -> None:
        for mark in marks:
            self._mark(mark.marker, at, mark.facts)

    def _mark(self, marker: str, at: float, facts: dict[str, Any]) -> None:
        if not self._markers or self.topic is None or self._identity is None:
            return
        if self._abandoned or self.topic == self._rejection.topic:
            return
        event = marker_event(
            marker_route(self._identity, self.topic, marker),
            self._identity,
            marker=marker,
            sequence=self.sequence,
            at=at,
            facts=facts,
        )
        if self._spool is not None:
            facts_alone = [json_bytes(facts)]
            entry = self._entries(self.sequence, self.topic, at, Kind.TEXT, marker, facts_alone)
            self._spool.take(event, entry)
            return
        if self._shedder is not None:
            self._shedder.close()  # what was dropped came before
        self._push(event)

    # --- a full buffer ------------------------------------------------------------------------

    def _shed(self, count: int) -> None:
        self._give_up(count, *SHEDDING[self._overflow])

    def _give_up(self, count: int, cause: str, detail: str) -> None:
        self._meter.dropped += count
        self._given_up += count
        self.degrade(cause, detail, count)

    # --- the log on disk ----------------------------------------------------------------------

    def _entries(  # noqa: PLR0917 - as LogRun
        self, first: int, topic: Topic, at: float, kind: Kind, marker: str, data: Sequence[bytes]
    ) -> LogRun:
        assert self._identity is not None  # noqa: S101 - open_session comes first
        epoch = self._identity.owner_epoch
        return LogRun(self._identity.session, first, at, epoch, topic, kind, marker, data)

    def _spool_hands(self) -> SpoolHands:
        return SpoolHands(
            push=self._push,
            drop=self._drop_rejected,
            wanted=self._wanted,
            room=self._buffer.places_for,
            is_low=lambda: self._buffer.low,
            load=lambda: (self._feed.load, self._buffer.size),
            stalled=lambda: self._lane.stalled,
            reserve=self._buffer.reserve,
            changed=self._look_for_room,
            lost=lambda count: self._give_up(count, *DISK_FULL),
            degrade=lambda problem: self.degrade(LOG_UNAVAILABLE, problem, 0),
            restore=lambda: self.restore(LOG_UNAVAILABLE, 0),
            now=self._clock.now,
        )

    def _drop_rejected(self, parcel: Parcel) -> None:
        count = _messages([parcel])
        self._meter.dropped += count
        if parcel.route.topic == self._rejection.topic:
            self._rejection.dropped += count

    def _look_for_room(self) -> None:
        spool = self._spool
        if spool is None:  # it is being made
            return
        if spool.behind:
            self.degrade(PUBLISHING_BEHIND, "messages wait on the local disk", 0)
        if spool.crowded:
            self._buffer.room.clear()
        elif spool.roomy:
            self._buffer.room.set()
            if not spool.behind and self._buffer.half_empty:
                self._open_room()


def _messages(parcels: Sequence[Parcel]) -> int:
    """Returns how many events are messages, and not markers."""
    return sum([parcel.count for parcel in parcels if parcel.route.is_message])
