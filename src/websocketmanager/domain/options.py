"""What a caller may choose for one connection: frozen values, validated before they get here.

Texts marked *template* hold `${…}` expressions that `template` evaluates anew for each attempt.
Zero and empty mean: the default, or off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from websocketmanager.domain.frames import Kind
from websocketmanager.domain.retry import Advice


class Compression(StrEnum):
    """What is offered to the server (RFC 7692)."""

    NONE = "none"
    DEFLATE = "deflate"


class Match(StrEnum):
    """How a pattern looks at a message."""

    ANY = "any"
    POINTER = "pointer"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a message must be like.

    Attributes:
        match: any message, one whose JSON has a value at a place, or one in whose bytes a regular
            expression is found.
        pointer: RFC 6901, for POINTER. A message that is an array of objects matches when one of
            its elements does, too.
        value: the JSON text of the expected value, for POINTER; empty: any value there.
        regex: RE2 syntax, for REGEX.
        frame: only Text or only Binary; None: both.
    """

    match: Match = Match.ANY
    pointer: str = ""
    value: str = ""
    regex: str = ""
    frame: Kind | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """One message to send: a Text template, or bytes as they are."""

    text: str = ""
    binary: bytes = b""

    @property
    def kind(self) -> Kind:
        """The frame type it is sent as."""
        return Kind.BINARY if self.binary else Kind.TEXT


@dataclass(frozen=True, slots=True)
class Header:
    """A header of the opening handshake; the value is a template."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class TlsOptions:
    """TLS of one connection; the PEM texts are templates (usually one secret each)."""

    ca_pem: str = field(default="", repr=False)
    certificate_pem: str = field(default="", repr=False)
    key_pem: str = field(default="", repr=False)
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an opening dialogue: send, then wait for a matching message.

    Attributes:
        send: what to say, if anything.
        expect: what to wait for, if anything.
        timeout_ms: how long to wait for it.
        forward: whether the matching message also goes to the topic.
    """

    send: Payload | None = None
    expect: Pattern | None = None
    timeout_ms: int = 0
    forward: bool = False


@dataclass(frozen=True, slots=True)
class RefusalRule:
    """A message by which the server says no, and what that means for the next dial."""

    pattern: Pattern
    advice: Advice
    name: str = ""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One element of the desired set of subscriptions, by key."""

    key: str
    subscribe: Payload
    unsubscribe: Payload | None = None
    acknowledge: Pattern | None = None


@dataclass(frozen=True, slots=True)
class ApplicationHeartbeat:
    """A text ping that some servers want, and the reply that they owe."""

    send: Payload
    interval_ms: int
    expect: Pattern | None = None
    timeout_ms: int = 0


@dataclass(frozen=True, slots=True)
class QuietWindow:
    """When silence is normal, every week.

    Attributes:
        weekdays: on which it begins; Monday is 0.
        start: `HH:MM`, local.
        end: `HH:MM`, local; at or before `start`: on the following day.
        time_zone: IANA name.
    """

    weekdays: tuple[int, ...]
    start: str
    end: str
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Liveness:
    """The detectors of a feed that is open and yet dead. Milliseconds; zero: off.

    Attributes:
        ping_interval_ms: between protocol pings; zero: the service's default.
        ping_timeout_ms: how long a pong may take; zero: the service's default.
        read_idle_ms: how long nothing at all may arrive.
        first_data_ms: how long the first data may take after open.
        data_age_ms: how old the last data may be.
        data: what counts as data; None: every message that is no heartbeat or dialogue reply.
        heartbeat: the application's own ping.
        quiet: when the data detectors are silent.
    """

    ping_interval_ms: int = 0
    ping_timeout_ms: int = 0
    read_idle_ms: int = 0
    first_data_ms: int = 0
    data_age_ms: int = 0
    data: Pattern | None = None
    heartbeat: ApplicationHeartbeat | None = None
    quiet: tuple[QuietWindow, ...] = ()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Opening:
    """What is said before a session counts as connected.

    Attributes:
        steps: in order.
        refusals: looked for in every message, also after the dialogue.
    """

    steps: tuple[Step, ...] = ()
    refusals: tuple[RefusalRule, ...] = ()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Correlation:
    """How `Send` finds its reply in JSON; both empty: by 16 leading bytes.

    Attributes:
        request_pointer: where the id is put into, or found in, the request.
        reply_pointer: where the reply carries it; empty: as the request.
    """

    request_pointer: str = ""
    reply_pointer: str = ""


class Overflow(StrEnum):
    """What happens when as much waits for the API as may."""

    BLOCK = "block"
    """The socket is read slower; nothing is lost."""
    DROP_OLDEST = "drop_oldest"
    """What waits longest is dropped."""
    DROP_NEWEST = "drop_newest"
    """What comes is dropped, until there is room."""
    CONFLATE = "conflate"
    """Of the waiting messages with one key the latest stays."""
    CLOSE = "close"
    """The session ends, and the connection is dialled later."""
    SPILL = "spill"
    """What comes goes to the local disk, in order."""


class Overlap(StrEnum):
    """What becomes of a message that both sessions of a rotation deliver."""

    CUT = "cut"
    """The new session's first data ends the old one's: nothing is compared."""
    POINTER = "pointer"
    """Messages with an equal JSON value at a place are one."""
    CONTENT = "content"
    """Messages with equal bytes are one."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Rotation:
    """When a session is replaced by a fresh one before the server ends it.

    Attributes:
        max_age_ms: how old a session may become; zero: as old as it likes.
        jitter_ms: by how much earlier it may be, drawn anew per session; zero: a twentieth of
            `max_age_ms`.
        notices: messages by which a server says that it is about to close.
        data_timeout_ms: how long the new session may take to deliver data; zero: the default.
        overlap: how messages of both sessions are told apart.
        overlap_pointer: RFC 6901, for POINTER.
        overlap_window_ms: how long messages are compared; zero: the default.
    """

    max_age_ms: int = 0
    jitter_ms: int = 0
    notices: tuple[Pattern, ...] = ()
    data_timeout_ms: int = 0
    overlap: Overlap = Overlap.CUT
    overlap_pointer: str = ""
    overlap_window_ms: int = 0


@dataclass(frozen=True, slots=True, weakref_slot=True)
class HandshakeOptions:
    """How a socket is opened."""

    headers: tuple[Header, ...] = ()
    subprotocols: tuple[str, ...] = ()
    origin: str = ""
    compression: Compression = Compression.NONE
    open_timeout_ms: int = 0
    close_timeout_ms: int = 0
    proxy: str = field(default="", repr=False)
    tls: TlsOptions = field(default_factory=TlsOptions)
