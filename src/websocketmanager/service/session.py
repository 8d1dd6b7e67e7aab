"""One socket's life: dial, opening dialogue, subscriptions, reading, detectors.

Made for one attempt and never used for another. It tells its runner how it ends by exactly one
event; what it hears goes to the pump, once the runner has numbered it.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.detectors import Signs, end_of_quiet, judge_silence
from websocketmanager.domain.facts import RunnerCrashed
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import Message
from websocketmanager.domain.options import TlsOptions
from websocketmanager.domain.pattern import CompiledPattern
from websocketmanager.domain.plan import Plan, PlannedHeartbeat, PlannedSubscription, Speech
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.domain.secrets import SecretValues
from websocketmanager.domain.template import EvaluationContext, EvaluationFailed
from websocketmanager.domain.url_template import evaluated_proxy, evaluated_url
from websocketmanager.errors import InvalidArgument, SecretMissing
from websocketmanager.ports import Clock, Dialer, DialTarget, Dice, Journal, Secrets, Socket
from websocketmanager.service.exclusives import Exclusives
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.pump import Pump
from websocketmanager.service.replies import Replies
from websocketmanager.service.spacing import Spacer
from websocketmanager.service.timers import Timer, Timers

#: Messages that may arrive during the dialogue without belonging to it.
_MAX_EARLY = 10_000
_MAX_EARLY_BYTES = 32 * 1024 * 1024
#: Of the server's words that are repeated in a failure.
_MAX_WORDS = 200
#: How long a subscription's acknowledgement may take.
_ACKNOWLEDGE_SECONDS = 10.0
SUBSCRIPTION_UNACKNOWLEDGED = "subscription_unacknowledged"


class Unsayable(SocketFailed):
    """A message cannot be made: nothing was written, and the socket does not know."""


@dataclass(frozen=True, slots=True)
class SessionTools:
    """What every session of the process shares."""

    clock: Clock
    dice: Dice
    dialer: Dialer
    journal: Journal
    secrets: Secrets
    pacer: Pacer
    timers: Timers
    exclusives: Exclusives
    policy: ServicePolicy


@dataclass(frozen=True, slots=True)
class Ears:
    """Whom a session of one connection tells what."""

    connection_id: str
    post: Callable[[life.Event], None]
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    degraded: Callable[[str, str, int], None]
    restored: Callable[[str, int], None]
    pump: Pump
    replies: Replies


@dataclass(slots=True, eq=False)
class Session:
    """One attempt. `run` is its task; the rest is called by its runner.

    Attributes:
        generation: of the machine.
        plan: what it says and expects.
        numbered: set by the runner once the session has its number.
        socket: once it is open.
    """

    generation: int
    plan: Plan
    tools: SessionTools
    ears: Ears
    numbered: asyncio.Event = field(default_factory=asyncio.Event)
    socket: Socket | None = None
    received: int = 0
    _secrets: SecretValues = field(default_factory=lambda: SecretValues({}))
    _spacer: Spacer = field(init=False)
    _signs: Signs = field(init=False)
    # What came during the dialogue, and whether it is a reply that belongs to it.
    _early: list[tuple[Message, bool]] = field(default_factory=list)
    _early_bytes: int = 0
    _begun: bool = False
    _rotated: Failure | None = None
    # What is to be written: a subscription, and whether it is wanted or no longer.
    _unwritten: deque[tuple[PlannedSubscription, bool]] = field(default_factory=deque)
    _writing: bool = False
    _awaited: dict[str, CompiledPattern] = field(default_factory=dict)
    _owed: set[str] = field(default_factory=set)
    _timers: dict[str, Timer] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _beat_sent_at: float | None = None
    _room_at: float = 0.0

    def __post_init__(self) -> None:
        self._spacer = Spacer(self.tools.clock, spacing_seconds=self.plan.send_spacing_seconds)
        now = self.tools.clock.monotonic()
        self._signs = Signs(opened_at=now, read_at=now)

    # --- its life -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Lives from the dial to the end of the socket. Cancelling drops the socket."""
        async with self.tools.exclusives.hold(self.plan.exclusive):
            await self._live()

    async def _live(self) -> None:
        try:
            try:
                self.socket = await self._dial()
                await self._converse(self.socket)
            except SocketFailed as error:
                self._tell(life.DialFailed(self.generation, self._scrubbed(error.failure)))
                return
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the connection
                self._tell(life.DialFailed(self.generation, self._fault(error)))
                return
            self.ears.post(life.Dialled(self.generation))
            await self.numbered.wait()
            self._tell(await self._read(self.socket))
        finally:
            self.end()
            if self.socket is not None:
                self.socket.abort()

    def end(self) -> None:
        """Stops its timers and its small tasks; safe to repeat."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in list(self._tasks):
            task.cancel()

    async def send(self, data: bytes, kind: Kind) -> None:
        """Writes one message in its turn.

        Raises:
            SocketFailed: the socket ended.
        """
        await self._spacer.wait_turn()
        await self._write(data, kind)

    # --- opening ------------------------------------------------------------------------------

    async def _dial(self) -> Socket:
        tools, spec = self.tools, self.plan.spec
        await tools.pacer.wait_turn(spec.url)
        self._secrets = await self._read_secrets()
        try:
            target = self._target(self._context())
        except (EvaluationFailed, InvalidArgument) as error:
            # Their texts hold no secret.
            raise SocketFailed(Failure(FailureKind.SECRET_MISSING, str(error))) from None
        return await tools.dialer.dial(target)

    async def _read_secrets(self) -> SecretValues:
        if not self.plan.secrets:
            return SecretValues({})
        try:
            return await self.tools.secrets.read(self.plan.secrets)
        except SecretMissing as error:
            raise SocketFailed(Failure(FailureKind.SECRET_MISSING, str(error))) from None

    def _target(self, context: EvaluationContext) -> DialTarget:
        spec, policy = self.plan.spec, self.tools.policy
        handshake = spec.options.handshake
        tls = {name: text.evaluate(context) for name, text in self.plan.tls.items()}
        return DialTarget(
            url=evaluated_url(spec.url, context),
            open_timeout_seconds=handshake.open_timeout_ms / 1000 or policy.default_timeout_seconds,
            close_timeout_seconds=handshake.close_timeout_ms / 1000 or policy.close_timeout_seconds,
            max_message_bytes=policy.max_message_bytes(spec),
            headers=tuple((name, text.evaluate(context)) for name, text in self.plan.headers),
            subprotocols=handshake.subprotocols,
            origin=handshake.origin,
            compression=handshake.compression,
            proxy=evaluated_proxy(handshake.proxy, context) if handshake.proxy else "",
            tls=TlsOptions(server_name=handshake.tls.server_name, **tls),
        )

    async def _converse(self, socket: Socket) -> None:
        """The opening dialogue: each step says its word and waits for its answer."""
        for number, step in enumerate(self.plan.steps, 1):
            limit = step.timeout_seconds or self.tools.policy.default_timeout_seconds
            if step.send is not None:
                await self._spacer.wait_turn()
            try:
                async with self.tools.clock.timeout(limit):
                    if step.send is not None:
                        await self._write(self._said(step.send), step.send.kind)
                    reply = await self._answer(socket, step.expect) if step.expect else None
            except TimeoutError:
                what = "no answer" if step.expect else "the server does not read"
                failure = Failure(
                    FailureKind.DIALOGUE_TIMEOUT, f"step {number}: {what} within {limit:g} s"
                )
                raise SocketFailed(failure) from None
            if reply is not None and step.forward:
                self._early.append((reply, True))

    async def _answer(self, socket: Socket, expected: CompiledPattern) -> Message:
        while True:
            message = await socket.recv()
            self._refuse_refusal(message)
            if expected.matches(message):
                return message
            self._early.append((message, False))
            self._early_bytes += len(message.data)
            if len(self._early) > _MAX_EARLY or self._early_bytes > _MAX_EARLY_BYTES:
                failure = Failure(
                    FailureKind.DIALOGUE_TIMEOUT,
                    f"{len(self._early)} messages, {self._early_bytes} bytes, "
                    "came before the expected answer",
                )
                raise SocketFailed(failure)

    def _begin(self) -> None:
        """The session has its number: what came early is delivered, the detectors start."""
        now = self.tools.clock.monotonic()
        self._signs = Signs(opened_at=now, read_at=now)
        self._begun = True
        early, self._early = self._early, []
        for message, belongs_to_dialogue in early:
            if belongs_to_dialogue:
                self.ears.pump.accept(message, self.tools.clock.now())  # and it is no data
            else:
                self._deliver(message)
        self._write_later([(one, True) for one in self.plan.subscriptions])
        if self._ping_interval_seconds > 0:
            self._small(self._keep_alive)
        if self.plan.silence.wanted:
            self._look_at_silence()
        if self.plan.heartbeat is not None:
            self._beat_later(self.plan.heartbeat, now)
        if self.plan.max_age_seconds:
            early_by = self.plan.age_jitter_seconds * self.tools.dice.uniform()
            at = now + self.plan.max_age_seconds - early_by
            self._set_timer("rotation", at, lambda: self._rotate("it has reached its age"))

    # --- rotation -----------------------------------------------------------------------------

    def _rotate(self, why: str) -> None:
        """Ends the session in good order before the server does; the next one follows at once."""
        if self._rotated is None:
            self._rotated = Failure(FailureKind.ROTATED, f"replaced: {why}")
            self._small(self._leave)

    async def _leave(self) -> None:
        assert self.socket is not None  # noqa: S101 - only an open session rotates
        await self.socket.close(1000, "")

    # --- subscriptions ------------------------------------------------------------------------

    def change_subscriptions(
        self,
        plan: Plan,
        removed: tuple[PlannedSubscription, ...],
        added: tuple[PlannedSubscription, ...],
    ) -> None:
        """Brings a live session to another desired set."""
        self.plan = plan
        if not self._begun:
            return  # it begins with the new set
        keys = {gone.key for gone in removed}
        unwritten = {one.key for one, wanted in self._unwritten if wanted}
        self._unwritten = deque(
            (one, wanted) for one, wanted in self._unwritten if not (wanted and one.key in keys)
        )
        for gone in removed:
            self._forget(gone.key)
        self._write_later(
            [(gone, False) for gone in removed if gone.key not in unwritten]
            + [(one, True) for one in added]
        )

    def _write_later(self, changes: list[tuple[PlannedSubscription, bool]]) -> None:
        """Has changes written one after the other: an unsubscribe must not overtake."""
        self._owed |= {one.key for one, wanted in changes if wanted and one.acknowledge}
        self._restore()
        self._unwritten += changes
        if self._unwritten and not self._writing:
            self._writing = True
            self._small(self._write_subscriptions)

    async def _write_subscriptions(self) -> None:
        while self._unwritten:
            await self._spacer.wait_turn()
            await self._read_new_secrets()
            if not self._unwritten:
                break  # taken back meanwhile
            one, wanted = self._unwritten.popleft()
            if wanted:
                data = self._said(one.subscribe)
                if one.acknowledge is not None:
                    self._await_acknowledgement(one.key, one.acknowledge)
                await self._write(data, one.subscribe.kind)
            elif one.unsubscribe is not None:
                await self._write(self._said(one.unsubscribe), one.unsubscribe.kind)
        self._writing = False

    async def _read_new_secrets(self) -> None:
        """Looks up what the plan names since it was changed."""
        if names := self.plan.secrets - set(self._secrets):
            try:
                values = await self.tools.secrets.read(names)
            except SecretMissing as error:
                raise Unsayable(Failure(FailureKind.SECRET_MISSING, str(error))) from None
            self._secrets = SecretValues({**self._secrets, **values})

    def _await_acknowledgement(self, key: str, pattern: CompiledPattern) -> None:
        self._awaited[key] = pattern
        at = self.tools.clock.monotonic() + _ACKNOWLEDGE_SECONDS

        def overdue() -> None:
            if key in self._awaited:
                self.ears.pump.degraded.add(SUBSCRIPTION_UNACKNOWLEDGED)
                detail = f"{key}: no acknowledgement within {_ACKNOWLEDGE_SECONDS:g} s"
                self.ears.degraded(SUBSCRIPTION_UNACKNOWLEDGED, detail, 0)

        self._set_timer(f"acknowledge {key}", at, overdue)

    def _forget(self, key: str) -> None:
        """An acknowledgement came, or is not wanted any more."""
        self._awaited.pop(key, None)
        self._owed.discard(key)
        if timer := self._timers.pop(f"acknowledge {key}", None):
            timer.cancel()

    def _restore(self) -> None:
        """Takes the lack of acknowledgements back, also one of an earlier session."""
        degraded = self.ears.pump.degraded
        if not self._owed and SUBSCRIPTION_UNACKNOWLEDGED in degraded:
            degraded.discard(SUBSCRIPTION_UNACKNOWLEDGED)
            self.ears.restored(SUBSCRIPTION_UNACKNOWLEDGED, 0)

    # --- reading ------------------------------------------------------------------------------

    async def _read(self, socket: Socket) -> life.Event:
        """Feeds the pump until the socket ends; returns the event that says why."""
        pump = self.ears.pump
        try:
            self._begin()
            while True:
                message = await socket.recv()
                self.received += 1
                self._deliver(message)
                if pump.full:
                    await pump.wait_room()
                    self._note_room()
        except SocketFailed as error:
            failure = self._rotated or self._scrubbed(error.failure)
        except Exception as error:  # noqa: BLE001 - as in run
            failure = self._fault(error)
        return self._lost(failure)

    def _note_room(self) -> None:
        """The reader goes on: until now the silence was our own, and all limits count anew."""
        now = self._room_at = self.tools.clock.monotonic()
        self._signs = replace(self._signs, read_at=now, quiet_at=now)

    def _deliver(self, message: Message) -> None:
        """Gives one message to whoever it is for."""
        now = self.tools.clock.monotonic()
        self._refuse_refusal(message)
        if self._is_beat(message):
            self._signs = replace(self._signs, read_at=now)
            return
        if self._awaited and self._is_acknowledgement(message):
            self._signs = replace(self._signs, read_at=now)
            return
        data_at = self._signs.data_at
        if self.plan.data is None or self.plan.data.matches(message):
            data_at = now
        if self.plan.silence.wanted:
            self._signs = replace(self._signs, read_at=now, data_at=data_at)
        if not self.ears.replies.take(message.data):
            self.ears.pump.accept(message, self.tools.clock.now())
        if any(notice.matches(message) for notice in self.plan.notices):
            self._rotate("the server gave notice")

    def _refuse_refusal(self, message: Message) -> None:
        """Ends the session when the server says no in its own words.

        Raises:
            SocketFailed: it does.
        """
        for rule in self.plan.refusals:
            if rule.pattern.matches(message):
                # Scrubbed before it is cut: a cut secret is not found any more.
                words = self._secrets.scrubbed(message.data.decode(errors="replace"))
                text = f"{rule.name or 'refused'}: {words[:_MAX_WORDS]}"
                kind = FailureKind.SERVER_REFUSED
                raise SocketFailed(Failure(kind, text, advice=rule.advice.value))

    def _is_acknowledgement(self, message: Message) -> bool:
        for key, pattern in self._awaited.items():
            if pattern.matches(message):
                self._forget(key)
                self._restore()
                return True
        return False

    # --- detectors ----------------------------------------------------------------------------

    @property
    def _ping_interval_seconds(self) -> float:
        chosen = self.plan.spec.options.liveness.ping_interval_ms
        return chosen / 1000 or self.tools.policy.ping_interval_seconds

    async def _keep_alive(self) -> None:
        """Pings an open session; no sign of life within the timeout means that it is lost.

        Any message is a sign of life. While the reader waits for room nothing can be read, so
        silence proves nothing then.
        """
        clock, pump = self.tools.clock, self.ears.pump
        chosen = self.plan.spec.options.liveness.ping_timeout_ms
        timeout = chosen / 1000 or self.tools.policy.ping_timeout_seconds
        assert self.socket is not None  # noqa: S101 - only an open session pings
        pause = interval = self._ping_interval_seconds
        while True:
            await clock.sleep(pause)
            await self._spacer.wait_turn()
            pinged_at, received, blocked = clock.monotonic(), self.received, pump.full
            try:
                async with clock.timeout(timeout):
                    await self.socket.ping()
                self._signs = replace(self._signs, read_at=clock.monotonic())
            except TimeoutError:
                if blocked or pump.full or self._room_at >= pinged_at:
                    pause = interval
                    continue
                if self.received == received:
                    message = f"no sign of life within {timeout:g} s of a ping"
                    self._tell(self._lost(Failure(FailureKind.PING_TIMEOUT, message)))
                    return
            # From ping to ping: a wait for a pong must not put off the next question.
            pause = max(pinged_at + interval - clock.monotonic(), 0.0)

    def _look_at_silence(self) -> None:
        """Judges the silence now, and looks again when it could have become too long."""
        clock = self.tools.clock
        now = clock.monotonic()
        quiet = self._look_for_quiet(now)
        if self.ears.pump.full:
            # Nothing is read while the buffer is full: silence is our own.
            self._signs = replace(self._signs, read_at=now, quiet_at=now)
        judgement = judge_silence(self.plan.silence, self._signs, now=now, quiet=quiet)
        if judgement.failure is not None:
            self._tell(self._lost(judgement.failure))
        elif judgement.look_again_at is not None:
            self._set_timer("silence", judgement.look_again_at, self._look_at_silence)

    def _look_for_quiet(self, now: float) -> bool:
        """Notes when silence was last normal; returns whether it is now."""
        if not self.plan.spec.options.liveness.quiet:
            return False
        signs, wall = self._signs, self.tools.clock.now()
        since = max(signs.opened_at, signs.data_at or 0.0, signs.quiet_at or 0.0)
        end = end_of_quiet(self.plan.quiet.covers, since=wall - (now - since), now=wall)
        if end is None:
            return False
        self._signs = replace(signs, quiet_at=now - (wall - end))
        return end == wall

    def _beat_later(self, heartbeat: PlannedHeartbeat, since: float) -> None:
        at = since + heartbeat.interval_seconds
        self._set_timer("heartbeat", at, lambda: self._small(lambda: self._beat(heartbeat)))

    async def _beat(self, heartbeat: PlannedHeartbeat) -> None:
        begun_at = self.tools.clock.monotonic()
        await self._spacer.wait_turn()
        data = self._said(heartbeat.send)
        if heartbeat.expect is not None and self._beat_sent_at is None:
            # Before it is written: the reply may be read before the write returns.
            self._beat_sent_at = self.tools.clock.monotonic()
            self._watch_beat(heartbeat, self._beat_sent_at)
        await self._write(data, heartbeat.send.kind)
        # Only now: beats must not pile up before a server that does not read.
        self._beat_later(heartbeat, begun_at)

    def _watch_beat(self, heartbeat: PlannedHeartbeat, since: float) -> None:
        at = since + heartbeat.timeout_seconds
        self._set_timer("heartbeat reply", at, lambda: self._beat_overdue(heartbeat))

    def _beat_overdue(self, heartbeat: PlannedHeartbeat) -> None:
        if self._beat_sent_at is None:
            return
        # While the buffer was full the reply could not be read.
        now = self.tools.clock.monotonic()
        room_at = now if self.ears.pump.full else self._room_at
        if max(self._beat_sent_at, room_at) + heartbeat.timeout_seconds > now:
            self._watch_beat(heartbeat, max(self._beat_sent_at, room_at))
            return
        message = f"no reply to the heartbeat within {heartbeat.timeout_seconds:g} s"
        self._tell(self._lost(Failure(FailureKind.HEARTBEAT_TIMEOUT, message)))

    def _is_beat(self, message: Message) -> bool:
        heartbeat = self.plan.heartbeat
        if heartbeat is None or heartbeat.expect is None or not heartbeat.expect.matches(message):
            return False
        self._beat_sent_at = None
        if timer := self._timers.pop("heartbeat reply", None):
            timer.cancel()
        return True

    # --- helpers ------------------------------------------------------------------------------

    def _said(self, speech: Speech) -> bytes:
        """Returns one message, evaluated: right before it is written, as it may hold the time.

        Raises:
            Unsayable: it cannot be made.
        """
        try:
            return speech.said(self._context())
        except EvaluationFailed as error:
            raise Unsayable(Failure(FailureKind.SECRET_MISSING, str(error))) from None

    async def _write(self, data: bytes, kind: Kind) -> None:
        """Writes one message now.

        Raises:
            SocketFailed: the socket ended.
        """
        assert self.socket is not None  # noqa: S101 - only an open session writes
        try:
            await self.socket.send(data, kind)
        except SocketFailed as error:
            raise SocketFailed(self._scrubbed(error.failure)) from None

    def _context(self) -> EvaluationContext:
        return EvaluationContext(
            now=self.tools.clock.now(),
            nonce=self.tools.dice.token_bytes(16).hex(),
            uuid=self.tools.dice.uuid(),
            secrets=self._secrets,
        )

    def _lost(self, failure: Failure) -> life.Event:
        if failure.kind is FailureKind.PEER_CLOSED:
            return life.PeerClosed(self.generation, failure)
        return life.Lost(self.generation, failure)

    def _tell(self, event: life.Event) -> None:
        # A second word of the same session is stale by then, and the machine ignores it.
        self.ears.post(event)

    def _scrubbed(self, failure: Failure) -> Failure:
        return replace(
            failure,
            message=self._secrets.scrubbed(failure.message),
            close_reason=self._secrets.scrubbed(failure.close_reason),
        )

    def _fault(self, error: Exception) -> Failure:
        trace = "".join(traceback.format_exception(error))
        self.tools.journal.emit(
            RunnerCrashed(
                self.ears.connection_id,
                self._secrets.scrubbed(repr(error)),
                self._secrets.scrubbed(trace),
            )
        )
        return Failure(FailureKind.INTERNAL, f"internal fault: {type(error).__name__}")

    def _set_timer(self, name: str, at: float, callback: Callable[[], Any]) -> None:
        if previous := self._timers.get(name):
            previous.cancel()

        def guarded() -> None:
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - a dead detector must not stay unnoticed
                self._tell(self._lost(self._fault(error)))

        self._timers[name] = self.tools.timers.call_at(at, guarded)

    def _small(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a short piece of work that ends with the session at the latest."""
        task = self.ears.spawn(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Unsayable as error:
            self._tell(self._lost(error.failure))
        except SocketFailed:
            return  # the reader says why
