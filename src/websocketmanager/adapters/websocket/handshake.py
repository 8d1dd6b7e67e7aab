"""Sets up the library's sans-I/O protocol for a target, and the request that opens it."""

from __future__ import annotations

import dataclasses
import logging  # noqa: TID251 - the library wants a logger; this one never says anything
import urllib.parse
from typing import Final

from websockets.http11 import Request
from websockets.typing import Origin, Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from websocketmanager.adapters.websocket.deflate import (
    DeflatingProtocol,
    ExactDeflateFactory,
    packing_room,
)
from websocketmanager.domain.options import Compression
from websocketmanager.ports import DialTarget

#: Outside the tree of loggers, so that no configuration makes it print requests and their secrets.
_SILENT: Final = logging.Logger("silent", logging.CRITICAL + 1)  # noqa: LOG001 - as said above


def protocol_for(target: DialTarget) -> DeflatingProtocol:
    """Returns a protocol that has not said anything yet.

    Compression only where it is asked for: it costs 40 KiB per connection and the reader half of
    its speed.

    Raises:
        ValueError, InvalidURI: the library cannot read the target's URL.
    """
    return DeflatingProtocol(
        _uri(target),
        origin=Origin(target.origin) if target.origin else None,
        extensions=_extensions(target),
        subprotocols=[Subprotocol(name) for name in target.subprotocols] or None,
        max_size=target.max_message_bytes,
        logger=_SILENT,
    )


def names_user_agent(target: DialTarget) -> bool:
    """Returns whether one of the target's own headers says who asks."""
    return any(name.lower() == "user-agent" for name, _ in target.headers)


def request_for(protocol: DeflatingProtocol, target: DialTarget, user_agent: str) -> Request:
    """Returns the opening request with the target's headers.

    Args:
        protocol: of this connection, as the request holds its key.
        target: what is dialled.
        user_agent: how the service introduces itself, unless a header does.
    """
    request = protocol.connect()
    request.headers.update(target.headers)
    if not names_user_agent(target):
        request.headers.setdefault("User-Agent", user_agent)
    return request


def _uri(target: DialTarget) -> WebSocketURI:
    """Reads the URL; a header of the caller's goes before the URL's user information."""
    try:
        uri = parse_uri(target.url)
    finally:
        # The library's reading goes through a cache of the standard library's, which would keep
        # the last 128 URLs, secrets included.
        urllib.parse.clear_cache()  # type: ignore[attr-defined] # it is there, undocumented
    if any(name.lower() == "authorization" for name, _ in target.headers):
        return dataclasses.replace(uri, username=None, password=None)
    return uri


def _extensions(target: DialTarget) -> list[ExactDeflateFactory] | None:
    if target.compression is Compression.NONE:
        return None
    return [ExactDeflateFactory(packing_room(target.max_message_bytes))]
