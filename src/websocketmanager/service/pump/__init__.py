"""The bounded buffer from a connection's socket to its topic.

`pump` numbers, routes and counts what comes, `buffer` is what waits and its bounds, `shedding` is
what happens at them by a policy that gives messages up, `figures` what can be seen of it, `causes`
are the words for what is worse than promised.
"""

from websocketmanager.service.pump.causes import (
    CONFLATING,
    DROPPING,
    LOG_UNAVAILABLE,
    MESSAGE_REFUSED,
    PUBLISHING_BEHIND,
    TOPIC_REJECTED,
)
from websocketmanager.service.pump.pump import Pump

__all__ = [
    "CONFLATING",
    "DROPPING",
    "LOG_UNAVAILABLE",
    "MESSAGE_REFUSED",
    "PUBLISHING_BEHIND",
    "TOPIC_REJECTED",
    "Pump",
]
