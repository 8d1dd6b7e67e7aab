"""What the event loop asks of the thread that owns the log, in the order of the calls.

Tuples, since one is made for whatever arrives together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from websocketmanager.domain.overflow import LogEntry, LogRun
from websocketmanager.ports import LogListener


class Open(NamedTuple):
    """A stream is to be opened."""

    stream: str
    listener: LogListener


class Append(NamedTuple):
    """Entries are to be appended."""

    stream: str
    entries: LogRun
    room: int


class Insert(NamedTuple):
    """Entries are to be put behind a position, where there is room."""

    stream: str
    after: int
    entries: Sequence[LogEntry]


class Acknowledge(NamedTuple):
    """Entries up to a position are done with."""

    stream: str
    position: int


class Read(NamedTuple):
    """Entries behind a position are wanted."""

    stream: str
    after: int
    max_entries: int
    max_bytes: int


class TrimRequest(NamedTuple):
    """The oldest entries behind a position are given up."""

    stream: str
    after: int
    size: int
    cause: str
    at: float


class Remove(NamedTuple):
    """A stream is to be forgotten."""

    stream: str


Request: TypeAlias = Open | Append | Insert | Acknowledge | Read | TrimRequest | Remove
