"""One connection's life: events into the state machine, its commands out, in order.

Owns every task of its connection: the loop itself, one per dial and session, its keepalive and
its timers. A stop is a message (`stop`); cancelling the runner is the hammer, which drops the
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
    Degraded,
    DialStarted,
    MessagesDropped,
    Restored,
    RunnerCrashed,
    SessionOpened,
)
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.model import Kind, Status
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.plan import compile_plan
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.domain.retry import Advice, classify
from websocketmanager.domain.url_policy import redact
from websocketmanager.errors import (
    ConnectionEnded,
    LimitReached,
    NotConnected,
    ReplyTimeout,
    WriteTimeout,
)
from websocketmanager.ports import Clock, Dialer, Dice, Journal, Secrets
from websocketmanager.service.announcements import Announcer
from websocketmanager.service.exclusives import Exclusives
from websocketmanager.service.ledger import Book, Draft, Ledger
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.pump import PUBLISHING_BEHIND, Pump
from websocketmanager.service.replies import Replies
from websocketmanager.service.session import Ears, Session, SessionTools
from websocketmanager.service.timers import Timers

#: How long publishing must keep up before it is told that it does.
_CALM_SECONDS = 5.0


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
    exclusives: Exclusives
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
            exclusives=self.exclusives,
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
        self._inbox: asyncio.Queue[life.Event] = asyncio.Queue()
        self._plan = compile_plan(self._spec, tools.compile_regex)
        self._tasks: asyncio.TaskGroup | None = None  # noqa: TID251 - a runner owns its tasks
        self._session_task: asyncio.Task[None] | None = None
        self._secrets_doubted = False
        self._timers: dict[life.Timer, asyncio.Task[None]] = {}
        self._session: Session | None = None
        self._writing = 0
        self._calm = asyncio.Event()
        self._floods = 0
        self._calming: asyncio.Task[None] | None = None
        self.sent = 0
        self.sent_bytes = 0
        self.dials = 0
        self.next_attempt_at: float | None = None
        self.tried = asyncio.Event()
        """Set once the first dial succeeded or failed."""
        self.first_failure: Failure | None = None
        self.finished = asyncio.Event()
        self.end: life.EndReason | None = None

    @property
    def status(self) -> Status:
        """The wire status now."""
        return self._machine.status

    def count_on(self, before: Runner) -> None:
        """Goes on with the counts of the runner that it replaces."""
        self.sent, self.sent_bytes, self.dials = before.sent, before.sent_bytes, before.dials

    def farewell(self, reason: str) -> Draft:
        """Returns the last event of a connection that a caller ends."""
        return self._announcer.farewell(self._tools.clock.now(), reason=reason)

    def post(self, event: life.Event) -> None:
        """Tells the machine; never blocks."""
        self._inbox.put_nowait(event)

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
            if self._machine.state in {life.State.OPEN, life.State.CLOSING}:
                self._pump.end_session(self._tools.clock.now(), FailureKind.INTERNAL.value)
            self._replies.fail_all("the connection is over")
            self.tried.set()
            self.finished.set()

    def change_subscriptions(self) -> None:
        """Brings plan and open session to the set that the record wants now."""
        before, self._spec = self._plan, self._book.record.spec
        self._plan = compile_plan(self._spec, self._tools.compile_regex)
        gone, come = subscription_changes(
            before.spec.options.subscriptions, self._spec.options.subscriptions
        )
        if self._session is not None:
            self._session.change_subscriptions(
                self._plan,
                tuple(one for one in before.subscriptions if one.key in gone),
                tuple(one for one in self._plan.subscriptions if one.key in come),
            )

    # --- sending ------------------------------------------------------------------------------

    async def send(self, data: bytes, kind: Kind, *, timeout_seconds: float) -> None:
        """Writes one message to the open session.

        Raises:
            NotConnected: there is no open session.
            ConnectionEnded: it ended during the write.
            LimitReached: too many writes wait for the peer to read.
            WriteTimeout: the peer did not read in time.
        """
        session = self._live_session()
        limit = self._tools.policy.limits.max_pending_sends
        if self._writing >= limit:
            raise LimitReached(limit="pending sends of a connection", maximum=limit)
        self._writing += 1
        try:
            async with self._tools.clock.timeout(timeout_seconds):
                await session.send(data, kind)
        except TimeoutError as error:
            raise WriteTimeout(
                connection_id=self._book.record.id, timeout_seconds=timeout_seconds
            ) from error
        except SocketFailed as error:
            raise ConnectionEnded(
                connection_id=self._book.record.id, problem=str(error.failure)
            ) from error
        finally:
            self._writing -= 1
        self.sent += 1
        self.sent_bytes += len(data)

    async def request(self, data: bytes, kind: Kind, *, timeout_seconds: float) -> bytes:
        """Sends a correlated message and returns its reply.

        Raises:
            NotConnected, ConnectionEnded, LimitReached: as `send`.
            ReplyTimeout: no reply in time.
        """
        self._live_session()
        key, wire = self._replies.frame(
            data, self._tools.dice.token_bytes(correlation.PREFIX_BYTES)
        )
        reply = self._replies.expect(key)
        try:
            async with self._tools.clock.timeout(timeout_seconds):
                await self.send(wire, kind, timeout_seconds=timeout_seconds)
                return await reply
        except TimeoutError as error:
            raise ReplyTimeout(
                connection_id=self._book.record.id, timeout_seconds=timeout_seconds
            ) from error
        finally:
            self._replies.forget(key)

    def _live_session(self) -> Session:
        session = self._session
        if self._machine.state is not life.State.OPEN or not session or not session.socket:
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
            self._carry_out(command)

    def _refreshed(self, event: life.Event) -> life.Event:
        """Gives renewed secrets one chance: a login that is refused may be out of date."""
        if isinstance(event, life.Dialled):
            self._secrets_doubted = False
        refused = isinstance(event, life.DialFailed) and event.failure.http_status in {401, 403}
        if not refused or not self._plan.secrets or self._secrets_doubted:
            return event
        self._secrets_doubted = True
        assert isinstance(event, life.DialFailed)  # noqa: S101 - as just asked
        return replace(event, failure=replace(event.failure, advice=Advice.AGAIN.value))

    def _note(self, event: life.Event) -> None:
        """Records what an operator should see of an event."""
        match event:
            case life.DialFailed(failure=failure):
                if not self.tried.is_set():
                    self.first_failure = failure
                self.tried.set()
                self._journal_failure(failure)
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
            case life.Dial():
                self._dial(command)
            case life.OpenSession():
                self._open_session()
            case life.EndSession(failure=failure):
                self._end_session(failure)
            case life.StartTimer():
                self._start_timer(command)
            case life.AbandonDial():
                self._cancel_session()
            case life.Close(code=code):
                if self._session and self._session.socket:
                    self._spawn(self._session.socket.close(code, ""))
            case life.Abort():
                self._cancel_session()
            case life.Persist(status=status, cause=cause):
                now = self._tools.clock.now()
                self._announcer.persist(status, cause, now)
            case life.Announce():
                socket = self._session.socket if self._session else None
                self._announcer.announce(
                    command, self._tools.clock.now(), socket, self._pump.sequence
                )
            case life.Finish(reason=reason):
                self.end = reason
                self.next_attempt_at = None
                self._tools.journal.emit(ConnectionDone(self._book.record.id, reason.value))

    def _dial(self, command: life.Dial) -> None:
        self.dials += 1
        self.next_attempt_at = None
        self._tools.journal.emit(DialStarted(self._book.record.id, self._url, command.attempt))
        self._session = Session(
            command.generation, self._plan, self._tools.for_sessions(), self._ears()
        )
        self._session_task = self._spawn(self._session.run())

    def _open_session(self) -> None:
        session = self._session
        assert session is not None  # noqa: S101 - Dialled comes from it
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
        self._pump.open_session(identity, now)
        self._tools.journal.emit(SessionOpened(record.id, record.session, session.socket.address))
        session.numbered.set()

    def _ears(self) -> Ears:
        return Ears(
            connection_id=self._book.record.id,
            post=self.post,
            spawn=self._spawn,
            degraded=self.tell_degraded,
            restored=self.tell_restored,
            pump=self._pump,
            replies=self._replies,
        )

    def _end_session(self, failure: Failure | None) -> None:
        cause = failure.kind.value if failure else (self._machine.end or "stopped")
        self._pump.end_session(self._tools.clock.now(), str(cause))
        self._replies.fail_all(str(failure) if failure else "the connection is closed")
        # The position of its end is known to whoever comes after a stop.
        self._tools.ledger.post(self._book)
        stable = self._timers.pop(life.Timer.STABLE, None)
        if stable:
            stable.cancel()
        if self._session is not None:
            self._session.end()
        if failure is not None:
            self._cancel_session()

    def _start_timer(self, command: life.StartTimer) -> None:
        previous = self._timers.pop(command.timer, None)
        if previous:
            previous.cancel()
        if command.timer is life.Timer.RETRY:
            self.next_attempt_at = self._tools.clock.now() + command.delay_seconds
        self._timers[command.timer] = self._spawn(self._fire(command))

    async def _fire(self, command: life.StartTimer) -> None:
        await self._tools.clock.sleep(command.delay_seconds)
        self.post(life.TimerFired(command.generation, command.timer))

    # --- delivery -----------------------------------------------------------------------------

    def tell_degraded(self, cause: str, detail: str, count: int) -> None:
        """The pump delivers worse than promised."""
        if cause == PUBLISHING_BEHIND:
            self._calm.clear()
            self._floods += 1
            if self._calming is not None:
                return  # told, and not taken back yet
            self._calming = self._spawn(self._wait_calm())
        connection_id = self._book.record.id
        self._tools.journal.emit(Degraded(connection_id, cause, detail))
        now = self._tools.clock.now()
        self._announcer.degraded(cause, detail, count, now, active=True)

    def tell_restored(self, cause: str, count: int) -> None:
        """The pump delivers as promised again, after dropping `count` messages."""
        if cause == PUBLISHING_BEHIND and self._calming is not None:
            self._calm.set()
            return
        self._announce_restored(cause, count)

    async def _wait_calm(self) -> None:
        """Takes `publishing_behind` back once it stayed away for a while.

        A buffer at its bound fills and empties many times a second: one event for each would be
        more than the messages.
        """
        floods = -1
        while floods != self._floods:
            await self._calm.wait()
            floods = self._floods
            await self._tools.clock.sleep(_CALM_SECONDS)
        self._calming = None
        self._announce_restored(PUBLISHING_BEHIND, 0)

    def _announce_restored(self, cause: str, count: int) -> None:
        connection_id = self._book.record.id
        if count:
            self._tools.journal.emit(MessagesDropped(connection_id, count, cause))
        self._tools.journal.emit(Restored(connection_id, cause))
        now = self._tools.clock.now()
        self._announcer.degraded(cause, "", count, now, active=False)

    # --- tasks --------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._tasks is not None  # noqa: S101 - only called while running
        return self._tasks.create_task(work)

    def _cancel_session(self) -> None:
        self._session = None
        if self._session_task is not None:
            self._session_task.cancel()

    def _cancel_all(self) -> None:
        self._cancel_session()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._calming is not None:
            self._calming.cancel()
