"""One socket's life: opened, watched, subscribed, read to its end.

Made for one attempt and never used for another. It tells its runner how it ends by exactly one
event. What it reads it holds until the runner has numbered it, and delivers from then on; a
successor, made while another session still delivers, is numbered only when that one has ended.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.facts import RunnerCrashed
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.host_rules import host_of
from websocketmanager.domain.model import Message
from websocketmanager.domain.overlap import OverlapFilter
from websocketmanager.domain.plan import Plan, PlannedSubscription
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.ports import Clock, Dialer, Dice, Journal, Secrets, Socket
from websocketmanager.service.flag import Flag
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.places import Places
from websocketmanager.service.pump import Pump
from websocketmanager.service.replies import Replies
from websocketmanager.service.session.chores import Chores
from websocketmanager.service.session.opening import Early, Opening, refuse_refusal
from websocketmanager.service.session.speaker import Speaker
from websocketmanager.service.session.subscriptions import UNACKNOWLEDGED, Subscriptions
from websocketmanager.service.session.vigil import Vigil
from websocketmanager.service.timers import Timers

#: How long a successor may take to its first data, unless chosen.
_FIRST_DATA_SECONDS = 30.0


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
    places: Places
    policy: ServicePolicy


class Ears(Protocol):
    """Whom the sessions of one connection tell what, and what they share."""

    @property
    def connection_id(self) -> str:
        """The connection's id."""

    @property
    def pump(self) -> Pump:
        """Where its messages go."""

    @property
    def replies(self) -> Replies:
        """The callers that wait for one of them."""

    def post(self, event: life.Event) -> None:
        """Tells the machine; never blocks."""

    def note_queued(self) -> None:
        """The dial waits for a place that another connection has."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Makes a task of the connection."""

    def tell_degraded(self, cause: str, detail: str, count: int) -> None:
        """Delivery is worse than promised."""

    def tell_restored(self, cause: str, count: int) -> None:
        """Delivery is as promised again, after dropping `count` messages."""


@dataclass(slots=True)
class _Held:
    """What a session keeps until it has its number, and when each message came."""

    early: Early
    since: list[float] = field(default_factory=list)


class Session:
    """One attempt. `run` is its task; the rest is called by its runner.

    Args:
        generation: of the machine.
        plan: what it says and expects.
        tools: what all sessions share.
        ears: whom it tells.
        successor: whether another session of the connection delivers meanwhile.
        overlap: compares it with that one.

    Attributes:
        socket: once it is open.
    """

    __slots__ = (
        "_chores",
        "_compared",
        "_data_seen",
        "_doomed",
        "_early",
        "_ears",
        "_held",
        "_incomplete",
        "_noted",
        "_numbered",
        "_opened",
        "_owed_words",
        "_plain",
        "_ready",
        "_released",
        "_retired",
        "_rotation_wanted",
        "_speaker",
        "_subscriptions",
        "_successor",
        "_tools",
        "_vigil",
        "generation",
        "plan",
        "socket",
    )

    def __init__(
        self,
        generation: int,
        plan: Plan,
        tools: SessionTools,
        ears: Ears,
        *,
        successor: bool = False,
        overlap: OverlapFilter | None = None,
    ) -> None:
        self.generation = generation
        self.plan = plan
        self.socket: Socket | None = None
        self._tools = tools
        self._ears = ears
        self._successor = successor
        self._speaker = Speaker(
            tools.clock, tools.dice, tools.secrets, spacing_seconds=plan.send_spacing_seconds
        )
        self._chores = Chores(tools.timers, ears.spawn, self._fail, self._fault)
        self._subscriptions = Subscriptions(
            tools.clock,
            self._speaker,
            self._chores,
            secrets=self._secret_names,
            told=self._tell_owed,
            all_written=self._look_settled,
        )
        self._vigil = Vigil(
            plan,
            tools.policy,
            tools.clock,
            self._speaker,
            self._chores,
            full=self._is_full,
            failed=self._fail,
        )
        # All messages are for the topic: what changes of the plan, the subscriptions, says so.
        self._plain = not (plan.refusals or plan.notices or plan.answers_heartbeat)
        self._opened = False
        self._numbered = False
        # What came during the dialogue, until it is taken.
        self._early: Early | None = None
        self._held: _Held | None = None
        self._owed_words: tuple[str | None, ...] = ()
        self._incomplete = bool(plan.subscriptions)
        self._data_seen = False
        self._ready = False
        self._released = Flag()
        self._rotation_wanted = ""
        self._retired: Failure | None = None
        self._doomed: Failure | None = None
        self._noted: OverlapFilter | None = None
        self._compared = overlap

    # --- its life -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Lives from the dial to the end of the socket. Cancelling drops the socket."""
        place = self._tools.places.hold(
            host=host_of(self.plan.spec.url),
            exclusive=self.plan.exclusive,
            succeeds=self._successor,
            connection_id=self._ears.connection_id,
            waits=self._ears.note_queued,
        )
        async with place:
            try:
                if await self._open():
                    self._fail(await self._read())
            finally:
                self.end()
                if self.socket is not None:
                    self.socket.abort()

    async def _open(self) -> bool:
        """Dials and holds the opening dialogue; returns whether that went well."""
        tools = self._tools
        opening = Opening(
            self.plan,
            self._speaker,
            clock=tools.clock,
            dialer=tools.dialer,
            pacer=tools.pacer,
            policy=tools.policy,
        )
        try:
            self.socket = await opening.dial()
            await opening.converse(self.socket)
        except SocketFailed as error:
            self._tell_dial_failed(self._speaker.scrubbed(error.failure))
            return False
        except Exception as error:  # noqa: BLE001 - a fault of ours must not end the connection
            self._tell_dial_failed(self._fault(error))
            return False
        self._opened = True
        self._early = opening.early
        if not self._successor:
            self._ears.post(life.Dialled(self.generation))
        return True

    def end(self) -> None:
        """Stops its timers and its small tasks; safe to repeat."""
        self._chores.end()

    async def send(self, data: bytes, kind: Kind) -> None:
        """Writes one message in its turn.

        Raises:
            SocketFailed: the socket ended.
        """
        await self._speaker.wait_turn()
        await self._speaker.write(data, kind)

    def change_subscriptions(
        self,
        plan: Plan,
        removed: tuple[PlannedSubscription, ...],
        added: tuple[PlannedSubscription, ...],
    ) -> None:
        """Brings it to another desired set."""
        self.plan = plan
        if self._opened:
            self._subscriptions.change(removed, added)
        # Else it begins with the new set.

    # --- taking over, and being replaced ------------------------------------------------------

    def adopt(self) -> None:
        """It has its number: what it holds is delivered now, and what it reads from now on."""
        self._numbered = True
        # A proven successor has all its feeds, and its predecessor had them until now.
        self._incomplete = self._incomplete and not self._ready
        self._successor = False
        held, self._held = self._held, None
        if held is not None:
            for (message, _), at in zip(held.early.messages, held.since, strict=True):
                self._accept(message, at)
        if self._ears.pump.full:
            # The reader sees that only with the next message.
            self._chores.begin(self._make_room)
        owed_words, self._owed_words = self._owed_words, ()
        for words in owed_words:
            self._tell_owed(words)
        self._look_settled()
        if self._rotation_wanted:
            self._ears.post(life.RotationAsked(self.generation, self._rotation_wanted))
        self._released.set()
        if self._doomed is not None:
            self._fail(self._doomed)

    def promote(self) -> None:
        """The session that it should replace is gone: its dialogue is enough."""
        self._successor = False
        self._chores.cancel("successor data")
        if self._opened and not self._ready:
            self._ears.post(life.Dialled(self.generation))

    def note_overlap(self, overlap: OverlapFilter | None) -> None:
        """Has what it delivers noted from now on, for the comparison with its successor."""
        self._noted = overlap

    def retire(self, why: str) -> None:
        """Closes the socket with 1000 and delivers what still comes; safe to repeat."""
        if self._retired is None:
            self._retired = Failure(FailureKind.ROTATED, f"replaced: {why}")
            self._chores.begin(self._leave)

    async def _leave(self) -> None:
        assert self.socket is not None  # noqa: S101 - only an open session is replaced
        await self.socket.close(1000, "")

    def _ask_rotation(self, why: str) -> None:
        self._rotation_wanted = why
        if self._numbered:
            self._ears.post(life.RotationAsked(self.generation, why))

    def _look_settled(self) -> None:
        """Looks what it means that a subscription was written or acknowledged."""
        self._look_ready()
        if self._numbered and self._incomplete and self._subscriptions.settled:
            # Until now a feed could be missing, behind the session's beginning.
            self._incomplete = False
            self._ears.pump.extend_gap(self._tools.clock.now())

    def _look_ready(self) -> None:
        """Tells, once, that a successor may take over."""
        if not self._successor or self._ready or not self._subscriptions.settled:
            return
        if self._data_seen or self._vigil.quiet:
            self._ready = True
            self._chores.cancel("successor data")
            self._ears.post(life.SuccessorReady(self.generation))

    def _data_overdue(self) -> None:
        self._look_ready()
        if not self._ready:
            text = "the new session delivered no data in time"
            self._fail(Failure(FailureKind.FIRST_DATA_MISSING, text))

    # --- reading ------------------------------------------------------------------------------

    def _begin(self) -> None:
        """The dialogue is done: everything begins, and what came early is taken."""
        clock, plan = self._tools.clock, self.plan
        now = clock.monotonic()
        self._vigil.begin()
        early, self._early = self._early, None
        for message, belongs_to_dialogue in early.messages if early else ():
            if belongs_to_dialogue:
                self._hold(message)  # and it is no data
            else:
                self._take(message)
        self._subscriptions.begin(plan.subscriptions)
        if self._successor:
            limit = plan.spec.options.rotation.data_timeout_ms / 1000 or _FIRST_DATA_SECONDS
            self._chores.at("successor data", now + limit, self._data_overdue)
            self._look_ready()
        if plan.max_age_seconds:
            early_by = plan.age_jitter_seconds * self._tools.dice.uniform()
            at = now + plan.max_age_seconds - early_by
            self._chores.at("age", at, lambda: self._ask_rotation("it has reached its age"))

    async def _read(self) -> Failure:
        """Reads until the socket ends; returns why."""
        socket = self.socket
        assert socket is not None  # noqa: S101 - it is open
        try:
            self._begin()
            while True:
                await socket.recv_into(self)
                if self._held is not None and self._held.early.full:
                    await self._wait_release(self._held.early)
                if self._numbered:
                    await self._wait_room()
        except SocketFailed as error:
            return self._ending(error.failure)
        except Exception as error:  # noqa: BLE001 - as in run
            return self._fault(error)

    @property
    def full(self) -> bool:
        """Whether nothing is read because nothing more can be taken (`ports.Receiver`)."""
        if self._numbered:
            return self._ears.pump.full
        return self._held is not None and self._held.early.full

    def _is_full(self) -> bool:
        return self.full

    def take(self, kind: Kind, payloads: list[bytes]) -> int:
        """Takes messages; returns how many (`ports.Receiver`)."""
        if self._must_take_each:
            for count, data in enumerate(payloads, 1):
                self._take(Message(kind, data))
                if self.full:
                    return count
            return len(payloads)
        pump = self._ears.pump
        if self._plain and not self._ears.replies.waiting:
            count = pump.accept_run(kind, payloads, self._tools.clock.now())
            self._hear(kind, payloads[:count] if count < len(payloads) else payloads)
            return count
        payloads = payloads[: pump.fitting(payloads)]
        self._sift(kind, payloads)
        return len(payloads)

    def _ending(self, failure: Failure) -> Failure:
        if self._retired is None:
            return self._speaker.scrubbed(failure)
        # The peer's answer to our close is the proof that it had nothing more to say.
        code = failure.close_code if failure.kind is FailureKind.PEER_CLOSED else 0
        return replace(self._retired, close_code=code)

    async def _wait_room(self) -> None:
        """Waits until the buffer takes more.

        Raises:
            SocketFailed: the session shall end instead.
        """
        await self._ears.pump.wait_room()
        self._vigil.note_room()

    async def _make_room(self) -> None:
        try:
            await self._wait_room()
        except SocketFailed as error:
            self._fail(error.failure)

    async def _wait_release(self, held: Early) -> None:
        """Waits until what is held can be delivered.

        Raises:
            SocketFailed: it holds too much before it is ready to take over.
        """
        if self._successor and not self._ready:
            text = f"{len(held.messages)} messages came before the new session was ready"
            raise SocketFailed(Failure(FailureKind.DIALOGUE_TIMEOUT, text))
        await self._released.wait()
        self._vigil.note_room()

    @property
    def _must_take_each(self) -> bool:
        """Whether a message may change what becomes of the next one, or is held."""
        return (
            not self._numbered
            or self._subscriptions.waiting
            or self._noted is not None
            or self._compared is not None
        )

    def _hear(self, kind: Kind, payloads: Sequence[bytes]) -> None:
        """Messages for the topic are signs of life, and of data if one of them is."""
        data = self.plan.data
        # Of a session that has its number, silence alone is what data is looked for.
        if (
            data is None
            or not self.plan.silence.wanted
            or any(data.matches(Message(kind, one)) for one in payloads)
        ):
            self._vigil.hear_many()
        else:
            self._vigil.hear()

    def _sift(self, kind: Kind, payloads: Sequence[bytes]) -> None:
        """Gives messages to whoever they are for, those for the topic together."""
        plan, speaker, vigil, replies = self.plan, self._speaker, self._vigil, self._ears.replies
        wanted: list[bytes] = []
        others: list[bytes] = []
        try:
            for data in payloads:
                message = Message(kind, data)
                if plan.refusals:
                    refuse_refusal(plan, speaker, message)
                if plan.answers_heartbeat and vigil.take(message):
                    continue
                (others if replies.take(data) else wanted).append(data)
                if plan.notices and any(one.matches(message) for one in plan.notices):
                    self._ask_rotation("the server gave notice")
        finally:
            vigil.hear()
            if wanted or others:
                self._hear(kind, wanted + others)
            # There is room for them all, but for a few bytes that a format adds.
            pump, now = self._ears.pump, self._tools.clock.now()
            while wanted:
                wanted = wanted[pump.accept_run(kind, wanted, now) :]

    def _take(self, message: Message) -> None:
        """Gives one message to whoever it is for."""
        self._vigil.hear()
        refuse_refusal(self.plan, self._speaker, message)
        if self._vigil.take(message):
            return
        if self._subscriptions.take(message):
            self._look_settled()
            return
        if self.plan.data is None or self.plan.data.matches(message):
            self._vigil.hear_data()
            # What came before the last subscription was written proves nothing of that one.
            self._data_seen = self._data_seen or self._subscriptions.written
            self._look_ready()
        if not self._ears.replies.take(message.data):
            self._hold(message)
        if any(notice.matches(message) for notice in self.plan.notices):
            self._ask_rotation("the server gave notice")

    def _hold(self, message: Message) -> None:
        """Delivers a message, or keeps it until it can be."""
        if self._numbered:
            at = self._tools.clock.monotonic() if self._noted or self._compared else 0.0
            self._accept(message, at)
            return
        now = self._tools.clock.monotonic()
        if self._compared is not None:
            self._compared.begin(now)
        if self._held is None:
            # A successor has to read until it is ready; any other can wait, as when the buffer
            # is full.
            bounds = () if self._successor else self._ears.pump.bounds
            self._held = _Held(Early(*bounds))
        self._held.early.add(message)
        self._held.since.append(now)

    def _accept(self, message: Message, at: float) -> None:
        if self._compared is not None:
            if self._compared.repeats(message, at):
                return
            if self._numbered and self._compared.over(at):
                self._compared = None
        if self._noted is not None:
            self._noted.note(message, at)
        self._ears.pump.accept(message, self._tools.clock.now())

    # --- what it tells ------------------------------------------------------------------------

    def _tell_owed(self, words: str | None) -> None:
        """Acknowledgements are overdue, or no longer owed, also those of an earlier session."""
        self._look_settled()
        if not self._numbered:
            self._owed_words = (*self._owed_words, words)
            return
        pump = self._ears.pump
        if words is not None:
            pump.degraded |= {UNACKNOWLEDGED}
            self._ears.tell_degraded(UNACKNOWLEDGED, words, 0)
        elif UNACKNOWLEDGED in pump.degraded:
            pump.degraded -= {UNACKNOWLEDGED}
            self._ears.tell_restored(UNACKNOWLEDGED, 0)

    def _secret_names(self) -> frozenset[str]:
        return self.plan.secrets

    def _tell_dial_failed(self, failure: Failure) -> None:
        kind = life.SuccessorFailed if self._successor else life.DialFailed
        self._ears.post(kind(self.generation, failure))

    def _fail(self, failure: Failure) -> None:
        """Says what ended it. A second word is stale by then, and the machine ignores it."""
        if self._successor and self._ready:
            # The other one is closing already: what this one holds is delivered before its end.
            self._doomed = self._doomed or failure
        elif self._successor:
            self._ears.post(life.SuccessorFailed(self.generation, failure))
        elif failure.kind is FailureKind.PEER_CLOSED:
            self._ears.post(life.PeerClosed(self.generation, failure))
        else:
            self._ears.post(life.Lost(self.generation, failure))

    def _fault(self, error: Exception) -> Failure:
        trace = "".join(traceback.format_exception(error))
        self._tools.journal.emit(
            RunnerCrashed(
                self._ears.connection_id,
                self._speaker.scrub(repr(error)),
                self._speaker.scrub(trace),
            )
        )
        return Failure(FailureKind.INTERNAL, f"internal fault: {type(error).__name__}")
