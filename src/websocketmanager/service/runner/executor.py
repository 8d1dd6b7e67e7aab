"""Carries out what the machine commands: its connection's sessions, timers and record.

Decides nothing and never waits; what comes of it reaches the machine as an event. It may not know
the runner otherwise than as its sessions do.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.change import subscription_changes
from websocketmanager.domain.envelope import StreamIdentity
from websocketmanager.domain.facts import ConnectionDone, DialStarted, SessionOpened
from websocketmanager.domain.failure import Failure
from websocketmanager.domain.overlap import overlap_filter
from websocketmanager.domain.plan import compile_plan
from websocketmanager.service.announcements import Announcer
from websocketmanager.service.ledger import Book
from websocketmanager.service.runner.tools import Tools
from websocketmanager.service.session import Ears, Session
from websocketmanager.service.timers import Timer

ROTATION_FAILED = "rotation_failed"


class _Deadline:
    """One timer of the machine: posts its event, and is forgotten then."""

    __slots__ = ("_executor", "event", "timer")

    timer: Timer

    def __init__(self, executor: Executor, event: life.TimerFired) -> None:
        self._executor = executor
        self.event = event

    def __call__(self) -> None:
        self._executor.fire(self)


class Executor:
    """The hands of one connection's machine.

    Args:
        book: the connection's record.
        announcer: writes into it.
        ears: the connection, as its sessions know it.
        tools: what all runners share.
        url: redacted.

    Attributes:
        dials: begun in this process.
        next_attempt_at: Unix seconds, while the connection waits for its next dial.
        plan: what its sessions say and expect.
    """

    __slots__ = (
        "_announcer",
        "_book",
        "_deadlines",
        "_ears",
        "_sessions",
        "_tools",
        "_url",
        "dials",
        "next_attempt_at",
        "plan",
    )

    def __init__(
        self, book: Book, announcer: Announcer, ears: Ears, tools: Tools, *, url: str
    ) -> None:
        self._book = book
        self._announcer = announcer
        self._ears = ears
        self._tools = tools
        self._url = url
        self.plan = compile_plan(book.record.spec, tools.compile_regex)
        self._deadlines: tuple[_Deadline, ...] = ()
        # The one that delivers, and beside it a successor at most.
        self._sessions: tuple[tuple[Session, asyncio.Task[None]], ...] = ()
        self.dials = 0
        self.next_attempt_at: float | None = None

    def carry_out(self, command: life.Command, machine: life.Machine) -> None:
        """Does what the machine commands, which is in its next state already."""
        match command:
            case life.StartTimer():
                self._start_timer(command)
            case life.Degrade(failure=failure):
                self._roll_back(failure)
            case life.Persist(status=status, cause=cause):
                self._announcer.persist(status, cause, self._tools.clock.now())
            case life.Announce():
                session = self.session_of(machine.generation)
                socket = session.socket if session else None
                self._announcer.announce(
                    command, self._tools.clock.now(), socket, self._ears.pump.sequence
                )
            case life.Finish(reason=reason):
                self.next_attempt_at = None
                self._tools.journal.emit(ConnectionDone(self._book.record.id, reason.value))
            case life.EndSession():
                self._end_session(command, machine)
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
            case life.AbandonDial(generation=generation) | life.Abort(generation=generation):
                self.drop(generation)
            case life.Promote(generation=generation):
                if session := self.session_of(generation):
                    session.promote()
            case life.Retire(generation=generation, reason=reason):
                if session := self.session_of(generation):
                    session.retire(reason)
            case life.Close(generation=generation, code=code):
                session = self.session_of(generation)
                if session and session.socket:
                    self._ears.spawn(session.socket.close(code, ""))
            case _:
                raise AssertionError(command)

    def end(self) -> None:
        """Ends all sessions at once, with their sockets, and all timers; safe to repeat."""
        for _, task in self._sessions:
            task.cancel()
        self._sessions = ()
        for deadline in self._deadlines:
            deadline.timer.cancel()
        self._deadlines = ()

    # --- sessions -----------------------------------------------------------------------------

    def session_of(self, generation: int) -> Session | None:
        """Returns the session of this number, if it was not dropped."""
        for session, _ in self._sessions:
            if session.generation == generation:
                return session
        return None

    def drop(self, generation: int) -> None:
        """Ends a session at once, with its socket."""
        for session, task in self._sessions:
            if session.generation == generation:
                task.cancel()
        self._sessions = tuple(one for one in self._sessions if one[0].generation != generation)

    def change_subscriptions(self) -> None:
        """Brings plan and sessions to the set that the record wants now."""
        before = self.plan
        self.plan = compile_plan(self._book.record.spec, self._tools.compile_regex)
        gone, come = subscription_changes(
            before.spec.options.subscriptions, self.plan.spec.options.subscriptions
        )
        for session, _ in self._sessions:
            session.change_subscriptions(
                self.plan,
                tuple(one for one in before.subscriptions if one.key in gone),
                tuple(one for one in self.plan.subscriptions if one.key in come),
            )

    def _dial(self, command: life.Dial) -> None:
        self.dials += 1
        self.next_attempt_at = None
        self._tools.journal.emit(DialStarted(self._book.record.id, self._url, command.attempt))
        self._begin(Session(command.generation, self.plan, self._tools.for_sessions, self._ears))

    def _dial_successor(self, generation: int) -> None:
        self.dials += 1
        self._tools.journal.emit(DialStarted(self._book.record.id, self._url, 1))
        overlap = overlap_filter(self.plan.spec.options.rotation)
        for session, _ in self._sessions:
            session.note_overlap(overlap)
        self._begin(
            Session(
                generation,
                self.plan,
                self._tools.for_sessions,
                self._ears,
                successor=True,
                overlap=overlap,
            )
        )

    def _begin(self, session: Session) -> None:
        self._sessions = (*self._sessions, (session, self._ears.spawn(session.run())))

    def _open_session(self, command: life.OpenSession) -> None:
        session = self.session_of(command.generation)
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
        pump = self._ears.pump
        pump.open_session(identity, now, seamless=command.seamless)
        self._tools.journal.emit(SessionOpened(record.id, record.session, session.socket.address))
        pump.restore(ROTATION_FAILED)
        session.adopt()

    def _end_session(self, command: life.EndSession, machine: life.Machine) -> None:
        failure, generation = command.failure, command.generation
        cause = failure.kind.value if failure else (machine.end or "stopped")
        self._ears.pump.end_session(self._tools.clock.now(), str(cause))
        self._ears.replies.fail_all(
            str(failure) if failure else "the connection is closed", generation=generation
        )
        # The position of its end is known to whoever comes after a stop.
        self._tools.ledger.post(self._book)
        self._cancel_timer(life.Timer.STABLE)
        self._cancel_timer(life.Timer.ROTATE)
        if session := self.session_of(generation):
            session.end()
        if failure is not None:
            self.drop(generation)

    def _roll_back(self, failure: Failure) -> None:
        """A rotation failed: the old session goes on."""
        for session, _ in self._sessions:
            session.note_overlap(None)
        self._ears.pump.degrade(ROTATION_FAILED, str(failure))

    # --- timers -------------------------------------------------------------------------------

    def fire(self, deadline: _Deadline) -> None:
        """A timer of the machine is due."""
        self._deadlines = tuple(one for one in self._deadlines if one is not deadline)
        self._ears.post(deadline.event)

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
