"""The connections of this process: owns their runners, starts, keeps and stops them.

How one comes is in `creation` and `recovery`, how it goes in `removal`.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Collection, Iterator
from dataclasses import fields, replace

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.facts import MessagesDropped, RunnerCrashed
from websocketmanager.domain.model import ConnectionDetail, ConnectionId, Statistics, Status
from websocketmanager.domain.record import Record
from websocketmanager.errors import ConnectionNotFound, ServiceUnavailable
from websocketmanager.ports import MessageLog
from websocketmanager.service.budget import Budget
from websocketmanager.service.entry import Entry
from websocketmanager.service.errands import Errands
from websocketmanager.service.history import Histories
from websocketmanager.service.index import Index
from websocketmanager.service.lane import Lane
from websocketmanager.service.ledger import Book
from websocketmanager.service.overflow import Bounds
from websocketmanager.service.pump import Pump
from websocketmanager.service.removal import Removal
from websocketmanager.service.runner import Runner, Tools
from websocketmanager.service.spools import Spools
from websocketmanager.service.watch import Watchers

_RESTART_SECONDS = 1.0


class Registry:
    """Owns the connections of this process.

    Args:
        tools: what all runners share.
        index: of this instance.
        lane: the way to the API.
        log: for messages on the local disk, if there is one.

    Attributes:
        entries: the connections, by id.
        errands: work on them that goes on when its caller goes away.
        removal: how they go.
        spools: their part of the local disk.
        histories: their last lifecycle events.
        watchers: who is told of the next ones.
    """

    def __init__(
        self, tools: Tools, index: Index, lane: Lane, log: MessageLog | None = None
    ) -> None:
        self.spools = Spools(log, tools.journal, max_bytes=tools.policy.message_log_max_bytes)
        self._tools = tools
        self._lane = lane
        self._budget = Budget(tools.policy.limits.max_buffer_bytes)
        self._stop = asyncio.Event()
        self.errands = Errands(tools.journal)
        self.removal = Removal(tools, index, self.errands, self._stop)
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
            async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - it owns all runners
                self.errands.begin(tasks)
                sweeper = tasks.create_task(self.removal.sweep(self.entries))
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

    def discard_strays(self, unreadable: Collection[ConnectionId]) -> None:
        """Removes from the disk what belongs to no connection of this process.

        Args:
            unreadable: connections whose records could not be read: theirs is kept.
        """
        self.spools.discard_strays((e.record for e in self.entries.values()), unreadable)

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
            self.errands.spawn(self._restart(entry))

    async def _restart(self, entry: Entry) -> None:
        crashed = entry.runner
        await self._tools.clock.sleep(_RESTART_SECONDS)
        if self._stop.is_set() or entry.removed or entry.runner is not crashed:
            return  # by now it is over, or was begun again by a caller
        self._replace_runner(entry)
        self.start(entry)

    def _forget(self, entry: Entry) -> bool:
        entry.gone.set()
        known = self.entries.get(entry.record.id) is entry
        if known:
            del self.entries[entry.record.id]
            if lost := entry.pump.forget_log():
                self._tools.journal.emit(MessagesDropped(entry.record.id, lost, "disconnected"))
            self._past = _sum(self._past, entry.statistics())
            self._end_streams(entry)
        return known

    def _end_streams(self, entry: Entry) -> None:
        """Those who look on learn whether it was removed, or is another's now."""
        connection_id = entry.record.id
        error = None if entry.record.deleted else ConnectionNotFound(connection_id)
        self.watchers.end(connection_id, error)
        entry.pump.taps.end(error)
        self.histories.forget(connection_id)

    # --- what is seen -------------------------------------------------------------------------

    def statuses(self) -> Iterator[Status]:
        """Yields the wire status of every connection."""
        # A copy: metrics may be collected in a thread of their exporter.
        return (entry.status for entry in list(self.entries.values()))

    def totals(self) -> Statistics:
        """Returns the counts of all connections, those that are gone included."""
        total = self._past
        for entry in list(self.entries.values()):
            total = _sum(total, entry.statistics())
        return total

    def detail(self, entry: Entry) -> ConnectionDetail:
        """Returns all that is known of a connection."""
        history = self.histories.of(entry.record.id)
        view = entry.view()
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
