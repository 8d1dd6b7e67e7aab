"""Watches over one open session: pings, silence, application heartbeat; each ends it alone."""

from __future__ import annotations

from collections.abc import Callable

from websocketmanager.domain.detectors import Signs, end_of_quiet, judge_silence
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.model import Message
from websocketmanager.domain.plan import Plan, PlannedHeartbeat
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.ports import Clock
from websocketmanager.service.session.chores import Chores
from websocketmanager.service.session.speaker import Speaker


class Vigil:
    """The detectors of one session.

    Args:
        plan: their limits; they do not change during a session.
        policy: limits where the plan has none.
        clock: monotonic for limits, wall clock for quiet windows.
        speaker: says pings and heartbeats in turn.
        chores: of the session.
        full: whether the reader must wait: then silence is our own.
        failed: told what ends the session.
    """

    __slots__ = (
        "_beat_sent_at",
        "_chores",
        "_clock",
        "_failed",
        "_full",
        "_heard",
        "_judges_silence",
        "_ping_interval",
        "_ping_timeout",
        "_plan",
        "_room_at",
        "_signs",
        "_speaker",
    )

    def __init__(
        self,
        plan: Plan,
        policy: ServicePolicy,
        clock: Clock,
        speaker: Speaker,
        chores: Chores,
        *,
        full: Callable[[], bool],
        failed: Callable[[Failure], None],
    ) -> None:
        liveness = plan.spec.options.liveness
        self._plan = plan
        self._clock = clock
        self._speaker = speaker
        self._chores = chores
        self._full = full
        self._failed = failed
        self._ping_interval = liveness.ping_interval_ms / 1000 or policy.ping_interval_seconds
        self._ping_timeout = liveness.ping_timeout_ms / 1000 or policy.ping_timeout_seconds
        now = clock.monotonic()
        self._signs = Signs(opened_at=now, read_at=now)
        self._judges_silence = plan.silence.wanted
        self._heard = 0
        self._beat_sent_at: float | None = None
        self._room_at = 0.0

    def begin(self) -> None:
        """Starts watching."""
        now = self._clock.monotonic()
        self._signs = Signs(opened_at=now, read_at=now)
        if self._ping_interval > 0:
            self._ping_later(now + self._ping_interval)
        if self._judges_silence:
            self._look_at_silence()
        if self._plan.heartbeat is not None:
            self._beat_later(self._plan.heartbeat, now)

    # --- what is heard ------------------------------------------------------------------------

    def hear(self) -> None:
        """Any message was read: a sign of life."""
        self._heard += 1
        if self._judges_silence:
            self._signs.read_at = self._clock.monotonic()

    def hear_many(self, count: int) -> None:
        """So many messages of data were read."""
        self._heard += count
        if self._judges_silence:
            now = self._clock.monotonic()
            self._signs.read_at = self._signs.data_at = now

    def hear_data(self) -> None:
        """It was data."""
        if self._judges_silence:
            self._signs.data_at = self._clock.monotonic()

    def note_room(self) -> None:
        """The reader goes on: until now the silence was our own, and all limits count anew."""
        now = self._room_at = self._clock.monotonic()
        self._signs.read_at = self._signs.quiet_at = now

    def take(self, message: Message) -> bool:
        """Returns whether the message answers our heartbeat: then it is not forwarded."""
        if not self._plan.is_heartbeat_reply(message):
            return False
        self._beat_sent_at = None
        self._chores.cancel("heartbeat reply")
        return True

    @property
    def quiet(self) -> bool:
        """Whether no data is expected now."""
        return self._look_for_quiet(self._clock.monotonic())

    # --- pings --------------------------------------------------------------------------------

    def _ping_later(self, at: float) -> None:
        self._chores.at("ping", at, lambda: self._chores.begin(self._ping))

    async def _ping(self) -> None:
        """Pings; no sign of life within the timeout means that the session is lost.

        Anything that arrives is a sign of life. While the reader waits for room nothing can be
        read, so silence proves nothing then.
        """
        clock, speaker, timeout = self._clock, self._speaker, self._ping_timeout
        assert speaker.socket is not None  # noqa: S101 - only an open session pings
        await speaker.wait_turn()
        pinged_at, heard, blocked = clock.monotonic(), self._heard, self._full()
        next_at = pinged_at + self._ping_interval
        try:
            async with clock.timeout(timeout):
                await speaker.socket.ping()
            self._signs.read_at = clock.monotonic()
        except TimeoutError:
            if blocked or self._full() or self._room_at >= pinged_at:
                next_at = clock.monotonic() + self._ping_interval
            elif self._heard == heard and speaker.socket.last_heard < pinged_at:
                message = f"no sign of life within {timeout:g} s of a ping"
                self._failed(Failure(FailureKind.PING_TIMEOUT, message))
                return
        # From ping to ping: a wait for a pong must not put off the next question.
        self._ping_later(next_at)

    # --- silence ------------------------------------------------------------------------------

    def _look_at_silence(self) -> None:
        """Judges the silence now, and looks again when it could have become too long."""
        now = self._clock.monotonic()
        quiet = self._look_for_quiet(now)
        if self._full():
            # Nothing is read while the buffer is full: silence is our own.
            self._signs.read_at = self._signs.quiet_at = now
        if (socket := self._speaker.socket) is not None:
            # Any frame is a sign of life, a ping of the server as well; of data it is none.
            self._signs.read_at = max(self._signs.read_at, socket.last_heard)
        judgement = judge_silence(self._plan.silence, self._signs, now=now, quiet=quiet)
        if judgement.failure is not None:
            self._failed(judgement.failure)
        elif judgement.look_again_at is not None:
            self._chores.at("silence", judgement.look_again_at, self._look_at_silence)

    def _look_for_quiet(self, now: float) -> bool:
        """Notes when silence was last normal; returns whether it is now."""
        if not self._plan.spec.options.liveness.quiet:
            return False
        signs, wall = self._signs, self._clock.now()
        since = max(signs.opened_at, signs.data_at or 0.0, signs.quiet_at or 0.0)
        end = end_of_quiet(self._plan.quiet.covers, since=wall - (now - since), now=wall)
        if end is None:
            return False
        signs.quiet_at = now - (wall - end)
        return end == wall

    # --- application heartbeat ----------------------------------------------------------------

    def _beat_later(self, heartbeat: PlannedHeartbeat, since: float) -> None:
        at = since + heartbeat.interval_seconds
        self._chores.at("heartbeat", at, lambda: self._chores.begin(lambda: self._beat(heartbeat)))

    async def _beat(self, heartbeat: PlannedHeartbeat) -> None:
        begun_at = self._clock.monotonic()
        await self._speaker.wait_turn()
        data = self._speaker.said(heartbeat.send)
        if heartbeat.expect is not None and self._beat_sent_at is None:
            # Before it is written: the reply may be read before the write returns.
            self._beat_sent_at = self._clock.monotonic()
            self._watch_beat(heartbeat, self._beat_sent_at)
        await self._speaker.write(data, heartbeat.send.kind)
        # Only now: beats must not pile up before a server that does not read.
        self._beat_later(heartbeat, begun_at)

    def _watch_beat(self, heartbeat: PlannedHeartbeat, since: float) -> None:
        at = since + heartbeat.timeout_seconds
        self._chores.at("heartbeat reply", at, lambda: self._beat_overdue(heartbeat))

    def _beat_overdue(self, heartbeat: PlannedHeartbeat) -> None:
        if self._beat_sent_at is None:
            return
        # While the buffer was full the reply could not be read.
        now = self._clock.monotonic()
        room_at = now if self._full() else self._room_at
        if max(self._beat_sent_at, room_at) + heartbeat.timeout_seconds > now:
            self._watch_beat(heartbeat, max(self._beat_sent_at, room_at))
            return
        message = f"no reply to the heartbeat within {heartbeat.timeout_seconds:g} s"
        self._failed(Failure(FailureKind.HEARTBEAT_TIMEOUT, message))
