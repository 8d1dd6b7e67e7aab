"""Has reads that follow one another closely wait for each other, for less than a millisecond.

Waking the process costs more than a message. Where one message comes per turn of the event loop,
thousands of times a second, the turns would use up the core, and messages would wait for it. So
what arrives then is put aside, and read together as soon as the first of it has waited its time.
Reads that are rare, come together in one turn or in a short burst do not wait.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

#: Turns with reads that follow one another within this time are close, seconds.
_CLOSE_SECONDS: Final = 0.000_3
#: So many close ones in a row are a stream. Fewer are a burst, which is over before waiting helps.
_CLOSE_TURNS: Final = 16
#: A stream is over when nothing came for so long, seconds.
_PAUSE_SECONDS: Final = 0.001
#: How long the first may wait, seconds.
_MOST_SECONDS: Final = 0.000_2
#: Of one connection; more than this comes by itself in few turns of the event loop.
MAX_GATHERED_BYTES: Final = 16_384
#: Nothing may follow: then a timer ends the waiting. Event loops count in milliseconds.
_TIMER_SECONDS: Final = 0.001


class Gathered(Protocol):
    """Who has put something aside."""

    def read_gathered(self) -> None:
        """Reads it, if it still is there. Must not raise."""


class Gathering:
    """Shared by the connections of one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[Gathered, None] = {}  # in order
        self._in_turn = False
        self._gathers = False
        self._close_turns = 0
        self._last_at = 0.0
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def asks_to_wait(self, now: float) -> bool:
        """Returns whether what has arrived now should wait for what follows.

        Args:
            now: monotonic seconds.
        """
        if not self._in_turn:
            self._in_turn = True
            asyncio.get_running_loop().call_soon(self._end_turn)
            since, self._last_at = now - self._last_at, now
            if since > (_PAUSE_SECONDS if self._gathers else _CLOSE_SECONDS):
                self._close_turns = 0
            elif self._close_turns < _CLOSE_TURNS:
                self._close_turns += 1
            self._gathers = self._close_turns == _CLOSE_TURNS
        return self._gathers

    def add(self, reader: Gathered) -> None:
        """Has its `read_gathered` called when the waiting is over; again does nothing."""
        if not self._waiting:
            self._due_at = self._last_at + _MOST_SECONDS
            if self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(_TIMER_SECONDS, self._look)
        self._waiting[reader] = None

    def _end_turn(self) -> None:
        self._in_turn = False
        if self._waiting and self._last_at >= self._due_at:
            self._read_all()

    def _look(self) -> None:
        self._timer = None
        if self._waiting:
            self._read_all()

    def _read_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for reader in waiting:
            reader.read_gathered()
