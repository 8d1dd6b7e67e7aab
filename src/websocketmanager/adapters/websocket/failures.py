"""Translates what the network, TLS and the library raise into the domain's failures.

Sentences are built from facts of our own: a text that the peer or the library composed may
repeat the URL and its secrets.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from websockets.client import ClientProtocol
from websockets.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidStatus,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
    SecurityError,
)
from websockets.http11 import Response

from websocketmanager.adapters.websocket.proxying import ProxyFailed
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.redaction import HIDDEN, scrub
from websocketmanager.ports import DialTarget

#: RFC 9110 §10.2.3; more digits than any wait can have are no number of seconds.
_DELTA_SECONDS: Final = re.compile(r"[0-9]{1,12}")
#: Shorter parts of a header are not searched for in a peer's words: they would be found everywhere.
_MIN_SECRET_LENGTH: Final = 8
_HEADER_PARTS: Final = re.compile(r"[\s,;=]+")


class OneConnection(Protocol):
    """What failures are told from, of either engine."""

    @property
    def protocol(self) -> ClientProtocol:
        """The library's part: state, close frames, the handshake's fault."""

    @property
    def max_message_bytes(self) -> int:
        """Of one inbound message, after decompression."""

    @property
    def cut_off(self) -> bool:
        """Whether the peer ended the stream before its answer to the handshake was whole."""

    @property
    def connection_exc(self) -> BaseException | None:
        """With which the transport ended, if with any."""

    @property
    def fault(self) -> Exception | None:
        """What the stream did wrong by the library's rules, if anything."""


def opening_failure(
    error: Exception, place: str, *, now: float, connection: OneConnection | None = None
) -> Failure:
    """Names the failure of an attempt at one address. Total.

    Args:
        error: what the attempt raised.
        place: the address and port that were dialled.
        now: Unix seconds, against which a `Retry-After` date counts.
        connection: the attempt's, when its transport was open.
    """
    match error:
        case InvalidStatus():
            return _rejected(error.response, place, now)
        case ProxyFailed():
            kind, words = FailureKind.PROXY_FAILED, f"was not reached: the proxy {error.words}"
        case InvalidMessage() if connection is not None and connection.cut_off:
            kind, words = _cut_off(connection)
        case InvalidHandshake():
            kind, words = FailureKind.HANDSHAKE_INVALID, _handshake_fault(error)
        case ssl.SSLError():
            kind, words = FailureKind.TLS_FAILED, _tls_fault(error)
        case ConnectionRefusedError():
            kind, words = FailureKind.CONNECT_REFUSED, "refused the connection"
        case TimeoutError():
            kind, words = FailureKind.OPEN_TIMEOUT, "did not answer in time"
        case OSError():
            kind, words = FailureKind.NETWORK_ERROR, f"cannot be reached: {_os_fault(error)}"
        case _:
            kind, words = FailureKind.UNKNOWN, f"could not be opened: {type(error).__name__}"
    return Failure(kind, f"{place} {words}")


def ending_failure(connection: OneConnection, target: DialTarget) -> Failure:
    """Names why a connection that was open is closed. Total.

    Args:
        connection: in the state CLOSED.
        target: that was dialled, whose secrets a close reason may repeat.
    """
    protocol = connection.protocol
    if (received := protocol.close_rcvd) is None:
        return _broken_off(connection)
    first = "the peer" if protocol.close_rcvd_then_sent else "this side"
    return Failure(
        FailureKind.PEER_CLOSED,
        f"{first} closed the connection; the peer's code is {int(received.code)}",
        close_code=int(received.code),
        close_reason=_scrubbed(received.reason, target),
    )


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Reads a `Retry-After` header: seconds, or a date as seconds from now, never below zero."""
    text = (value or "").strip()
    if _DELTA_SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    # A date without a zone is in GMT (RFC 9110 §5.6.7).
    aware = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    return max(0.0, aware.timestamp() - now)


def _scrubbed(words: str, target: DialTarget) -> str:
    """Hides what a peer's words repeat of the URL's secrets and of the headers that it was sent."""
    parts = {part for _, value in target.headers for part in (value, *_HEADER_PARTS.split(value))}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _MIN_SECRET_LENGTH:
            words = words.replace(part, HIDDEN)
    return scrub(words, target.url)


def _cut_off(connection: OneConnection) -> tuple[FailureKind, str]:
    cause = connection.connection_exc
    if isinstance(cause, ssl.SSLError):
        # In TLS 1.3 a server judges our certificate when we have gone on already.
        return FailureKind.TLS_FAILED, _tls_fault(cause)
    return FailureKind.NETWORK_ERROR, "ended the connection before it answered"


def _rejected(response: Response, place: str, now: float) -> Failure:
    values = response.headers.get_all("Retry-After")
    return Failure(
        FailureKind.HANDSHAKE_REJECTED,
        f"{place} answered the handshake with HTTP status {response.status_code}",
        http_status=response.status_code,
        retry_after_seconds=retry_after_seconds(values[0] if values else None, now),
    )


def _handshake_fault(error: InvalidHandshake) -> str:
    if isinstance(error, InvalidHeader):
        return f"answered the handshake with a missing or wrong {error.name} header"
    if isinstance(error, NegotiationError):
        return "chose an extension or a subprotocol that was not offered"
    if isinstance(error, SecurityError):
        return "answered the handshake with more than is read"
    return "did not answer the handshake with a valid HTTP response"


def _tls_fault(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a certificate that is not accepted: {error.verify_message}"
    # OpenSSL's name of the fault; errors that do not come from it have none.
    reason: str = getattr(error, "reason", None) or type(error).__name__
    return f"failed in TLS: {reason.replace('_', ' ').lower()}"


def _os_fault(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _broken_off(connection: OneConnection) -> Failure:
    fault = connection.fault
    match fault:
        case PayloadTooBig():
            limit = connection.max_message_bytes
            kind, words = FailureKind.MESSAGE_TOO_BIG, f"a message has more than {limit} bytes"
        case ProtocolError():
            # The library's sentences on frames are its own words throughout.
            kind, words = FailureKind.PROTOCOL_ERROR, f"the peer broke the protocol: {fault}"
        case UnicodeDecodeError():
            kind, words = FailureKind.INVALID_UTF8, "the peer's close reason is not UTF-8"
        case None | EOFError():
            kind, words = FailureKind.CONNECTION_LOST, _loss(connection)
        case _:
            kind, words = FailureKind.INTERNAL, f"reading failed: {type(fault).__name__}"
    return Failure(kind, words)


def _loss(connection: OneConnection) -> str:
    cause = connection.connection_exc
    if connection.protocol.close_sent is not None:
        return "this side closed the connection, and the peer did not answer"
    if isinstance(cause, OSError):
        return f"the connection was lost: {_os_fault(cause)}"
    return "the connection ended without a close frame"
