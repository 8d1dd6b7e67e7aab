"""Where a session's messages go: to whoever each is for, held until the session has its number.

Called by the reader in the turn that brings them (`ports.Receiver`); it never ends the session
itself. What a message means for the session's life it tells its owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import Message
from websocketmanager.domain.overlap import OverlapFilter
from websocketmanager.domain.plan import Plan
from websocketmanager.ports import Clock
from websocketmanager.service.flag import Flag
from websocketmanager.service.pump import Pump
from websocketmanager.service.replies import Replies
from websocketmanager.service.session.opening import Early, refuse_refusal
from websocketmanager.service.session.speaker import Speaker
from websocketmanager.service.session.subscriptions import Subscriptions
from websocketmanager.service.session.vigil import Vigil


class Owner(Protocol):
    """The session, as its intake knows it."""

    @property
    def successor(self) -> bool:
        """Whether another session of the connection delivers meanwhile."""

    @property
    def ready(self) -> bool:
        """Whether it told that it may take over from that one."""

    def note_acknowledged(self) -> None:
        """A message acknowledged a subscription."""

    def note_data(self) -> None:
        """A message was data."""

    def ask_rotation(self, why: str) -> None:
        """A message gave notice that the session will end."""


@dataclass(slots=True)
class _Held:
    """What is kept until it has a number, and when each message came."""

    early: Early
    since: list[float] = field(default_factory=list)


class Intake:
    """Takes what one session reads.

    Args:
        owner: the session.
        plan: what is looked for in messages; but for subscriptions it does not change.
        clock: of the process.
        speaker: keeps secrets out of what is told.
        subscriptions, vigil: of the session; some messages are theirs.
        pump, replies: of the connection.
        overlap: compares what comes with what the predecessor delivered.

    Attributes:
        numbered: whether the session has its number, and so delivers.
    """

    __slots__ = (
        "_clock",
        "_compared",
        "_held",
        "_noted",
        "_owner",
        "_plain",
        "_plan",
        "_pump",
        "_released",
        "_replies",
        "_speaker",
        "_subscriptions",
        "_vigil",
        "numbered",
    )

    def __init__(
        self,
        owner: Owner,
        plan: Plan,
        clock: Clock,
        *,
        speaker: Speaker,
        subscriptions: Subscriptions,
        vigil: Vigil,
        pump: Pump,
        replies: Replies,
        overlap: OverlapFilter | None,
    ) -> None:
        self._owner = owner
        self._plan = plan
        self._clock = clock
        self._speaker = speaker
        self._subscriptions = subscriptions
        self._vigil = vigil
        self._pump = pump
        self._replies = replies
        # All messages are for the topic: what changes of the plan, the subscriptions, says so.
        self._plain = not (plan.refusals or plan.notices or plan.answers_heartbeat)
        self._held: _Held | None = None
        # Made when the reader waits for it: nearly none does.
        self._released: Flag | None = None
        self._noted: OverlapFilter | None = None
        self._compared = overlap
        self.numbered = False

    # --- before the number, and with it -------------------------------------------------------

    def take_early(self, early: Early) -> None:
        """Takes what came during the dialogue.

        Raises:
            SocketFailed: the server refuses.
        """
        for message, belongs_to_dialogue in early.messages:
            if belongs_to_dialogue:
                self._hold(message)  # and it is no data
            else:
                self._take(message)

    def deliver(self) -> None:
        """The session has its number: what is held is delivered now, and what comes from now on."""
        self.numbered = True
        held, self._held = self._held, None
        if held is not None:
            for (message, _), at in zip(held.early.messages, held.since, strict=True):
                self._accept(message, at)
        if self._released is not None:
            self._released.set()

    def note_overlap(self, overlap: OverlapFilter | None) -> None:
        """Has what is delivered noted from now on, for the comparison with the successor's."""
        self._noted = overlap

    # --- room ---------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether nothing is read because nothing more can be taken (`ports.Receiver`)."""
        if self.numbered:
            return self._pump.full
        return self._held is not None and self._held.early.full

    async def wait_room(self) -> None:
        """Waits until more can be taken.

        Raises:
            SocketFailed: the session shall end instead.
        """
        if self._held is not None and self._held.early.full:
            await self._wait_release(self._held.early)
        if self.numbered:
            await self._pump.wait_room()
            self._vigil.note_room()

    async def _wait_release(self, held: Early) -> None:
        """Waits until what is held can be delivered.

        Raises:
            SocketFailed: it holds too much before it is ready to take over.
        """
        if self._owner.successor and not self._owner.ready:
            text = f"{len(held.messages)} messages came before the new session was ready"
            raise SocketFailed(Failure(FailureKind.DIALOGUE_TIMEOUT, text))
        self._released = Flag()
        await self._released.wait()
        self._vigil.note_room()

    # --- what comes ---------------------------------------------------------------------------

    def take(self, kind: Kind, payloads: list[bytes]) -> int:
        """Takes messages; returns how many (`ports.Receiver`)."""
        if self._must_take_each:
            for count, data in enumerate(payloads, 1):
                self._take(Message(kind, data))
                if self.full:
                    return count
            return len(payloads)
        pump = self._pump
        if self._plain and not self._replies.waiting:
            count = pump.accept_run(kind, payloads, self._clock.now())
            self._vigil.hear()
            self._look_for_data(kind, payloads[:count] if count < len(payloads) else payloads)
            return count
        payloads = payloads[: pump.fitting(payloads)]
        self._sift(kind, payloads)
        return len(payloads)

    @property
    def _must_take_each(self) -> bool:
        """Whether a message may change what becomes of the next one, or is held."""
        return (
            not self.numbered
            or self._subscriptions.waiting
            or self._noted is not None
            or self._compared is not None
        )

    def _look_for_data(self, kind: Kind, payloads: Sequence[bytes]) -> None:
        """Tells the vigil if one of the messages for the topic is data."""
        data = self._plan.data
        # Of a session that has its number, silence alone is what data is looked for.
        if (
            data is None
            or not self._plan.silence.wanted
            or any(data.matches(Message(kind, one)) for one in payloads)
        ):
            self._vigil.hear_data()

    def _sift(self, kind: Kind, payloads: Sequence[bytes]) -> None:
        """Gives messages to whoever they are for, those for the topic together."""
        plan, speaker, vigil, replies = self._plan, self._speaker, self._vigil, self._replies
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
                    self._owner.ask_rotation("the server gave notice")
        finally:
            vigil.hear()
            if wanted or others:
                self._look_for_data(kind, wanted + others)
            # There is room for them all, but for a few bytes that a format adds.
            pump, now = self._pump, self._clock.now()
            while wanted:
                wanted = wanted[pump.accept_run(kind, wanted, now) :]

    def _take(self, message: Message) -> None:
        """Gives one message to whoever it is for."""
        plan = self._plan
        self._vigil.hear()
        refuse_refusal(plan, self._speaker, message)
        if self._vigil.take(message):
            return
        if self._subscriptions.take(message):
            self._owner.note_acknowledged()
            return
        if plan.data is None or plan.data.matches(message):
            self._vigil.hear_data()
            self._owner.note_data()
        if not self._replies.take(message.data):
            self._hold(message)
        if any(notice.matches(message) for notice in plan.notices):
            self._owner.ask_rotation("the server gave notice")

    def _hold(self, message: Message) -> None:
        """Delivers a message, or keeps it until it can be."""
        if self.numbered:
            at = self._clock.monotonic() if self._noted or self._compared else 0.0
            self._accept(message, at)
            return
        now = self._clock.monotonic()
        if self._compared is not None:
            self._compared.begin(now)
        if self._held is None:
            # A successor has to read until it is ready; any other can wait, as when the buffer
            # is full.
            bounds = () if self._owner.successor else self._pump.bounds
            self._held = _Held(Early(*bounds))
        self._held.early.add(message)
        self._held.since.append(now)

    def _accept(self, message: Message, at: float) -> None:
        if self._compared is not None:
            if self._compared.repeats(message, at):
                return
            if self.numbered and self._compared.over(at):
                self._compared = None
        if self._noted is not None:
            self._noted.note(message, at)
        self._pump.accept(message, self._clock.now())
