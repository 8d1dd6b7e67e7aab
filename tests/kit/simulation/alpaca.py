"""Alpaca on virtual time, with its true figures and a day's troubles."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import ClassVar

from tests.kit.simulation.log import Said
from tests.kit.simulation.venue import Setting, SimulatedVenue, link_of
from tests.kit.venues.alpaca import Alpaca
from tests.kit.venues.base import Rules, VenueSession


class SimulatedAlpaca(SimulatedVenue, Alpaca):
    """Field notes, section 2: a login within 10 s, one connection a credential, errors in band."""

    rules: ClassVar[Rules] = Rules(login_seconds=10.0, sessions_per_key=1)

    def __init__(self, setting: Setting, accounts: dict[str, str]) -> None:
        super().__init__(setting, accounts)

    def classify(self, text: str) -> Said:
        (said,) = json.loads(text)
        kinds = {"success": Said.WORD, "subscription": Said.REPLY, "error": Said.REFUSAL}
        return kinds[said["T"]]

    async def hear(self, session: VenueSession, text: str) -> None:
        if json.loads(text).get("action") == "auth":
            link_of(session).log.logins.append(self.clock.now())
        await super().hear(session, text)

    def log_in(self, session: VenueSession, key: str) -> bool:
        # What is open for the venue alone is no fault of the client, and is refused all the same.
        others = [one for one in self.alive if one.key == key and one is not session]
        if others and all(link_of(one).socket.ended or link_of(one).is_dead for one in others):
            return False
        return super().log_in(session, key)

    @property
    def troubles(self) -> tuple[Callable[[], None], ...]:
        """What can go wrong; what stands twice is twice as likely."""
        return (
            self.close_one,
            self.cut_one,
            self.silence_one,
            self.silence_one,
            self.lose_network,
            self.refuse_dials,
            self.deafen,
            self.err_in_band,
            self.refuse_logins,
            self.refuse_logins,
        )

    def err_in_band(self) -> None:
        """Tells one session of an error that ends it."""
        code, words = self.dice.choice([(407, "slow client"), (500, "internal error")])
        for session in self.alive[:1]:
            self.note(f"error {code}")
            self._later(session.say([{"T": "error", "code": code, "msg": words}]))

    def refuse_logins(self) -> None:
        """Knows nobody for a while, and drops one session."""
        seconds = self.dice.uniform(30.0, 240.0)
        self.refusal = self.dice.choice([(402, "auth failed"), (500, "internal error")])
        self.note(f"logins are refused for {seconds:.0f} s with {self.refusal[0]}")
        refusal = self.refusal

        def recover() -> None:
            if self.refusal is refusal:
                self.refusal = None

        self.later(seconds, recover)
        for link in self.links()[:1]:
            link.end(1001, "", "forced close")
