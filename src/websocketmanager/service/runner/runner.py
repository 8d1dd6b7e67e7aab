"""One connection's life: events into the state machine, its commands to the executor, in order.

Owns every task of its connection: one per dial and session, and their small ones. It has none
itself: what is posted is worked off by the event loop's next turn, so that an idle connection
costs no task beside its reader. A stop is a message (`stop`); `abort` is the hammer, which drops
the socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from websocketmanager.domain import correlation
from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.facts import AttemptFailed, RunnerCrashed
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.model import ConnectionId, Status
from websocketmanager.domain.retry import Advice, classify
from websocketmanager.domain.url_policy import redact
from websocketmanager.errors import ConnectionEnded, NotConnected, RotationFailed
from websocketmanager.service.announcements import Announcer
from websocketmanager.service.crew import Crew
from websocketmanager.service.degradations import Degradations
from websocketmanager.service.flag import Flag
from websocketmanager.service.ledger import Book, Draft
from websocketmanager.service.pump import Pump
from websocketmanager.service.replies import Replies
from websocketmanager.service.runner.executor import Executor
from websocketmanager.service.runner.tools import Tools
from websocketmanager.service.sending import Sender
from websocketmanager.service.session import Session

#: Told of a runner that is over, and of the fault of ours that ended it, if one did.
Ended = Callable[["Runner", Exception | None], None]


class Runner:
    """Runs one connection until it is done. Its sessions tell it (`session.Ears`).

    Args:
        book: the connection's record.
        pump: where its messages go.
        tools: what all runners share.
        resumed: whether it was alive before, in an earlier process.
        ever_open: whether it was open before in this process.

    Attributes:
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
        "_degradations",
        "_due",
        "_ended",
        "_executor",
        "_machine",
        "_resumed",
        "_rotations",
        "_rules",
        "_secrets_doubted",
        "_sender",
        "_tools",
        "_waiting",
        "end",
        "finished",
        "first_failure",
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
        spec = book.record.spec
        self.url = redact(spec.url)
        self._rules = tools.policy.lifecycle(spec)
        self._machine = life.Machine(ever_open=ever_open)
        self._announcer = Announcer(book, tools.ledger, url=self.url)
        self._executor = Executor(book, self._announcer, self, tools, url=self.url)
        self.replies = Replies(
            correlation.correlator_of(spec.options.correlation),
            connection_id=book.record.id,
            max_pending=tools.policy.limits.max_pending_sends,
        )
        self._waiting: list[life.Event] = []
        self._due = False
        self._crew: Crew | None = None
        self._ended: Ended | None = None
        self._secrets_doubted = False
        self._rotations: tuple[asyncio.Future[None], ...] = ()
        # Both are made when they begin to be needed: for nearly all connections never.
        self._degradations: Degradations | None = None
        self._sender: Sender | None = None
        self.tried = Flag()
        self.first_failure: Failure | None = None
        self.finished = Flag()
        self.end: life.EndReason | None = None

    @property
    def status(self) -> Status:
        """The wire status now."""
        return self._machine.status

    @property
    def dials(self) -> int:
        """How many dials were begun in this process."""
        return self._executor.dials

    @property
    def next_attempt_at(self) -> float | None:
        """When it dials next, in Unix seconds; None unless it waits for that."""
        return self._executor.next_attempt_at

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
        self._executor.dials = before.dials

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
        self._executor.change_subscriptions()

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
        session = self._executor.session_of(
            machine.successor if taking_over else machine.generation
        )
        if machine.status is not Status.CONNECTED or session is None or not session.socket:
            when = self.next_attempt_at
            raise NotConnected(
                connection_id=self._book.record.id,
                status=self.status.value,
                next_attempt_at=timestamp(when) if when is not None else "",
            )
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
            self._executor.carry_out(command, self._machine)
            self._tell_callers(command)

    def _refreshed(self, event: life.Event) -> life.Event:
        """Gives renewed secrets one chance: a login that is refused may be out of date."""
        if isinstance(event, life.Dialled | life.SuccessorReady):
            self._secrets_doubted = False
        if not isinstance(event, life.DialFailed | life.SuccessorFailed):
            return event
        refused = event.failure.http_status in {401, 403}
        if not refused or not self._executor.plan.secrets or self._secrets_doubted:
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
                self._executor.drop(generation)
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

    def _tell_callers(self, command: life.Command) -> None:
        """Notes what a command that was carried out means for those who wait."""
        match command:
            case life.OpenSession():
                self._settle_rotations(None)
            case life.Finish(reason=reason):
                self.end = reason
                self._settle_rotations(self._over(reason.value))
            case _:
                pass

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

    def _cancel_all(self) -> None:
        self._executor.end()
        if self._degradations is not None:
            self._degradations.end()
