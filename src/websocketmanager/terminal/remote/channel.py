"""How channels of the command line are opened, whoever is at the other end."""

from __future__ import annotations

import grpc

#: Events and lists may be larger than gRPC's own 4 MiB.
_MAX_BYTES = 64 * 1024 * 1024
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_BYTES),
    ("grpc.max_send_message_length", _MAX_BYTES),
    # A proxy of the environment is for the web, not for a service named by address.
    ("grpc.enable_http_proxy", 0),
)


def open_channel(address: str) -> grpc.aio.Channel:
    """Returns a channel to `host:port`, to be closed; the first call connects it."""
    return grpc.aio.insecure_channel(address, options=_CHANNEL_OPTIONS)
