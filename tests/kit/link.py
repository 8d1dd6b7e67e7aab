"""A link that can drop everything while TCP stays open on both sides.

async with running_silent_proxy(peer.port) as link:
    ...                                  # dial link.url
    await link.drop()                    # nothing arrives any more; writes still succeed
    await link.heal()                    # new connections pass; the old ones stay dead
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from tests.kit.raw_peer import RawSession, running_raw_peer


class Link(Protocol):
    """What lies between a client and its server.

    Attributes:
        url: where the client finds the server.
    """

    url: str

    async def drop(self) -> None:
        """Drops everything from now on, in both directions, and tells nobody."""

    async def heal(self) -> None:
        """Lets new connections pass again."""


@dataclass(eq=False)
class SilentProxy:
    """Passes bytes on to a port of 127.0.0.1, or takes them and forgets them: `Link`."""

    port: int
    url: str = ""
    _dropping: bool = False

    async def drop(self) -> None:
        self._dropping = True

    async def heal(self) -> None:
        self._dropping = False

    async def __call__(self, client: RawSession) -> None:
        if self._dropping:
            return  # what it says is read, and nobody answers
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            back = asyncio.create_task(self._pass_on(reader, client.writer))
            await self._pass_on(client.reader, writer)
            back.cancel()
            await asyncio.wait({back})
        finally:
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dead = False
        while data := await reader.read(65536):
            # A link that dropped a byte of a connection never repeats it.
            dead = dead or self._dropping
            if not dead:
                writer.write(data)


@asynccontextmanager
async def running_silent_proxy(port: int) -> AsyncIterator[SilentProxy]:
    """Runs a proxy before a port of 127.0.0.1."""
    proxy = SilentProxy(port)
    async with running_raw_peer(proxy) as at:
        proxy.url = at.url
        yield proxy
