"""The connections of this process: owns their runners, starts, keeps and removes them.

Work that must not be left half-done runs as a task in here and goes on when its caller goes
away.
"""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from collections.abc import Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.facts import (
    ConnectionRemoved,
    MessagesDropped,
    RecordIgnored,
    RunnerCrashed,
)
from websocketmanager.domain.model import (
    ConnectionDetail,
    ConnectionId,
    ConnectionView,
    Statistics,
    Status,
)
from websocketmanager.domain.record import Record
from websocketmanager.errors import ApiError, ConnectionNotFound, ServiceUnavailable
from websocketmanager.ports import MessageLog
from websocketmanager.service.budget import Budget
from websocketmanager.service.flag import Flag
from websocketmanager.service.history import Histories
from websocketmanager.service.index import Index
from websocketmanager.service.lane import OPEN, Lane
from websocketmanager.service.ledger import Book, RecordLost
from websocketmanager.service.overflow import Bounds
from websocketmanager.service.pump import Pump
from websocketmanager.service.runner import Runner, Tools
from websocketmanager.service.spools import Spools
from websocketmanager.service.watch import Watchers

#: How long `Disconnect` waits for its last event before the record goes.
_FAREWELL_SECONDS = 2.0
_SWEEP_SECONDS = 30.0
_RESTART_SECONDS = 1.0

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Entry:
    """One connection of this process: what it consists of, and what they tell each other.

    Attributes:
        forget: takes it out of the registry.
        durable: set once the store shows that its caller may know of it.
        gone: set once it is no longer in this process, or the process stops.
        leaving: whether a removal is under way that nobody waits for.
        buried: set once a tombstone is stored.
    """

    forget: Callable[[Entry], bool]
    book: Book = field(init=False)
    pump: Pump = field(init=False)
    runner: Runner = field(init=False)
    durable: Flag = field(default_factory=Flag)
    gone: Flag = field(default_factory=Flag)
    started: bool = False
    leaving: bool = False
    buried: Flag = field(default_factory=Flag)

    @property
    def removed(self) -> bool:
        """Whether a tombstone is stored."""
        return self.buried.is_set()

    @property
    def running(self) -> bool:
        """Whether its runner is alive."""
        return self.started and not self.runner.finished.is_set()

    @property
    def ending(self) -> bool:
        """Whether it is about to go and cannot be used again."""
        return self.removed or self.runner.end is life.EndReason.FIRST_DIAL_FAILED

    @property
    def record(self) -> Record:
        """The record in memory."""
        return self.book.record

    # --- told by its parts ----------------------------------------------------------------------

    def note_saved(self, durably: Record) -> None:
        """The store has this record."""
        # Behind a tombstone no other process continues: every number is this one's.
        self.pump.confirm_session(OPEN if durably.deleted else durably.session)
        if durably.answered:
            self.durable.set()

    def note_lost(self, problem: str) -> None:
        """Another owner has the record."""
        del problem  # the ledger has told it
        self.buried.set()
        self.forget(self)
        self.runner.stop(life.EndReason.LEASE_LOST)
        self.pump.abandon()

    def position(self) -> int:
        """Returns the last message's number in the present session."""
        return self.pump.position

    # The runner may be another one by then: it is looked up when there is something to tell.
    def tell_degraded(self, cause: str, detail: str, count: int) -> None:
        """The pump delivers worse than promised."""
        self.runner.tell_degraded(cause, detail, count)

    def tell_restored(self, cause: str, count: int) -> None:
        """The pump delivers as promised again."""
        self.runner.tell_restored(cause, count)


class Registry:
    """Owns the connections of this process.

    Args:
        tools: what all runners share.
        index: of this instance.
        lane: the way to the API.
        log: for messages on the local disk, if there is one.
    """

    def __init__(
        self, tools: Tools, index: Index, lane: Lane, log: MessageLog | None = None
    ) -> None:
        self.spools = Spools(log, tools.journal, max_bytes=tools.policy.message_log_max_bytes)
        self._tools = tools
        self._index = index
        self._lane = lane
        self._budget = Budget(tools.policy.limits.max_buffer_bytes)
        self._tasks: asyncio.TaskGroup | None = None  # noqa: TID251 - it owns all runners
        self._stop = asyncio.Event()
        self._past = Statistics()
        # Also those of entries that are forgotten meanwhile.
        self._running: dict[Runner, Entry] = {}
        # One object for all: a bound method is made anew each time it is looked up.
        self._after = self._after_runner
        self._forgetting = self._forget
        self.entries: dict[ConnectionId, Entry] = {}
        self.histories = Histories()
        self.watchers = Watchers(self.histories, type_prefix=tools.policy.lifecycle_type_prefix)
        tools.ledger.listen(self.watchers.tell)

    # --- its own life -------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs the connections until `stop`. Cancelling drops their sockets at once."""
        try:
            async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - as above
                self._tasks = tasks
                sweeper = tasks.create_task(self._sweep())
                await self._stop.wait()
                sweeper.cancel()
                for entry in self.entries.values():
                    entry.runner.stop(life.EndReason.SHUTDOWN, close_code=1001)
                await self._wait_runners()
        finally:
            for runner in [*self._running]:
                runner.abort()
            await self._wait_runners()

    async def _wait_runners(self) -> None:
        while self._running:
            await next(iter(self._running)).finished.wait()

    def stop(self) -> None:
        """Has every socket closed with 1001 (going away); `run` returns when all are."""
        self._stop.set()
        self.watchers.stop(ServiceUnavailable("stopping"))
        for entry in self.entries.values():
            entry.gone.set()
            entry.pump.taps.end(ServiceUnavailable("stopping"))

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked."""
        return self._stop.is_set()

    # --- coming -------------------------------------------------------------------------------

    def adopt(self, record: Record, etag: str) -> Entry:
        """Takes over a stored record under a new epoch; `start` runs it."""
        ours = replace(
            record,
            owner_epoch=record.owner_epoch + 1,
            incarnation=self._tools.policy.incarnation,
        )
        extent = self.spools.extent(record)
        if extent.last > (record.session, record.last_sequence):
            # The store need not have learnt of what the disk holds; its numbers are taken, too.
            ours = replace(ours, session=extent.last[0], last_sequence=extent.last[1])
        entry = self.make_entry(ours, etag=etag, stored=True, resumed=record.session > 0)
        entry.pump.resume_from(ours.last_sequence)
        entry.durable.set()
        self._tools.ledger.announce_again(entry.book)
        if extent.entries:
            self._tools.ledger.post(entry.book)  # what the disk holds goes out behind this save
        if self.spools.lacks(record):
            entry.pump.lament("the setting MessageLogFolder is empty")
        self.entries[record.id] = entry
        return entry

    def admit(self, entry: Entry) -> None:
        """Adds a new entry and runs it."""
        self.entries[entry.record.id] = entry
        self.start(entry)

    def revive(self, entry: Entry) -> None:
        """Runs an entry again that had ended."""
        self._replace_runner(entry)
        self.start(entry)

    def start(self, entry: Entry) -> None:
        """Runs an entry's runner."""
        entry.started = True
        if self._stop.is_set():
            entry.runner.stop(life.EndReason.SHUTDOWN, close_code=1001)
        self._running[entry.runner] = entry
        entry.runner.start(self._after)

    def remove_later(self, entry: Entry, reason: str) -> None:
        """Ends an entry for good, as soon as the store takes it."""
        # The end of something whose beginning was never told is not told either.
        told = entry.record.event > 0
        self.spawn(self.remove_quietly(entry, reason, announce=told, patience_seconds=None))

    def discard_strays(self, unreadable: Collection[ConnectionId]) -> None:
        """Removes from the disk what belongs to no connection of this process.

        Args:
            unreadable: connections whose records could not be read: theirs is kept.
        """
        self.spools.discard_strays((e.record for e in self.entries.values()), unreadable)

    def finish_removal(self, entry: Entry, reason: str) -> None:
        """Deletes what an interrupted removal has left behind its tombstone."""
        entry.buried.set()
        self.spawn(self._bury_rest(entry, reason, patience_seconds=None))

    def make_entry(self, record: Record, *, etag: str | None, stored: bool, resumed: bool) -> Entry:
        """Returns an entry that is not admitted yet.

        Args:
            record: its record.
            etag: of the stored value, when it is known.
            stored: whether there is a stored value.
            resumed: whether it was open before.
        """
        policy, options = self._tools.policy, record.spec.options
        max_messages, max_bytes = policy.buffer_bounds(record.spec)
        entry = Entry(self._forgetting)
        book = entry.book = Book(record, entry, etag=etag, stored=stored)
        pump = entry.pump = Pump(
            lane=self._lane,
            budget=self._budget,
            clock=self._tools.clock,
            format=options.format,
            markers=options.markers,
            max_messages=max_messages,
            max_bytes=max_bytes,
            overflow=options.buffer.overflow,
            conflate_pointer=options.buffer.conflate_pointer,
            make_spool=self.spools.maker(record, Bounds(max_messages, max_bytes)),
            on_degraded=entry.tell_degraded,
            on_restored=entry.tell_restored,
        )
        entry.runner = Runner(book, pump, self._tools, resumed=resumed)
        pump.set_topic(record.spec.topic)
        return entry

    @property
    def unflushed(self) -> int:
        """Messages and lifecycle events that would be lost if the process ended now."""
        kept = sum(entry.pump.kept for entry in self.entries.values())
        return max(self._lane.pending - kept, 0) + self._tools.ledger.waiting

    def _replace_runner(self, entry: Entry) -> None:
        before = entry.runner
        entry.runner = Runner(entry.book, entry.pump, self._tools, resumed=entry.record.session > 0)
        entry.runner.count_on(before)

    def _after_runner(self, runner: Runner, fault: Exception | None) -> None:
        """A runner is over; one that crashed is followed by another."""
        entry = self._running.pop(runner)
        if fault is None:
            return
        trace = "".join(traceback.format_exception(fault))
        self._tools.journal.emit(RunnerCrashed(entry.record.id, repr(fault), trace))
        if not (self._stop.is_set() or entry.removed):
            self.spawn(self._restart(entry))

    async def _restart(self, entry: Entry) -> None:
        crashed = entry.runner
        await self._tools.clock.sleep(_RESTART_SECONDS)
        if self._stop.is_set() or entry.removed or entry.runner is not crashed:
            return  # by now it is over, or was begun again by a caller
        self._replace_runner(entry)
        self.start(entry)

    async def remove(
        self,
        entry: Entry,
        reason: str,
        *,
        announce: bool = True,
        patience_seconds: float | None = _FAREWELL_SECONDS,
    ) -> None:
        """Ends an entry for good: tombstone first, then the socket, then the record.

        Args:
            entry: what to remove; several may ask at once, one does it.
            reason: for the journal and the event.
            announce: whether to announce the end of one that does not run.
            patience_seconds: how long the record waits for its last event to be published;
                None for as long as it takes.

        Raises:
            ApiError: the store did not take the tombstone; nothing has changed.
            RecordLost: another process owns it.
        """
        if entry.removed:
            await entry.gone.wait()
            return
        last = entry.runner.farewell(reason) if entry.running or announce else None
        release = await self._tools.ledger.bury(entry.book, last)
        if release is None:
            await entry.gone.wait()
            return
        entry.buried.set()
        if entry.running:
            entry.runner.stop(life.EndReason.REQUESTED)
            await entry.runner.finished.wait()
        release()
        await self._bury_rest(entry, reason, patience_seconds=patience_seconds)

    async def _bury_rest(
        self, entry: Entry, reason: str, *, patience_seconds: float | None
    ) -> None:
        connection_id = entry.record.id
        try:
            await self._tools.ledger.erase(entry.book, patience_seconds=patience_seconds)
            await self._index.discard(connection_id)
        except ApiError as error:
            # The tombstone is stored, so it is final; the next recovery deletes what is left.
            self._tools.journal.emit(RecordIgnored(entry.record.key, error.problem))
        if self._forget(entry):
            self._tools.journal.emit(ConnectionRemoved(connection_id, reason))

    def _forget(self, entry: Entry) -> bool:
        entry.gone.set()
        known = self.entries.get(entry.record.id) is entry
        if known:
            del self.entries[entry.record.id]
            if lost := entry.pump.forget_log():
                self._tools.journal.emit(MessagesDropped(entry.record.id, lost, "disconnected"))
            self._past = _sum(self._past, self.statistics(entry))
            self._end_streams(entry)
        return known

    def _end_streams(self, entry: Entry) -> None:
        """Those who look on learn whether it was removed, or is another's now."""
        connection_id = entry.record.id
        error = None if entry.record.deleted else ConnectionNotFound(connection_id)
        self.watchers.end(connection_id, error)
        entry.pump.taps.end(error)
        self.histories.forget(connection_id)

    async def remove_quietly(
        self,
        entry: Entry,
        reason: str,
        *,
        announce: bool = False,
        patience_seconds: float | None = _FAREWELL_SECONDS,
    ) -> None:
        """Removes what nobody waits for; an unreachable API is waited for.

        Args:
            entry: what to remove.
            reason: for the journal and the event.
            announce: whether to announce the end of one that does not run.
            patience_seconds: as for `remove`.
        """
        if entry.leaving:
            await entry.gone.wait()
            return
        entry.leaving = True
        while not self._stop.is_set() and not entry.gone.is_set():
            try:
                await self.remove(
                    entry, reason, announce=announce, patience_seconds=patience_seconds
                )
            except ApiError:
                await self._tools.clock.sleep(_RESTART_SECONDS)
            except RecordLost:
                return

    async def _sweep(self) -> None:
        """Removes connections that ended by themselves, after the retention time."""
        retention = self._tools.policy.disconnected_retention_seconds
        while True:
            await self._tools.clock.sleep(min(_SWEEP_SECONDS, max(retention, 0.1)))
            now = self._tools.clock.now()
            for entry in [*self.entries.values()]:
                ended = entry.record.disconnected_at
                if not entry.running and ended is not None and now - ended >= retention:
                    self.spawn(self.remove_quietly(entry, "retention is over"))

    # --- tasks --------------------------------------------------------------------------------

    async def scrub(self, entry: Entry) -> None:
        """Deletes what a failed creation may have left, as soon as the store takes it."""
        while not self._stop.is_set():
            try:
                await self._tools.ledger.scrub(entry.book)
                await self._index.discard(entry.record.id)
            except ApiError:
                await self._tools.clock.sleep(_RESTART_SECONDS)
            else:
                return

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work that nobody waits for; a fault of ours in it ends it alone."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - the task group must not fall for it
                trace = "".join(traceback.format_exception(error))
                self._tools.journal.emit(RunnerCrashed("-", repr(error), trace))

        # In a context of its own: what lives on does not belong to the trace of who began it.
        # Once the process has stopped, what is left is for its next recovery.
        self._begin(guarded(), work, context=contextvars.Context())

    def outcome(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Runs work as a task of the supervisor; what it raises goes to whoever waits."""
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def carried() -> None:
            try:
                result = await work
            except asyncio.CancelledError:
                outcome.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - it is handed on
                if not outcome.cancelled():
                    outcome.set_exception(error)
            else:
                if not outcome.cancelled():
                    outcome.set_result(result)

        # A caller that went away does not ask for the exception.
        outcome.add_done_callback(lambda done: done.cancelled() or done.exception())
        if not self._begin(carried(), work):
            outcome.set_exception(ServiceUnavailable("stopping"))
        return outcome

    def _begin(
        self,
        wrapper: Coroutine[Any, Any, None],
        work: Coroutine[Any, Any, Any],
        *,
        context: contextvars.Context | None = None,
    ) -> bool:
        """Makes a task of the wrapped work; returns False when there is no place for it."""
        assert self._tasks is not None  # noqa: S101 - it runs before anything else does
        try:
            task = self._tasks.create_task(wrapper, context=context)
        except RuntimeError:
            wrapper.close()
            work.close()
            return False
        # A task that is cancelled before its first step has not touched the work.
        task.add_done_callback(lambda _: work.close(), context=context)
        return True

    async def carry(self, work: Coroutine[Any, Any, T]) -> T:
        """Finishes the work even when its caller goes away."""
        return await asyncio.shield(self.outcome(work))

    # --- what is seen -------------------------------------------------------------------------

    def statuses(self) -> Iterator[Status]:
        """Yields the wire status of every connection."""
        # A copy: metrics may be collected in a thread of their exporter.
        return map(self.status, list(self.entries.values()))

    def status(self, entry: Entry) -> Status:
        """Returns the wire status of one connection."""
        if entry.removed:
            return Status.DISCONNECTED
        if entry.running:
            return entry.runner.status
        if entry.record.status is Status.DISCONNECTED:
            return Status.DISCONNECTED
        # Not dialled yet since the process began: what is stored is of an earlier one.
        return Status.RECONNECTING if entry.record.session else Status.CONNECTING

    def statistics(self, entry: Entry) -> Statistics:
        """Returns the counts of one connection."""
        runner = entry.runner
        sent, sent_bytes = runner.sent
        return replace(
            entry.pump.statistics(),
            messages_sent=sent,
            bytes_sent=sent_bytes,
            reconnects=max(runner.dials - 1, 0),
        )

    def totals(self) -> Statistics:
        """Returns the counts of all connections, those that are gone included."""
        total = self._past
        for entry in list(self.entries.values()):
            total = _sum(total, self.statistics(entry))
        return total

    def view(self, entry: Entry) -> ConnectionView:
        """Returns what a caller sees of a connection."""
        record, pump, runner = entry.record, entry.pump, entry.runner
        return ConnectionView(
            id=record.id,
            url=runner.url,
            status=self.status(entry),
            topic=record.spec.topic,
            instance_id=record.instance_id,
            content_type=pump.last_kind.value if pump.last_kind else "",
            tags=record.spec.tags,
            name=record.spec.name,
            session=record.session,
            owner_epoch=record.owner_epoch,
            created_at=record.created_at,
            connected_at=record.connected_at,
            auto_reconnect=record.spec.auto_reconnect,
            options=record.spec.options,
            statistics=self.statistics(entry),
            cause=record.cause,
            next_attempt_at=runner.next_attempt_at,
            degraded=tuple(sorted(pump.degraded)),
            profile=record.spec.profile,
        )

    def detail(self, entry: Entry) -> ConnectionDetail:
        """Returns all that is known of a connection."""
        history = self.histories.of(entry.record.id)
        view = self.view(entry)
        live = replace(
            entry.pump.live(), reconnects=view.statistics.reconnects, sessions=view.session
        )
        return ConnectionDetail(view, live, history.transitions(), history.last_error())


def _sum(one: Statistics, other: Statistics) -> Statistics:
    counts = {
        field.name: getattr(one, field.name) + getattr(other, field.name)
        for field in fields(Statistics)
        if field.name != "last_message_at"
    }
    return Statistics(**counts)
