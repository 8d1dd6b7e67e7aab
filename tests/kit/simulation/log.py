"""A venue's own account of a day: what it produced, and what became of it on each session."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Said(Enum):
    """What a frame of the venue is, and so whether it must be published."""

    DATA = "data"
    """Must be."""
    NOTICE = "notice"
    """Must be: a message like any other."""
    REPLY = "reply"
    """To another request: may be, as the service does not know it."""
    ACKNOWLEDGEMENT = "acknowledgement"
    """Of a subscription: must not be."""
    WORD = "word"
    """Of the opening dialogue: must not be."""
    REFUSAL = "refusal"
    """Ends the session: must not be."""


@dataclass(frozen=True, slots=True)
class Produced:
    """One message of a stream: `number` counts over all streams, `at` is Unix seconds."""

    number: int
    at: float
    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame on a session; `number` of the produced message, else 0."""

    at: float
    said: Said
    data: bytes
    number: int = 0


@dataclass(slots=True)
class SessionLog:
    """One session. Times are Unix seconds.

    Attributes:
        number: of the session at the venue, from 1.
        address: as the service sees it; no two sessions have the same.
        url: that was dialled.
        dialled_at: when the service began to dial.
        opened_at: when its dial succeeded.
        delay: seconds that a frame takes.
        written: what the venue wrote.
        arrived: what of it reached the service.
        asked: time, stream, and whether it was subscribed or unsubscribed.
        logins: when a login was asked for.
        silent_since: when the link went dead without a word.
        leaving_at: when the service began the closing handshake.
        ended_at: when the service's socket had ended.
        end: kind of the failure that ended it there; `aborted`: the service dropped it.
        venue_ended_at: when it had ended for the venue.
        venue_end: why, in the venue's words.
    """

    number: int
    address: str
    url: str
    dialled_at: float
    opened_at: float
    delay: float
    written: list[Frame] = field(default_factory=list)
    arrived: list[Frame] = field(default_factory=list)
    asked: list[tuple[float, str, bool]] = field(default_factory=list)
    logins: list[float] = field(default_factory=list)
    silent_since: float | None = None
    leaving_at: float | None = None
    ended_at: float | None = None
    end: str = ""
    venue_ended_at: float | None = None
    venue_end: str = ""

    def ready_at(self, words: int) -> float | None:
        """Returns when the dialogue was over for the service, after so many words of the venue."""
        if not words:
            return self.opened_at
        heard = [one.at for one in self.arrived if one.said is Said.WORD]
        return heard[words - 1] if len(heard) >= words else None

    @property
    def gone_at(self) -> float:
        """When nothing more could get through, at one end or the other."""
        times = (self.silent_since, self.leaving_at, self.ended_at, self.venue_ended_at)
        return min((at for at in times if at is not None), default=float("inf"))

    def subscribed_at(self, stream: str, since: float = 0.0) -> float | None:
        """Returns when the stream was first subscribed to, not before a time."""
        return next(
            (at for at, one, on in self.asked if one == stream and on and at >= since), None
        )

    def has_at(self, at: float) -> list[str]:
        """Returns the streams that are subscribed to at a time."""
        present: list[str] = []
        for when, stream, on in self.asked:
            if when > at:
                break
            if on:
                present.append(stream)
            elif stream in present:
                present.remove(stream)
        return present


@dataclass(frozen=True, slots=True)
class DialLog:
    """One dial: when it began and ended, and how (`open`, or the failure's kind).

    `wait` is the Retry-After that the service was told, in seconds.
    """

    at: float
    ended_at: float
    url: str
    outcome: str
    wait: float = 0.0


@dataclass(slots=True)
class VenueLog:
    """Everything."""

    produced: list[Produced] = field(default_factory=list)
    sessions: list[SessionLog] = field(default_factory=list)
    dials: list[DialLog] = field(default_factory=list)
    troubles: list[tuple[float, str]] = field(default_factory=list)
