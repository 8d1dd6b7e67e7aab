"""What is given up when too much waits, and what the stream says of it. Pure.

A place is a message's session and its sequence within it; a gap names the last place before and
the first one behind what is missing, and how many messages are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile
from typing import Any, TypeAlias

from websocketmanager.domain.envelope import json_bytes
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.json_pointer import Missing, Pointer, lookup, parse_pointer
from websocketmanager.domain.model import Format, Topic

#: The marker that stands for what is missing.
GAP = "gap"
#: What an entry costs on disk beside its data and topic, roughly.
_ENTRY_BYTES = 96

#: Session and sequence.
Place: TypeAlias = tuple[int, int]


def begun_within(payloads: Sequence[bytes], size: int, beside: int = 0) -> int:
    """Returns how many, from the front, begin before so many bytes are there: one at least.

    So the last of them may go beyond.

    Args:
        payloads: one at least.
        size: bytes.
        beside: bytes that each takes beside its own.
    """
    ends = takewhile(lambda end: end < size, accumulate(len(one) + beside for one in payloads))
    return min(len(payloads), 1 + sum(1 for _ in ends))


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages that were given up.

    Attributes:
        first: place of the first one.
        last: place of the last one.
        lost: how many; others in between may have been kept.
        cause: the policy that gave them up.
    """

    first: Place
    last: Place
    lost: int
    cause: str

    def joined(self, later: Gap) -> Gap:
        """Returns one gap for both; the other one is not before this one."""
        return Gap(
            min(self.first, later.first),
            max(self.last, later.last),
            self.lost + later.lost,
            self.cause,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """What its marker says. The marker stands in the session, and at the place, of `last`."""
        return {
            "session": self.last[0],
            "from_session": self.first[0],
            "from_sequence": self.first[1] - 1,
            "to_sequence": self.last[1] + 1,
            "cause": self.cause,
            "lost": self.lost,
        }

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> Gap:
        """Returns the gap that a marker tells of."""
        return cls(
            (facts["from_session"], facts["from_sequence"] + 1),
            (facts["session"], facts["to_sequence"] - 1),
            facts["lost"],
            facts["cause"],
        )


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One message or marker as the log on disk keeps it: enough to make its event again.

    Attributes:
        session: of the connection.
        sequence: within the session.
        at: Unix seconds of its receipt.
        owner_epoch: of the process that received it.
        topic: where it goes.
        kind: frame type; of a marker without meaning.
        marker: which one; empty: a message.
        data: the message, or the facts of a marker as JSON.
    """

    session: int
    sequence: int
    at: float
    owner_epoch: int
    topic: Topic
    kind: Kind
    marker: str
    data: bytes

    @property
    def size(self) -> int:
        """Bytes on disk, roughly."""
        return len(self.data) + entry_bytes(self.topic)

    @property
    def is_message(self) -> bool:
        """Whether it is a message, and not a marker."""
        return not self.marker

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.session, self.sequence


@dataclass(frozen=True, slots=True)
class LogRun:
    """Messages that came together, or one marker, on their way to the log: one entry for each.

    Attributes:
        session, at, owner_epoch, topic, kind, marker: of each entry, as there.
        first: sequence number of the first; the others follow.
        payloads: data of each entry.
    """

    session: int
    first: int
    at: float
    owner_epoch: int
    topic: Topic
    kind: Kind
    marker: str
    payloads: Sequence[bytes]

    @property
    def count(self) -> int:
        """How many entries there are."""
        return len(self.payloads)

    @property
    def size(self) -> int:
        """Bytes of all on disk, roughly."""
        return sum(map(len, self.payloads)) + len(self.payloads) * entry_bytes(self.topic)

    def part(self, start: int, stop: int) -> LogRun:
        """Returns those from place `start` to before `stop`."""
        return replace(self, first=self.first + start, payloads=self.payloads[start:stop])

    def entries(self) -> list[LogEntry]:
        """Returns them one by one."""
        return [
            LogEntry(
                self.session,
                sequence,
                self.at,
                self.owner_epoch,
                self.topic,
                self.kind,
                self.marker,
                data,
            )
            for sequence, data in enumerate(self.payloads, self.first)
        ]


def runs_of_entries(
    entries: Iterable[tuple[int, LogEntry]],
) -> Iterator[tuple[int, LogRun]]:
    """Yields entries as they came together, each run with the position of its first.

    Args:
        entries: with their positions, in order.
    """
    several: list[LogEntry] = []
    first = 0
    for position, entry in entries:
        if several and not (position == first + len(several) and _continues(several[-1], entry)):
            yield first, _run_of(several)
            several = []
        if not several:
            first = position
        several.append(entry)
    if several:
        yield first, _run_of(several)


def _continues(one: LogEntry, other: LogEntry) -> bool:
    return (
        other.sequence == one.sequence + 1
        and not (one.marker or other.marker)
        and other.at == one.at
        and other.session == one.session
        and other.topic == one.topic
        and other.kind is one.kind
        and other.owner_epoch == one.owner_epoch
    )


def _run_of(several: Sequence[LogEntry]) -> LogRun:
    one = several[0]
    payloads = [entry.data for entry in several]
    return LogRun(
        one.session,
        one.sequence,
        one.at,
        one.owner_epoch,
        one.topic,
        one.kind,
        one.marker,
        payloads,
    )


def entry_bytes(topic: str) -> int:
    """Returns what an entry costs on disk beside its data, roughly."""
    return len(topic) + _ENTRY_BYTES


def gap_of_entries(entries: Sequence[LogEntry], *, cause: str, at: float) -> LogEntry | None:
    """Returns the marker that replaces entries of a log, gaps of the same cause included.

    None: no message is among them.
    """
    found: Gap | None = None
    for entry in entries:
        if entry.is_message:
            gap = Gap(entry.place, entry.place, 1, cause)
        elif (earlier := own_gap(entry, cause)) is not None:
            gap = earlier
        else:
            continue
        found = gap if found is None else found.joined(gap)
    if found is None:
        return None
    last, (session, sequence) = entries[-1], found.last
    return LogEntry(
        session, sequence, at, last.owner_epoch, last.topic, last.kind, GAP, json_bytes(found.facts)
    )


def own_gap(entry: LogEntry, cause: str) -> Gap | None:
    """Returns the gap that an entry tells of, if it is one of this cause."""
    if entry.marker != GAP:
        return None
    facts = json.loads(entry.data)
    return Gap.of_facts(facts) if facts["cause"] == cause else None


def key_reader(pointer: str, format: Format) -> Callable[[bytes], Hashable | None]:
    """Returns what finds the key of a message in the data of its event; None: it has none.

    Args:
        pointer: RFC 6901, valid.
        format: of the events.
    """
    parsed = parse_pointer(pointer)

    def read(data: bytes) -> Hashable | None:
        try:
            value = json.loads(data)
            if format is Format.ENVELOPE:
                value = json.loads(base64.b64decode(value["Payload"]))
        except (ValueError, RecursionError):
            return None  # no JSON: a message without key
        return _key(value, parsed)

    return read


def _key(value: Any, pointer: Pointer) -> Hashable | None:
    found = lookup(value, pointer)
    if isinstance(found, Missing):
        return None
    # As JSON, so that 1, true and "1" differ, and objects can be keys.
    return json.dumps(found, sort_keys=True)


def superseded(keys: Iterable[Hashable | None]) -> list[bool]:
    """Returns for each in order whether a later one has its key; None is nobody's key."""
    seen: set[Hashable] = set()
    result = []
    for key in reversed(list(keys)):
        result.append(key in seen)
        if key is not None:
            seen.add(key)
    result.reverse()
    return result
