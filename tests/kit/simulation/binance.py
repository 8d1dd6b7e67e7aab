"""Binance spot on virtual time, with its true figures and a day's troubles."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from tests.kit.simulation.log import Said
from tests.kit.simulation.venue import SimulatedVenue, link_of
from tests.kit.venues.base import Rules, VenueSession
from tests.kit.venues.binance import BinanceSpot


class SimulatedBinance(SimulatedVenue, BinanceSpot):
    """Field notes, section 2: a day at most, pings every 20 s, five frames a second."""

    rules: ClassVar[Rules] = Rules(
        ping_every_seconds=20.0,
        pong_seconds=60.0,
        messages_per_second=5,
        max_age_seconds=86_400.0,
    )

    def classify(self, text: str) -> Said:
        said = json.loads(text)
        if said.get("e") == "serverShutdown":
            return Said.NOTICE
        return Said.REPLY if "result" in said else Said.REFUSAL

    @property
    def troubles(self) -> tuple[Callable[[], None], ...]:
        """What can go wrong; what stands twice is twice as likely."""
        return (
            self.close_one,
            self.cut_one,
            self.silence_one,
            self.lose_network,
            self.refuse_dials,
            self.deafen,
            self.limit_rate,
            self.restart,
            self.restart,
        )

    def limit_rate(self) -> None:
        """Closes one session as if it had said too much."""
        for link in self.links()[:1]:
            self.note("rate limit")
            link.end(1008, "Too many requests", "rate limit")

    def restart(self) -> None:
        """Gives notice to everybody, and closes what is still there when the time has come."""
        seconds = self.dice.uniform(20.0, 120.0)
        self.note(f"shutdown in {seconds:.0f} s")
        for session in list(self.alive):
            self._later(self.give_notice(session))
            self.later(seconds, partial(self._shut_down, session))

    def _shut_down(self, session: VenueSession) -> None:
        link_of(session).end(1001, "", "shutdown")
