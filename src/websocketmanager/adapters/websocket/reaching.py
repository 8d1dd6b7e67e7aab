"""Connects TCP sockets to literal addresses, which somebody judged before."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from websocketmanager.ports import Clock


async def connected(address: str, port: int) -> socket.socket:
    """Connects a TCP socket to a literal address. Cancelling leaves no socket.

    Raises:
        OSError: it cannot be reached.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # With its protocol named, or the loop would not switch Nagle's algorithm off.
    raw = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (address, port))
    except BaseException:
        raw.close()
        raise
    return raw


async def connected_to_any(
    addresses: Sequence[str], port: int, *, clock: Clock, seconds: float
) -> socket.socket:
    """Connects to the first address that answers. Cancelling leaves no socket.

    Raises:
        OSError: of the last address, when none can be reached. A TimeoutError is one.
    """
    deadline = clock.monotonic() + seconds
    fault = OSError("no address")
    for index, address in enumerate(addresses):
        # A silent first address must leave time for the others.
        share = (deadline - clock.monotonic()) / (len(addresses) - index)
        try:
            async with clock.timeout(share):
                return await connected(address, port)
        except OSError as error:
            fault = error
    raise fault


def place_of(host: str, port: int) -> str:
    """Spells `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
