"""Opens tunnels through proxies: HTTP CONNECT and SOCKS5.

The proxy never gets more than it needs, and no failure leads around it.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from python_socks import ProxyError, ProxyType
from python_socks.async_.asyncio import Proxy
from websockets.headers import build_authorization_basic

from websocketmanager.adapters.websocket.reaching import connected_to_any, place_of
from websocketmanager.domain.handshake_rules import ProxyUrl
from websocketmanager.ports import Clock

#: Of an HTTP proxy's answer, up to its empty line.
MAX_ANSWER_BYTES: Final = 16_384
_END: Final = b"\r\n\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r\n")
#: Statuses by which a proxy says that the target is to blame, not the caller or itself.
_TARGET_STATUSES: Final = frozenset({502, 503, 504})
_PROXY_AUTHENTICATION_REQUIRED: Final = 407

#: RFC 1928 §6: what the reply means, and whether another address of the target may do better.
_SOCKS_REPLIES: Final = {
    1: ("says: general failure", True),
    2: ("does not allow this connection", False),
    3: ("says: network unreachable", True),
    4: ("says: host unreachable", True),
    5: ("says: connection refused", True),
    6: ("says: time to live expired", True),
    7: ("does not know CONNECT", False),
    8: ("does not know this type of address", True),
}


class ProxyFailed(Exception):
    """The proxy cannot be used, or did not open the tunnel.

    Attributes:
        words: what it did, to follow its name; no credentials.
        try_next: whether another address of the target may do better.
    """

    def __init__(self, words: str, *, try_next: bool = False) -> None:
        self.words = words
        self.try_next = try_next
        super().__init__(words)


@dataclass(frozen=True, slots=True)
class JudgedProxy:
    """A proxy whose addresses may be dialled."""

    url: ProxyUrl
    addresses: Sequence[str]

    def __str__(self) -> str:
        return f"{self.url.scheme}://{place_of(self.url.host, self.url.port)}"

    async def tunnel(self, host: str, port: int, *, clock: Clock, seconds: float) -> socket.socket:
        """Returns a socket that the proxy connected to the target. Cancelling leaves no socket.

        Args:
            host: an address, or a name that the proxy resolves.
            port: of the target.
            clock: bounds the ways to the proxy's own addresses.
            seconds: how long it may take; the caller ends it then.

        Raises:
            ProxyFailed: it was not there, said no, or does not speak its protocol.
            TimeoutError: it did not answer in time.
        """
        try:
            raw = await connected_to_any(
                self.addresses, self.url.port, clock=clock, seconds=seconds
            )
        except TimeoutError:
            raise
        except OSError as error:
            raise ProxyFailed(_unreached(error)) from None
        try:
            await self._open(raw, host, port, seconds)
        except TimeoutError:
            raw.close()
            raise
        except OSError as error:
            raw.close()
            raise ProxyFailed(f"broke off: {error.strerror or type(error).__name__}") from None
        except BaseException:
            raw.close()
            raise
        return raw

    async def _open(self, raw: socket.socket, host: str, port: int, seconds: float) -> None:
        if self.url.scheme == "http":
            await _connect_by_http(raw, self.url, host, port)
        else:
            await _connect_by_socks(raw, self.url, host, port, seconds)


def _unreached(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    return f"cannot be reached: {error.strerror or type(error).__name__}"


# --- HTTP CONNECT (RFC 9110 §9.3.6) ---------------------------------------------------------------
# Not by python-socks, which takes what one `recv` brings for the whole answer: the rest of one that
# comes in two segments would be read as the beginning of TLS or of the WebSocket handshake.


async def _connect_by_http(raw: socket.socket, proxy: ProxyUrl, host: str, port: int) -> None:
    place = place_of(host, port)
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.user or proxy.password:
        lines.append(
            f"Proxy-Authorization: {build_authorization_basic(proxy.user, proxy.password)}"
        )
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(raw, "\r\n".join((*lines, "", "")).encode())
    answer = await _head(raw)
    if (match := _STATUS_LINE.match(answer)) is None:
        raise ProxyFailed("did not answer CONNECT with HTTP")
    status = int(match[1])
    if 200 <= status < 300:
        return
    if status == _PROXY_AUTHENTICATION_REQUIRED:
        did = "does not accept the credentials" if proxy.user else "wants credentials"
        raise ProxyFailed(f"{did} (HTTP status {status})")
    raise ProxyFailed(
        f"answered CONNECT with HTTP status {status}", try_next=status in _TARGET_STATUSES
    )


async def _head(raw: socket.socket) -> bytes:
    """Reads up to the empty line and not one byte further: what follows is the target's."""
    loop = asyncio.get_running_loop()
    head = bytearray()
    while not head.endswith(_END):
        if len(head) >= MAX_ANSWER_BYTES:
            raise ProxyFailed(f"answered CONNECT with more than {MAX_ANSWER_BYTES} bytes")
        byte = await loop.sock_recv(raw, 1)
        if not byte:
            raise ProxyFailed("ended the connection before it answered CONNECT")
        head += byte
        if not b"HTTP/1.".startswith(head[:7]):
            # Else something that waits for us to speak would hold the dial until its timeout.
            raise ProxyFailed("did not answer CONNECT with HTTP")
    return bytes(head)


# --- SOCKS5 (RFC 1928, RFC 1929) ------------------------------------------------------------------


class _Reached(Proxy):
    """Gives the library a socket that is connected already, so that it dials and resolves none."""

    def __init__(self, raw: socket.socket, proxy: ProxyUrl) -> None:
        super().__init__(ProxyType.SOCKS5, proxy.host, proxy.port)
        self._raw = raw

    async def connect(self, *_: Any, **__: Any) -> socket.socket:
        return self._raw


async def _connect_by_socks(
    raw: socket.socket, proxy: ProxyUrl, host: str, port: int, timeout_seconds: float
) -> None:
    tunnel = Proxy(
        ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        proxy.user or None,
        proxy.password or None,
        rdns=True,
        forward=_Reached(raw, proxy),
    )
    try:
        await tunnel.connect(host, port, timeout=timeout_seconds)
    except ProxyError as error:
        if error.error_code is None:
            # The library's own words throughout: on versions, methods and authentication.
            raise ProxyFailed(f"failed in SOCKS5: {_lower(str(error))}") from None
        words, try_next = _SOCKS_REPLIES[error.error_code]
        raise ProxyFailed(words, try_next=try_next) from None
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - what the library makes of nonsense, it does not say
        raise ProxyFailed(f"failed in SOCKS5: {type(error).__name__}") from None


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]
