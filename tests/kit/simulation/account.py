"""What was published of one connection, read back; with what it is to be compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.kit.simulation.log import Produced, SessionLog, VenueLog
from websocketmanager.domain.envelope import (
    LIFECYCLE_TYPE_PREFIX,
    MESSAGE_TYPE,
    STREAM_TYPE_PREFIX,
    Event,
    event_time,
)
from websocketmanager.domain.options import Overlap

MESSAGE, STARTED, GAP, ENDED = "message", "started", "gap", "ended"
#: A second gap marker: the gap reaches into the session, to its last subscription.
EXTENDED = "extended"


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the stream: a message, or a marker with its facts. `at` is Unix seconds."""

    kind: str
    session: int
    sequence: int
    at: float
    data: bytes
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One lifecycle event."""

    state: str
    at: float
    number: int
    facts: dict[str, Any]

    @property
    def takes_over(self) -> bool:
        """Whether it tells of a session that took over from the one before."""
        return self.state == "connected" and self.facts.get("reason") == "rotated"


@dataclass
class Account:
    """Everything of one connection and its venue. Times are Unix seconds.

    Attributes:
        log: the venue's, of all its connections.
        violations: that the venue noted.
        url: of the connection.
        stream: its topic, in order.
        lifecycle: its changes, in order.
        wanted: when which streams were desired, in order; the first is the intent of `Connect`.
        begun_at, ended_at: the time that is looked at; the end must be quiet.
        spacing_seconds: between two frames of ours.
        overlap: how the sessions of a rotation are told apart.
        words: of the venue in the opening dialogue.
        exclusive: whether two sessions at a time are forbidden.
        silence_seconds: how long a dead link may stay unnoticed.
        slow_seconds: the least delay before a dial that follows a failure of class `later`.
    """

    log: VenueLog
    violations: Sequence[str]
    url: str
    stream: list[Entry]
    lifecycle: list[Change]
    wanted: list[tuple[float, frozenset[str]]]
    begun_at: float
    ended_at: float
    spacing_seconds: float = 0.0
    overlap: Overlap = Overlap.CUT
    words: int = 0
    exclusive: bool = False
    silence_seconds: float = 50.0
    slow_seconds: float = 15.0
    _produced: dict[bytes, Produced] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._produced = {one.data: one for one in self.log.produced}

    @cached_property
    def links(self) -> list[SessionLog]:
        """Returns the venue's sessions of this connection."""
        return [one for one in self.log.sessions if one.url == self.url]

    @cached_property
    def sessions(self) -> dict[int, SessionLog]:
        """Returns the venue's account of each numbered session, by our number.

        The `connected` event tells the address, and no two sessions have the same.
        """
        by_address = {one.address: one for one in self.links}
        return {
            change.facts["session"]: by_address[change.facts["address"]]
            for change in self.lifecycle
            if change.state == "connected"
        }

    def produced(self, entry: Entry) -> Produced | None:
        """Returns what an entry tells; None for what is no data."""
        return self._produced.get(entry.data) if entry.kind == MESSAGE else None

    def wanted_at(self, at: float) -> frozenset[str]:
        """Returns what was desired at a time."""
        return next((those for since, those in reversed(self.wanted) if since <= at), frozenset())


def read_stream(events: Iterable[Event]) -> list[Entry]:
    """Returns the events of a connection's topic."""
    entries = []
    for event in events:
        metadata = event.metadata
        message = metadata["ce-type"] == MESSAGE_TYPE
        facts = {} if message else json.loads(event.data)
        kind = MESSAGE if message else metadata["ce-type"].removeprefix(STREAM_TYPE_PREFIX)
        entries.append(
            Entry(
                EXTENDED if facts.get("cause") == "subscribing" else kind,
                int(metadata["ce-session"]),
                int(metadata["ce-sequence"]),
                event_time(event),
                event.data,
                facts,
            )
        )
    return entries


def read_lifecycle(events: Iterable[Event]) -> list[Change]:
    """Returns the events of one connection on the lifecycle topic."""
    return [
        Change(
            event.metadata["ce-type"].removeprefix(LIFECYCLE_TYPE_PREFIX),
            event_time(event),
            int(event.metadata["ce-id"].rpartition("/")[2]),
            json.loads(event.data),
        )
        for event in events
    ]
