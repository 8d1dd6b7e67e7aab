"""What all venues share: sessions, the log of frames, and the rules that count and time."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

_PATIENCE_SECONDS = 20.0
_CONTROL = frozenset({Opcode.PING, Opcode.PONG})


@dataclass(frozen=True)
class Rules:
    """A venue's figures in seconds; zero: no such rule.

    Attributes:
        data_every_seconds: between two data messages of one subscription.
        login_seconds: after which a session without login is refused.
        first_subscribe_seconds: after which a session without subscription is closed.
        silence_seconds: after which a session is closed that sent no message (frames of the
            application alone count).
        ping_every_seconds: between two pings.
        pong_seconds: how long the pong with the same payload may take.
        messages_per_second: of the client, pings and pongs included.
        sessions_per_key: that may be open at a time.
        max_age_seconds: after which a session is closed.
        notice_seconds: by how much earlier that is told.
    """

    data_every_seconds: float = 0.05
    login_seconds: float = 0.0
    first_subscribe_seconds: float = 0.0
    silence_seconds: float = 0.0
    ping_every_seconds: float = 0.0
    pong_seconds: float = 0.0
    messages_per_second: int = 0
    sessions_per_key: int = 0
    max_age_seconds: float = 0.0
    notice_seconds: float = 0.0


class VenueConnection(ServerConnection):
    """A connection that tells its venue of every frame, control frames included."""

    heard: Callable[[Frame], None] | None = None

    def process_event(self, event: Any) -> None:
        """Sees a frame before the library does."""
        if isinstance(event, Frame) and self.heard is not None:
            self.heard(event)
        super().process_event(event)


@dataclass(eq=False)
class VenueSession:
    """One connection as the venue sees it.

    Attributes:
        frames: time and opcode of every frame that counts.
        requests: texts that came, in order.
        subscribed: what is, in the order of asking.
        asked: every subscribe, also repeated ones.
        data: every data message sent.
        key: of whoever logged in.
    """

    connection: VenueConnection
    frames: list[tuple[float, Opcode]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    subscribed: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    key: str = ""
    refused: bool = False
    feeding: bool = True
    heard_at: float = 0.0
    recent: deque[float] = field(default_factory=deque)

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.connection.close_code is None

    async def say(self, value: Any) -> None:
        """Sends a text, or a value as compact JSON."""
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        await self.connection.send(text)

    async def close(self, code: int, reason: str = "") -> None:
        """Closes with a handshake; what was sent before still arrives."""
        self.feeding = False
        await self.connection.close(code, reason)


class Venue:
    """A venue; its own words are in the subclasses.

    Attributes:
        violations: what clients did against the rules, in words.
        sessions: all of them, oldest first.
    """

    rules: ClassVar[Rules] = Rules()

    def __init__(self, rules: Rules | None = None) -> None:
        self.now_rules = rules or type(self).rules
        self.violations: list[str] = []
        self.sessions: list[VenueSession] = []
        self.faults: list[BaseException] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the words of a venue ---------------------------------------------------------------------

    async def welcome(self, session: VenueSession) -> None:
        """Greets a new session."""

    async def hear(self, session: VenueSession, text: str) -> None:
        """Acts on a message."""
        raise NotImplementedError

    def datum(self, subscription: str, number: int) -> Any:
        """Returns a data message that holds the number."""
        raise NotImplementedError

    async def give_notice(self, session: VenueSession) -> None:
        """Tells that the session ends soon."""

    async def refuse_late_login(self, session: VenueSession) -> None:
        """Tells that the login did not come."""
        await session.close(1008, "login timeout")

    # --- its time: real, unless a subclass has another --------------------------------------------

    def now(self) -> float:
        """Returns seconds that only grow."""
        return asyncio.get_running_loop().time()

    async def pause(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)

    def patience(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bounds a block: TimeoutError when the time is over."""
        return asyncio.timeout(seconds)

    # --- for tests --------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def open_sessions(self) -> list[VenueSession]:
        """Those that have not ended."""
        return [one for one in self.sessions if one.is_open]

    async def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Waits until something is so; returns what the condition returned.

        Raises:
            AssertionError: it took too long; tells what the venue saw.
        """
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while not (found := condition()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = [(one.asked, len(one.data), one.connection.close_code) for one in self.sessions]
            raise AssertionError(f"waited in vain: {self.violations} {seen}") from None
        return found

    async def wait_subscribed(self, wanted: set[str], after: int = 0) -> VenueSession:
        """Waits for a session, behind the first `after` ones, that has all these subscriptions."""

        def found() -> VenueSession | None:
            fitting = (one for one in self.sessions[after:] if wanted <= set(one.subscribed))
            return next(fitting, None)

        session: VenueSession = await self.wait_for(found)
        return session

    async def wait_data(self, session: VenueSession, count: int) -> None:
        """Waits until a session was sent so many data messages."""
        await self.wait_for(lambda: len(session.data) >= count)

    # --- for subclasses ---------------------------------------------------------------------------

    def told(self) -> None:
        """Wakes those who wait."""
        self._changed.set()

    def violation(self, words: str) -> None:
        """Notes that a client broke a rule."""
        self.violations.append(words)
        self.told()

    def offence(self, session: VenueSession, words: str) -> None:
        """Notes that a session's client let a time go by."""
        self.violation(words)

    def subscribe(self, session: VenueSession, subscription: str) -> None:
        """Feeds a subscription from now on; asking twice is a violation."""
        session.asked.append(subscription)
        if subscription in session.subscribed:
            self.violation(f"subscribed twice: {subscription}")
            return
        session.subscribed.append(subscription)
        self.begin_feed(session, subscription)
        self.told()

    def begin_feed(self, session: VenueSession, subscription: str) -> None:
        """Sends data from now on."""
        self._later(self._feed(session, subscription))

    def log_in(self, session: VenueSession, key: str) -> bool:
        """Notes who it is; False when there are too many of the same."""
        most = self.now_rules.sessions_per_key
        same = [one for one in self.open_sessions if one.key == key and one is not session]
        if most and len(same) >= most:
            self.violation(f"connection limit exceeded: {len(same) + 1} of {key}")
            return False
        session.key = key
        self.told()
        return True

    # --- inside -----------------------------------------------------------------------------------

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._watched(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ConnectionClosed:
            return
        except Exception as fault:  # noqa: BLE001 - told to the test when the venue ends
            self.faults.append(fault)
            self.told()

    async def _handle(self, connection: ServerConnection) -> None:
        assert isinstance(connection, VenueConnection)
        session = VenueSession(connection, heard_at=self.now())
        connection.heard = lambda frame: self.count(session, frame.opcode)
        await self.attend(session)

    async def attend(self, session: VenueSession) -> None:
        """Talks with a session and watches over the rules until it ends."""
        self.sessions.append(session)
        self.told()
        rules = self.now_rules
        watchers = [
            self._later(work(session))
            for wanted, work in (
                (rules.ping_every_seconds, self._ping),
                (rules.login_seconds, self._want_login),
                (rules.first_subscribe_seconds, self._want_subscription),
                (rules.silence_seconds, self._want_words),
                (rules.max_age_seconds, self._age),
            )
            if wanted
        ]
        try:
            await self._watched(self._converse(session))
        finally:
            for watcher in watchers:
                watcher.cancel()
            self.told()

    async def _converse(self, session: VenueSession) -> None:
        await self.welcome(session)
        async for message in session.connection:
            assert isinstance(message, str), "a Text frame is wanted"
            session.requests.append(message)
            session.heard_at = self.now()
            await self.hear(session, message)
            self.told()

    def count(self, session: VenueSession, opcode: Opcode) -> None:
        """Every frame that counts: whole messages, pings and pongs."""
        now = self.now()
        if opcode not in _CONTROL | {Opcode.TEXT, Opcode.BINARY}:
            return
        session.frames.append((now, opcode))
        most = self.now_rules.messages_per_second
        if not most:
            return
        session.recent.append(now)
        while session.recent[0] <= now - 1.0:
            session.recent.popleft()
        if len(session.recent) > most and not session.refused:
            session.refused = True
            self.violation(f"{len(session.recent)} frames within a second")
            self._later(session.close(1008, "Too many requests"))

    async def _feed(self, session: VenueSession, subscription: str) -> None:
        while session.feeding and session.is_open and subscription in session.subscribed:
            number = next(self._numbers)
            data = json.dumps(self.datum(subscription, number), separators=(",", ":"))
            await session.connection.send(data)
            session.data.append(data.encode())
            self.told()
            await self.pause(self.now_rules.data_every_seconds)

    async def _ping(self, session: VenueSession) -> None:
        for number in itertools.count(1):
            await self.pause(self.now_rules.ping_every_seconds)
            # The library takes no pong but one with this payload.
            pong = await session.connection.ping(f"ping {number}")
            try:
                async with self.patience(self.now_rules.pong_seconds):
                    await pong
            except TimeoutError:
                self.offence(session, "no pong with the ping's payload")
                await session.close(1008, "pong timeout")
                return

    async def _want_login(self, session: VenueSession) -> None:
        await self.pause(self.now_rules.login_seconds)
        if not session.key:
            self.offence(session, "no login in time")
            await self.refuse_late_login(session)

    async def _want_subscription(self, session: VenueSession) -> None:
        await self.pause(self.now_rules.first_subscribe_seconds)
        if not session.asked:
            self.offence(session, "no subscription in time")
            await session.close(1008, "no subscription")

    async def _want_words(self, session: VenueSession) -> None:
        left = self.now_rules.silence_seconds
        while left > 0:
            await self.pause(left)
            left = session.heard_at + self.now_rules.silence_seconds - self.now()
        self.offence(session, "silent for too long")
        await session.close(1008, "no message")

    async def _age(self, session: VenueSession) -> None:
        await self.pause(self.now_rules.max_age_seconds - self.now_rules.notice_seconds)
        if self.now_rules.notice_seconds:
            await self.give_notice(session)
            await self.pause(self.now_rules.notice_seconds)
        await session.close(1001, "too old")


@asynccontextmanager
async def running_venue(venue: Any) -> AsyncIterator[Any]:
    """Runs a venue on loopback; raises what went wrong inside it, when it ends."""
    server = await serve(
        venue._handle,
        "127.0.0.1",
        0,
        create_connection=VenueConnection,
        compression=None,
        ping_interval=None,
        close_timeout=1,
    )
    try:
        venue.port = next(iter(server.sockets)).getsockname()[1]
        yield venue
    finally:
        for session in venue.open_sessions:
            session.connection.transport.abort()
        server.close()
        await server.wait_closed()
        for task in list(venue._tasks):
            task.cancel()
        if venue._tasks:
            await asyncio.wait(list(venue._tasks))
    if venue.faults:
        raise ExceptionGroup("faults inside the venue", venue.faults)
