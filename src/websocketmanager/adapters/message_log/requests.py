"""What the event loop asks of the thread that owns the log, in the order of the calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from websocketmanager.domain.overflow import LogEntry
from websocketmanager.ports import LogListener


@dataclass(frozen=True, slots=True)
class Open:
    """A stream is to be opened."""

    stream: str
    listener: LogListener


@dataclass(frozen=True, slots=True)
class Append:
    """An entry is to be appended."""

    stream: str
    entry: LogEntry


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Entries up to a position are done with."""

    stream: str
    position: int


@dataclass(frozen=True, slots=True)
class Read:
    """Entries behind a position are wanted."""

    stream: str
    after: int
    max_entries: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class TrimRequest:
    """The oldest entries behind a position are given up."""

    stream: str
    after: int
    size: int
    cause: str
    at: float


@dataclass(frozen=True, slots=True)
class Remove:
    """A stream is to be forgotten."""

    stream: str


Request: TypeAlias = Open | Append | Acknowledge | Read | TrimRequest | Remove
