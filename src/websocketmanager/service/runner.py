"""One connection's life: events into the state machine, its commands out, in order.

Owns every task of its connection: the loop itself, one per dial and session, and their small
ones. A stop is a message (`stop`); cancelling the runner is the hammer, which drops the
socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from websocketmanager.domain import correlation
from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.change import subscription_changes
from websocketmanager.domain.envelope import StreamIdentity, timestamp
from websocketmanager.domain.facts import (
    AttemptFailed,
    ConnectionDone,
    DialStarted,
    RunnerCrashed,
    SessionOpened,
)
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.model import Status
from websocketmanager.domain.overlap import overlap_filter
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.plan import compile_plan
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.domain.retry import Advice, classify
from websocketmanager.domain.url_policy import redact
from websocketmanager.errors import ConnectionEnded, NotConnected, RotationFailed
from websocketmanager.ports import Clock, Dialer, Dice, Journal, Secrets
from websocketmanager.service.announcements import Announcer
from websocketmanager.service.degradations import Degradations
from websocketmanager.service.flag import Flag, Inbox
from websocketmanager.service.ledger import Book, Draft, Ledger
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.places import Places
from websocketmanager.service.pump import Pump
from websocketmanager.service.replies import Replies
from websocketmanager.service.sending import Sender
from websocketmanager.service.session import Ears, Session, SessionTools
from websocketmanager.service.timers import Timer, Timers

ROTATION_FAILED = "rotation_failed"


@dataclass(frozen=True, slots=True)
class Tools:
    """What every runner of the process shares."""

    clock: Clock
    dice: Dice
    dialer: Dialer
    journal: Journal
    ledger: Ledger
    pacer: Pacer
    policy: ServicePolicy
    secrets: Secrets
    timers: Timers
    places: Places
    compile_regex: CompileRegex

    def for_sessions(self) -> SessionTools:
        """Returns the part that sessions need."""
        return SessionTools(
            clock=self.clock,
            dice=self.dice,
            dialer=self.dialer,
            journal=self.journal,
            secrets=self.secrets,
            pacer=self.pacer,
            timers=self.timers,
            places=self.places,
            policy=self.policy,
        )


class Runner:
    """Runs one connection until it is done.

    Args:
        book: the connection's record.
        pump: where its messages go.
        tools: what all runners share.
        resumed: whether it was alive before, in an earlier process.
        ever_open: whether it was open before in this process.
    """

    def __init__(
        self, book: Book, pump: Pump, tools: Tools, *, resumed: bool, ever_open: bool = False
    ) -> None:
        self._book = book
        self._pump = pump
        self._tools = tools
        self._resumed = resumed
        self._spec = book.record.spec
        self._url = redact(self._spec.url)
        self._rules = tools.policy.lifecycle(self._spec)
        self._machine = life.Machine(ever_open=ever_open)
        self._announcer = Announcer(book, tools.ledger, url=self._url)
        self._replies = Replies(
            correlation.correlator_of(self._spec.options.correlation),
            connection_id=book.record.id,
            max_pending=tools.policy.limits.max_pending_sends,
        )
        self._inbox: Inbox[life.Event] = Inbox()
        self._plan = compile_plan(self._spec, tools.compile_regex)
        self._tasks: asyncio.TaskGroup | None = None  # noqa: TID251 - a runner owns its tasks
        self._secrets_doubted = False
        self._timers: dict[life.Timer, Timer] = {}
        # By generation: the one that delivers, and beside it a successor at most.
        self._sessions: dict[int, tuple[Session, asyncio.Task[None]]] = {}
        self._rotations: list[asyncio.Future[None]] = []
        self._degradations = Degradations(
            book.record.id, self._announcer, tools.clock, tools.journal, self._spawn_if_running
        )
        self.sender = Sender(
            tools.clock,
            tools.dice,
            self._replies,
            connection_id=book.record.id,
            max_pending=tools.policy.limits.max_pending_sends,
            session=self._live_session,
        )
        self.dials = 0
        self.next_attempt_at: float | None = None
        self.tried = Flag()
        """Set once the first dial succeeded or failed."""
        self.first_failure: Failure | None = None
        self.finished = Flag()
        self.end: life.EndReason | None = None

    @property
    def status(self) -> Status:
        """The wire status now."""
        return self._machine.status

    def count_on(self, before: Runner) -> None:
        """Goes on with the counts of the runner that it replaces."""
        self.sender.sent, self.sender.sent_bytes = before.sender.sent, before.sender.sent_bytes
        self.dials = before.dials

    def farewell(self, reason: str) -> Draft:
        """Returns the last event of a connection that a caller ends."""
        return self._announcer.farewell(self._tools.clock.now(), reason=reason)

    def post(self, event: life.Event) -> None:
        """Tells the machine; never blocks."""
        self._inbox.put(event)

    def stop(self, reason: life.EndReason, *, close_code: int = 1000) -> None:
        """Asks the connection to end; `finished` says when it has."""
        self.post(life.StopAsked(reason, close_code))

    async def run(self) -> None:
        """Lives until the machine is done. Cancelling drops the socket at once."""
        try:
            async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - a runner owns its tasks
                self._tasks = tasks
                self.post(life.Started(resumed=self._resumed))
                while self._machine.state is not life.State.DONE:
                    self._advance(await self._inbox.get())
                self._cancel_all()
        finally:
            if self._machine.state not in {life.State.IDLE, life.State.DONE}:
                self._pump.end_session(self._tools.clock.now(), FailureKind.INTERNAL.value)
            self._replies.fail_all("the connection is over")
            self._settle_rotations(self._ended("it is over"))
            self.tried.set()
            self.finished.set()

    def change_subscriptions(self) -> None:
        """Brings plan and open session to the set that the record wants now."""
        before, self._spec = self._plan, self._book.record.spec
        self._plan = compile_plan(self._spec, self._tools.compile_regex)
        gone, come = subscription_changes(
            before.spec.options.subscriptions, self._spec.options.subscriptions
        )
        for session, _ in self._sessions.values():
            session.change_subscriptions(
                self._plan,
                tuple(one for one in before.subscriptions if one.key in gone),
                tuple(one for one in self._plan.subscriptions if one.key in come),
            )

    async def rotate(self) -> None:
        """Replaces the open session; returns once the new one has taken over.

        Raises:
            NotConnected: there is no open session.
            RotationFailed: the new one could not be made; the old one goes on, or where only
                one may exist, the connection goes on trying.
            ConnectionEnded: it ended meanwhile.
        """
        session = self._live_session()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rotations.append(done)
        self.post(life.RotationAsked(session.generation, "a caller asked for it", forced=True))
        try:
            await done
        finally:
            if done in self._rotations:
                self._rotations.remove(done)

    # --- the open session ------------------------------------------------------------------------

    def _live_session(self) -> Session:
        machine = self._machine
        # The old one is closing during a hand-over: the word goes to its successor.
        taking_over = machine.state is life.State.HANDING_OVER
        session = self._session_of(machine.successor if taking_over else machine.generation)
        if machine.status is not Status.CONNECTED or session is None or not session.socket:
            when = self.next_attempt_at
            raise NotConnected(
                connection_id=self._book.record.id,
                status=self.status.value,
                next_attempt_at=timestamp(when) if when is not None else "",
            )
        return session

    def _session_of(self, generation: int) -> Session | None:
        session, _ = self._sessions.get(generation, (None, None))
        return session

    # --- the machine --------------------------------------------------------------------------

    def _advance(self, event: life.Event) -> None:
        before = self._machine
        event = self._refreshed(event)
        try:
            self._machine, commands = life.step(
                before, event, self._rules, dice=self._tools.dice.uniform()
            )
        except life.IllegalEvent as error:
            self._tools.journal.emit(RunnerCrashed(self._book.record.id, str(error), ""))
            return
        self._note(event)
        for command in commands:
            self._carry_out(command)

    def _refreshed(self, event: life.Event) -> life.Event:
        """Gives renewed secrets one chance: a login that is refused may be out of date."""
        if isinstance(event, life.Dialled | life.SuccessorReady):
            self._secrets_doubted = False
        if not isinstance(event, life.DialFailed | life.SuccessorFailed):
            return event
        refused = event.failure.http_status in {401, 403}
        if not refused or not self._plan.secrets or self._secrets_doubted:
            return event
        self._secrets_doubted = True
        return replace(event, failure=replace(event.failure, advice=Advice.AGAIN.value))

    def _note(self, event: life.Event) -> None:
        """Records what an operator should see of an event."""
        match event:
            case (
                life.DialFailed(generation=generation, failure=failure)
                | life.SuccessorFailed(generation=generation, failure=failure)
            ):
                self._drop(generation)
                if not self.tried.is_set():
                    self.first_failure = failure
                self.tried.set()
                self._journal_failure(failure)
                self._settle_rotations(
                    RotationFailed(
                        connection_id=self._book.record.id,
                        error_type=failure.kind.value,
                        problem=failure.message,
                        reconnects=self._machine.status is not Status.CONNECTED,
                    )
                )
            case life.Lost(failure=failure) | life.PeerClosed(failure=failure):
                self._journal_failure(failure)
            case life.Dialled():
                self.tried.set()
            case _:
                pass

    def _journal_failure(self, failure: Failure) -> None:
        if self._machine.state in {life.State.CLOSING, life.State.DONE} and self._machine.end in {
            life.EndReason.REQUESTED,
            life.EndReason.SHUTDOWN,
        }:
            return
        self._tools.journal.emit(
            AttemptFailed(
                self._book.record.id,
                failure.kind.value,
                failure.message,
                classify(failure).value,
            )
        )

    def _carry_out(self, command: life.Command) -> None:
        match command:
            case life.StartTimer():
                self._start_timer(command)
            case life.Degrade(failure=failure):
                self._roll_back(failure)
            case life.Persist(status=status, cause=cause):
                self._announcer.persist(status, cause, self._tools.clock.now())
            case life.Announce():
                session = self._session_of(self._machine.generation)
                socket = session.socket if session else None
                self._announcer.announce(
                    command, self._tools.clock.now(), socket, self._pump.sequence
                )
            case life.Finish(reason=reason):
                self.end = reason
                self.next_attempt_at = None
                self._settle_rotations(self._ended(reason.value))
                self._tools.journal.emit(ConnectionDone(self._book.record.id, reason.value))
            case _:
                self._handle_session(command)

    def _handle_session(self, command: life.Command) -> None:
        match command:
            case life.Dial():
                self._dial(command)
            case life.DialSuccessor(generation=generation):
                self._dial_successor(generation)
            case life.OpenSession():
                self._open_session(command)
            case life.EndSession():
                self._end_session(command)
            case life.AbandonDial(generation=generation) | life.Abort(generation=generation):
                self._drop(generation)
            case life.Promote(generation=generation):
                if session := self._session_of(generation):
                    session.promote()
            case life.Retire(generation=generation, reason=reason):
                if session := self._session_of(generation):
                    session.retire(reason)
            case life.Close(generation=generation, code=code):
                session = self._session_of(generation)
                if session and session.socket:
                    self._spawn(session.socket.close(code, ""))
            case _:
                raise AssertionError(command)

    def _dial(self, command: life.Dial) -> None:
        self.dials += 1
        self.next_attempt_at = None
        self._tools.journal.emit(DialStarted(self._book.record.id, self._url, command.attempt))
        self._begin(
            Session(command.generation, self._plan, self._tools.for_sessions(), self._ears())
        )

    def _dial_successor(self, generation: int) -> None:
        self.dials += 1
        self._tools.journal.emit(DialStarted(self._book.record.id, self._url, 1))
        overlap = overlap_filter(self._spec.options.rotation)
        for session, _ in self._sessions.values():
            session.note_overlap(overlap)
        self._begin(
            Session(
                generation,
                self._plan,
                self._tools.for_sessions(),
                self._ears(),
                successor=True,
                overlap=overlap,
            )
        )

    def _begin(self, session: Session) -> None:
        self._sessions[session.generation] = session, self._spawn(session.run())

    def _open_session(self, command: life.OpenSession) -> None:
        session = self._session_of(command.generation)
        assert session is not None  # noqa: S101 - what leads here comes from it
        assert session.socket is not None  # noqa: S101
        now = self._tools.clock.now()
        record = self._book.record
        self._book.record = record = replace(
            record, session=record.session + 1, connected_at=now, answered=True
        )
        identity = StreamIdentity(
            connection_id=record.id,
            created_at=record.created_at,
            url=self._url,
            session=record.session,
            owner_epoch=record.owner_epoch,
        )
        self._pump.open_session(identity, now, seamless=command.seamless)
        self._tools.journal.emit(SessionOpened(record.id, record.session, session.socket.address))
        if ROTATION_FAILED in self._pump.degraded:
            self._pump.degraded.discard(ROTATION_FAILED)
            self.tell_restored(ROTATION_FAILED, 0)
        session.adopt()
        self._settle_rotations(None)

    def _roll_back(self, failure: Failure) -> None:
        """A rotation failed: the old session goes on."""
        for session, _ in self._sessions.values():
            session.note_overlap(None)
        if ROTATION_FAILED not in self._pump.degraded:
            self._pump.degraded.add(ROTATION_FAILED)
            self.tell_degraded(ROTATION_FAILED, str(failure), 0)

    def _settle_rotations(self, error: Exception | None) -> None:
        """Answers those who wait for a rotation."""
        waiting, self._rotations = self._rotations, []
        for done in waiting:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _ended(self, problem: str) -> ConnectionEnded:
        return ConnectionEnded(connection_id=self._book.record.id, problem=problem)

    def _note_queued(self) -> None:
        """Its dial waits for a place that another connection has: nothing more can be tried."""
        if self._resumed:
            self.tried.set()

    def _ears(self) -> Ears:
        return Ears(
            connection_id=self._book.record.id,
            post=self.post,
            queued=self._note_queued,
            spawn=self._spawn,
            degraded=self.tell_degraded,
            restored=self.tell_restored,
            pump=self._pump,
            replies=self._replies,
        )

    def _end_session(self, command: life.EndSession) -> None:
        failure, generation = command.failure, command.generation
        cause = failure.kind.value if failure else (self._machine.end or "stopped")
        self._pump.end_session(self._tools.clock.now(), str(cause))
        self._replies.fail_all(
            str(failure) if failure else "the connection is closed", generation=generation
        )
        # The position of its end is known to whoever comes after a stop.
        self._tools.ledger.post(self._book)
        for name in (life.Timer.STABLE, life.Timer.ROTATE):
            if timer := self._timers.pop(name, None):
                timer.cancel()
        if session := self._session_of(generation):
            session.end()
        if failure is not None:
            self._drop(generation)

    def _start_timer(self, command: life.StartTimer) -> None:
        previous = self._timers.pop(command.timer, None)
        if previous:
            previous.cancel()
        if command.timer is life.Timer.RETRY:
            self.next_attempt_at = self._tools.clock.now() + command.delay_seconds
        event = life.TimerFired(command.generation, command.timer)
        at = self._tools.clock.monotonic() + command.delay_seconds
        self._timers[command.timer] = self._tools.timers.call_at(at, lambda: self.post(event))

    # --- delivery -----------------------------------------------------------------------------

    def tell_degraded(self, cause: str, detail: str, count: int) -> None:
        """The pump delivers worse than promised."""
        self._degradations.degraded(cause, detail, count)

    def tell_restored(self, cause: str, count: int) -> None:
        """The pump delivers as promised again, after dropping `count` messages."""
        self._degradations.restored(cause, count)

    # --- tasks --------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._tasks is not None  # noqa: S101 - only called while running
        return self._tasks.create_task(work)

    def _spawn_if_running(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Returns None before it runs and when it is over; what waits is published all the same."""
        if self._tasks is not None:
            try:
                return self._tasks.create_task(work)
            except RuntimeError:
                pass  # it has ended, or is about to
        work.close()
        return None

    def _drop(self, generation: int) -> None:
        """Ends a session at once, with its socket."""
        if found := self._sessions.pop(generation, None):
            found[1].cancel()

    def _cancel_all(self) -> None:
        for generation in list(self._sessions):
            self._drop(generation)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._degradations.end()
