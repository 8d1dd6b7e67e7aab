"""Tests a target: opens it as a session would, tells each step as it ends, and closes it again.

Nothing of it is stored, listed, announced or published.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AsyncExitStack
from typing import Any

from websocketmanager.domain.facts import TrialCrashed
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.host_rules import host_of
from websocketmanager.domain.model import Message
from websocketmanager.domain.plan import Plan
from websocketmanager.domain.trial import Course, Phase, TrialStep, needed_phases
from websocketmanager.ports import Socket
from websocketmanager.service.runner import Tools
from websocketmanager.service.session.chores import Chores
from websocketmanager.service.session.opening import Opening, refuse_refusal
from websocketmanager.service.session.speaker import Speaker
from websocketmanager.service.session.subscriptions import UNACKNOWLEDGED, Subscriptions


class Trial:
    """One trial; never used twice.

    Args:
        plan: what is opened and said.
        tools: of the connections.
        told: takes each step.
    """

    def __init__(self, plan: Plan, tools: Tools, told: Callable[[TrialStep], None]) -> None:
        self._plan = plan
        self._tools = tools
        self._told = told
        self._speaker = Speaker(
            tools.clock, tools.dice, tools.secrets, spacing_seconds=plan.send_spacing_seconds
        )
        self._course = Course(tools.clock.monotonic(), needed_phases(plan))
        self._chores = Chores(tools.timers, self._spawn, self._fail, self._fault)
        self._subscriptions = Subscriptions(
            tools.clock,
            self._speaker,
            self._chores,
            secrets=lambda: plan.secrets,
            told=self._note_owed,
            all_written=self._wake,
        )
        self._socket: Socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._note = ""
        self._overdue = ""
        self._data: Message | None = None
        self._failure: Failure | None = None

    async def run(self) -> None:
        """Goes through all phases, or up to the first that fails. Cancelling drops the socket."""
        try:
            async with AsyncExitStack() as turn:
                try:
                    await self._go(turn)
                except SocketFailed as error:
                    self._end(self._speaker.scrubbed(error.failure))
                except Exception as error:  # noqa: BLE001 - a fault of ours is a failed step
                    self._end(self._fault(error))
                if self._socket is not None:
                    # Before others get their turn.
                    await self._socket.close(1000, "")
        finally:
            self._chores.end()
            for task in self._tasks:
                task.cancel()
            if self._socket is not None:
                self._socket.abort()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def passed(self, phase: Phase, detail: str) -> None:
        """Takes note of a phase of the dial (`ports.DialObserver`)."""
        note, self._note = self._note, ""
        self._pass(phase, note + detail)

    # --- its phases ---------------------------------------------------------------------------

    async def _go(self, turn: AsyncExitStack) -> None:
        tools, plan = self._tools, self._plan
        await self._take_turn(turn)
        opening = Opening(
            plan,
            self._speaker,
            clock=tools.clock,
            dialer=tools.dialer,
            pacer=tools.pacer,
            policy=tools.policy,
        )
        socket = await tools.dialer.dial(await opening.target(), self)
        self._socket = self._speaker.socket = socket
        if plan.steps:
            await opening.converse(socket)
            self._pass(Phase.DIALOGUE, f"{_times(len(plan.steps), 'step')} done")
        self._subscriptions.begin(plan.subscriptions)
        for message, belongs_to_dialogue in opening.early.messages:
            if not belongs_to_dialogue:
                self._hear(message)
        self._spawn(self._read(socket))
        if plan.subscriptions and not await self._subscribe():
            return
        await self._wait_data()

    async def _take_turn(self, turn: AsyncExitStack) -> None:
        """Waits for the credential and for the host, as long as opening may take.

        Raises:
            SocketFailed: the turn does not come in time.
        """
        tools, spec = self._tools, self._plan.spec
        chosen = spec.options.handshake.open_timeout_ms
        limit = chosen / 1000 or tools.policy.default_timeout_seconds
        began = tools.clock.monotonic()
        whose = "for the exclusive credential" if self._plan.exclusive else "to dial this host"
        try:
            async with tools.clock.timeout(limit):
                await turn.enter_async_context(
                    tools.places.hold(host=host_of(spec.url), exclusive=self._plan.exclusive)
                )
                await tools.pacer.wait_turn(spec.url)
        except TimeoutError:
            text = f"no turn {whose} within {limit:g} s"
            raise SocketFailed(Failure(FailureKind.OPEN_TIMEOUT, text)) from None
        if self._plan.exclusive:
            waited = tools.clock.monotonic() - began
            self._note = f"waited {waited:.3f} s for a turn with the exclusive credential; "

    async def _subscribe(self) -> bool:
        """Waits until all subscriptions are written and acknowledged; returns whether they are.

        Raises:
            SocketFailed: they cannot be written, or the socket ends.
        """
        subscriptions, count = self._subscriptions, len(self._plan.subscriptions)
        policy = self._tools.policy
        limit = policy.default_timeout_seconds + count * self._plan.send_spacing_seconds
        try:
            async with self._tools.clock.timeout(limit):
                await self._until(lambda: subscriptions.written)
        except TimeoutError:
            text = f"not all subscriptions were written within {limit:g} s"
            raise SocketFailed(Failure(FailureKind.DIALOGUE_TIMEOUT, text)) from None
        # Each acknowledgement has its time, which ends by itself.
        await self._until(lambda: self._overdue or subscriptions.settled)
        if self._overdue:
            now = self._tools.clock.monotonic()
            phase = Phase.SUBSCRIPTIONS
            self._tell(self._course.failed_at(phase, UNACKNOWLEDGED, self._overdue, now))
            return False
        acknowledged = sum(one.acknowledge is not None for one in self._plan.subscriptions)
        self._pass(Phase.SUBSCRIPTIONS, f"{count} written, {acknowledged} acknowledged")
        return True

    async def _wait_data(self) -> None:
        """Waits for the first data.

        Raises:
            SocketFailed: none comes in time, or the socket ends.
        """
        policy = self._tools.policy
        limit = self._plan.silence.first_data_seconds or policy.default_timeout_seconds
        try:
            async with self._tools.clock.timeout(limit):
                await self._until(lambda: self._data is not None)
        except TimeoutError:
            text = f"no data arrived within {limit:g} s"
            if not self._plan.quiet.covers(self._tools.clock.now()):
                raise SocketFailed(Failure(FailureKind.FIRST_DATA_MISSING, text)) from None
            now = self._tools.clock.monotonic()
            text += ", and silence is normal now"
            self._tell(self._course.skipped(Phase.FIRST_DATA, now, text))
            return
        assert self._data is not None  # noqa: S101 - as waited for
        size, kind = len(self._data.data), self._data.kind
        self._pass(Phase.FIRST_DATA, f"{_times(size, 'byte')}, {kind.value}")

    # --- what is heard ------------------------------------------------------------------------

    async def _read(self, socket: Socket) -> None:
        while True:
            self._hear(await socket.recv())
            self._wake()

    def _hear(self, message: Message) -> None:
        """Takes one message as a session would.

        Raises:
            SocketFailed: the server refuses in its own words.
        """
        plan = self._plan
        refuse_refusal(plan, self._speaker, message)
        if plan.is_heartbeat_reply(message):
            return
        if self._subscriptions.take(message) or not self._subscriptions.written:
            return  # what came before the last subscription proves nothing of that one
        if self._data is None and (plan.data is None or plan.data.matches(message)):
            self._data = message

    async def _until(self, holds: Callable[[], object]) -> None:
        """Waits until the condition holds.

        Raises:
            SocketFailed: the socket ends before.
        """
        while not holds():
            if self._failure is not None:
                raise SocketFailed(self._failure)
            self._changed.clear()
            await self._changed.wait()

    def _note_owed(self, overdue: str | None) -> None:
        self._overdue = overdue or ""
        self._wake()

    # --- helpers ------------------------------------------------------------------------------

    def _pass(self, phase: Phase, detail: str) -> None:
        now = self._tools.clock.monotonic()
        self._tell(self._course.passed(phase, now, self._speaker.scrub(detail)))

    def _end(self, failure: Failure) -> None:
        self._tell(self._course.failed(failure, self._tools.clock.monotonic()))

    def _tell(self, steps: Iterable[TrialStep]) -> None:
        for step in steps:
            self._told(step)

    def _wake(self) -> None:
        self._changed.set()

    def _fail(self, failure: Failure) -> None:
        self._failure = self._failure or failure
        self._wake()

    def _fault(self, error: BaseException) -> Failure:
        trace = "".join(traceback.format_exception(error))
        scrub = self._speaker.scrub
        self._tools.journal.emit(TrialCrashed(scrub(repr(error)), scrub(trace)))
        return Failure(FailureKind.INTERNAL, f"internal fault: {type(error).__name__}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)  # noqa: TID251 - a trial owns its reader and its writer
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        match task.exception():
            case SocketFailed() as ended:
                self._fail(ended.failure)
            case Exception() as error:
                self._fail(self._fault(error))


def _times(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
