"""What a session lives with: what all sessions share, and the connection that it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.ports import Clock, Dialer, Dice, Journal, Secrets
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.places import Places
from websocketmanager.service.pump import Pump
from websocketmanager.service.replies import Replies
from websocketmanager.service.timers import Timers


@dataclass(frozen=True, slots=True)
class SessionTools:
    """What every session of the process shares."""

    clock: Clock
    dice: Dice
    dialer: Dialer
    journal: Journal
    secrets: Secrets
    pacer: Pacer
    timers: Timers
    places: Places
    policy: ServicePolicy


class Ears(Protocol):
    """Whom the sessions of one connection tell what, and what they share."""

    @property
    def connection_id(self) -> str:
        """The connection's id."""

    @property
    def pump(self) -> Pump:
        """Where its messages go."""

    @property
    def replies(self) -> Replies:
        """The callers that wait for one of them."""

    def post(self, event: life.Event) -> None:
        """Tells the machine; never blocks."""

    def note_queued(self) -> None:
        """The dial waits for a place that another connection has."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Makes a task of the connection."""

    def tell_degraded(self, cause: str, detail: str, count: int) -> None:
        """Delivery is worse than promised."""
