"""What simulated venues share: links instead of connections, virtual time, dials and production."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from random import Random
from typing import cast

from tests.kit.simulation.agenda import Agenda, SteppedClock
from tests.kit.simulation.link import Link, LinkSocket
from tests.kit.simulation.log import DialLog, Produced, Said, SessionLog, VenueLog
from tests.kit.sockets import ScriptedDialer
from tests.kit.venues.base import Venue, VenueConnection, VenueSession
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.ports import DialObserver, DialTarget

#: Dials within five minutes from one address (Binance; nobody else tells a figure).
_MAX_DIALS = 300
_DIAL_WINDOW_SECONDS = 300.0
#: A venue thinks about a request for so long at most.
REPLY_SECONDS = 0.5


@dataclass(frozen=True)
class Setting:
    """Where a simulated venue stands, and how much it says.

    Attributes:
        clock, agenda, dice: of the simulation.
        streams: that exist.
        every_seconds: mean time between two productions of one stream.
        burst: messages of a burst at most; every twentieth production is one.
    """

    clock: SteppedClock
    agenda: Agenda
    dice: Random
    streams: Sequence[str]
    every_seconds: float = 8.0
    burst: int = 12


class SimulatedVenue(Venue):
    """Mixed into a venue of `tests/kit/venues`, whose words and rules it leaves as they are.

    Attributes:
        log: what happened.
        dial_fate: a failure that dials get instead of a socket, while it is set.
        deaf: whether a new link is silent from its first moment.
        alive: sessions that are open for the venue.
    """

    def __init__(self, setting: Setting, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # the mixed-in venue's own
        self.clock, self.agenda, self.dice = setting.clock, setting.agenda, setting.dice
        self.setting = setting
        self.log = VenueLog()
        self.dial_fate: Failure | None = None
        self.deaf = False
        self.alive: list[VenueSession] = []
        self._dials: deque[float] = deque()
        self._producing = False
        self._subscribing = False
        self._number = 0

    # --- the words of a simulated venue -----------------------------------------------------------

    def classify(self, text: str) -> Said:
        """Returns what a text of this venue is: no data, and a reply of whatever kind."""
        raise NotImplementedError

    # --- its time ---------------------------------------------------------------------------------

    def now(self) -> float:
        return self.clock.monotonic()

    async def pause(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def patience(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return self.clock.timeout(seconds)

    # --- dials ------------------------------------------------------------------------------------

    async def dial(self, target: DialTarget) -> LinkSocket:
        """Opens a link, or fails as the present trouble wants.

        Raises:
            SocketFailed: it does.
        """
        begun = self.clock.now()
        self._count_dial()
        fate, delay = self.dial_fate, self.dice.uniform(0.005, 0.08)
        timed_out = fate is not None and fate.kind is FailureKind.OPEN_TIMEOUT
        await self.clock.sleep(target.open_timeout_seconds if timed_out else 2 * delay)
        outcome, wait = ("open", 0.0)
        if fate is not None:
            outcome, wait = fate.kind.value, fate.retry_after_seconds or 0.0
        ended = self.clock.now()
        self.log.dials.append(DialLog(begun, ended, target.url, outcome, wait))
        if fate is not None:
            raise SocketFailed(fate)
        number = len(self.log.sessions) + 1
        log = SessionLog(number, f"127.0.0.1:{10_000 + number}", target.url, begun, ended, delay)
        self.log.sessions.append(log)
        return self._open(log, target.close_timeout_seconds)

    def _open(self, log: SessionLog, close_timeout_seconds: float) -> LinkSocket:
        link = Link(
            self.clock,
            self.agenda,
            log,
            classify=self._classified,
            gone=self._gone,
            close_timeout_seconds=close_timeout_seconds,
        )
        # A link has what a venue uses of a connection.
        session = VenueSession(cast("VenueConnection", link), heard_at=self.now())
        link.heard = lambda opcode: self.count(session, opcode)
        self.alive.append(session)
        if self.deaf:
            link.silence()
            self._notice_later(link)
        self._later(self.attend(session))
        return link.socket

    def _classified(self, text: str) -> Said:
        said = self.classify(text)
        return Said.ACKNOWLEDGEMENT if said is Said.REPLY and self._subscribing else said

    def _gone(self, link: Link) -> None:
        self.alive = [one for one in self.alive if link_of(one) is not link]

    def _count_dial(self) -> None:
        now = self.now()
        self._dials.append(now)
        while self._dials[0] <= now - _DIAL_WINDOW_SECONDS:
            self._dials.popleft()
        if len(self._dials) > _MAX_DIALS:
            self.violation(f"{len(self._dials)} dials within five minutes")

    # --- its rules --------------------------------------------------------------------------------

    def offence(self, session: VenueSession, words: str) -> None:
        if not link_of(session).is_dead:
            super().offence(session, words)

    async def hear(self, session: VenueSession, text: str) -> None:
        await self.pause(self.dice.uniform(0.0, REPLY_SECONDS))
        before = set(session.subscribed)
        self._subscribing = '"subscribe"' in text.lower()
        await super().hear(session, text)
        self._subscribing = False
        asked, now = link_of(session).log.asked, self.clock.now()
        asked += [(now, one, False) for one in before.difference(session.subscribed)]

    # --- production -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Produces from now on."""
        self._producing = True
        for stream in self.setting.streams:
            self._produce_later(stream)

    def end(self) -> None:
        """Produces nothing more."""
        self._producing = False

    async def stop(self) -> None:
        """Ends everything that it does beside; raises what went wrong inside it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self.faults:
            raise BaseExceptionGroup("faults inside the venue", self.faults)

    def begin_feed(self, session: VenueSession, subscription: str) -> None:
        link_of(session).log.asked.append((self.clock.now(), subscription, True))

    def _produce_later(self, stream: str) -> None:
        wait = self.dice.expovariate(1 / self.setting.every_seconds)
        self.agenda.at(self.now() + wait, lambda: self._produce(stream))

    def _produce(self, stream: str) -> None:
        if not self._producing:
            return
        count = self.dice.randint(2, self.setting.burst) if self.dice.random() < 0.05 else 1
        for _ in range(count):
            self._number += 1
            text = json.dumps(self.datum(stream, self._number), separators=(",", ":"))
            produced = Produced(self._number, self.clock.now(), stream, text.encode())
            self.log.produced.append(produced)
            for session in self.alive:
                if stream in session.subscribed:
                    link_of(session).write(produced.data, Said.DATA, produced.number)
        self._produce_later(stream)

    # --- its troubles -----------------------------------------------------------------------------

    def note(self, trouble: str) -> None:
        """Writes a trouble into the log."""
        self.log.troubles.append((self.clock.now(), trouble))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Does something later."""
        self.agenda.at(self.now() + seconds, act)

    def links(self) -> list[Link]:
        """Returns what is open for the venue, oldest first."""
        return [link_of(session) for session in self.alive]

    def close_one(self) -> None:
        """Closes one session without a reason."""
        for link in self.links()[:1]:
            code = self.dice.choice([1000, 1001, 1011, 1012, 1013])
            self.note(f"close {code}")
            link.end(code, "", "forced close")

    def cut_one(self) -> None:
        """Resets one link."""
        for link in self.links()[:1]:
            self.note("cut")
            link.cut("reset by peer")

    def silence_one(self) -> None:
        """Lets one link die without a word; the venue itself notices after a while."""
        for link in [one for one in self.links() if not one.is_dead][-1:]:
            self.note("silence")
            link.silence()
            self._notice_later(link)

    def lose_network(self) -> None:
        """Nobody reaches anybody for a while."""
        seconds = self.dice.uniform(5.0, 150.0)
        kind = self.dice.choice(
            [FailureKind.NETWORK_ERROR, FailureKind.CONNECT_REFUSED, FailureKind.OPEN_TIMEOUT]
        )
        self.note(f"no network for {seconds:.0f} s, dials end as {kind.value}")
        for link in self.links():
            if self.dice.random() < 0.5:
                link.cut("network unreachable")
            else:
                link.silence()
                self._notice_later(link)
        self._doom_dials(Failure(kind, "no network"), seconds)

    def refuse_dials(self) -> None:
        """Is overloaded for a while, and closes a session."""
        seconds = self.dice.uniform(5.0, 120.0)
        status = self.dice.choice([429, 429, 503])
        asked = self.dice.choice([None, 7.0, 45.0]) if status == 503 else 60.0
        self.note(f"HTTP {status} for {seconds:.0f} s, Retry-After {asked}")
        failure = Failure(
            FailureKind.HANDSHAKE_REJECTED,
            f"HTTP {status}",
            http_status=status,
            retry_after_seconds=asked,
        )
        self._doom_dials(failure, seconds)
        for link in self.links()[:1]:
            link.end(1013, "overloaded", "overload")

    def deafen(self) -> None:
        """New links are dead from the start for a while; one of the present ones is cut."""
        self.note("deaf")
        self.deaf = True

        def recover() -> None:
            self.deaf = False

        self.later(self.dice.uniform(5.0, 30.0), recover)
        for link in self.links()[:1]:
            link.cut("reset by peer")

    def _doom_dials(self, failure: Failure, seconds: float) -> None:
        self.dial_fate = failure

        def recover() -> None:
            if self.dial_fate is failure:
                self.dial_fate = None

        self.later(seconds, recover)

    def _notice_later(self, link: Link) -> None:
        self.later(self.dice.uniform(20.0, 90.0), lambda: link.forget("nobody is there"))


def link_of(session: VenueSession) -> Link:
    """Returns the link of a simulated session."""
    return cast("Link", session.connection)


class VenueDialer(ScriptedDialer):
    """`ports.Dialer` to one simulated venue, whatever the host."""

    def __init__(self, venue: SimulatedVenue) -> None:
        super().__init__()
        self._venue = venue

    async def dial(self, target: DialTarget, observer: DialObserver | None = None) -> LinkSocket:
        self.targets.append(target)
        socket = await self._venue.dial(target)
        self.sockets.append(socket)
        return socket
