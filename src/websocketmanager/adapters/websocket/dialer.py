"""Opens WebSockets, to judged addresses only: `ports.Dialer`."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Literal

from websocketmanager import __version__
from websocketmanager.adapters.websocket.attempt import Attempt
from websocketmanager.adapters.websocket.budget import ReadBudget
from websocketmanager.adapters.websocket.connection import Connection
from websocketmanager.adapters.websocket.driver import DriverSession
from websocketmanager.adapters.websocket.failures import opening_failure
from websocketmanager.adapters.websocket.gathering import Gathering
from websocketmanager.adapters.websocket.judging import (
    Resolver,
    judged_addresses,
    resolution_fault,
    system_resolver,
)
from websocketmanager.adapters.websocket.protocol import DriverConnection
from websocketmanager.adapters.websocket.proxying import JudgedProxy, ProxyFailed
from websocketmanager.adapters.websocket.session import WebSocketSession
from websocketmanager.adapters.websocket.telling import negotiated, tls_facts
from websocketmanager.adapters.websocket.tls import TlsContexts, TlsTextUnusable
from websocketmanager.domain.failure import Failure, FailureKind, SocketFailed
from websocketmanager.domain.handshake_rules import handshake_faults, parse_proxy
from websocketmanager.domain.trial import Phase
from websocketmanager.domain.url_policy import AddressPolicy, ParsedUrl, parse_url
from websocketmanager.errors import AddressRefused, InvalidArgument
from websocketmanager.ports import Clock, DialObserver, DialTarget

#: What reads a socket, by the setting's words.
Engine = Literal["driver", "client"]
#: An open socket of either engine.
Session = DriverSession | WebSocketSession

#: Failures of one address that say nothing about the next.
_TRY_NEXT = frozenset(
    {
        FailureKind.CONNECT_REFUSED,
        FailureKind.NETWORK_ERROR,
        FailureKind.OPEN_TIMEOUT,
        FailureKind.TLS_FAILED,
    }
)


class _AddressFailed(SocketFailed):
    """One address failed, and the next may not."""


class WebSocketDialer:
    """`ports.Dialer`: one resolution, every answer judged, a judged address dialled.

    A redirect is a refusal like any other, and no proxy of the environment is used. A target's
    proxy is judged as the target is, which it then gets as a judged address. Only with `socks5h`
    does it get the name, and only one that the allow-list holds: its address is never seen here.

    Args:
        policy: judges hosts and addresses.
        clock: bounds the dial, and dates a `Retry-After`.
        tls: for targets without TLS texts of their own; the system's authorities by default.
        resolver: gives a name's addresses.
        user_agent: how the service introduces itself.
        engine: what reads the sockets: `driver`, our own reader on the library's sans-I/O core, or
            `client`, the library's own client, slower and the reference.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
        resolver: Resolver = system_resolver,
        user_agent: str = f"websocketmanager/{__version__}",
        engine: Engine = "driver",
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._contexts = TlsContexts(tls or ssl.create_default_context())
        self._resolver = resolver
        self._user_agent = user_agent
        self._engine = engine
        self._budget = ReadBudget()
        self._gathering = Gathering()

    async def judge(self, url: str) -> None:
        """Asks the address policy about the URL's host and all its addresses now.

        Raises:
            AddressRefused: the policy refuses the host or one of its addresses.
            InvalidArgument: the URL is malformed.
        """
        try:
            await judged_addresses(parse_url(url), self._policy, self._resolver)
        except (OSError, UnicodeError):
            return  # dialling says so

    async def dial(self, target: DialTarget, observer: DialObserver | None = None) -> Session:
        """Resolves, judges every answer, dials judged addresses in order and shakes hands.

        The next address is tried when one does not answer as a server would. Cancelling leaves no
        transport.

        Args:
            target: what to dial.
            observer: told of each phase as it ends.

        Raises:
            SocketFailed: with the failure's kind; also for a refused address.
        """
        url = _checked(target)
        failures: list[Failure] = []
        try:
            async with self._clock.timeout(target.open_timeout_seconds):
                return await self._dial(target, url, failures, observer)
        except TimeoutError:
            failure = Failure(
                FailureKind.OPEN_TIMEOUT,
                f"{url.host} was not open within {target.open_timeout_seconds:g} s",
            )
            raise SocketFailed(_summary([*failures, failure])) from None

    async def _dial(
        self,
        target: DialTarget,
        url: ParsedUrl,
        failures: list[Failure],
        observer: DialObserver | None,
    ) -> Session:
        deadline = self._clock.monotonic() + target.open_timeout_seconds
        context = await self._context(target) if url.is_tls else None
        proxy = await self._judged_proxy(target) if target.proxy else None
        hosts = await self._judged_hosts(url, proxy, observer)
        for index, host in enumerate(hosts):
            # A silent first address must leave time for the others.
            share = (deadline - self._clock.monotonic()) / (len(hosts) - index)
            attempt = Attempt(target, url, host, context, proxy, observer)
            try:
                return await self._open(attempt, reach_seconds=share)
            except _AddressFailed as failed:
                failures.append(failed.failure)
        raise SocketFailed(_summary(failures))

    # --- what is needed before a byte is sent ---

    async def _context(self, target: DialTarget) -> ssl.SSLContext:
        try:
            return await self._contexts.context(target.tls)
        except TlsTextUnusable as unusable:
            raise _failed(FailureKind.TLS_FAILED, str(unusable)) from None

    async def _judged_proxy(self, target: DialTarget) -> JudgedProxy:
        proxy = parse_proxy(target.proxy)
        try:
            addresses = await judged_addresses(proxy, self._policy, self._resolver)
        except AddressRefused as refused:
            raise _failed(FailureKind.ADDRESS_REFUSED, _proxy_refusal(refused)) from None
        except (OSError, UnicodeError) as error:
            why = f"the proxy {resolution_fault(proxy.host, error)}"
            raise _failed(FailureKind.PROXY_FAILED, why) from None
        return JudgedProxy(proxy, addresses)

    async def _judged_hosts(
        self, url: ParsedUrl, proxy: JudgedProxy | None, observer: DialObserver | None
    ) -> Sequence[str]:
        """Returns what may be dialled, or told to the proxy: addresses, or the name itself."""
        if proxy is not None and proxy.url.resolves_names and url.literal is None:
            if not self._policy.trusts_name(url.host):
                raise _failed(
                    FailureKind.ADDRESS_REFUSED,
                    f"url: {url.host} is refused: a name that the proxy resolves (socks5h) needs an"
                    " entry of its own in AllowedHosts",
                )
            if observer is not None:
                observer.passed(Phase.POLICY, "the name is allowed")
            return [url.host]
        try:
            return await judged_addresses(url, self._policy, self._resolver, observer)
        except AddressRefused as refused:
            raise _failed(FailureKind.ADDRESS_REFUSED, str(refused)) from None
        except (OSError, UnicodeError) as error:
            raise _failed(FailureKind.DNS_FAILED, resolution_fault(url.host, error)) from None

    # --- one address ---

    async def _open(self, attempt: Attempt, *, reach_seconds: float) -> Session:
        """Opens the WebSocket at one address.

        Raises:
            _AddressFailed: this address failed.
            SocketFailed: another one would fail too.
        """
        target = attempt.target
        connection: Connection | DriverConnection | None = None
        try:
            connection = self._connection(target)
            async with self._clock.timeout(reach_seconds):
                raw = await attempt.reach(self._clock, reach_seconds)
            if attempt.observer is not None:
                attempt.observer.passed(Phase.PROXY if attempt.proxy else Phase.TCP, attempt.shown)
            await self._shake_hands(connection, raw, attempt)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told as a failure
            failure = opening_failure(
                error, attempt.shown, now=self._clock.now(), connection=connection
            )
            # The cause is not chained: the library's words may hold the URL.
            if failure.kind in _TRY_NEXT or (isinstance(error, ProxyFailed) and error.try_next):
                raise _AddressFailed(failure) from None
            raise SocketFailed(failure) from None
        place, clock = attempt.place, self._clock
        if isinstance(connection, DriverConnection):
            return DriverSession(connection, target=target, address=place, clock=clock)
        return WebSocketSession(connection, target=target, address=place, clock=clock)

    def _connection(self, target: DialTarget) -> Connection | DriverConnection:
        if self._engine == "driver":
            return DriverConnection(target, self._clock, self._budget, self._gathering)
        return Connection(target, self._clock, self._gathering)

    async def _shake_hands(
        self, connection: Connection | DriverConnection, raw: socket.socket, attempt: Attempt
    ) -> None:
        """TLS, then the opening handshake. Whatever ends it early leaves no transport."""
        loop = asyncio.get_running_loop()
        target, url = attempt.target, attempt.url
        if url.is_tls:
            transport, _ = await loop.create_connection(
                lambda: connection,
                sock=raw,
                ssl=attempt.context,
                server_hostname=target.tls.server_name.removesuffix(".") or url.tls_name,
                # A peer that leaves the TLS close unanswered would hold the socket for 30 s.
                ssl_shutdown_timeout=target.close_timeout_seconds,
            )
        else:
            transport, _ = await loop.create_connection(lambda: connection, sock=raw)
        observer = attempt.observer
        try:
            if observer is not None and url.is_tls:
                observer.passed(Phase.TLS, tls_facts(transport))
            await connection.open(self._user_agent)
            if observer is not None:
                observer.passed(Phase.HANDSHAKE, negotiated(connection.protocol))
        except BaseException:
            transport.abort()
            raise


def _checked(target: DialTarget) -> ParsedUrl:
    """Reads the URL and judges everything that goes into the handshake.

    Raises:
        SocketFailed: something is not as it must be.
    """
    try:
        url = parse_url(target.url)
    except InvalidArgument as invalid:
        raise _failed(FailureKind.UNKNOWN, f"not a URL to dial: {invalid}") from None
    faults = handshake_faults(
        headers=target.headers,
        subprotocols=target.subprotocols,
        origin=target.origin,
        proxy=target.proxy,
        tls=target.tls,
        secure=url.is_tls,
    )
    if faults:
        raise _failed(FailureKind.UNKNOWN, "; ".join(map(str, faults)))
    return url


def _failed(kind: FailureKind, message: str) -> SocketFailed:
    return SocketFailed(Failure(kind, message))


def _proxy_refusal(refused: AddressRefused) -> str:
    where = refused.host
    if refused.address != refused.host:
        where = f"{refused.host} ({refused.address})"
    return f"proxy: {where} is refused: {refused.rule} addresses need an entry in AllowedHosts"


def _summary(failures: Sequence[Failure]) -> Failure:
    """Returns the last failure's kind with the sentences of all addresses."""
    message = "; ".join(failure.message for failure in failures)
    return Failure(failures[-1].kind, message)
