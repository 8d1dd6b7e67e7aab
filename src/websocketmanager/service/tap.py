"""Messages of one connection to whoever looks on: a bounded ring each, lossy by intent.

Costs the stream nothing while nobody looks, and a reference while somebody does: a reader that
is slow misses the oldest, and how many is told with the next.
"""

from __future__ import annotations

from collections.abc import Sequence

from websocketmanager.domain.envelope import StreamIdentity
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import TailedMessage, Topic
from websocketmanager.errors import LimitReached
from websocketmanager.ports import Clock
from websocketmanager.service.mailbox import Mailbox

#: What may wait for one reader.
MAX_WAITING = 1024
MAX_WAITING_BYTES = 4 * 1024 * 1024
#: Readers of one connection.
MAX_TAPS = 16
#: After so much a reader pauses, so that a fast stream is not written twice at full speed.
BURST_MESSAGES = 64
_BURST_BYTES = 1024 * 1024
_PAUSE_SECONDS = 0.05


#: What is kept of a message until it is read: the rest is made for the reader alone.
_Kept = tuple[bytes, int, Kind, StreamIdentity, float, Topic | None]


class Tap:
    """An asynchronous iterator over a connection's messages, for one reader."""

    def __init__(self, taps: Taps, clock: Clock, *, max_message_bytes: int) -> None:
        self._box: Mailbox[_Kept] = Mailbox(lambda: taps.drop(self))
        self._clock = clock
        self._max_message_bytes = max_message_bytes
        self._bytes = 0
        self._skipped = 0
        self._burst = 0
        self._burst_bytes = 0

    def take(  # noqa: PLR0917 - as MessageRun
        self,
        kind: Kind,
        payloads: Sequence[bytes],
        identity: StreamIdentity,
        first: int,
        at: float,
        topic: Topic | None,
    ) -> None:
        """Takes messages that came together; never blocks."""
        self._box.extend(
            [
                (data, sequence, kind, identity, at, topic)
                for sequence, data in enumerate(payloads, first)
            ]
        )
        waiting = self._box.waiting
        size = self._bytes + sum(map(len, payloads))
        while len(waiting) > MAX_WAITING or (size > MAX_WAITING_BYTES and len(waiting) > 1):
            size -= len(waiting.popleft()[0])
            self._skipped += 1
        self._bytes = size

    def finish(self, error: Exception | None) -> None:
        """Ends the stream behind what waits."""
        self._box.finish(error)

    def close(self) -> None:
        """The reader leaves; safe to repeat."""
        self._box.close()

    def __aiter__(self) -> Tap:
        return self

    async def __anext__(self) -> TailedMessage:
        if self._burst >= BURST_MESSAGES or self._burst_bytes >= _BURST_BYTES:
            self._burst = self._burst_bytes = 0
            await self._clock.sleep(_PAUSE_SECONDS)
        whole, sequence, kind, identity, at, topic = await anext(self._box)
        size = len(whole)
        data = whole[: self._max_message_bytes or None]
        self._bytes -= size
        self._burst += 1
        self._burst_bytes += len(data)
        skipped, self._skipped = self._skipped, 0
        return TailedMessage(
            id=f"{identity.id_prefix}{sequence}",
            kind=kind,
            data=data,
            size=size,
            at=at,
            session=identity.session,
            sequence=sequence,
            owner_epoch=identity.owner_epoch,
            topic=topic,
            skipped=skipped,
        )


class Taps:
    """Those who look on at one connection. `open` is empty nearly always."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open: tuple[Tap, ...] = ()

    def add(self, clock: Clock, *, max_message_bytes: int) -> Tap:
        """Returns the messages from now on, each cut to so many bytes; 0: whole.

        Raises:
            LimitReached: too many look on already.
        """
        if len(self.open) >= MAX_TAPS:
            raise LimitReached(limit="tails of one connection", maximum=MAX_TAPS)
        tap = Tap(self, clock, max_message_bytes=max_message_bytes)
        self.open = (*self.open, tap)
        return tap

    def take(  # noqa: PLR0917 - as MessageRun
        self,
        kind: Kind,
        payloads: Sequence[bytes],
        identity: StreamIdentity,
        first: int,
        at: float,
        topic: Topic | None,
    ) -> None:
        """Shows messages that came together to all; they are numbered from `first`."""
        for tap in self.open:
            tap.take(kind, payloads, identity, first, at, topic)

    def end(self, error: Exception | None) -> None:
        """Ends all streams."""
        taps, self.open = self.open, ()
        for tap in taps:
            tap.finish(error)

    def drop(self, tap: Tap) -> None:
        """Forgets one that left."""
        self.open = tuple(one for one in self.open if one is not tap)
