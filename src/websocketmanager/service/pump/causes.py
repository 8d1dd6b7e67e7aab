"""Why delivery is worse than promised, in the words of lifecycle events."""

from __future__ import annotations

from websocketmanager.domain.options import Overflow

TOPIC_REJECTED = "topic_rejected"
PUBLISHING_BEHIND = "publishing_behind"
MESSAGE_REFUSED = "message_refused"
DROPPING = "dropping"
CONFLATING = "conflating"
LOG_UNAVAILABLE = "log_unavailable"

#: Policies that give messages up, and what is said of it.
SHEDDING = {
    Overflow.DROP_OLDEST: (DROPPING, "the buffer is full; what waits longest is dropped"),
    Overflow.DROP_NEWEST: (DROPPING, "the buffer is full; what comes is dropped"),
    Overflow.CLOSE: (DROPPING, "the buffer is full; what still comes is dropped"),
    Overflow.CONFLATE: (CONFLATING, "the buffer is full; the latest message of each key is kept"),
}
#: What is said when the disk's budget costs messages.
DISK_FULL = (DROPPING, "the log on disk is full; the oldest messages in it are dropped")
