"""Spaces dials to one host evenly, so that many connections do not arrive as a burst."""

from __future__ import annotations

from urllib.parse import urlsplit

from websocketmanager.ports import Clock

#: Hosts remembered; beyond, those whose turn has passed are forgotten.
_MAX_HOSTS = 4096


class Pacer:
    """Hands out turns per host, at least the spacing apart."""

    def __init__(self, clock: Clock, *, spacing_seconds: float) -> None:
        self._clock = clock
        self._spacing_seconds = spacing_seconds
        self._next: dict[str, float] = {}

    async def wait_turn(self, url: str) -> None:
        """Waits until a dial to the URL's host may begin. A cancelled turn is not given back."""
        now = self._clock.monotonic()
        host = urlsplit(url).netloc.rpartition("@")[2].lower()
        turn = max(self._next.get(host, now), now)
        if len(self._next) >= _MAX_HOSTS:
            self._next = {name: at for name, at in self._next.items() if at > now}
        self._next[host] = turn + self._spacing_seconds
        if turn > now:
            await self._clock.sleep(turn - now)
