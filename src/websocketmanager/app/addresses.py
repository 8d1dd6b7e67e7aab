"""Under which addresses this process is reached: by itself, and by its peers."""

from __future__ import annotations

import socket

from websocketmanager.settings import Settings

#: Bind addresses that stand for every address of the machine.
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


def host_port(host: str, port: int) -> str:
    """Returns `host:port`, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_host(settings: Settings) -> str:
    """Returns the host under which clients on this machine reach both faces."""
    return "127.0.0.1" if settings.bind_host in _EVERYWHERE else settings.bind_host


def advertised_host(settings: Settings) -> str:
    """Returns the host under which other processes reach this one."""
    if settings.advertised_host:
        return settings.advertised_host
    everywhere = settings.bind_host in _EVERYWHERE
    return socket.gethostname() if everywhere else settings.bind_host
