"""What the runners of a process share."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass, field

from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.ports import Clock, Dialer, Dice, Journal, Secrets
from websocketmanager.service.ledger import Ledger
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.places import Places
from websocketmanager.service.session import SessionTools
from websocketmanager.service.timers import Timers


@dataclass(frozen=True, slots=True)
class Tools:
    """What every runner of the process shares.

    Attributes:
        context: an empty one that runners work in: what they begin does not belong to the trace
            of the caller who posted.
        for_sessions: the part that sessions need.
    """

    clock: Clock
    dice: Dice
    dialer: Dialer
    journal: Journal
    ledger: Ledger
    pacer: Pacer
    policy: ServicePolicy
    secrets: Secrets
    timers: Timers
    places: Places
    compile_regex: CompileRegex
    context: contextvars.Context = field(default_factory=contextvars.Context)
    for_sessions: SessionTools = field(init=False)

    def __post_init__(self) -> None:
        """Makes the sessions' part, once for all."""
        for_sessions = SessionTools(
            clock=self.clock,
            dice=self.dice,
            dialer=self.dialer,
            journal=self.journal,
            secrets=self.secrets,
            pacer=self.pacer,
            timers=self.timers,
            places=self.places,
            policy=self.policy,
        )
        object.__setattr__(self, "for_sessions", for_sessions)
