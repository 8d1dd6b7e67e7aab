"""One connection between the service and a simulated venue: both its ends, and the wire's delay.

The venue's end is what `tests/kit/venues` wants of a `websockets` connection; the service's end
is a `ports.Socket`. A link can be cut (both ends notice) or silenced (nobody does).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Opcode

from tests.kit.simulation.agenda import Agenda, SteppedClock
from tests.kit.simulation.log import Frame, Said, SessionLog
from tests.kit.sockets import ScriptedSocket
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.model import Kind, Message


class LinkSocket(ScriptedSocket):
    """The service's end."""

    def __init__(self, link: Link, close_timeout_seconds: float) -> None:
        super().__init__(link.log.address)
        self.link = link
        self.clock = link.clock
        self.hear()
        self._close_timeout = close_timeout_seconds
        self._reading = False
        self._owed_pongs: deque[str] = deque()

    @property
    def ended(self) -> bool:
        """Whether the service can know that it has ended."""
        return self._failure is not None

    async def recv(self) -> Message:
        self._reading = True
        while self._owed_pongs:
            self.link.up(Opcode.PONG, self._owed_pongs.popleft())
        try:
            return await super().recv()
        finally:
            self._reading = False

    async def send(self, data: bytes, kind: Kind) -> None:
        if self._failure is not None:
            raise SocketFailed(self._failure)
        self.link.up(Opcode.TEXT if kind is Kind.TEXT else Opcode.BINARY, data.decode())

    def send_ping(self) -> None:
        if self._failure is None:
            self.pings += 1
            self.link.up(Opcode.PING, "")

    async def close(self, code: int, reason: str) -> None:
        self.closes.append(code)
        if self._failure is not None:
            return
        self.link.leave(code)
        try:
            async with self.link.clock.timeout(self._close_timeout):
                await self._ended.wait()
        except TimeoutError:
            self._end(Failure(FailureKind.CONNECTION_LOST, "no answer to our close"))

    def take_ping(self, payload: str) -> None:
        """A ping of the venue came: it is answered while messages are read."""
        self.hear()
        self._owed_pongs.append(payload)
        if self._reading:
            self.link.up(Opcode.PONG, self._owed_pongs.popleft())

    def end(self, failure: Failure) -> None:
        """Ends it with all that came before still to be read."""
        self._end(failure)

    def _end(self, failure: Failure) -> None:
        if self._failure is None:
            self.link.note_end(failure)
        super()._end(failure)


class Link:
    """The venue's end, and the wire.

    Args:
        clock: of both sides.
        agenda: where what is on its way is entered.
        log: of its session.
        classify: what a text of the venue is.
        gone: called when it has ended for the venue, with why.
        close_timeout_seconds: of the service's end.

    Attributes:
        close_code: None while it is open for the venue, as in `websockets`.
        heard: told of every frame of the service that counts.
    """

    def __init__(
        self,
        clock: SteppedClock,
        agenda: Agenda,
        log: SessionLog,
        *,
        classify: Callable[[str], Said],
        gone: Callable[[Link], None],
        close_timeout_seconds: float,
    ) -> None:
        self.clock = clock
        self.log = log
        self.close_code: int | None = None
        self.heard: Callable[[Opcode], None] = lambda opcode: None
        self.socket = LinkSocket(self, close_timeout_seconds)
        self._agenda = agenda
        self._classify = classify
        self._gone = gone
        self._broken = False
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()
        self._pings: dict[str, asyncio.Future[None]] = {}

    # --- the venue's end --------------------------------------------------------------------------

    def __aiter__(self) -> Link:
        return self

    async def __anext__(self) -> str:
        text = await self._inbox.get()
        if text is None:
            raise StopAsyncIteration
        return text

    async def send(self, text: str) -> None:
        """Writes a text."""
        if self.close_code is not None:
            raise ConnectionClosedOK(None, None)
        self.write(text.encode(), self._classify(text))

    def write(self, data: bytes, said: Said, number: int = 0) -> None:
        """Writes a frame of a known kind."""
        now = self.clock.now()
        self.log.written.append(Frame(now, said, data, number))
        self._down(lambda: self._arrive(Frame(self.clock.now(), said, data, number)))

    async def ping(self, payload: str) -> asyncio.Future[None]:
        """Sends a ping; returns what is done with the pong."""
        pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pings[payload] = pong
        self._down(lambda: self.socket.take_ping(payload))
        return pong

    async def close(self, code: int, reason: str = "") -> None:
        """Closes: what was written before still arrives."""
        self.end(code, reason, reason)

    def end(self, code: int, reason: str, why: str) -> None:
        """Closes, and notes why."""
        if self.close_code is None:
            failure = Failure(FailureKind.PEER_CLOSED, "closed by the venue", code, reason)
            self._down(lambda: self.socket.end(failure))
            self._over(code, why)

    # --- the wire ---------------------------------------------------------------------------------

    @property
    def is_dead(self) -> bool:
        """Whether nothing gets through any more."""
        return self._broken

    def cut(self, why: str) -> None:
        """Resets it: what is on its way is lost, and both ends notice at once."""
        self._broken = True
        self.socket.end(Failure(FailureKind.CONNECTION_LOST, why))
        self._over(1006, why)

    def silence(self) -> None:
        """Loses everything from now on and what is on its way; nobody is told."""
        if not self._broken:
            self._broken = True
            self.log.silent_since = self.clock.now()

    def forget(self, why: str) -> None:
        """The venue has noticed that nobody is there."""
        self._over(1006, why)

    def up(self, opcode: Opcode, payload: str) -> None:
        """Carries a frame of the service to the venue."""

        def come() -> None:
            if self.close_code is not None:
                return
            self.heard(opcode)
            if opcode is Opcode.PING:
                self._down(self.socket.hear)
            elif opcode is Opcode.PONG:
                if (pong := self._pings.pop(payload, None)) and not pong.done():
                    pong.set_result(None)
            else:
                self._inbox.put_nowait(payload)

        self._carry(come)

    def leave(self, code: int) -> None:
        """Carries the service's close to the venue, and its answer back."""
        self.log.leaving_at = self.clock.now()
        failure = Failure(FailureKind.PEER_CLOSED, "closed by us", code)

        def come() -> None:
            if self.close_code is None:
                self._down(lambda: self.socket.end(failure))
                self._over(code, "the client closed")

        self._carry(come)

    def note_end(self, failure: Failure) -> None:
        """The service's end has ended."""
        dropped = self.socket.aborted  # by the service itself, and not by what came from here
        self.log.ended_at = self.clock.now()
        self.log.end = "aborted" if dropped else failure.kind.value
        if self.close_code is None and not self._broken:
            # No close was heard: the venue sees the transport go.
            self._carry(lambda: self._over(1006, "the client is gone"))

    def _arrive(self, frame: Frame) -> None:
        if not self.socket.ended:
            self.log.arrived.append(frame)
            self.socket.push(frame.data.decode())

    def _down(self, act: Callable[[], None]) -> None:
        self._carry(act)

    def _carry(self, act: Callable[[], None]) -> None:
        def unless_broken() -> None:
            if not self._broken:
                act()

        self._agenda.at(self.clock.monotonic() + self.log.delay, unless_broken)

    def _over(self, code: int, why: str) -> None:
        if self.close_code is not None:
            return
        self.close_code = code
        self.log.venue_ended_at, self.log.venue_end = self.clock.now(), why
        self._inbox.put_nowait(None)
        for pong in self._pings.values():
            if not pong.done():
                pong.set_result(None)
        self._pings.clear()
        self._gone(self)
