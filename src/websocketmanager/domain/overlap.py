"""Tells which messages of a new session its predecessor has delivered as well.

Both sessions of a rotation read the same feed for a moment. The old one's messages are noted by
a key with their time; a message of the new one with an equal key, near enough in time, is a
repetition. Each noted message answers for one repetition: what a feed really sends twice is
published twice.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable

from websocketmanager.domain.json_pointer import MISSING, lookup, parse_pointer
from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.options import Overlap, Rotation

#: Milliseconds for which messages are compared, unless chosen.
DEFAULT_WINDOW_MS = 5000
#: Messages of the old session that are remembered at most; beyond, the oldest are forgotten.
MAX_NOTED = 200_000

Key = Callable[[Message], bytes | None]


class OverlapFilter:
    """Compares two sessions. Times are seconds of one monotonic clock.

    Args:
        key: of a message; None where it has none: then it is never a repetition.
        window_seconds: how far apart in time two equal messages may be.
    """

    def __init__(self, key: Key, *, window_seconds: float) -> None:
        self._key = key
        self._window = window_seconds
        self._noted: deque[tuple[float, bytes]] = deque()
        self._times: dict[bytes, deque[float]] = {}
        self._since: float | None = None
        self.repeated = 0

    def note(self, message: Message, at: float) -> None:
        """Remembers a message that the old session delivers."""
        key = self._key(message)
        if key is None:
            return
        self._noted.append((at, key))
        self._times.setdefault(key, deque()).append(at)
        # Nothing of the new session is older than its first message.
        oldest = (at if self._since is None else self._since) - self._window
        while self._noted and (self._noted[0][0] < oldest or len(self._noted) > MAX_NOTED):
            self._forget(*self._noted.popleft())

    def begin(self, at: float) -> None:
        """Notes the time of the new session's first message; safe to repeat."""
        if self._since is None:
            self._since = at

    def repeats(self, message: Message, at: float) -> bool:
        """Returns whether a message of the new session, arrived at this time, is a repetition."""
        if not self._times:
            return False
        key = self._key(message)
        times = None if key is None else self._times.get(key)
        if not times or key is None:
            return False
        for index, noted in enumerate(times):
            if abs(noted - at) <= self._window:
                del times[index]
                if not times:
                    del self._times[key]
                self.repeated += 1
                return True
        return False

    def over(self, at: float) -> bool:
        """Returns whether nothing that arrives from this time on can be a repetition."""
        return not self._noted or self._noted[-1][0] + self._window < at

    def _forget(self, at: float, key: bytes) -> None:
        times = self._times.get(key)
        if times and times[0] == at:
            times.popleft()
            if not times:
                del self._times[key]


def overlap_filter(rotation: Rotation) -> OverlapFilter | None:
    """Returns what compares the sessions of a rotation; None where nothing is compared."""
    if rotation.overlap is Overlap.CUT:
        return None
    window = (rotation.overlap_window_ms or DEFAULT_WINDOW_MS) / 1000
    if rotation.overlap is Overlap.CONTENT:
        return OverlapFilter(_content_key, window_seconds=window)
    return OverlapFilter(_pointer_key(rotation.overlap_pointer), window_seconds=window)


def _content_key(message: Message) -> bytes:
    # A digest: what is remembered must not cost what the messages cost.
    kind = b"text" if message.kind is Kind.TEXT else b"binary"
    return hashlib.blake2b(message.data, digest_size=16, person=kind).digest()


def _pointer_key(text: str) -> Key:
    pointer = parse_pointer(text)

    def key(message: Message) -> bytes | None:
        try:
            value = lookup(json.loads(message.data), pointer)
        except (ValueError, RecursionError):
            return None
        if value is MISSING:
            return None
        canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(canonical.encode(), digest_size=16).digest()

    return key
