"""Spaces dials to one host, so that many connections do not arrive as a burst."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from websocketmanager.domain.host_rules import host_of
from websocketmanager.ports import Clock, Dice

#: Hosts remembered; beyond, those whose turn has passed are forgotten.
_MAX_HOSTS = 4096
#: Part of the spacing by which a gap may be longer: several processes must not keep step.
_JITTER = 0.2
#: Shorter waits than a microsecond are none: a clock's sums are not exact.
_TOO_SHORT_SECONDS = 1e-6


@dataclass(eq=False, slots=True)
class _Host:
    """Attributes: the queue of who waits; how many use it; when the next dial may begin."""

    queue: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    free_at: float = 0.0


class Pacer:
    """Hands out turns per host, first come, first served.

    Two turns of a host are never closer than its spacing, whoever asks for them: new connections,
    retries, recoveries, rotations and trials. They are counted from when a turn was really
    taken: time that a busy process lost is not made up for by a burst.

    Args:
        clock: tells the time.
        dice: for the jitter.
        spacing: seconds between two dials to a host; zero: its dials do not wait.
    """

    def __init__(self, clock: Clock, dice: Dice, spacing: Callable[[str], float]) -> None:
        self._clock = clock
        self._dice = dice
        self._spacing = spacing
        self._hosts: dict[str, _Host] = {}

    async def wait_turn(self, url: str) -> None:
        """Waits until a dial to the URL's host may begin; the dial must begin at once.

        Cancelling gives the turn back: whoever waits next does not wait for it.
        """
        name = host_of(url)
        spacing = self._spacing(name)
        if spacing <= 0:
            return
        host = self._host(name)
        host.users += 1
        try:
            async with host.queue:
                # A clock may wake early.
                while (left := host.free_at - self._clock.monotonic()) > _TOO_SHORT_SECONDS:
                    await self._clock.sleep(left)
                gap = spacing * (1.0 + _JITTER * self._dice.uniform())
                host.free_at = self._clock.monotonic() + gap
        finally:
            host.users -= 1

    def _host(self, name: str) -> _Host:
        if name not in self._hosts:
            if len(self._hosts) >= _MAX_HOSTS:
                self._forget()
            self._hosts[name] = _Host()
        return self._hosts[name]

    def _forget(self) -> None:
        now = self._clock.monotonic()
        self._hosts = {
            name: host for name, host in self._hosts.items() if host.users or host.free_at > now
        }
