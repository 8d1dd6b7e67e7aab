"""A dialer and its sockets that do what the test says: `ports.Dialer`, `ports.Socket`.

dialer = ScriptedDialer()
dialer.fail(FailureKind.CONNECT_REFUSED, times=2)    # the next two dials fail
dial = dialer.hang()                                 # the one after waits: dial.succeed()
socket = await dialer.wait_socket(1)                 # further dials succeed
socket.push(b"tick"); socket.lose(); socket.close_from_peer(1001)
socket.closes, socket.aborted, socket.sent           # what was done with it
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.trial import Phase
from websocketmanager.errors import AddressRefused
from websocketmanager.ports import Clock, DialObserver, DialTarget, Receiver


class ScriptedSocket:
    """One open socket.

    Attributes:
        sent: what was sent, in order.
        closes: codes of the closing handshakes that were begun.
        aborted: whether the transport was dropped.
        pings: pings sent so far.
        answers_pings: whether a pong comes.
        answers_close: whether the peer answers a closing handshake.
        takes_messages: whether the peer reads what is sent.
        clock: says when something comes; the dialer's.
        last_heard: when something came last, a pong as well.
    """

    def __init__(self, address: str = "192.0.2.1:443", subprotocol: str = "") -> None:
        self.sent: list[Message] = []
        self.closes: list[int] = []
        self.aborted = False
        self.pings = 0
        self.answers_pings = True
        self.answers_close = True
        self.takes_messages = True
        self.clock: Clock | None = None
        self.last_heard = 0.0
        self._address = address
        self._subprotocol = subprotocol
        self._incoming: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._failure: Failure | None = None
        self._ended = asyncio.Event()

    # --- the test's side ----------------------------------------------------------------------

    def push(self, *messages: bytes | str) -> None:
        """Lets messages arrive: bytes as Binary, text as Text."""
        for message in messages:
            data, kind = (
                (message.encode(), Kind.TEXT)
                if isinstance(message, str)
                else (message, Kind.BINARY)
            )
            self._incoming.append(Message(kind, data))
        if messages:
            self.hear()
        self._arrived.set()

    def hear(self) -> None:
        """Lets something arrive that is no message."""
        if self.clock is not None:
            self.last_heard = self.clock.monotonic()

    def lose(self, kind: FailureKind = FailureKind.CONNECTION_LOST) -> None:
        """Ends the socket without a closing handshake."""
        self._end(Failure(kind, "scripted"))

    def close_from_peer(self, code: int, reason: str = "") -> None:
        """Ends the socket by the peer's closing handshake."""
        self._end(Failure(FailureKind.PEER_CLOSED, "scripted", code, reason))

    @property
    def unread(self) -> int:
        """Messages that arrived and were not read yet."""
        return len(self._incoming)

    def _end(self, failure: Failure) -> None:
        self._failure = self._failure or failure
        self._ended.set()
        self._arrived.set()

    # --- ports.Socket ---------------------------------------------------------------------------

    @property
    def address(self) -> str:
        return self._address

    @property
    def subprotocol(self) -> str:
        return self._subprotocol

    async def recv(self) -> Message:
        while not self._incoming:
            if self._failure is not None:
                raise SocketFailed(self._failure)
            self._arrived.clear()
            await self._arrived.wait()
        return self._incoming.popleft()

    async def recv_into(self, receiver: Receiver) -> None:
        while not receiver.full:
            if not self._incoming:
                self._incoming.appendleft(await self.recv())
                continue  # it may have become full meanwhile
            first = self._incoming[0]
            payloads: list[bytes] = []
            for message in self._incoming:
                if message.kind is not first.kind:
                    break
                payloads.append(message.data)
            for _ in range(receiver.take(first.kind, payloads)):
                self._incoming.popleft()

    async def send(self, data: bytes, kind: Kind) -> None:
        if not self.takes_messages:
            await self._ended.wait()
        if self._failure is not None:
            raise SocketFailed(self._failure)
        self.sent.append(Message(kind, data))

    def send_ping(self) -> None:
        if self._failure is not None:
            return
        self.pings += 1
        if self.answers_pings:
            self.hear()

    async def close(self, code: int, reason: str) -> None:
        self.closes.append(code)
        if self.answers_close:
            self._end(Failure(FailureKind.PEER_CLOSED, "closed by us", code, reason))
        await self._ended.wait()

    def abort(self) -> None:
        self.aborted = True
        self._end(Failure(FailureKind.CONNECTION_LOST, "aborted"))


@dataclass(eq=False)
class PendingDial:
    """A dial that waits for the test. `cancelled`: whether its caller gave up."""

    socket: ScriptedSocket = field(default_factory=ScriptedSocket)
    cancelled: bool = False
    outcome: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def succeed(self) -> ScriptedSocket:
        """Opens its socket."""
        self.outcome.set_result(None)
        return self.socket

    def fail(self, kind: FailureKind = FailureKind.CONNECT_REFUSED) -> None:
        """Fails it."""
        self.outcome.set_exception(SocketFailed(Failure(kind, "scripted")))


class ScriptedDialer:
    """Follows its script, and opens a socket when that is at its end.

    Args:
        clock: of its sockets.

    Attributes:
        targets: what was dialled, in order.
        judged: URLs that were judged.
        sockets: what was opened, in order.
        refused: hosts that `judge` refuses.
        passes: phases that an observer is told of, whatever comes of the dial.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock
        self.targets: list[DialTarget] = []
        self.judged: list[str] = []
        self.sockets: list[ScriptedSocket] = []
        self.refused: set[str] = set()
        self.passes: list[Phase] = []
        self._script: deque[Exception | PendingDial] = deque()
        self._then: Failure | None = None
        self._changed = asyncio.Event()

    def fail(
        self,
        kind: FailureKind = FailureKind.CONNECT_REFUSED,
        *,
        times: int = 1,
        http_status: int = 0,
    ) -> None:
        """Fails the next dials."""
        failure = Failure(kind, "scripted", http_status=http_status)
        self._script.extend([SocketFailed(failure)] * times)

    def crash(self, error: Exception) -> None:
        """Raises what no dialer may raise."""
        self._script.append(error)

    def hang(self) -> PendingDial:
        """Makes the next dial wait for the test."""
        pending = PendingDial()
        self._script.append(pending)
        return pending

    def break_down(self, kind: FailureKind = FailureKind.CONNECT_REFUSED) -> None:
        """Fails every dial behind the script until `heal`."""
        self._then = Failure(kind, "scripted")

    def heal(self) -> None:
        """Ends `break_down`."""
        self._then = None

    async def wait_dial(self, count: int) -> DialTarget:
        """Waits until `count` dials were begun; returns the last of them."""
        while len(self.targets) < count:
            await self._changed.wait()
        return self.targets[count - 1]

    async def wait_socket(self, count: int) -> ScriptedSocket:
        """Waits until `count` sockets were opened; returns the last of them."""
        while len(self.sockets) < count:
            await self._changed.wait()
        return self.sockets[count - 1]

    # --- ports.Dialer -----------------------------------------------------------------------------

    async def judge(self, url: str) -> None:
        self.judged.append(url)
        for host in self.refused:
            if host in url:
                raise AddressRefused(host=host, address=host, rule="scripted")

    async def dial(
        self, target: DialTarget, observer: DialObserver | None = None
    ) -> ScriptedSocket:
        self.targets.append(target)
        self._tell()
        if observer is not None:
            for phase in self.passes:
                observer.passed(phase, f"scripted {phase}")
        scripted = self._script.popleft() if self._script else None
        if isinstance(scripted, PendingDial):
            try:
                await scripted.outcome
            except asyncio.CancelledError:
                scripted.cancelled = True
                scripted.socket.abort()
                raise
            return self._opened(scripted.socket)
        if scripted is not None:
            raise scripted
        if self._then is not None:
            raise SocketFailed(self._then)
        return self._opened(ScriptedSocket())

    def _opened(self, socket: ScriptedSocket) -> ScriptedSocket:
        socket.clock = self.clock
        socket.hear()
        self.sockets.append(socket)
        self._tell()
        return socket

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
