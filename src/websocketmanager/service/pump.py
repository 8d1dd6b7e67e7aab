"""The bounded buffer from a connection's socket to its topic: the only one there is.

Stamps each message with session, sequence and receive time, routes it, counts it, and says when
the reader must wait. What happens when it is full is its policy: `overflow` drops, `spool` has the
log on disk. What is refused with its topic is dropped and counted, and one message is tried every
30 s until the topic is accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from websocketmanager.domain.envelope import (
    SUBSCRIBING,
    Event,
    MessageEvent,
    Route,
    StreamIdentity,
    event_time,
    json_bytes,
    marker_event,
    marker_route,
    message_event,
    message_route,
    timestamp,
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
from websocketmanager.domain.overflow import GAP, Gap, LogEntry, key_reader
from websocketmanager.domain.rates import Rate
from websocketmanager.ports import Clock, Refusal
from websocketmanager.service.flag import Flag
from websocketmanager.service.lane import Feed, Lane
from websocketmanager.service.overflow import Bounds, Hands, Shedder
from websocketmanager.service.spool import Spool, SpoolHands
from websocketmanager.service.tap import Taps

#: Seconds between attempts on a topic that the API refused.
_RETRY_TOPIC_SECONDS = 30.0
#: What a waiting event costs beside its data, roughly; counts against the process budget.
_EVENT_BYTES = 512
#: How often the rates look at the counts, at most: not with every message.
_LOOK_SECONDS = 1.0

TOPIC_REJECTED = "topic_rejected"
PUBLISHING_BEHIND = "publishing_behind"
MESSAGE_REFUSED = "message_refused"
DROPPING = "dropping"
CONFLATING = "conflating"
LOG_UNAVAILABLE = "log_unavailable"

#: Policies that give messages up, and what is said of it.
_SHEDDING = {
    Overflow.DROP_OLDEST: (DROPPING, "the buffer is full; what waits longest is dropped"),
    Overflow.DROP_NEWEST: (DROPPING, "the buffer is full; what comes is dropped"),
    Overflow.CLOSE: (DROPPING, "the buffer is full; what still comes is dropped"),
    Overflow.CONFLATE: (CONFLATING, "the buffer is full; the latest message of each key is kept"),
}


class Budget:
    """Bytes that all buffers of the process may hold together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._room = asyncio.Event()
        self._room.set()
        self.used = 0

    @property
    def overdrawn(self) -> bool:
        """Whether every reader of the process must wait."""
        return not self._room.is_set()

    def take(self, count: int) -> None:
        """Counts bytes in; the last message may overdraw."""
        self.used += count
        if self.used >= self._max_bytes:
            self._room.clear()

    def give(self, count: int) -> None:
        """Counts bytes out."""
        self.used -= count
        # With a margin: readers that wake for each freed byte would stutter.
        if self.used * 4 <= self._max_bytes * 3:
            self._room.set()

    async def wait_room(self) -> None:
        """Waits while the budget is overdrawn."""
        await self._room.wait()


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
        self._budget = budget
        self._clock = clock
        self._format = format
        self._markers = markers
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._on_degraded = on_degraded
        self._on_restored = on_restored
        self._room = Flag()
        self._room.set()
        self._identity: StreamIdentity | None = None
        self._resumed_from = 0
        self._routes: dict[Topic, Route] = {}
        self._bytes = 0
        self._received = 0
        self._received_bytes = 0
        self._published = 0
        self._unrouted = 0
        self._dropped = 0
        self._rejected: Topic | None = None
        self._rejected_dropped = 0
        self._retry_at = 0.0
        self._trying = False
        self._waiting = False
        self._abandoned = False
        self._last_message_at: float | None = None
        self._last_ended: dict[str, Any] | None = None
        self._gap: dict[str, Any] | None = None
        now = clock.now()
        self._looked_at, self._look_again_at = now, now + _LOOK_SECONDS
        self._message_rates = (Rate.begin(10.0, now), Rate.begin(60.0, now))
        self._byte_rates = self._message_rates
        self.taps = Taps()
        self.topic: Topic | None = None
        self.sequence = 0
        self.last_kind: Kind | None = None
        self.degraded: set[str] = set()
        self._overflow = overflow
        self._given_up = 0
        self._gap_route: tuple[tuple[int, Topic], Route] | None = None
        self._shedder: Shedder | None = None
        if overflow in _SHEDDING:
            self._shedder = Shedder(
                overflow,
                lane=lane,
                feed=self._feed,
                bounds=Bounds(max_messages, max_bytes),
                hands=self._shedding_hands(),
                key=key_reader(conflate_pointer, format),
            )
        self._spool = make_spool(self._spool_hands()) if make_spool else None

    # --- sessions -----------------------------------------------------------------------------

    def open_session(self, identity: StreamIdentity, at: float, *, seamless: bool = False) -> None:
        """Numbers what comes from now on as the identity's session, from 1.

        Args:
            identity: with the session's number.
            at: now.
            seamless: nothing can be missing since the session before: there is no gap.
        """
        previous, last_sequence = self._identity, self.sequence
        self._identity = identity
        self._routes = {}
        self.sequence = 0
        resumes = identity.session > 1
        self._gap = None
        if resumes and not seamless:
            ended = self._last_ended or {}
            self._gap = {
                "session": identity.session,
                "from_session": identity.session - 1,
                # After a crash the last position that was saved: more may have come.
                "from_sequence": last_sequence if previous else self._resumed_from,
                "to_sequence": 1,
                "cause": ended.get("cause", "process_restart"),
                "lost": None,
                "ended_at": ended.get("ended_at"),
                "started_at": timestamp(at),
            }
            self._mark("gap", at, self._gap)
        self._mark(
            "started",
            at,
            {
                "session": identity.session,
                "first_sequence": 1,
                "started_at": timestamp(at),
                "resumed": resumes,
            },
        )

    def extend_gap(self, at: float) -> None:
        """Says that the gap before this session reaches to here: all feeds are there only now."""
        if self._gap is None:
            return
        reaches = {
            "to_sequence": self.sequence + 1,
            "cause": SUBSCRIBING,
            "started_at": timestamp(at),
        }
        self._mark("gap", at, {**self._gap, **reaches})
        self._gap = None

    def end_session(self, at: float, cause: str) -> None:
        """Says in the stream that the session is over."""
        if self._identity is None:
            return
        self._last_ended = {"cause": cause, "ended_at": timestamp(at)}
        self._mark(
            "ended",
            at,
            {
                "session": self._identity.session,
                "last_sequence": self.sequence,
                "cause": cause,
                "ended_at": timestamp(at),
            },
        )

    def abandon(self) -> None:
        """Drops what waits: another process owns the connection, and its stream."""
        self._abandoned = True
        self.forget_log()
        if self._shedder is not None:
            self._shedder.forget()
        events = self._feed.clear()
        self._dropped += _messages(events)
        self._release(events)

    def forget_log(self) -> int:
        """Removes what the disk holds of it; returns how many messages nobody gets now."""
        count = self._spool.remove() if self._spool is not None else 0
        self._dropped += count
        return count

    def resume_from(self, sequence: int) -> None:
        """Tells the last position that an earlier process has saved."""
        self._resumed_from = sequence

    @property
    def position(self) -> int:
        """The number of the last message in the present, or else the last known, session."""
        return self._resumed_from if self._identity is None else self.sequence

    def confirm_session(self, session: int) -> None:
        """Lets the session's messages go: its number is in the store and is never used again."""
        self._feed.open_gate(session)

    def set_topic(self, topic: Topic | None) -> None:
        """Routes from the next message on; a topic that was refused is tried again at once."""
        self.topic = topic
        self._retry_at = 0.0
        self._trying = False
        if topic is None:
            self._end_rejection()

    # --- messages -----------------------------------------------------------------------------

    def accept(self, message: Message, at: float) -> None:
        """Takes one message; never blocks. `full` says afterwards whether the reader must wait."""
        if at >= self._look_again_at or at < self._looked_at:
            self._look(at)
        self._received += 1
        self._received_bytes += len(message.data)
        self._last_message_at = at
        self.last_kind = message.kind
        self.sequence += 1
        topic = self.topic
        if self.taps.open and self._identity is not None:
            self.taps.take(message, self._identity, self.sequence, at, topic)
        if topic is None:
            self._unrouted += 1
            return
        if self._abandoned:
            self._dropped += 1
            return
        if topic == self._rejected and not self._is_worth_trying():
            self._dropped += 1
            self._rejected_dropped += 1
            return
        assert self._identity is not None  # noqa: S101 - open_session comes first
        route = self._routes.get(topic)
        if route is None:
            route = self._routes[topic] = message_route(self._identity, topic)
        event = message_event(
            route,
            self._identity,
            message,
            sequence=self.sequence,
            received_at=at,
            format=self._format,
        )
        if self._spool is not None:
            self._spool.take(event, self._entry(topic, at, message.kind, "", message.data))
        elif self._shedder is None or self._shedder.admits(event):
            self._push(event)

    def accept_many(self, messages: Sequence[Message], start: int, at: float) -> int:
        """Takes messages from `start` on, until the reader must wait.

        As `accept` for each, in one go: what can be done once is not done for every message.

        Returns:
            How many it took: one at least.
        """
        topic, identity = self.topic, self._identity
        if (
            self.taps.open
            or topic is None
            or identity is None
            or self._abandoned
            or topic == self._rejected
            or self._format is not Format.RAW
            or self._spool is not None
            or self._shedder is not None
        ):
            return self._accept_each(messages, start, at)
        if at >= self._look_again_at or at < self._looked_at:
            self._look(at)
        route = self._routes.get(topic)
        if route is None:
            route = self._routes[topic] = message_route(identity, topic)
        stop = min(len(messages), start + max(self._max_messages - self._feed.load, 1))
        session, first, room = identity.session, self.sequence + 1 - start, self._max_bytes
        room -= self._bytes
        size, events = 0, []
        for index in range(start, stop):
            message = messages[index]
            data = message.data
            events.append(MessageEvent(route, data, message.kind, session, first + index, at))
            size += len(data)
            if size >= room:
                break
        count = len(events)
        self.sequence += count
        self._received += count
        self._received_bytes += size
        self._last_message_at = at
        self.last_kind = message.kind
        self._bytes += size
        self._budget.take(size + count * _EVENT_BYTES)
        self._feed.push_many(events)
        if self._is_at_bounds():
            self._room.clear()
        return count

    def _accept_each(self, messages: Sequence[Message], start: int, at: float) -> int:
        for index in range(start, len(messages)):
            self.accept(messages[index], at)
            if self.full:
                return index + 1 - start
        return len(messages) - start

    @property
    def full(self) -> bool:
        """Whether the reader must wait before it takes the next message."""
        return self._is_full()

    def _is_full(self) -> bool:
        if self._spool is not None and not self._spool.failing:
            return not self._room.is_set()  # what comes needs no memory for long
        if self._overflow in {Overflow.DROP_OLDEST, Overflow.DROP_NEWEST}:
            return False
        return not self._room.is_set() or self._budget.overdrawn

    async def wait_room(self) -> None:
        """Waits until there is room; says so when it has to wait.

        Raises:
            SocketFailed: the session shall end instead.
        """
        if not self._is_full():
            return
        if self._overflow is Overflow.CLOSE:
            text = "as much waits for the API as may"
            raise SocketFailed(Failure(FailureKind.BUFFER_OVERFLOW, text))
        if self._overflow is Overflow.CONFLATE and self._shedder and self._shedder.conflate():
            self._room.set()
            if not self._is_full():
                return
        self._degrade(PUBLISHING_BEHIND, "the buffer is full; the socket is read slower", 0)
        self._waiting = True
        try:
            await self._room.wait()
            if self._spool is None or self._spool.failing:
                await self._budget.wait_room()
        finally:
            self._waiting = False
            if self._room.is_set() and not (self._spool and self._spool.behind):
                self._restore(PUBLISHING_BEHIND, 0)

    def statistics(self) -> Statistics:
        """Returns the counts of this process; sending and reconnects are the runner's."""
        return Statistics(
            messages_received=self._received,
            bytes_received=self._received_bytes,
            messages_published=self._published,
            buffered_messages=self._feed.load + (self._spool.unstored if self._spool else 0),
            buffered_bytes=self._bytes + (self._spool.unstored_bytes if self._spool else 0),
            spilled_messages=self._spool.spilled if self._spool else 0,
            spilled_bytes=self._spool.spilled_bytes if self._spool else 0,
            unrouted=self._unrouted,
            dropped=self._dropped,
            last_message_at=self._last_message_at,
        )

    def live(self) -> LiveStatistics:
        """Returns how it goes now; reconnects and sessions are not known here."""
        now = self._clock.now()
        self._look(now)
        last, oldest = self._last_message_at, self._lane.oldest(self._feed)
        return LiveStatistics(
            messages_per_second_10s=self._message_rates[0].per_second,
            messages_per_second_60s=self._message_rates[1].per_second,
            bytes_per_second_10s=self._byte_rates[0].per_second,
            bytes_per_second_60s=self._byte_rates[1].per_second,
            data_age_seconds=None if last is None else max(now - last, 0.0),
            queue_depth=self._feed.load,
            publish_lag_seconds=0.0 if oldest is None else max(now - event_time(oldest), 0.0),
        )

    @property
    def kept(self) -> int:
        """Events of the feed that a crash would not lose, less those that only memory has."""
        return self._spool.logged - self._spool.unstored if self._spool else 0

    def lament(self, problem: str) -> None:
        """Says that there is no log, though the connection asks for one."""
        self._degrade(LOG_UNAVAILABLE, problem, 0)

    # --- what became of them (lane.FeedOwner) -------------------------------------------------

    def accepted(self, events: Sequence[Event]) -> None:
        """Counts published events; a topic that accepts again is no longer rejected."""
        self._published += _messages(events)
        self._release(events)
        if self._rejected is not None and any(e.route.topic == self.topic for e in events):
            self._end_rejection()

    def refused(self, event: Event, refusal: Refusal) -> bool:
        """Drops one event, and with a refused topic all that waits for it."""
        dropped = _messages([event])
        self._dropped += dropped
        self._release([event])
        self._trying = False
        if not refusal.whole_topic:
            self._on_degraded(MESSAGE_REFUSED, refusal.problem, dropped)
            return False
        self._retry_at = self._clock.monotonic() + _RETRY_TOPIC_SECONDS
        self._rejected = event.route.topic
        self._rejected_dropped += dropped
        self._degrade(TOPIC_REJECTED, refusal.problem, self._rejected_dropped)
        return True

    def discarded(self, events: Sequence[Event]) -> None:
        """Counts events that were dropped behind a refused one."""
        dropped = _messages(events)
        self._dropped += dropped
        self._rejected_dropped += dropped
        self._release(events)
        if self.topic is None:
            self._end_rejection()  # what was refused came from before: nothing is wanted now

    # --- inside -------------------------------------------------------------------------------

    def _push(self, event: Event) -> None:
        size = len(event.data)
        self._bytes += size
        self._budget.take(size + _EVENT_BYTES)
        self._feed.push(event)
        if self._spool is None and self._is_at_bounds():
            self._room.clear()

    def _is_at_bounds(self) -> bool:
        return self._feed.load >= self._max_messages or self._bytes >= self._max_bytes

    def _is_half_empty(self) -> bool:
        return self._feed.load * 2 <= self._max_messages and self._bytes * 2 <= self._max_bytes

    def _release(self, events: Sequence[Event]) -> None:
        self._count_out(events)
        if self._spool is not None:
            self._spool.settled(events)
            return
        if self._shedder is not None:
            self._shedder.settled(events)
            self._shedder.flush()
        # Half empty: waking the reader for each freed place would make it stutter.
        if self._is_half_empty():
            self._open_room()

    def _open_room(self) -> None:
        if not self._room.is_set():
            self._room.set()
        if not self._waiting:
            self._restore(PUBLISHING_BEHIND, 0)
        if self._given_up:
            count, self._given_up = self._given_up, 0
            self._restore(_SHEDDING.get(self._overflow, (DROPPING, ""))[0], count)

    def _count_out(self, events: Sequence[Event]) -> None:
        size = sum([len(event.data) for event in events])  # a list: once per message
        self._bytes -= size
        self._budget.give(size + _EVENT_BYTES * len(events))

    def _look(self, at: float) -> None:
        """Has the rates see the counts."""
        short, long = self._message_rates
        count, size = self._received, self._received_bytes
        self._message_rates = short.advanced(count, at), long.advanced(count, at)
        short, long = self._byte_rates
        self._byte_rates = short.advanced(size, at), long.advanced(size, at)
        self._looked_at, self._look_again_at = at, at + _LOOK_SECONDS

    def _end_rejection(self) -> None:
        self._rejected = None
        dropped, self._rejected_dropped = self._rejected_dropped, 0
        self._restore(TOPIC_REJECTED, dropped)

    def _may_try(self) -> bool:
        """Whether one message may try the refused topic again."""
        if self._trying or self._clock.monotonic() < self._retry_at:
            return False
        self._trying = True
        return True

    def _is_worth_trying(self) -> bool:
        if self._spool is None:
            return self._may_try()
        # The one that tries is chosen when it leaves the log.
        return not self._trying and self._clock.monotonic() >= self._retry_at

    def _mark(self, marker: str, at: float, facts: dict[str, Any]) -> None:
        if not self._markers or self.topic is None or self._identity is None:
            return
        if self._abandoned or self.topic == self._rejected:
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
            entry = self._entry(self.topic, at, Kind.TEXT, marker, json_bytes(facts))
            self._spool.take(event, entry)
            return
        if self._shedder is not None:
            self._shedder.close()  # what was dropped came before
        self._push(event)

    # --- a full buffer ------------------------------------------------------------------------

    def _shedding_hands(self) -> Hands:
        return Hands(
            mark=self._gap_event,
            hold=self._count_in,
            release=self._count_out,
            dropped=self._give_up,
            size=lambda: self._bytes,
            overdrawn=lambda: self._budget.overdrawn,
        )

    def _count_in(self, event: Event) -> None:
        self._bytes += len(event.data)
        self._budget.take(len(event.data) + _EVENT_BYTES)

    def _give_up(self, count: int) -> None:
        self._dropped += count
        self._given_up += count
        self._degrade(*_SHEDDING[self._overflow], count)

    def _gap_event(self, gap: Gap, like: Event) -> Event | None:
        if not self._markers or self._identity is None:
            return None
        session, sequence = gap.last
        identity, topic = replace(self._identity, session=session), like.route.topic
        if self._gap_route is None or self._gap_route[0] != (session, topic):
            self._gap_route = (session, topic), marker_route(identity, topic, GAP)
        return marker_event(
            self._gap_route[1],
            identity,
            marker=GAP,
            sequence=sequence,
            at=self._clock.now(),
            facts=gap.facts,
        )

    # --- the log on disk ----------------------------------------------------------------------

    def _entry(self, topic: Topic, at: float, kind: Kind, marker: str, data: bytes) -> LogEntry:
        assert self._identity is not None  # noqa: S101 - open_session comes first
        epoch = self._identity.owner_epoch
        return LogEntry(self._identity.session, self.sequence, at, epoch, topic, kind, marker, data)

    def _spool_hands(self) -> SpoolHands:
        return SpoolHands(
            push=self._push,
            drop=self._drop_rejected,
            rejects=lambda topic: topic == self._rejected and not self._may_try(),
            has_room=lambda: not (self._is_at_bounds() or self._budget.overdrawn),
            is_low=lambda: (
                self._is_half_empty() and (not self._feed.load or not self._budget.overdrawn)
            ),
            load=lambda: (self._feed.load, self._bytes),
            stalled=lambda: self._lane.stalled,
            reserve=self._reserve,
            changed=self._look_for_room,
            lost=self._lose,
            degrade=lambda problem: self._degrade(LOG_UNAVAILABLE, problem, 0),
            restore=lambda: self._restore(LOG_UNAVAILABLE, 0),
            now=self._clock.now,
        )

    def _drop_rejected(self, event: Event) -> None:
        count = _messages([event])
        self._dropped += count
        if event.route.topic == self._rejected:
            self._rejected_dropped += count

    def _reserve(self, size: int) -> None:
        if size > 0:
            self._budget.take(size)
        else:
            self._budget.give(-size)

    def _lose(self, count: int) -> None:
        self._dropped += count
        self._given_up += count
        text = "the log on disk is full; the oldest messages in it are dropped"
        self._degrade(DROPPING, text, count)

    def _look_for_room(self) -> None:
        spool = self._spool
        if spool is None:  # it is being made
            return
        if spool.behind:
            self._degrade(PUBLISHING_BEHIND, "messages wait on the local disk", 0)
        if spool.crowded:
            self._room.clear()
        elif spool.roomy:
            self._room.set()
            if not spool.behind and self._is_half_empty():
                self._open_room()

    def _degrade(self, cause: str, detail: str, count: int) -> None:
        if cause not in self.degraded:
            self.degraded.add(cause)
            self._on_degraded(cause, detail, count)

    def _restore(self, cause: str, count: int) -> None:
        if cause in self.degraded:
            self.degraded.discard(cause)
            self._on_restored(cause, count)


def _messages(events: Sequence[Event]) -> int:
    """Returns how many are messages, and not markers."""
    return sum([event.route.is_message for event in events])  # a list: once per message
