"""One connection of this process: its parts, what they tell each other, and what is seen of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.model import ConnectionView, Statistics, Status
from websocketmanager.domain.record import Record
from websocketmanager.service.flag import Flag
from websocketmanager.service.lane import OPEN
from websocketmanager.service.ledger import Book
from websocketmanager.service.pump import Pump
from websocketmanager.service.runner import Runner


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

    # --- what is seen -------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The wire status."""
        if self.removed:
            return Status.DISCONNECTED
        if self.running:
            return self.runner.status
        if self.record.status is Status.DISCONNECTED:
            return Status.DISCONNECTED
        # Not dialled yet since the process began: what is stored is of an earlier one.
        return Status.RECONNECTING if self.record.session else Status.CONNECTING

    def statistics(self) -> Statistics:
        """Returns its counts."""
        sent, sent_bytes = self.runner.sent
        return replace(
            self.pump.statistics(),
            messages_sent=sent,
            bytes_sent=sent_bytes,
            reconnects=max(self.runner.dials - 1, 0),
        )

    def view(self) -> ConnectionView:
        """Returns what a caller sees of it."""
        record, pump, runner = self.record, self.pump, self.runner
        return ConnectionView(
            id=record.id,
            url=runner.url,
            status=self.status,
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
            statistics=self.statistics(),
            cause=record.cause,
            next_attempt_at=runner.next_attempt_at,
            degraded=tuple(sorted(pump.degraded)),
            profile=record.spec.profile,
        )
