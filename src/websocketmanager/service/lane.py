"""The one ordered lane to the API: groups what waited while the last publish was in flight.

Every stream of events (a connection's messages, the lifecycle outbox) has a `Feed`. The lane
takes from feeds in turn, by bytes, so that a noisy one starves nobody. Where the sink keeps the
order of calls that overlap, several fly behind one another, and when one of them is not accepted
whole, it and all behind it come back. On any other sink the events of one feed are in one call at
a time. An unreachable API stops the lane and loses nothing; a refused event stops its own feed
at most.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from websocketmanager.domain.envelope import Parcel, count_events
from websocketmanager.domain.facts import PublishingResumed, PublishingStalled
from websocketmanager.errors import ApiError, ApiUnauthenticated, ApiUnavailable
from websocketmanager.ports import Clock, Dice, EventSink, Journal, PublishResult, Refusal
from websocketmanager.service.feeds import OPEN, Batch, Feed, FeedOwner

__all__ = ["OPEN", "Feed", "FeedOwner", "Lane"]

#: A feed whose head failed without a reason is tried this often before it counts as refused.
_MAX_STRIKES = 8
_FIRST_PAUSE_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 2.0
_MAX_HOLD_SECONDS = 5.0
#: Calls that may fly however small they are: with one, a message waits for a whole answer first.
_FEW = 2
_NO_REASON = "it accepted nothing and gave no reason"


class Lane:
    """Publishes the events of all feeds through one sink.

    A call costs as much as hundreds of messages. So where two fly, small ones wait for the answer
    to the first, much as TCP has small segments wait (RFC 896).

    Args:
        sink, clock, dice, journal: of the process.
        much: waiting events that are worth a call at once.
    """

    def __init__(
        self,
        sink: EventSink,
        clock: Clock,
        dice: Dice,
        journal: Journal,
        *,
        much: int = 1,
    ) -> None:
        self._much = much
        self._sink = sink
        self._clock = clock
        self._dice = dice
        self._journal = journal
        self._ready: deque[Feed] = deque()
        self._held: set[Feed] = set()
        #: Calls in flight, in the order in which they began.
        self._flying: list[Batch] = []
        #: Those of them that the sink keeps in order.
        self._line: deque[Batch] = deque()
        #: One of the line was not accepted whole: nothing begins until all of it is back.
        self._turning_back = False
        self._pause = _FIRST_PAUSE_SECONDS
        self._paused_until: float | None = None
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
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
        try:
            async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - the lane owns its calls
                while True:
                    self._wake.clear()
                    self._end_waits()
                    while self._may_begin:
                        await self._begin(tasks)
                    await self._wait_for_work()
        finally:
            self._give_back_line()

    def oldest(self, feed: Feed) -> Parcel | None:
        """Returns the feed's oldest events that are not accepted yet; looks through what flies."""
        for batch in self._flying:
            event = batch.first_of(feed)
            if event is not None:
                return event
        return feed.events[0] if feed.events else None

    async def wait_drained(self) -> None:
        """Waits until nothing is pending."""
        while self.pending:
            self._drained.clear()
            await self._drained.wait()

    @property
    def _may_begin(self) -> bool:
        free = len(self._flying) < self._sink.max_in_flight
        if not (self._ready and free) or self._turning_back or self._paused_until is not None:
            return False
        return len(self._line) < _FEW or self._is_much_waiting

    @property
    def _is_much_waiting(self) -> bool:
        """Whether so much waits that a call of its own is worth its price."""
        return self.pending - sum([batch.count for batch in self._flying]) >= self._much

    async def _begin(self, tasks: asyncio.TaskGroup) -> None:  # noqa: TID251 - as in run
        ordered = self._sink.ordered
        batch = Batch()
        taken = batch.fill(self._ready, self._sink.max_batch)
        # On a sink without order a feed has no further turn until its events are settled.
        waiting = set() if ordered else batch.feeds
        for feed in [self._ready.popleft() for _ in range(len(taken))]:
            feed.queued = feed in waiting
            self.offer(feed)
        if not batch.events:
            return  # its owner took out what waited
        self._flying.append(batch)
        if ordered:
            self._line.append(batch)
            tasks.create_task(self._fly(batch))
        elif self._sink.max_in_flight == 1:
            await self._settle(batch)  # nothing can begin meanwhile: it needs no task
        else:
            tasks.create_task(self._settle(batch))

    async def _wait_for_work(self) -> None:
        due = [feed.held_until for feed in self._held if feed.held_until is not None]
        if self._paused_until is not None:
            due.append(self._paused_until)
        if not due:
            await self._wake.wait()
            return
        try:
            async with self._clock.timeout(max(0.0, min(due) - self._clock.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    def _end_waits(self) -> None:
        """Ends the pause and lets held feeds go on, when their time has come."""
        if self._paused_until is None and not self._held:
            return
        now = self._clock.monotonic()
        if self._paused_until is not None and self._paused_until <= now:
            self._paused_until = None
        for feed in [f for f in self._held if (f.held_until or 0.0) <= now]:
            self._held.discard(feed)
            feed.held_until = None
            self.offer(feed)

    # --- a sink that keeps calls in order --------------------------------------------------------

    async def _fly(self, batch: Batch) -> None:
        """Publishes one batch of the line."""
        if self._turning_back:
            batch.outcome = PublishResult(0)
        else:
            try:
                batch.outcome = await self._sink.publish(batch.events)
            except (ApiUnavailable, ApiUnauthenticated) as error:
                batch.outcome = error
        self._land()
        self._wake.set()

    def _land(self) -> None:
        """Takes the calls that ended out of the line, in order."""
        line = self._line
        if not self._turning_back:
            while line and line[0].complete:
                batch = line.popleft()
                self._flying.remove(batch)
                self._accept(batch, batch.count)
            self._turning_back = any(b.outcome is not None and not b.complete for b in line)
        if self._turning_back and all(batch.outcome is not None for batch in line):
            self._turn_back()

    def _turn_back(self) -> None:
        """All calls of the line have ended, and one was not accepted whole: begins anew there."""
        line = self._line
        stopped = next(batch for batch in line if not batch.complete)
        feeds = {feed for batch in line for feed in batch.feeds}
        outcome = stopped.outcome
        for batch in line:
            if isinstance(batch.outcome, PublishResult):
                self._accept(batch, batch.outcome.accepted)
        while line[-1] is not stopped:
            self._give_back(line.pop())
        if isinstance(outcome, ApiError):
            self._rest(outcome.problem)
        elif outcome is not None and outcome.refusal is not None:
            self._resume()
            self._refuse(stopped, outcome.refusal)
        elif outcome is None or not outcome.accepted:
            self._rest(_NO_REASON)
        self._give_back_line()
        self._turning_back = False
        for feed in feeds:
            self.offer(feed)

    def _give_back_line(self) -> None:
        while self._line:
            self._give_back(self._line.pop())

    def _give_back(self, batch: Batch) -> None:
        self._flying.remove(batch)
        batch.give_back_all()

    def _rest(self, problem: str) -> None:
        """Begins no call for a while."""
        self._stall(problem)
        pause = self._pause * (0.5 + 0.5 * self._dice.uniform())
        self._pause = min(self._pause * 2.0, _MAX_PAUSE_SECONDS)
        self._paused_until = self._clock.monotonic() + pause

    # --- any other sink --------------------------------------------------------------------------

    async def _settle(self, batch: Batch) -> None:
        """Publishes the batch to its end and gives the feeds back."""
        feeds = batch.feeds
        try:
            while batch.events:
                await self._publish_some(batch)
        finally:
            self._give_back(batch)  # what an interrupted call held
            for feed in feeds:
                feed.queued = False
                self.offer(feed)
            self._wake.set()

    async def _publish_some(self, batch: Batch) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                result = await self._sink.publish(batch.events)
                if result.accepted or result.refusal is not None:
                    break
                self._stall(_NO_REASON)
            except (ApiUnavailable, ApiUnauthenticated) as error:
                self._stall(error.problem)
            await self._clock.sleep(pause * (0.5 + 0.5 * self._dice.uniform()))
            pause = min(pause * 2.0, _MAX_PAUSE_SECONDS)
        self._resume()
        self._accept(batch, result.accepted)
        if result.refusal is not None and batch.events:
            self._refuse(batch, result.refusal)

    # --- what became of events -------------------------------------------------------------------

    def _accept(self, batch: Batch, count: int) -> None:
        if count:
            self._resume()
            batch.accept(count, self._tell_accepted)

    def _tell_accepted(self, feed: Feed, events: Sequence[Parcel]) -> None:
        feed.strikes = 0
        count = count_events(events)
        feed.flying -= count
        self.lighten(feed, count)
        feed.owner.accepted(events)

    def _refuse(self, batch: Batch, refusal: Refusal) -> None:
        """The batch's first event was refused: drop it, or hold its feed and go on without."""
        feed = batch.head_feed
        feed.strikes += 1
        if not refusal.definite and feed.strikes < _MAX_STRIKES:
            self._hold(batch, feed)
            return
        feed.strikes = 0
        event, _ = batch.drop_head()
        self.lighten(feed, 1)
        if not feed.owner.refused(event, refusal):
            return
        batch.give_back(feed)
        dropped = [e for e in feed.events if e.route.topic == event.route.topic]
        feed.events = deque(e for e in feed.events if e.route.topic != event.route.topic)
        self.lighten(feed, count_events(dropped))
        feed.owner.discarded(dropped)

    def _hold(self, batch: Batch, feed: Feed) -> None:
        cap = min(_MAX_HOLD_SECONDS, 0.05 * 2.0**feed.strikes)
        batch.give_back(feed)
        held_until = self._clock.monotonic() + cap * (0.5 + 0.5 * self._dice.uniform())
        feed.held_until = held_until
        self._held.add(feed)

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
            self._pause = _FIRST_PAUSE_SECONDS
            seconds = self._clock.monotonic() - self._stalled_since
            self._stalled_since = None
            self._journal.emit(PublishingResumed(seconds))
