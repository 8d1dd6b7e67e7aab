"""What follows from a failure: again, later or never; and after which delay.

Total over the closed vocabulary of `failure.FailureKind`; close codes and HTTP statuses by table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from websocketmanager.domain.failure import Failure, FailureKind


class Advice(StrEnum):
    """What a failure means for the next dial."""

    AGAIN = "again"
    """Dial with the usual backoff."""
    LATER = "later"
    """Dial, but slowly: the server is strained, or the fault is unlikely to pass soon."""
    NEVER = "never"
    """Do not dial again: it cannot succeed until somebody changes something."""


_BY_KIND: dict[FailureKind, Advice] = {
    FailureKind.DNS_FAILED: Advice.AGAIN,
    # A name may point to a refused address for a while (split-horizon DNS): slow, never final.
    FailureKind.ADDRESS_REFUSED: Advice.LATER,
    FailureKind.CONNECT_REFUSED: Advice.AGAIN,
    FailureKind.NETWORK_ERROR: Advice.AGAIN,
    FailureKind.PROXY_FAILED: Advice.AGAIN,
    # Certificates expire and are renewed while we wait.
    FailureKind.TLS_FAILED: Advice.LATER,
    FailureKind.OPEN_TIMEOUT: Advice.AGAIN,
    FailureKind.HANDSHAKE_REJECTED: Advice.AGAIN,  # refined by status
    FailureKind.HANDSHAKE_INVALID: Advice.LATER,
    FailureKind.PEER_CLOSED: Advice.AGAIN,  # refined by close code
    FailureKind.CONNECTION_LOST: Advice.AGAIN,
    FailureKind.PROTOCOL_ERROR: Advice.LATER,
    FailureKind.INVALID_UTF8: Advice.LATER,
    FailureKind.MESSAGE_TOO_BIG: Advice.LATER,
    FailureKind.PING_TIMEOUT: Advice.AGAIN,
    FailureKind.READ_IDLE: Advice.AGAIN,
    FailureKind.FIRST_DATA_MISSING: Advice.AGAIN,
    FailureKind.DATA_STALE: Advice.AGAIN,
    FailureKind.HEARTBEAT_TIMEOUT: Advice.AGAIN,
    FailureKind.DIALOGUE_TIMEOUT: Advice.AGAIN,
    # The API must catch up first.
    FailureKind.BUFFER_OVERFLOW: Advice.LATER,
    FailureKind.ROTATED: Advice.AGAIN,
    FailureKind.SERVER_REFUSED: Advice.LATER,  # refined by the rule that matched
    # It may be mounted or corrected while we wait.
    FailureKind.SECRET_MISSING: Advice.LATER,
    FailureKind.INTERNAL: Advice.LATER,
    FailureKind.UNKNOWN: Advice.LATER,
}

#: RFC 6455 §7.4.1 and the IANA registry of close codes. Codes not listed below 3000 come from a
#: confused peer, application codes (3000-4999) mean what we cannot know: both slowly.
_BY_CLOSE_CODE: dict[int, Advice] = {
    1000: Advice.AGAIN,  # normal closure: the server ended it, the user did not
    1001: Advice.AGAIN,  # going away
    1005: Advice.AGAIN,  # a close frame without code
    1006: Advice.AGAIN,  # no close frame
    1011: Advice.AGAIN,  # internal error
    1012: Advice.AGAIN,  # service restart
    1013: Advice.LATER,  # try again later
    1014: Advice.AGAIN,  # bad gateway
    1008: Advice.LATER,  # policy violation: rate limits, usually
    3000: Advice.NEVER,  # unauthorized
    3003: Advice.NEVER,  # forbidden
    3008: Advice.AGAIN,  # timeout
}

_BY_STATUS: dict[int, Advice] = {
    404: Advice.LATER,  # routes vanish for the time of a deployment
    408: Advice.AGAIN,
    418: Advice.LATER,  # a ban for a while, at some venues
    425: Advice.AGAIN,
    429: Advice.LATER,
}

#: Close codes that end a session in good order; anything else is an error worth announcing.
ORDERLY_CLOSE_CODES = frozenset({1000, 1001})

#: "Unknown" is our own ignorance: slow, and not for ever.
MAX_UNKNOWN_ATTEMPTS = 20

#: A server's Retry-After is believed up to here, in seconds.
MAX_RETRY_AFTER_SECONDS = 3600.0


def classify(failure: Failure) -> Advice:
    """Returns what the failure means for the next dial. Total."""
    if failure.advice:
        return Advice(failure.advice)
    if failure.kind is FailureKind.PEER_CLOSED:
        return _BY_CLOSE_CODE.get(failure.close_code, Advice.LATER)
    if failure.kind is FailureKind.HANDSHAKE_REJECTED:
        return _classify_status(failure)
    return _BY_KIND[failure.kind]


def _classify_status(failure: Failure) -> Advice:
    status = failure.http_status
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if failure.retry_after_seconds is not None:
        return Advice.LATER
    if 300 <= status < 500:
        # Redirects are not followed: their target was never judged.
        return Advice.NEVER
    return Advice.AGAIN


def is_orderly(failure: Failure) -> bool:
    """Whether a session ended in good order: by rotation, or by a 1000 or 1001 of the peer."""
    if failure.kind is FailureKind.ROTATED:
        return True
    return failure.kind is FailureKind.PEER_CLOSED and failure.close_code in ORDERLY_CLOSE_CODES


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """Capped exponential backoff with full jitter.

    Attributes:
        base_seconds: cap of the first delay.
        max_seconds: cap of every delay.
        stable_after_seconds: how long a session must be open before attempts count from one.
        max_attempts: attempts in a row before giving up; 0 for no end.
    """

    base_seconds: float = 1.0
    max_seconds: float = 30.0
    stable_after_seconds: float = 30.0
    max_attempts: int = 0

    def delay(self, failure: Failure, *, attempt: int, dice: float) -> float:
        """Returns the seconds to wait before the attempt.

        Args:
            failure: why the last attempt failed or the session ended.
            attempt: number of the coming attempt in this row, from 1.
            dice: a number from 0 (included) to 1 (excluded).
        """
        if classify(failure) is Advice.AGAIN:
            # 2**63 is beyond any cap: large attempts must not overflow a float.
            cap = min(self.max_seconds, self.base_seconds * 2.0 ** min(attempt - 1, 63))
            return dice * cap
        # Slowly: the upper half of the cap, and never before the server's own word.
        slow = self.max_seconds * (0.5 + 0.5 * dice)
        asked = min(failure.retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS)
        # Many connections were told the same: spread them behind the time that was asked for.
        return max(slow, asked * (1.0 + 0.1 * dice)) if asked else slow

    def exhausted(self, failure: Failure, *, attempt: int) -> bool:
        """Whether the coming attempt is one too many."""
        if failure.kind is FailureKind.UNKNOWN and attempt > MAX_UNKNOWN_ATTEMPTS:
            return True
        return self.max_attempts > 0 and attempt > self.max_attempts
