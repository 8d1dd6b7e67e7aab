"""A journal that keeps its facts."""

from __future__ import annotations

from websocketmanager.domain.facts import Fact


class KeptFacts:
    """`ports.Journal` in a list."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def emit(self, fact: Fact) -> None:
        self.facts.append(fact)
