"""Why a dial failed or a socket ended: a closed vocabulary of values.

Adapters make failures from their library's exceptions; `retry.classify` says what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """The `error_type` of events and errors. Closed: every kind has a class in `retry`."""

    DNS_FAILED = "dns_failed"
    ADDRESS_REFUSED = "address_refused"
    CONNECT_REFUSED = "connect_refused"
    NETWORK_ERROR = "network_error"
    PROXY_FAILED = "proxy_failed"
    TLS_FAILED = "tls_failed"
    OPEN_TIMEOUT = "open_timeout"
    HANDSHAKE_REJECTED = "handshake_rejected"
    HANDSHAKE_INVALID = "handshake_invalid"
    PEER_CLOSED = "peer_closed"
    CONNECTION_LOST = "connection_lost"
    PROTOCOL_ERROR = "protocol_error"
    INVALID_UTF8 = "invalid_utf8"
    MESSAGE_TOO_BIG = "message_too_big"
    PING_TIMEOUT = "ping_timeout"
    READ_IDLE = "read_idle"
    FIRST_DATA_MISSING = "first_data_missing"
    DATA_STALE = "data_stale"
    HEARTBEAT_TIMEOUT = "heartbeat_timeout"
    DIALOGUE_TIMEOUT = "dialogue_timeout"
    BUFFER_OVERFLOW = "buffer_overflow"
    ROTATED = "rotated"
    SERVER_REFUSED = "server_refused"
    SECRET_MISSING = "secret_missing"  # noqa: S105 - a kind of failure
    INTERNAL = "internal"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure with what is known of it.

    Attributes:
        kind: its class in the closed vocabulary.
        message: a sentence for an operator; never holds secrets of the URL.
        close_code: the close code received (RFC 6455 §7.4), 0 when none was.
        close_reason: the reason received with it.
        http_status: of a handshake that was answered with another status, else 0.
        retry_after_seconds: the server's `Retry-After` (RFC 9110 §10.2.3), when it gave one.
        advice: again, later or never, where the caller's own rule says so; else empty.
    """

    kind: FailureKind
    message: str
    close_code: int = 0
    close_reason: str = ""
    http_status: int = 0
    retry_after_seconds: float | None = None
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


class SocketFailed(Exception):
    """A dial failed or a socket ended, for the reason in `failure`."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(str(failure))
