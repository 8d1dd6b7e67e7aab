"""Places for sockets: so many per host, one per credential that a server lets in once.

Whoever finds none waits, first come, first served, and holds no place of the same kind meanwhile.
The credential's place is taken before the host's, always in this order, so that no two wait for
each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from websocketmanager.domain.facts import PlaceAwaited
from websocketmanager.ports import Clock, Journal

#: A wait that is longer is told.
TOLD_AFTER_SECONDS: Final = 5.0
#: For sockets that need no place, nearly all: shared, as it keeps nothing.
_NOWHERE: Final[AbstractAsyncContextManager[None]] = nullcontext()


class Kind(StrEnum):
    """What a place is at."""

    CREDENTIAL = "credential"
    HOST = "host"


@dataclass(eq=False, slots=True)
class _Room:
    """The places at one host or for one credential, and who waits: the longest first."""

    places: int
    taken: int = 0
    waiting: dict[asyncio.Event, None] = field(default_factory=dict)

    def leave(self) -> None:
        """Gives a place back, or on to the next."""
        self.taken -= 1
        # A successor took one more than there are: that one is nobody's.
        while self.waiting and self.taken < self.places:
            granted = next(iter(self.waiting))
            del self.waiting[granted]
            self.taken += 1
            granted.set()


class Places:
    """Hands out the places of the process.

    Args:
        clock: tells when a wait has become long.
        journal: is told of it.
        most_at: how many sockets a host may have, by its name; zero: as many as come.
    """

    def __init__(self, clock: Clock, journal: Journal, most_at: Callable[[str], int]) -> None:
        self._clock = clock
        self._journal = journal
        self._most_at = most_at
        self._rooms: dict[tuple[Kind, str], _Room] = {}

    def hold(
        self,
        *,
        host: str,
        exclusive: str = "",
        succeeds: bool = False,
        connection_id: str = "",
        waits: Callable[[], None] = lambda: None,
    ) -> AbstractAsyncContextManager[None]:
        """Waits for its places and keeps them for the block. Cancelling leaves none behind.

        Args:
            host: of the socket, as `domain.host_rules.host_of` returns it.
            exclusive: key of the credential that the server lets in once; empty: none.
            succeeds: takes them at once, even if there are none: the session that it replaces
                leaves as soon as it has taken over.
            connection_id: for the journal; empty: the wait is not told.
            waits: called once, before the first wait, when there is no place at once.
        """
        wanted = {(Kind.CREDENTIAL, exclusive): 1} if exclusive else {}
        if most := self._most_at(host):
            wanted[Kind.HOST, host] = most
        if not wanted:
            return _NOWHERE
        return self._hold(wanted, succeeds=succeeds, connection_id=connection_id, waits=waits)

    @asynccontextmanager
    async def _hold(
        self,
        wanted: dict[tuple[Kind, str], int],
        *,
        succeeds: bool,
        connection_id: str,
        waits: Callable[[], None],
    ) -> AsyncIterator[None]:
        held: list[tuple[Kind, str]] = []
        told = False
        try:
            for key, places in wanted.items():
                room = self._rooms.setdefault(key, _Room(places))
                if succeeds or room.taken < places:
                    room.taken += 1
                else:
                    if not told:
                        told = True
                        waits()
                    await self._wait(key, connection_id)
                held.append(key)
            yield
        finally:
            for key in reversed(held):
                self._leave(key)

    async def _wait(self, key: tuple[Kind, str], connection_id: str) -> None:
        room, granted = self._rooms[key], asyncio.Event()
        room.waiting[granted] = None
        try:
            try:
                async with self._clock.timeout(TOLD_AFTER_SECONDS if connection_id else None):
                    await granted.wait()
            except TimeoutError:
                if not granted.is_set():
                    self._tell(room, key[0], connection_id)
                await granted.wait()
        except BaseException:
            if granted.is_set():
                self._leave(key)
            else:
                del room.waiting[granted]
            raise

    def _tell(self, room: _Room, kind: Kind, connection_id: str) -> None:
        waiting = len(room.waiting)
        self._journal.emit(PlaceAwaited(connection_id, kind.value, room.places, waiting))

    def _leave(self, key: tuple[Kind, str]) -> None:
        room = self._rooms[key]
        room.leave()
        if not room.taken:
            del self._rooms[key]
