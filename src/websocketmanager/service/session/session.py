"""One socket's life: opened, watched, subscribed, read to its end.

Made for one attempt and never used for another. It tells its runner how it ends by exactly one
event. What it reads goes through its intake, which delivers from when the runner has numbered it; a
successor, made while another session still delivers, is numbered only when that one has ended.
"""

from __future__ import annotations

import traceback
from dataclasses import replace

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.facts import RunnerCrashed
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.host_rules import host_of
from websocketmanager.domain.overlap import OverlapFilter
from websocketmanager.domain.plan import Plan, PlannedSubscription
from websocketmanager.ports import Socket
from websocketmanager.service.session.chores import Chores
from websocketmanager.service.session.intake import Intake
from websocketmanager.service.session.opening import Early, Opening
from websocketmanager.service.session.speaker import Speaker
from websocketmanager.service.session.subscriptions import UNACKNOWLEDGED, Subscriptions
from websocketmanager.service.session.surroundings import Ears, SessionTools
from websocketmanager.service.session.vigil import Vigil

#: How long a successor may take to its first data, unless chosen.
_FIRST_DATA_SECONDS = 30.0


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
        intake: takes what its socket brings.
        ready: whether it told that it may take over.
        socket: once it is open.
    """

    __slots__ = (
        "_chores",
        "_data_seen",
        "_doomed",
        "_early",
        "_ears",
        "_incomplete",
        "_opened",
        "_owed_words",
        "_retired",
        "_rotation_wanted",
        "_speaker",
        "_subscriptions",
        "_tools",
        "_vigil",
        "generation",
        "intake",
        "plan",
        "ready",
        "socket",
        "successor",
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
        self.successor = successor
        self._speaker = Speaker(
            tools.clock, tools.dice, tools.secrets, spacing_seconds=plan.send_spacing_seconds
        )
        failed = self._fail
        self._chores = Chores(tools.timers, ears.spawn, failed, self._fault)
        self._subscriptions = Subscriptions(
            tools.clock,
            self._speaker,
            self._chores,
            secrets=self._secret_names,
            told=self._tell_owed,
            all_written=self.note_acknowledged,
        )
        self._vigil = Vigil(
            plan,
            tools.policy,
            tools.clock,
            self._speaker,
            self._chores,
            failed=failed,
        )
        self.intake = Intake(
            self,
            plan,
            tools.clock,
            speaker=self._speaker,
            subscriptions=self._subscriptions,
            vigil=self._vigil,
            pump=ears.pump,
            replies=ears.replies,
            overlap=overlap,
        )
        self._opened = False
        # What came during the dialogue, until it is taken.
        self._early: Early | None = None
        self._owed_words: tuple[str | None, ...] = ()
        self._incomplete = bool(plan.subscriptions)
        self._data_seen = False
        self.ready = False
        self._rotation_wanted = ""
        self._retired: Failure | None = None
        self._doomed: Failure | None = None

    # --- its life -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Lives from the dial to the end of the socket. Cancelling drops the socket."""
        place = self._tools.places.hold(
            host=host_of(self.plan.spec.url),
            exclusive=self.plan.exclusive,
            succeeds=self.successor,
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
        if not self.successor:
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
        # A proven successor has all its feeds, and its predecessor had them until now.
        self._incomplete = self._incomplete and not self.ready
        self.successor = False
        self.intake.deliver()
        if self._ears.pump.full:
            # The reader sees that only with the next message.
            self._chores.begin(self._make_room)
        owed_words, self._owed_words = self._owed_words, ()
        for words in owed_words:
            self._tell_owed(words)
        self.note_acknowledged()
        if self._rotation_wanted:
            self._ears.post(life.RotationAsked(self.generation, self._rotation_wanted))
        if self._doomed is not None:
            self._fail(self._doomed)

    def promote(self) -> None:
        """The session that it should replace is gone: its dialogue is enough."""
        self.successor = False
        self._chores.cancel("successor data")
        if self._opened and not self.ready:
            self._ears.post(life.Dialled(self.generation))

    def note_overlap(self, overlap: OverlapFilter | None) -> None:
        """Has what it delivers noted from now on, for the comparison with its successor."""
        self.intake.note_overlap(overlap)

    def retire(self, why: str) -> None:
        """Closes the socket with 1000 and delivers what still comes; safe to repeat."""
        if self._retired is None:
            self._retired = Failure(FailureKind.ROTATED, f"replaced: {why}")
            self._chores.begin(self._leave)

    async def _leave(self) -> None:
        assert self.socket is not None  # noqa: S101 - only an open session is replaced
        await self.socket.close(1000, "")

    def ask_rotation(self, why: str) -> None:
        """It should be replaced: told at once, or when it has its number."""
        self._rotation_wanted = why
        if self.intake.numbered:
            self._ears.post(life.RotationAsked(self.generation, why))

    def note_acknowledged(self) -> None:
        """Looks what it means that a subscription was written or acknowledged."""
        self._look_ready()
        if self.intake.numbered and self._incomplete and self._subscriptions.settled:
            # Until now a feed could be missing, behind the session's beginning.
            self._incomplete = False
            self._ears.pump.extend_gap(self._tools.clock.now())

    def note_data(self) -> None:
        """Looks what it means that data came."""
        # What came before the last subscription was written proves nothing of that one.
        self._data_seen = self._data_seen or self._subscriptions.written
        self._look_ready()

    def _look_ready(self) -> None:
        """Tells, once, that a successor may take over."""
        if not self.successor or self.ready or not self._subscriptions.settled:
            return
        if self._data_seen or self._vigil.quiet:
            self.ready = True
            self._chores.cancel("successor data")
            self._ears.post(life.SuccessorReady(self.generation))

    def _data_overdue(self) -> None:
        self._look_ready()
        if not self.ready:
            text = "the new session delivered no data in time"
            self._fail(Failure(FailureKind.FIRST_DATA_MISSING, text))

    # --- reading ------------------------------------------------------------------------------

    def _begin(self) -> None:
        """The dialogue is done: everything begins, and what came early is taken."""
        clock, plan = self._tools.clock, self.plan
        now = clock.monotonic()
        self._vigil.begin(self.intake)
        early, self._early = self._early, None
        if early is not None:
            self.intake.take_early(early)
        self._subscriptions.begin(plan.subscriptions)
        if self.successor:
            limit = plan.spec.options.rotation.data_timeout_ms / 1000 or _FIRST_DATA_SECONDS
            self._chores.at("successor data", now + limit, self._data_overdue)
            self._look_ready()
        if plan.max_age_seconds:
            early_by = plan.age_jitter_seconds * self._tools.dice.uniform()
            at = now + plan.max_age_seconds - early_by
            self._chores.at("age", at, lambda: self.ask_rotation("it has reached its age"))

    async def _read(self) -> Failure:
        """Reads until the socket ends; returns why."""
        socket = self.socket
        assert socket is not None  # noqa: S101 - it is open
        try:
            self._begin()
            while True:
                await socket.recv_into(self.intake)
                await self.intake.wait_room()
        except SocketFailed as error:
            return self._ending(error.failure)
        except Exception as error:  # noqa: BLE001 - as in run
            return self._fault(error)

    def _ending(self, failure: Failure) -> Failure:
        if self._retired is None:
            return self._speaker.scrubbed(failure)
        # The peer's answer to our close is the proof that it had nothing more to say.
        code = failure.close_code if failure.kind is FailureKind.PEER_CLOSED else 0
        return replace(self._retired, close_code=code)

    async def _make_room(self) -> None:
        try:
            await self.intake.wait_room()
        except SocketFailed as error:
            self._fail(error.failure)

    # --- what it tells ------------------------------------------------------------------------

    def _tell_owed(self, words: str | None) -> None:
        """Acknowledgements are overdue, or no longer owed, also those of an earlier session."""
        self.note_acknowledged()
        if not self.intake.numbered:
            self._owed_words = (*self._owed_words, words)
            return
        pump = self._ears.pump
        if words is not None:
            pump.degraded |= {UNACKNOWLEDGED}
            self._ears.tell_degraded(UNACKNOWLEDGED, words, 0)
        else:
            pump.restore(UNACKNOWLEDGED)

    def _secret_names(self) -> frozenset[str]:
        return self.plan.secrets

    def _tell_dial_failed(self, failure: Failure) -> None:
        kind = life.SuccessorFailed if self.successor else life.DialFailed
        self._ears.post(kind(self.generation, failure))

    def _fail(self, failure: Failure) -> None:
        """Says what ended it. A second word is stale by then, and the machine ignores it."""
        if self.successor and self.ready:
            # The other one is closing already: what this one holds is delivered before its end.
            self._doomed = self._doomed or failure
        elif self.successor:
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
