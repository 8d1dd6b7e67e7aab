"""Watches over one open session: pings, silence, application heartbeat; each ends it alone."""

from __future__ import annotations

from collections.abc import Callable

from websocketmanager.domain.detectors import Signs, end_of_quiet, judge_silence
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.model import Message
from websocketmanager.domain.plan import Plan, PlannedHeartbeat
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.ports import Clock, Receiver
from websocketmanager.service.session.chores import Chores
from websocketmanager.service.session.speaker import Speaker

#: What is due within so many seconds comes punctually; what is due later, about then. Were all
#: punctual, each of ten thousand idle connections would wake the process for itself.
_PUNCTUAL_WITHIN_SECONDS = 1.0


class Vigil:
    """The detectors of one session.

    Args:
        plan: their limits; they do not change during a session.
        policy: limits where the plan has none.
        clock: monotonic for limits, wall clock for quiet windows.
        speaker: says pings and heartbeats in turn.
        chores: of the session.
        failed: told what ends the session.
    """

    __slots__ = (
        "_beat_sent_at",
        "_chores",
        "_clock",
        "_failed",
        "_full_before",
        "_judges_silence",
        "_ping_interval",
        "_ping_timeout",
        "_pinged_at",
        "_plan",
        "_reader",
        "_room_at",
        "_signs",
        "_speaker",
    )

    _reader: Receiver

    def __init__(
        self,
        plan: Plan,
        policy: ServicePolicy,
        clock: Clock,
        speaker: Speaker,
        chores: Chores,
        *,
        failed: Callable[[Failure], None],
    ) -> None:
        liveness = plan.spec.options.liveness
        self._plan = plan
        self._clock = clock
        self._speaker = speaker
        self._chores = chores
        self._failed = failed
        self._ping_interval = liveness.ping_interval_ms / 1000 or policy.ping_interval_seconds
        self._ping_timeout = liveness.ping_timeout_ms / 1000 or policy.ping_timeout_seconds
        now = clock.monotonic()
        self._signs = Signs(opened_at=now, read_at=now)
        self._judges_silence = plan.silence.wanted
        #: When the last ping was written, and whether the reader waited for room then.
        self._pinged_at = 0.0
        self._full_before = False
        self._beat_sent_at: float | None = None
        self._room_at = 0.0

    def begin(self, reader: Receiver) -> None:
        """Starts watching.

        Args:
            reader: while it is full nothing is read: then silence is our own.
        """
        self._reader = reader
        now = self._clock.monotonic()
        self._signs = Signs(opened_at=now, read_at=now)
        if self._ping_interval > 0:
            self._look_later("ping", now + self._ping_interval, self._ping_due, now)
        if self._judges_silence:
            self._look_at_silence()
        if self._plan.heartbeat is not None:
            self._beat_later(self._plan.heartbeat, now)

    def _look_later(self, name: str, at: float, look: Callable[[], None], now: float) -> None:
        if at - now < _PUNCTUAL_WITHIN_SECONDS:
            self._chores.at(name, at, look)
        else:
            self._chores.about(name, at, look)

    # --- what is heard ------------------------------------------------------------------------

    def hear(self) -> None:
        """Messages were read: a sign of life."""
        if self._judges_silence:
            self._signs.read_at = self._clock.monotonic()

    def hear_data(self) -> None:
        """What was read was data."""
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

    def _ping_due(self) -> None:
        if self._speaker.is_spaced:
            self._chores.begin(self._ping_in_turn)
        else:
            self._ping()

    async def _ping_in_turn(self) -> None:
        await self._speaker.wait_turn()
        self._ping()

    def _ping(self) -> None:
        socket = self._speaker.socket
        assert socket is not None  # noqa: S101 - only an open session pings
        now = self._pinged_at = self._clock.monotonic()
        self._full_before = self._reader.full
        socket.send_ping()
        # With the interval the next ping is due, if something was heard: no need to look before.
        wait = min(self._ping_interval, self._ping_timeout)
        self._look_later("ping", now + wait, self._look_at_ping, now)

    def _look_at_ping(self) -> None:
        """Judges the last ping: no sign of life within the timeout means that the session is lost.

        Anything that arrives is a sign of life. While the reader waits for room nothing can be
        read, so silence proves nothing then.
        """
        now, pinged_at, timeout = self._clock.monotonic(), self._pinged_at, self._ping_timeout
        socket = self._speaker.socket
        assert socket is not None  # noqa: S101 - as above
        if socket.last_heard >= pinged_at:
            # From ping to ping, whatever the timeout is.
            next_at = pinged_at + self._ping_interval
        elif now < pinged_at + timeout:
            look_at = min(now + self._ping_interval, pinged_at + timeout)
            self._look_later("ping", look_at, self._look_at_ping, now)
            return
        elif self._full_before or self._reader.full or self._room_at >= pinged_at:
            next_at = now + self._ping_interval
        else:
            message = f"no sign of life within {timeout:g} s of a ping"
            self._failed(Failure(FailureKind.PING_TIMEOUT, message))
            return
        if next_at <= now:
            self._ping_due()
        else:
            self._look_later("ping", next_at, self._ping_due, now)

    # --- silence ------------------------------------------------------------------------------

    def _look_at_silence(self) -> None:
        """Judges the silence now, and looks again when it could have become too long."""
        now = self._clock.monotonic()
        quiet = self._look_for_quiet(now)
        if self._reader.full:
            # Nothing is read while the buffer is full: silence is our own.
            self._signs.read_at = self._signs.quiet_at = now
        if (socket := self._speaker.socket) is not None:
            # Any frame is a sign of life, a ping of the server as well; of data it is none.
            self._signs.read_at = max(self._signs.read_at, socket.last_heard)
        judgement = judge_silence(self._plan.silence, self._signs, now=now, quiet=quiet)
        if judgement.failure is not None:
            self._failed(judgement.failure)
        elif judgement.look_again_at is not None:
            self._look_later("silence", judgement.look_again_at, self._look_at_silence, now)

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
        room_at = now if self._reader.full else self._room_at
        if max(self._beat_sent_at, room_at) + heartbeat.timeout_seconds > now:
            self._watch_beat(heartbeat, max(self._beat_sent_at, room_at))
            return
        message = f"no reply to the heartbeat within {heartbeat.timeout_seconds:g} s"
        self._failed(Failure(FailureKind.HEARTBEAT_TIMEOUT, message))
