"""A circuit breaker whose time is ours: purgatory's state machine, our clock, one probe.

purgatory reads the machine's wall clock itself, lets every call through while half-open, counts
a cancelled call as a failure, and lets a call that began before the circuit opened close it. So
only its states and its counter of failures are used: the time to live is measured here on
`Clock.monotonic`, calls are admitted here, and an answer counts only in the state it was asked in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from purgatory.domain.messages.events import ContextChanged
from purgatory.domain.model import CLOSED, HALF_OPENED, OPENED, Context, HalfOpenedState

from websocketmanager.domain.facts import BreakerChanged
from websocketmanager.ports import Clock, Journal

BreakerState = Literal["closed", "open", "half-open"]

_STATES: dict[str, BreakerState] = {CLOSED: "closed", OPENED: "open", HALF_OPENED: "half-open"}


class _TransportFailed(Exception):
    """Stands for the failure when purgatory is told of one; never raised."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to make one call; `epoch` is that of the state it was given in."""

    epoch: int
    probe: bool


class Breaker:
    """Fails fast once a target's transport failed `threshold` times in a row."""

    def __init__(
        self, target: str, *, threshold: int, ttl_seconds: float, clock: Clock, journal: Journal
    ) -> None:
        self._target = target
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._journal = journal
        # An infinite time to live: purgatory's own clock never half-opens the circuit.
        self._context = Context(target, threshold, math.inf)
        self._opened_at = 0.0
        self._epoch = 0
        self._probing = False

    @property
    def state(self) -> BreakerState:
        """The state now; `open` also while it could be probed and no call came yet."""
        return _STATES[self._context.state]

    def admit(self) -> Pass | None:
        """Returns leave to call, to be settled or withdrawn; None while the circuit is open."""
        if self.state == "open":
            if self._clock.monotonic() - self._opened_at < self._ttl_seconds:
                return None
            self._context.set_state(HalfOpenedState())
            self._tell()
        if self.state == "closed":
            return Pass(self._epoch, probe=False)
        if self._probing:
            return None
        self._probing = True
        return Pass(self._epoch, probe=True)

    def settle(self, given: Pass, *, failed: bool) -> None:
        """Reports how the call went; `failed` means that the transport did."""
        self.withdraw(given)
        if given.epoch != self._epoch:
            return
        if failed:
            self._context.handle_exception(_TransportFailed())
        else:
            self._context.handle_end_request()
        self._tell()

    def withdraw(self, given: Pass) -> None:
        """Reports that nothing is known: the call was cancelled. Frees the probe's place."""
        if given.probe and given.epoch == self._epoch:
            self._probing = False

    def _tell(self) -> None:
        changes = [m for m in self._context.messages if isinstance(m, ContextChanged)]
        self._context.messages.clear()
        for change in changes:
            self._epoch += 1
            if change.state == OPENED:
                self._opened_at = self._clock.monotonic()
            self._journal.emit(BreakerChanged(self._target, _STATES[change.state]))
