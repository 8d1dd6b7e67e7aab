"""One connection's life: events into the state machine, its commands out, in order.

Owns every task of its connection: one per dial and session, and their small ones. It has none
itself: what is posted is worked off by the event loop's next turn, so that an idle connection
costs no task beside its reader. A stop is a message (`stop`); `abort` is the hammer, which drops
the socket.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
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
from websocketmanager.domain.model import ConnectionId, Status
from websocketmanager.domain.overlap import overlap_filter
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.plan import compile_plan
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.domain.retry import Advice, classify
from websocketmanager.domain.url_policy import redact
from websocketmanager.errors import ConnectionEnded, NotConnected, RotationFailed
from websocketmanager.ports import Clock, Dialer, Dice, Journal, Secrets
from websocketmanager.service.announcements import Announcer
from websocketmanager.service.crew import Crew
from websocketmanager.service.degradations import Degradations
from websocketmanager.service.flag import Flag
from websocketmanager.service.ledger import Book, Draft, Ledger
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.places import Places
from websocketmanager.service.pump import Pump
from websocketmanager.service.replies import Replies
from websocketmanager.service.sending import Sender
from websocketmanager.service.session import Session, SessionTools
from websocketmanager.service.timers import Timer, Timers

ROTATION_FAILED = "rotation_failed"


#: Told of a runner that is over, and of the fault of ours that ended it, if one did.
Ended = Callable[["Runner", Exception | None], None]


@dataclass(frozen=True, slots=True)
class Tools:
    """What every runner of the process shares.

    Attributes:
        context: an empty one that runners work in: what they begin does not belong to the trace
            of the caller who posted.
        for_sessions: the part that sessions need.
    """

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
    context: contextvars.Context = field(default_factory=contextvars.Context)
    for_sessions: SessionTools = field(init=False)

    def __post_init__(self) -> None:
        """Makes the sessions' part, once for all."""
        for_sessions = SessionTools(
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
        object.__setattr__(self, "for_sessions", for_sessions)


class _Deadline:
    """One timer of the machine: posts its event, and is forgotten then."""

    __slots__ = ("_runner", "event", "timer")

    timer: Timer

    def __init__(self, runner: Runner, event: life.TimerFired) -> None:
        self._runner = runner
        self.event = event

    def __call__(self) -> None:
        self._runner.fire(self)


class Runner:
    """Runs one connection until it is done. Its sessions tell it (`session.Ears`).

    Args:
        book: the connection's record.
        pump: where its messages go.
        tools: what all runners share.
        resumed: whether it was alive before, in an earlier process.
        ever_open: whether it was open before in this process.

    Attributes:
        dials: begun in this process.
        next_attempt_at: Unix seconds, while it waits for its next dial.
        tried: set once the first dial succeeded or failed.
        first_failure: of the first dial, if it failed.
        pump: where its messages go.
        replies: the callers that wait for one of them.
        finished: set once it is over.
        end: why it is over.
        url: redacted.
    """

    __slots__ = (
        "_announcer",
        "_book",
        "_crew",
        "_deadlines",
        "_degradations",
        "_due",
        "_ended",
        "_machine",
        "_plan",
        "_resumed",
        "_rotations",
        "_rules",
        "_secrets_doubted",
        "_sender",
        "_sessions",
        "_spec",
        "_tools",
        "_waiting",
        "dials",
        "end",
        "finished",
        "first_failure",
        "next_attempt_at",
        "pump",
        "replies",
        "tried",
        "url",
    )

    def __init__(
        self, book: Book, pump: Pump, tools: Tools, *, resumed: bool, ever_open: bool = False
    ) -> None:
        self._book = book
        self.pump = pump
        self._tools = tools
        self._resumed = resumed
        self._spec = book.record.spec
        self.url = redact(self._spec.url)
        self._rules = tools.policy.lifecycle(self._spec)
        self._machine = life.Machine(ever_open=ever_open)
        self._announcer = Announcer(book, tools.ledger, url=self.url)
        self.replies = Replies(
            correlation.correlator_of(self._spec.options.correlation),
            connection_id=book.record.id,
            max_pending=tools.policy.limits.max_pending_sends,
        )
        self._waiting: list[life.Event] = []
        self._due = False
        self._plan = compile_plan(self._spec, tools.compile_regex)
        # Both are made when they begin to be needed: for nearly all connections never.
        self._crew: Crew | None = None
        self._ended: Ended | None = None
        self._secrets_doubted = False
        self._deadlines: tuple[_Deadline, ...] = ()
        # The one that delivers, and beside it a successor at most.
        self._sessions: tuple[tuple[Session, asyncio.Task[None]], ...] = ()
        self._rotations: tuple[asyncio.Future[None], ...] = ()
        self._degradations: Degradations | None = None
        self._sender: Sender | None = None
        self.dials = 0
        self.next_attempt_at: float | None = None
        self.tried = Flag()
        self.first_failure: Failure | None = None
        self.finished = Flag()
        self.end: life.EndReason | None = None

    @property
    def status(self) -> Status:
        """The wire status now."""
        return self._machine.status

    @property
    def sender(self) -> Sender:
        """What writes for callers."""
        if self._sender is None:
            self._sender = Sender(
                self._tools.clock,
                self._tools.dice,
                self.replies,
                connection_id=self._book.record.id,
                max_pending=self._tools.policy.limits.max_pending_sends,
                session=self._live_session,
            )
        return self._sender

    @property
    def sent(self) -> tuple[int, int]:
        """How many messages and bytes were written for callers in this process."""
        return (self._sender.sent, self._sender.sent_bytes) if self._sender else (0, 0)

    def count_on(self, before: Runner) -> None:
        """Goes on with the counts of the runner that it replaces."""
        if any(before.sent):
            self.sender.sent, self.sender.sent_bytes = before.sent
        self.dials = before.dials

    def farewell(self, reason: str) -> Draft:
        """Returns the last event of a connection that a caller ends."""
        return self._announcer.farewell(self._tools.clock.now(), reason=reason)

    def post(self, event: life.Event) -> None:
        """Tells the machine; never blocks."""
        self._waiting.append(event)
        if self._crew is not None:
            self._work_soon()

    def stop(self, reason: life.EndReason, *, close_code: int = 1000) -> None:
        """Asks the connection to end; `finished` says when it has."""
        self.post(life.StopAsked(reason, close_code))

    def start(self, ended: Ended) -> None:
        """Begins, once; lives until the machine is done.

        Args:
            ended: called when it is over, its tasks included, with the fault of ours that ended
                it, if one did.
        """
        self._ended = ended
        self._crew = Crew(self, self._tools.context)
        self.post(life.Started(resumed=self._resumed))

    def abort(self) -> None:
        """The hammer: drops the socket at once; `finished` says when all has ended."""
        if self._crew is not None:
            self._crew.abort()

    def fire(self, deadline: _Deadline) -> None:
        """A timer of the machine is due."""
        self._deadlines = tuple(one for one in self._deadlines if one is not deadline)
        self.post(deadline.event)

    def _work_soon(self) -> None:
        """Has the loop work off what waits: in a turn of its own, as it may be called by anyone."""
        if not self._due:
            self._due = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._work, context=self._tools.context)

    def _work(self) -> None:
        self._due = False
        crew = self._crew
        assert crew is not None  # noqa: S101 - nothing is due before the start
        if crew.left:
            return
        try:
            while self._waiting and self._machine.state is not life.State.DONE:
                self._advance(self._waiting.pop(0))
        except Exception as error:  # noqa: BLE001 - whoever started it is told
            crew.abort(error)
            return
        if self._machine.state is life.State.DONE:
            self._cancel_all()
            crew.leave()

    def finish(self, fault: Exception | None) -> None:
        """The crew's: all its tasks have ended."""
        self._cancel_all()
        if self._machine.state not in {life.State.IDLE, life.State.DONE}:
            try:
                self.pump.end_session(self._tools.clock.now(), FailureKind.INTERNAL.value)
            except Exception as error:  # noqa: BLE001 - its end must be told all the same
                fault = fault or error
        self.replies.fail_all("the connection is over")
        self._settle_rotations(self._over("it is over"))
        self.tried.set()
        self.finished.set()
        assert self._ended is not None  # noqa: S101 - only what was started ends
        self._ended(self, fault)

    def change_subscriptions(self) -> None:
        """Brings plan and open session to the set that the record wants now."""
        before, self._spec = self._plan, self._book.record.spec
        self._plan = compile_plan(self._spec, self._tools.compile_regex)
        gone, come = subscription_changes(
            before.spec.options.subscriptions, self._spec.options.subscriptions
        )
        for session, _ in self._sessions:
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
        self._rotations = (*self._rotations, done)
        self.post(life.RotationAsked(session.generation, "a caller asked for it", forced=True))
        try:
            await done
        finally:
            self._rotations = tuple(one for one in self._rotations if one is not done)

    def note_queued(self) -> None:
        """Its dial waits for a place that another connection has: nothing more can be tried."""
        if self._resumed:
            self.tried.set()

    @property
    def connection_id(self) -> ConnectionId:
        """The connection's id."""
        return self._book.record.id

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
        for session, _ in self._sessions:
            if session.generation == generation:
                return session
        return None

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
                    command, self._tools.clock.now(), socket, self.pump.sequence
                )
            case life.Finish(reason=reason):
                self.end = reason
                self.next_attempt_at = None
                self._settle_rotations(self._over(reason.value))
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
                    self.spawn(session.socket.close(code, ""))
            case _:
                raise AssertionError(command)

    def _dial(self, command: life.Dial) -> None:
        self.dials += 1
        self.next_attempt_at = None
        self._tools.journal.emit(DialStarted(self._book.record.id, self.url, command.attempt))
        self._begin(Session(command.generation, self._plan, self._tools.for_sessions, self))

    def _dial_successor(self, generation: int) -> None:
        self.dials += 1
        self._tools.journal.emit(DialStarted(self._book.record.id, self.url, 1))
        overlap = overlap_filter(self._spec.options.rotation)
        for session, _ in self._sessions:
            session.note_overlap(overlap)
        self._begin(
            Session(
                generation,
                self._plan,
                self._tools.for_sessions,
                self,
                successor=True,
                overlap=overlap,
            )
        )

    def _begin(self, session: Session) -> None:
        self._sessions = (*self._sessions, (session, self.spawn(session.run())))

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
            url=self.url,
            session=record.session,
            owner_epoch=record.owner_epoch,
        )
        self.pump.open_session(identity, now, seamless=command.seamless)
        self._tools.journal.emit(SessionOpened(record.id, record.session, session.socket.address))
        if ROTATION_FAILED in self.pump.degraded:
            self.pump.degraded -= {ROTATION_FAILED}
            self.tell_restored(ROTATION_FAILED, 0)
        session.adopt()
        self._settle_rotations(None)

    def _roll_back(self, failure: Failure) -> None:
        """A rotation failed: the old session goes on."""
        for session, _ in self._sessions:
            session.note_overlap(None)
        if ROTATION_FAILED not in self.pump.degraded:
            self.pump.degraded |= {ROTATION_FAILED}
            self.tell_degraded(ROTATION_FAILED, str(failure), 0)

    def _settle_rotations(self, error: Exception | None) -> None:
        """Answers those who wait for a rotation."""
        waiting, self._rotations = self._rotations, ()
        for done in waiting:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def _over(self, problem: str) -> ConnectionEnded:
        return ConnectionEnded(connection_id=self._book.record.id, problem=problem)

    def _end_session(self, command: life.EndSession) -> None:
        failure, generation = command.failure, command.generation
        cause = failure.kind.value if failure else (self._machine.end or "stopped")
        self.pump.end_session(self._tools.clock.now(), str(cause))
        self.replies.fail_all(
            str(failure) if failure else "the connection is closed", generation=generation
        )
        # The position of its end is known to whoever comes after a stop.
        self._tools.ledger.post(self._book)
        self._cancel_timer(life.Timer.STABLE)
        self._cancel_timer(life.Timer.ROTATE)
        if session := self._session_of(generation):
            session.end()
        if failure is not None:
            self._drop(generation)

    def _start_timer(self, command: life.StartTimer) -> None:
        self._cancel_timer(command.timer)
        if command.timer is life.Timer.RETRY:
            self.next_attempt_at = self._tools.clock.now() + command.delay_seconds
        event = life.TimerFired(command.generation, command.timer)
        at = self._tools.clock.monotonic() + command.delay_seconds
        deadline = _Deadline(self, event)
        deadline.timer = self._tools.timers.call_at(at, deadline)
        self._deadlines = (*self._deadlines, deadline)

    def _cancel_timer(self, name: life.Timer) -> None:
        for deadline in self._deadlines:
            if deadline.event.timer is name:
                deadline.timer.cancel()
        self._deadlines = tuple(one for one in self._deadlines if one.event.timer is not name)

    # --- delivery -----------------------------------------------------------------------------

    def tell_degraded(self, cause: str, detail: str, count: int) -> None:
        """The pump delivers worse than promised."""
        self._told().degraded(cause, detail, count)

    def tell_restored(self, cause: str, count: int) -> None:
        """The pump delivers as promised again, after dropping `count` messages."""
        self._told().restored(cause, count)

    def _told(self) -> Degradations:
        if self._degradations is None:
            tools = self._tools
            self._degradations = Degradations(
                self._book.record.id,
                self._announcer,
                tools.clock,
                tools.journal,
                self._spawn_if_running,
            )
        return self._degradations

    # --- tasks --------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Makes a task of the connection; only called while it runs."""
        assert self._crew is not None  # noqa: S101 - only called while running
        return self._crew.spawn(work)

    def _spawn_if_running(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Returns None before it runs and when it is over; what waits is published all the same."""
        if self._crew is None:
            work.close()
            return None
        try:
            return self._crew.spawn(work)
        except RuntimeError:
            return None  # it has ended, or is about to

    def _drop(self, generation: int) -> None:
        """Ends a session at once, with its socket."""
        for session, task in self._sessions:
            if session.generation == generation:
                task.cancel()
        self._sessions = tuple(one for one in self._sessions if one[0].generation != generation)

    def _cancel_all(self) -> None:
        for _, task in self._sessions:
            task.cancel()
        self._sessions = ()
        for deadline in self._deadlines:
            deadline.timer.cancel()
        self._deadlines = ()
        if self._degradations is not None:
            self._degradations.end()
