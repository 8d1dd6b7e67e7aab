"""What can be known to fail before anything starts, said in the words of the command line."""

from __future__ import annotations

import socket

from websocketmanager.errors import Fault, SettingsInvalid
from websocketmanager.settings import Settings


def check_ports(*wanted: tuple[str, int, str]) -> None:
    """Refuses ports that are in use: host, port, and the flag that changes it.

    Raises:
        SettingsInvalid: with every port that cannot be bound now.
    """
    faults = []
    for host, port, flag in wanted:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as refused:
                problem = refused.strerror or str(refused)
                where = host_port(host, port)
                faults.append(
                    Fault(flag, f"{where}: {problem}; choose another with {flag} (0: any free one)")
                )
    if faults:
        raise SettingsInvalid(*faults)


def check_api(settings: Settings) -> None:
    """Refuses an API address that no service can mean.

    Raises:
        SettingsInvalid: the port is 0, or the service would call itself.
    """
    if settings.api_route != "direct":
        return
    local = settings.api_host in {"localhost", "127.0.0.1", "::1", settings.bind_host}
    if settings.api_grpc_port == 0:
        raise SettingsInvalid(Fault("--api-grpc-port", "must name the port of the virtufin-api"))
    if local and settings.api_grpc_port == settings.grpc_port:
        raise SettingsInvalid(
            Fault(
                "--api-grpc-port",
                f"{settings.api_host}:{settings.api_grpc_port} is this service itself; name the "
                "virtufin-api by VIRTUFIN_API_HOST and VIRTUFIN_API_GRPC_PORT",
            )
        )


def host_port(host: str, port: int) -> str:
    """Returns `host:port`, IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
