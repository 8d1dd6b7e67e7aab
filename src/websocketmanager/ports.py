"""The ports: what the service needs of the world, in the domain's words. No library.

Each states its guarantees; `adapters/` holds the real ones and `adapters/memory.py` the
reference twins. One contract suite per port runs on both (`tests/contracts/`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from websocketmanager.domain.envelope import Parcel
from websocketmanager.domain.facts import Fact
from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.options import Compression, TlsOptions
from websocketmanager.domain.overflow import LogEntry, LogRun, Place
from websocketmanager.domain.secrets import SecretValues
from websocketmanager.domain.trial import Phase


class Clock(Protocol):
    """Time. Durations are seconds."""

    def now(self) -> float:
        """Returns the wall clock as Unix seconds; may jump."""

    def monotonic(self) -> float:
        """Returns seconds that only grow, from an unknown origin."""

    async def sleep(self, seconds: float) -> None:
        """Waits; zero yields once. Cancelling leaves nothing behind."""

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Bounds a block: cancels it and raises TimeoutError when the time is over."""


class Dice(Protocol):
    """What must be unpredictable."""

    def uniform(self) -> float:
        """Returns a number from 0 (included) to 1 (excluded)."""

    def token_bytes(self, count: int) -> bytes:
        """Returns `count` bytes from a secure source."""

    def uuid(self) -> str:
        """Returns a new random UUID (RFC 9562, version 4) in its usual spelling."""


@dataclass(frozen=True, slots=True)
class DialTarget:
    """What one dial needs. Sizes in bytes, times in seconds; every text is evaluated.

    Attributes:
        url: ws:// or wss://.
        open_timeout_seconds: from the first question about a name to the end of the handshake.
        close_timeout_seconds: for the closing handshake.
        max_message_bytes: of one inbound message, after decompression.
        headers: of the opening handshake, in order; a name may occur more than once.
        subprotocols: offered to the server, the preferred one first.
        origin: value of the Origin header; empty: none is sent.
        compression: what is offered to the server.
        proxy: `http://`, `socks5://` or `socks5h://`, with any user information; empty: none.
        tls: PEM texts and the name that the certificate must carry, for wss://.
    """

    # What may hold secrets is not shown.
    url: str = field(repr=False)
    open_timeout_seconds: float
    close_timeout_seconds: float
    max_message_bytes: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    subprotocols: tuple[str, ...] = ()
    origin: str = ""
    compression: Compression = Compression.NONE
    proxy: str = field(default="", repr=False)
    tls: TlsOptions = field(default_factory=TlsOptions, repr=False)


class Receiver(Protocol):
    """Takes messages in the very turn of the event loop that brings them; never waits."""

    @property
    def full(self) -> bool:
        """Whether it takes nothing now."""

    def take(self, kind: Kind, payloads: list[bytes]) -> int:
        """Takes messages of one kind, in order.

        Args:
            kind: of all.
            payloads: at least one; the receiver may keep the list.

        Returns:
            How many it took from the front; it is full if that is not all.
        """


class Socket(Protocol):
    """One open WebSocket.

    Messages come in the order of receipt and byte for byte; pings are answered while they are
    read. A socket that ended raises the same failure from every call that can wait.
    """

    @property
    def address(self) -> str:
        """The address that was dialled, as `host:port`; IPv6 in brackets."""

    @property
    def subprotocol(self) -> str:
        """The subprotocol the server chose, or the empty string."""

    @property
    def last_heard(self) -> float:
        """`Clock.monotonic()` when bytes came last, of whatever frame: every one is life."""

    async def recv_into(self, receiver: Receiver) -> None:
        """Gives the receiver what has arrived and what arrives, until it is full.

        What it did not take waits for the next call; when that is much, the peer is held back.
        Cancelling loses none.

        Raises:
            SocketFailed: as `recv` does. What the receiver raises is raised here as well.
        """

    async def recv(self) -> Message:
        """Returns the next message.

        A Text message that is not UTF-8 closes the session with 1007 (RFC 6455 §8.1), one that
        is too large with 1009. Cancelling loses no message.

        Raises:
            SocketFailed: the socket ended, and all messages before its end were returned.
        """

    async def send(self, data: bytes, kind: Kind) -> None:
        """Writes one message; waits while the peer reads too slowly.

        Raises:
            SocketFailed: the socket ended.
        """

    def send_ping(self) -> None:
        """Writes a ping (RFC 6455 §5.5.2); its pong shows in `last_heard`, as all that comes does.

        Never waits: a ping is not worth holding anything for. On a socket that ended it does
        nothing; whoever receives is told.
        """

    async def close(self, code: int, reason: str) -> None:
        """Closes with a handshake, at most the target's close timeout long; never raises."""

    def abort(self) -> None:
        """Drops the transport at once; never raises."""


class DialObserver(Protocol):
    """Follows a dial."""

    def passed(self, phase: Phase, detail: str) -> None:
        """Takes note that a phase of the dial went well; must not block.

        A phase that the target does not have is left out. One may come again, when a dial goes
        on to the next address; a dial that fails tells nothing of the phase that failed.

        Args:
            phase: from `RESOLVE` to `HANDSHAKE`.
            detail: what was found: addresses, certificate, what was negotiated. No credentials.
        """


class Dialer(Protocol):
    """Opens sockets, to judged addresses only."""

    async def judge(self, url: str) -> None:
        """Asks the address policy about the URL's host and all its addresses now.

        A name that does not resolve passes: dialling says so.

        Raises:
            AddressRefused: the policy refuses the host or one of its addresses.
        """

    async def dial(self, target: DialTarget, observer: DialObserver | None = None) -> Socket:
        """Resolves, judges every answer, dials a judged address and shakes hands.

        Follows no redirect and no proxy of the environment. With a proxy, its address and the
        target's are judged alike, and nothing is ever dialled around it. Cancelling leaves no
        transport.

        Args:
            target: what to dial.
            observer: told of each phase as it ends.

        Raises:
            SocketFailed: with the failure's kind; also for a refused address.
        """


@dataclass(frozen=True, slots=True)
class Versioned:
    """A stored value with the etag that a conditional save must name."""

    value: str
    etag: str


class StateStore(Protocol):
    """Keys and string values of this service, durable once a save returned.

    Every method may raise ApiUnavailable (the effect is then unknown), ApiUnauthenticated or
    ApiRefused. All are safe to repeat.
    """

    async def get(self, key: str) -> Versioned | None:
        """Returns the current value, or None when the key is absent."""

    async def save(self, key: str, value: str, *, etag: str | None = None) -> None:
        """Saves; without etag the last write wins.

        Raises:
            StateConflict: the etag is not current. After an outage this may also be said of a
                save that was done: read back before believing it.
        """

    async def delete(self, key: str) -> None:
        """Removes the key; an absent key is no error."""

    async def register(self, keys: Sequence[str]) -> None:
        """Makes keys visible to `get_all`."""

    async def get_all(self) -> Mapping[str, str]:
        """Returns the values of registered keys: possibly not all there are."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one event was not accepted.

    Attributes:
        definite: it never will be as it is (a topic against the rules). Otherwise the API said
            that it failed without saying why, and it may be tried again.
        problem: the API's words.
        whole_topic: whether every event on its topic would be refused, or this one alone.
    """

    definite: bool
    problem: str
    whole_topic: bool = True


@dataclass(frozen=True, slots=True)
class PublishResult:
    """What became of a batch.

    Attributes:
        accepted: how many events from the front are published for good.
        refusal: of the event at index `accepted`; the ones behind it were not tried.
            None with `accepted` below the batch's length: try the rest again.
    """

    accepted: int
    refusal: Refusal | None = None


class EventSink(Protocol):
    """Publishes events.

    The events of one call are published in order. Calls that overlap have an order among them
    only if `ordered`: otherwise a caller keeps the events of one connection in one call at a time.
    """

    @property
    def max_batch(self) -> int:
        """Events in one call at most: 1 where the API has only the unary RPC."""

    @property
    def max_in_flight(self) -> int:
        """Calls at a time that make sense: 1 for an ordered batch RPC."""

    @property
    def ordered(self) -> bool:
        """Whether calls that overlap are published in the order in which they began.

        A call that then ends without having accepted everything, by whatever way, ends all calls
        that began behind it; they accept nothing, and neither does a call that begins before all
        of them have ended. So the caller may begin again with the first event not accepted.
        """

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        """Publishes events in order, stopping at the first that is refused.

        A run is as many events as it holds; it may be accepted in part.

        Cancelling leaves the batch's fate unknown; sending it again repeats equal ids.

        Raises:
            ApiUnavailable: nothing is known of any of them; send them again later.
            ApiUnauthenticated: as above, and an operator must act.
        """


@dataclass(frozen=True, slots=True)
class LogExtent:
    """What the log holds of one stream and the API has not accepted.

    Attributes:
        entries: how many.
        size: of them in bytes, as `LogEntry.size`.
        last: session and sequence of the last message in the highest session; (0, 0): none.
    """

    entries: int = 0
    size: int = 0
    last: Place = (0, 0)


@dataclass(frozen=True, slots=True)
class Trim:
    """What giving up the oldest entries of a stream has changed.

    Attributes:
        entries: by how many there are fewer.
        size: by how many bytes they are fewer.
        lost: messages among them.
    """

    entries: int
    size: int
    lost: int


class LogListener(Protocol):
    """Whose stream it is. Called in the event loop in the order of what was asked; never raises."""

    def opened(self, extent: LogExtent) -> None:
        """The stream is open, and it holds so much of an earlier process; `last` is not told."""

    def stored(self, positions: Sequence[int]) -> None:
        """So many appended entries, the oldest first, are on the disk for good, as these numbers.

        Positions only grow, also beyond what an earlier process has left.
        """

    def inserted(self, entries: Sequence[LogEntry]) -> None:
        """These are on the disk for good, where `insert` has asked for."""

    def fetched(self, entries: Sequence[tuple[int, LogEntry]], *, complete: bool) -> None:
        """What was read; `complete`: there was nothing behind it at that moment."""

    def trimmed(self, trim: Trim) -> None:
        """What was asked by `trim` is done."""

    def failed(self, problem: str) -> None:
        """The disk did not take what waits; it is tried again until it does."""


class MessageLog(Protocol):
    """Messages on a local disk, per stream in order, crash-safe.

    No method blocks: answers go to the stream's listener. What is asked for one stream is done in
    the order of the calls. Entries survive the process from `stored` on, until they are
    acknowledged, trimmed or removed.
    """

    @property
    def extents(self) -> Mapping[str, LogExtent]:
        """What each stream held when the log was opened; empty before it could be."""

    def open(self, stream: str, listener: LogListener) -> None:
        """Opens a stream; answered by `opened`."""

    def append(self, stream: str, entries: LogRun, *, room: int = 0) -> None:
        """Appends entries; answered by `stored`, many at a time.

        Their positions follow one another, and one answer tells of all of them. So many positions
        before them are left free for `insert`.
        """

    def insert(self, stream: str, after: int, entries: Sequence[LogEntry]) -> None:
        """Puts entries behind a position, before what was appended with room for them.

        `after` is the position of the last one that was appended before that, or any lower one
        when nothing behind it is there. Answered by `inserted`.
        """

    def acknowledge(self, stream: str, position: int) -> None:
        """Forgets the entries up to a position, at some time: a crash may bring some back."""

    def read(self, stream: str, after: int, *, max_entries: int, max_bytes: int) -> None:
        """Reads entries behind a position, at least one if there is one; answered by `fetched`."""

    def trim(self, stream: str, after: int, *, size: int, cause: str, at: float) -> None:
        """Gives up the oldest entries behind a position, until so many bytes are freed.

        In one step a marker of the gap takes their place, unless `cause` is empty. Answered by
        `trimmed`.
        """

    def remove(self, stream: str) -> None:
        """Forgets a stream with all that it holds, and its listener."""


class Peers(Protocol):
    """Other processes of this service."""

    async def answers(self, address: str) -> bool:
        """Returns whether a gRPC server answers at the address (`host:port`) within seconds."""


class Secrets(Protocol):
    """Values of secrets, by the names that options refer to them with."""

    async def read(self, names: Collection[str]) -> SecretValues:
        """Returns the present values of exactly these secrets.

        Nothing is kept: every call looks anew, so that a renewed secret is found by the next
        attempt. Values that change together are read together where the source allows it.

        Raises:
            SecretMissing: with every name that has no usable value; never with a value.
        """


class Journal(Protocol):
    """Where facts go: log, metrics. Never raises, never blocks."""

    def emit(self, fact: Fact) -> None:
        """Records one fact."""


class Tracer(Protocol):
    """Spans and the W3C trace context (traceparent, tracestate, baggage)."""

    def span(
        self,
        name: str,
        *,
        headers: Mapping[str, str] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[None]:
        """Opens a span as the current one; `headers` carry the caller's context, if any.

        An exception that leaves the block marks the span as failed.
        """

    def inject(self) -> tuple[tuple[str, str], ...]:
        """Returns the headers that pass the current context on; empty outside a span."""
