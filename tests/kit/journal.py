"""A journal that keeps the facts it was told, for assertions."""

from __future__ import annotations

from typing import TypeVar

from websocketmanager.domain.facts import Fact

Kind = TypeVar("Kind", bound=Fact)


class RecordingJournal:
    """`ports.Journal`; `facts` holds everything in order."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def emit(self, fact: Fact) -> None:
        self.facts.append(fact)

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Returns the facts of one class, in order."""
        return [fact for fact in self.facts if isinstance(fact, kind)]
