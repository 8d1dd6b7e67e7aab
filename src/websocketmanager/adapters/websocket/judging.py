"""Finds the addresses of a host and has every one of them judged."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from websocketmanager.domain.handshake_rules import ProxyUrl
from websocketmanager.domain.trial import Phase
from websocketmanager.domain.url_policy import AddressPolicy, ParsedUrl
from websocketmanager.errors import AddressRefused
from websocketmanager.ports import DialObserver

#: Gives the addresses of a name, in the order of preference.
Resolver = Callable[[str], Awaitable[Sequence[str]]]


async def system_resolver(host: str) -> list[str]:
    """Asks the operating system, once for both address families.

    Cancelling leaves a thread of the loop's executor that ends by itself.

    Raises:
        OSError: the name cannot be resolved.
    """
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


async def judged_addresses(
    place: ParsedUrl | ProxyUrl,
    policy: AddressPolicy,
    resolver: Resolver,
    observer: DialObserver | None = None,
) -> Sequence[str]:
    """Returns the addresses of a URL's host, each of them allowed.

    Args:
        place: where the host stands.
        policy: judges it and its addresses.
        resolver: gives a name's addresses.
        observer: told when they are known, and when they are judged.

    Raises:
        AddressRefused: the host or one address is not; then none of them is.
        OSError: the name cannot be resolved.
        UnicodeError: the resolver cannot spell it.
    """
    host = place.host
    if rule := policy.judge_host(host):
        raise AddressRefused(host=host, address=host, rule=rule)
    addresses = [host] if place.literal is not None else await resolver(host)
    if not addresses:
        raise OSError("no address")
    if observer is not None:
        observer.passed(Phase.RESOLVE, ", ".join(addresses))
    if place.literal is None:
        for address in addresses:
            if rule := policy.judge_address(host, address):
                raise AddressRefused(host=host, address=address, rule=rule)
    if observer is not None:
        observer.passed(Phase.POLICY, "allowed")
    return addresses


def resolution_fault(host: str, error: Exception) -> str:
    """Says why a host has no addresses."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else "no address"
    return f"{host} cannot be resolved: {why}"
