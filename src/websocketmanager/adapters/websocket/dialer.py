"""Opens WebSockets, to judged addresses only: `ports.Dialer`."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

from websocketmanager import __version__
from websocketmanager.adapters.websocket.connection import Connection
from websocketmanager.adapters.websocket.failures import opening_failure
from websocketmanager.adapters.websocket.session import WebSocketSession
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.url_policy import AddressPolicy, ParsedUrl, parse_url
from websocketmanager.errors import AddressRefused, InvalidArgument
from websocketmanager.ports import Clock, DialTarget

#: Gives the addresses of a name, in the order of preference.
Resolver = Callable[[str], Awaitable[Sequence[str]]]

#: Failures of one address that say nothing about the next.
_TRY_NEXT = frozenset(
    {
        FailureKind.CONNECT_REFUSED,
        FailureKind.NETWORK_ERROR,
        FailureKind.OPEN_TIMEOUT,
        FailureKind.TLS_FAILED,
    }
)


async def system_resolver(host: str) -> list[str]:
    """Asks the operating system, once for both address families.

    Cancelling leaves a thread of the loop's executor that ends by itself.

    Raises:
        OSError: the name cannot be resolved.
    """
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class WebSocketDialer:
    """`ports.Dialer`: one resolution, every answer judged, a judged address dialled.

    A redirect is a refusal like any other, and no proxy of the environment is used.

    Args:
        policy: judges hosts and addresses.
        clock: bounds the dial, and dates a `Retry-After`.
        tls: what a server's certificate is checked with; the system's authorities by default.
        resolver: gives a name's addresses.
        user_agent: how the service introduces itself.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver = system_resolver,
        user_agent: str = f"websocketmanager/{__version__}",
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._tls = tls or ssl.create_default_context()
        self._resolver = resolver
        self._user_agent = user_agent

    async def judge(self, url: str) -> None:
        """Asks the address policy about the URL's host and all its addresses now.

        Raises:
            AddressRefused: the policy refuses the host or one of its addresses.
            InvalidArgument: the URL is malformed.
        """
        try:
            await self._judged_addresses(parse_url(url))
        except (OSError, UnicodeError):
            return  # dialling says so

    async def dial(self, target: DialTarget) -> WebSocketSession:
        """Resolves, judges every answer, dials judged addresses in order and shakes hands.

        The next address is tried when one does not answer as a server would. Cancelling leaves no
        transport.

        Raises:
            SocketFailed: with the failure's kind; also for a refused address.
        """
        try:
            url = parse_url(target.url)
        except InvalidArgument as invalid:
            raise _failed(FailureKind.UNKNOWN, f"not a URL to dial: {invalid}") from None
        failures: list[Failure] = []
        try:
            async with self._clock.timeout(target.open_timeout_seconds):
                return await self._dial(target, url, failures)
        except TimeoutError:
            failure = Failure(
                FailureKind.OPEN_TIMEOUT,
                f"{url.host} was not open within {target.open_timeout_seconds:g} s",
            )
            raise SocketFailed(_summary([*failures, failure])) from None

    async def _dial(
        self, target: DialTarget, url: ParsedUrl, failures: list[Failure]
    ) -> WebSocketSession:
        deadline = self._clock.monotonic() + target.open_timeout_seconds
        try:
            addresses = await self._judged_addresses(url)
        except AddressRefused as refused:
            raise _failed(FailureKind.ADDRESS_REFUSED, str(refused)) from None
        except (OSError, UnicodeError) as error:
            raise _failed(FailureKind.DNS_FAILED, _dns_fault(url.host, error)) from None
        for index, address in enumerate(addresses):
            # A silent first address must leave time for the others.
            share = (deadline - self._clock.monotonic()) / (len(addresses) - index)
            try:
                return await self._open(target, url, address, connect_seconds=share)
            except SocketFailed as failed:
                if failed.failure.kind not in _TRY_NEXT:
                    raise
                failures.append(failed.failure)
        raise SocketFailed(_summary(failures))

    async def _judged_addresses(self, url: ParsedUrl) -> Sequence[str]:
        """Returns the addresses of the URL's host, each of them allowed.

        Raises:
            AddressRefused: the host or one address is not; then none of them is.
            OSError: the name cannot be resolved.
            UnicodeError: the resolver cannot spell it.
        """
        if rule := self._policy.judge_host(url.host):
            raise AddressRefused(host=url.host, address=url.host, rule=rule)
        if url.literal is not None:
            return [url.host]
        addresses = await self._resolver(url.host)
        if not addresses:
            raise OSError("no address")
        for address in addresses:
            if rule := self._policy.judge_address(url.host, address):
                raise AddressRefused(host=url.host, address=address, rule=rule)
        return addresses

    async def _open(
        self, target: DialTarget, url: ParsedUrl, address: str, *, connect_seconds: float
    ) -> WebSocketSession:
        """Opens the WebSocket at one address.

        Raises:
            SocketFailed: this address failed.
        """
        place = f"[{address}]:{url.port}" if ":" in address else f"{address}:{url.port}"
        connection: Connection | None = None
        try:
            connection = Connection(target)
            async with self._clock.timeout(connect_seconds):
                raw = await _connected(address, url.port)
            await self._shake_hands(connection, raw, url, target)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told as a failure
            failure = opening_failure(error, place, now=self._clock.now(), connection=connection)
            # The cause is not chained: the library's words may hold the URL.
            raise SocketFailed(failure) from None
        return WebSocketSession(connection, target=target, address=place, clock=self._clock)

    async def _shake_hands(
        self, connection: Connection, raw: socket.socket, url: ParsedUrl, target: DialTarget
    ) -> None:
        """TLS, then the opening handshake. Whatever ends it early leaves no transport."""
        loop = asyncio.get_running_loop()
        if url.is_tls:
            transport, _ = await loop.create_connection(
                lambda: connection,
                sock=raw,
                ssl=self._tls,
                server_hostname=url.tls_name,
                # A peer that leaves the TLS close unanswered would hold the socket for 30 s.
                ssl_shutdown_timeout=target.close_timeout_seconds,
            )
        else:
            transport, _ = await loop.create_connection(lambda: connection, sock=raw)
        try:
            await connection.handshake(user_agent_header=self._user_agent)
        except BaseException:
            transport.abort()
            raise


async def _connected(address: str, port: int) -> socket.socket:
    """Connects a TCP socket to a literal address. Cancelling leaves no socket."""
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


def _failed(kind: FailureKind, message: str) -> SocketFailed:
    return SocketFailed(Failure(kind, message))


def _dns_fault(host: str, error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) and error.strerror else "no address"
    return f"{host} cannot be resolved: {why}"


def _summary(failures: Sequence[Failure]) -> Failure:
    """Returns the last failure's kind with the sentences of all addresses."""
    message = "; ".join(failure.message for failure in failures)
    return Failure(failures[-1].kind, message)
