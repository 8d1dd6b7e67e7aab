"""Loopback proxies: HTTP CONNECT and SOCKS5, well-behaved or scripted.

    proxy = make_proxy("http", {"127.8.8.8": peer.port}, user="u", password="p")
    async with running_proxy("http", proxy) as (at, url):
        ...                                  # dial through the URL; `at` has its sessions
    assert proxy.asked == [("127.8.8.8", 443)]

Routes name the hosts that a proxy reaches, each with a port of 127.0.0.1 where it really is. Every
other host is unreachable.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from typing import Final

from tests.kit.raw_peer import RawPeer, RawSession, Script, running_raw_peer

#: RFC 1928 §6: "host unreachable".
SOCKS_UNREACHABLE: Final = 4


class HttpProxy:
    """An HTTP proxy that knows CONNECT.

    Attributes:
        asked: hosts and ports that a client wanted, in order.
        heads: the requests themselves.
        statuses: answered instead of a tunnel, by host.
    """

    def __init__(
        self,
        routes: Mapping[str, int] | None = None,
        *,
        user: str = "",
        password: str = "",
        statuses: Mapping[str, int] | None = None,
        trickled: bool = False,
    ) -> None:
        self.asked: list[tuple[str, int]] = []
        self.heads: list[str] = []
        self._routes = routes or {}
        self._statuses = statuses or {}
        self._credentials = f"{user}:{password}" if user else ""
        self._trickled = trickled

    async def __call__(self, client: RawSession) -> None:
        head = (await client.reader.readuntil(b"\r\n\r\n")).decode("ascii")
        self.heads.append(head)
        method, place, _ = head.split("\r\n", 1)[0].split(" ")
        assert method == "CONNECT"
        host, port = place.rsplit(":", 1)
        host = host.strip("[]")
        if self._credentials:
            right = base64.b64encode(self._credentials.encode()).decode()
            if f"\r\nProxy-Authorization: Basic {right}\r\n" not in head:
                await self._answer(client, 407)
                return
        self.asked.append((host, int(port)))
        if (status := self._statuses.get(host, 0)) or host not in self._routes:
            await self._answer(client, status or 502)
            return
        await relay(client, self._routes[host], lambda: self._answer(client, 200))

    async def _answer(self, client: RawSession, status: int) -> None:
        # The body's length says nothing in the answer to a CONNECT that succeeded.
        lines = (f"HTTP/1.1 {status} hunter2", "Via: 1.1 test", "Content-Length: 7", "", "")
        data = "\r\n".join(lines).encode()
        await (client.trickle(data) if self._trickled else client.send(data))
        if status != 200:
            client.finish()


class SocksProxy:
    """A SOCKS5 proxy.

    Attributes:
        asked: hosts and ports that a client wanted, in order.
        by_name: whether each of them was asked for by its name.
        replies: codes answered instead of a tunnel, by host.
    """

    def __init__(
        self,
        routes: Mapping[str, int] | None = None,
        *,
        user: str = "",
        password: str = "",
        replies: Mapping[str, int] | None = None,
        trickled: bool = False,
    ) -> None:
        self.asked: list[tuple[str, int]] = []
        self.by_name: list[bool] = []
        self._routes = routes or {}
        self._replies = replies or {}
        self._credentials = (user.encode(), password.encode()) if user else None
        self._trickled = trickled

    async def __call__(self, client: RawSession) -> None:
        if not await self._authenticated(client):
            client.finish()
            return
        host, port = await self._request(client)
        self.asked.append((host, port))
        code = self._replies.get(host, 0 if host in self._routes else SOCKS_UNREACHABLE)
        if code:
            await self._say(client, socks_reply(code))
            client.finish()
            return
        await relay(client, self._routes[host], lambda: self._say(client, socks_reply(0)))

    async def _authenticated(self, client: RawSession) -> bool:
        version, count = await client.reader.readexactly(2)
        assert version == 5
        methods = await client.reader.readexactly(count)
        if self._credentials is None:
            await self._say(client, b"\x05\x00")
            return True
        if 2 not in methods:
            await self._say(client, b"\x05\xff")
            return False
        await self._say(client, b"\x05\x02")
        assert await client.reader.readexactly(1) == b"\x01"
        user = await self._counted(client)
        password = await self._counted(client)
        right = (user, password) == self._credentials
        await self._say(client, b"\x01\x00" if right else b"\x01\x01")
        return right

    async def _request(self, client: RawSession) -> tuple[str, int]:
        version, command, _, kind = await client.reader.readexactly(4)
        assert (version, command) == (5, 1)
        self.by_name.append(kind == 3)
        if kind == 3:
            host = (await self._counted(client)).decode("ascii")
        else:
            host = str(ip_address(await client.reader.readexactly(4 if kind == 1 else 16)))
        (port,) = struct.unpack("!H", await client.reader.readexactly(2))
        return host, port

    async def _counted(self, client: RawSession) -> bytes:
        (length,) = await client.reader.readexactly(1)
        return await client.reader.readexactly(length)

    async def _say(self, client: RawSession, data: bytes) -> None:
        await (client.trickle(data) if self._trickled else client.send(data))


def make_proxy(
    scheme: str,
    routes: Mapping[str, int],
    *,
    user: str = "",
    password: str = "",
    trickled: bool = False,
) -> HttpProxy | SocksProxy:
    """Returns a proxy that speaks what the scheme of its URL says."""
    kind = HttpProxy if scheme == "http" else SocksProxy
    return kind(routes, user=user, password=password, trickled=trickled)


@asynccontextmanager
async def running_proxy(scheme: str, proxy: Script) -> AsyncIterator[tuple[RawPeer, str]]:
    """Runs a proxy, or a script that takes its place; gives it with its URL."""
    async with running_raw_peer(proxy) as at:
        yield at, f"{scheme}://127.0.0.1:{at.port}"


def socks_reply(code: int) -> bytes:
    """Returns a reply with an IPv4 address and a port that mean nothing."""
    return struct.pack("!BBBB4sH", 5, code, 0, 1, bytes(4), 0)


async def relay(client: RawSession, port: int, say_open: Callable[[], Awaitable[None]]) -> None:
    """Connects to 127.0.0.1, says so, and passes bytes on until either side ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await say_open()
        ways = [
            asyncio.create_task(_pass_on(client.reader, writer)),
            asyncio.create_task(_pass_on(reader, client.writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
    finally:
        # Not aborted: what was written last must still arrive.
        writer.close()
        client.finish()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
