"""What the API was given, read as a consumer reads it, with the promises as assertions.

A consumer drops events whose `ce-id` it has seen: that is all that it needs for "exactly once".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.kit.scripted_api import Published

LIFECYCLE = "websocketmanager.lifecycle"
PREFIX = "com.virtufin.websocketmanager.connection."
MESSAGE = "com.virtufin.websocketmanager.message"

#: What may stand before each lifecycle event, `degraded` apart; a recovery may follow anything.
BEFORE: Mapping[str, frozenset[str]] = {
    "connecting": frozenset({""}),
    "connected": frozenset({"connecting", "reconnecting"}),
    "error": frozenset({"connecting", "connected", "reconnecting"}),
    "reconnecting": frozenset({"error", "connected", "connecting", "reconnecting"}),
    "disconnected": frozenset({"error", "connecting", "connected", "reconnecting"}),
}


@dataclass(frozen=True)
class Life:
    """One lifecycle event."""

    id: str
    connection: str
    state: str
    data: Mapping[str, Any]

    @property
    def number(self) -> int:
        return int(self.data["event"])


@dataclass(frozen=True)
class Delivered:
    """One message."""

    id: str
    connection: str
    session: int
    sequence: int
    data: bytes
    content_type: str


def unique(published: Iterable[Published]) -> list[Published]:
    """Returns the events without repetitions; equal ids must have equal bytes and attributes."""
    seen: dict[str, Published] = {}
    for event in published:
        known = seen.setdefault(event.metadata["ce-id"], event)
        assert known == event, f"two events under one id: {known} and {event}"
    return list(seen.values())


def lives(published: Iterable[Published]) -> dict[str, list[Life]]:
    """Returns the lifecycle events of each connection, without repetitions."""
    found: dict[str, list[Life]] = {}
    for event in unique(one for one in published if one.topic == LIFECYCLE):
        data = json.loads(event.data)
        connection = data["connection_id"]
        assert event.metadata["ce-subject"] == f"connection/{connection}"
        assert event.metadata["ce-type"].startswith(PREFIX)
        state = event.metadata["ce-type"].removeprefix(PREFIX)
        found.setdefault(connection, []).append(
            Life(event.metadata["ce-id"], connection, state, data)
        )
    return found


def assert_causal(events: list[Life]) -> None:
    """Asserts one connection's events have no hole and stand in causal order."""
    assert [event.number for event in events] == [*range(1, len(events) + 1)], told(events)
    state = ""
    session = epoch = 0
    for event in events:
        assert event.data["session"] >= session, told(events)
        assert event.data["owner_epoch"] >= epoch, told(events)
        recovered = event.data["owner_epoch"] > epoch
        session, epoch = event.data["session"], event.data["owner_epoch"]
        if event.state == "degraded":
            continue
        if recovered and event.number > 1:
            # Dialled anew by another process: whatever the last one was doing.
            begun = "reconnecting" if session else "connecting"
            assert event.state in {begun, "disconnected"}, told(events)
        elif (event.state, event.data.get("reason")) == ("connected", "rotated"):
            assert state == "connected", told(events)
        else:
            assert state in BEFORE[event.state], told(events)
        state = event.state


def told(events: list[Life]) -> str:
    """Returns the events on one line, for a failed assertion."""
    return " ".join(f"{e.number}:{e.state}(s{e.data['session']})" for e in events)


def messages(published: Iterable[Published], topic: str | None = None) -> list[Delivered]:
    """Returns the messages (of a topic), without repetitions."""
    return [
        Delivered(
            event.metadata["ce-id"],
            event.metadata["ce-websocketid"],
            int(event.metadata["ce-session"]),
            int(event.metadata["ce-sequence"]),
            event.data,
            event.metadata["ce-datacontenttype"],
        )
        for event in unique(
            one
            for one in published
            if one.metadata.get("ce-type") == MESSAGE and topic in {None, one.topic}
        )
    ]


def by_connection(delivered: Iterable[Delivered]) -> dict[str, list[Delivered]]:
    """Returns the messages of each connection in their order."""
    found: dict[str, list[Delivered]] = {}
    for message in delivered:
        found.setdefault(message.connection, []).append(message)
    return found


def assert_in_order(delivered: list[Delivered]) -> None:
    """Asserts one connection's messages are in order, each session from 1 without a hole."""
    places = [(message.session, message.sequence) for message in delivered]
    assert places == sorted(places)
    last: dict[int, int] = {}
    for session, sequence in places:
        assert sequence == last.get(session, 0) + 1, f"hole before {session}/{sequence}"
        last[session] = sequence


def session_data(delivered: Iterable[Delivered], session: int) -> list[bytes]:
    """Returns the data of one session in order."""
    return [message.data for message in delivered if message.session == session]
