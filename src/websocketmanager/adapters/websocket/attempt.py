"""One attempt to reach one address, directly or through a proxy."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from websocketmanager.adapters.websocket.proxying import JudgedProxy
from websocketmanager.adapters.websocket.reaching import connected, place_of
from websocketmanager.domain.url_policy import ParsedUrl
from websocketmanager.ports import Clock, DialObserver, DialTarget


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt needs.

    Attributes:
        host: an address, or a name that the proxy resolves.
        context: for wss://, else None.
        proxy: through which it goes, if any; never around it.
        observer: told of each phase, if there is one.
    """

    target: DialTarget
    url: ParsedUrl
    host: str
    context: ssl.SSLContext | None
    proxy: JudgedProxy | None
    observer: DialObserver | None

    @property
    def place(self) -> str:
        """The host and port that are dialled."""
        return place_of(self.host, self.url.port)

    @property
    def shown(self) -> str:
        """The place with the way to it, for sentences."""
        return f"{self.place} through the proxy {self.proxy}" if self.proxy else self.place

    async def reach(self, clock: Clock, seconds: float) -> socket.socket:
        """Returns a socket whose bytes go to and from the host."""
        if self.proxy is None:
            return await connected(self.host, self.url.port)
        return await self.proxy.tunnel(self.host, self.url.port, clock=clock, seconds=seconds)
