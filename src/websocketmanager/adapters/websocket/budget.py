"""How much the connections of one process may have read that nobody took yet. Pure."""

from __future__ import annotations

from typing import Final

#: Per connection, bytes. The service's own buffer is behind it.
MAX_UNREAD_BYTES: Final = 1_048_576
#: For all connections of a dialer together, bytes.
MAX_UNREAD_BYTES_IN_ALL: Final = 67_108_864


class ReadBudget:
    """Shared by the connections of one dialer.

    Args:
        most: bytes. Beyond them a connection pauses as soon as it has anything unread.
        most_each: bytes of one connection.

    Attributes:
        used: bytes that are unread now.
    """

    def __init__(
        self, most: int = MAX_UNREAD_BYTES_IN_ALL, most_each: int = MAX_UNREAD_BYTES
    ) -> None:
        self._most = most
        self._most_each = most_each
        self.used = 0

    @property
    def allowance(self) -> int:
        """Unread bytes above which a connection has to pause now."""
        return self._most_each if self.used <= self._most else 0
