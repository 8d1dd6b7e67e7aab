"""Where the sessions of a stream begin and end, and what may be missing between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from websocketmanager.domain.envelope import SUBSCRIBING, StreamIdentity, timestamp
from websocketmanager.domain.overflow import GAP

STARTED, ENDED = "started", "ended"


@dataclass(frozen=True, slots=True)
class Mark:
    """A marker to publish, in words."""

    marker: str
    facts: dict[str, Any]


class Continuity:
    """Of one connection.

    Attributes:
        identity: of the present session, or of the last one; None before the first.
        resumed_from: sequence of the last message that an earlier process has saved.
    """

    __slots__ = ("_gap", "_last_ended", "identity", "resumed_from")

    def __init__(self) -> None:
        self.identity: StreamIdentity | None = None
        self.resumed_from = 0
        self._last_ended: dict[str, Any] | None = None
        self._gap: dict[str, Any] | None = None

    def begin(
        self, identity: StreamIdentity, at: float, *, last_sequence: int, seamless: bool
    ) -> list[Mark]:
        """A session begins.

        Args:
            identity: with its number.
            at: Unix seconds.
            last_sequence: of the session before, if that was in this process.
            seamless: nothing can be missing since that one: there is no gap.
        """
        previous, self.identity = self.identity, identity
        resumes = identity.session > 1
        marks: list[Mark] = []
        self._gap = None
        if resumes and not seamless:
            ended = self._last_ended or {}
            self._gap = {
                "session": identity.session,
                "from_session": identity.session - 1,
                # After a crash the last position that was saved: more may have come.
                "from_sequence": last_sequence if previous else self.resumed_from,
                "to_sequence": 1,
                "cause": ended.get("cause", "process_restart"),
                "lost": None,
                "ended_at": ended.get("ended_at"),
                "started_at": timestamp(at),
            }
            marks.append(Mark(GAP, self._gap))
        facts = {
            "session": identity.session,
            "first_sequence": 1,
            "started_at": timestamp(at),
            "resumed": resumes,
        }
        return [*marks, Mark(STARTED, facts)]

    def reach(self, at: float, *, sequence: int) -> list[Mark]:
        """The gap before the session reaches behind message `sequence`: all feeds are there now."""
        if self._gap is None:
            return []
        reaches = {
            "to_sequence": sequence + 1,
            "cause": SUBSCRIBING,
            "started_at": timestamp(at),
        }
        gap, self._gap = {**self._gap, **reaches}, None
        return [Mark(GAP, gap)]

    def end(self, at: float, cause: str, *, sequence: int) -> list[Mark]:
        """The session is over, behind message `sequence`."""
        if self.identity is None:
            return []
        self._last_ended = {"cause": cause, "ended_at": timestamp(at)}
        facts = {
            "session": self.identity.session,
            "last_sequence": sequence,
            "cause": cause,
            "ended_at": timestamp(at),
        }
        return [Mark(ENDED, facts)]
