"""The gRPC server: binds the port, adds service, health and reflection, stops with grace."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from grpc_health.v1 import health_pb2_grpc

from websocketmanager._proto.websocketmanager.websocketmanager_pb2 import DESCRIPTOR
from websocketmanager._proto.websocketmanager.websocketmanager_pb2_grpc import (
    add_WebSocketManagerServicer_to_server,
)
from websocketmanager.api.health import Health
from websocketmanager.api.interceptor import CallBoundary
from websocketmanager.api.reflection import add_reflection
from websocketmanager.api.servicer import Servicer, Trials, Verbs
from websocketmanager.api.translate import NO_PROFILES
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.profiles import Profile
from websocketmanager.ports import Clock, Journal, Tracer

SERVICE = DESCRIPTOR.services_by_name["WebSocketManager"].full_name
#: A request holds one message, at most the API's 4 MiB, or tags; what is above is refused unread.
_MAX_REQUEST_BYTES = 8 * 1024 * 1024
_REQUEST_OVERHEAD_BYTES = 64 * 1024
#: Gateways may check an idle line this often without being told off (gRFC A8).
_MIN_PING_INTERVAL_MS = 10_000
#: Calls that may wait for their turn: one for every connection, all at once. By gRPC's own bound
#: a thousandth caller would be told CANCELLED, which says nothing.
_MAX_PENDING_CALLS = 20_000


class ApiServer:
    """Serves gRPC at one address; health says NOT_SERVING until `set_serving`."""

    def __init__(
        self,
        verbs: Verbs,
        trials: Trials,
        *,
        host: str,
        port: int,
        limits: Limits,
        compile_regex: CompileRegex,
        clock: Clock,
        journal: Journal,
        tracer: Tracer,
        profiles: Mapping[str, Profile] = NO_PROFILES,
    ) -> None:
        """Prepares; nothing is bound yet.

        Args:
            verbs: the service.
            trials: tests of targets.
            host: name or address to bind; `0.0.0.0` or `::` for all.
            port: 0 for any free one.
            limits: the service's bounds.
            compile_regex: makes and judges the regular expressions of options.
            clock: measures calls.
            journal: gets a fact of every call.
            tracer: opens a span around every call.
            profiles: what `Connect` may name.
        """
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._servicer = Servicer(
            verbs,
            trials,
            limits=limits,
            clock=clock,
            compile_regex=compile_regex,
            profiles=profiles,
        )
        self._boundary = CallBoundary(SERVICE, clock=clock, journal=journal, tracer=tracer)
        self._health = Health(("", SERVICE))
        largest = max(_MAX_REQUEST_BYTES, limits.max_message_bytes + _REQUEST_OVERHEAD_BYTES)
        self._options = (
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", largest),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_INTERVAL_MS),
            ("grpc.server.max_pending_requests", _MAX_PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", 2 * _MAX_PENDING_CALLS),
        )
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Binds and serves; returns the port.

        Raises:
            OSError: the address cannot be bound.
        """
        server = grpc.aio.server(interceptors=(self._boundary,), options=self._options)
        add_WebSocketManagerServicer_to_server(self._servicer, server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_reflection(server)
        try:
            port = server.add_insecure_port(self._address)
        except RuntimeError as error:
            # The library says why to stderr only.
            problem = "in use, not permitted, or not an address of this machine"
            raise OSError(f"gRPC cannot listen on {self._address}: {problem}") from error
        await server.start()
        self._server = server
        return port

    def set_serving(self, serving: bool) -> None:
        """Tells callers of `grpc.health.v1` whether the service serves."""
        self._health.set_serving(serving)

    async def stop(self, grace_seconds: float) -> None:
        """Says NOT_SERVING, accepts no more calls, waits for running ones, cuts the rest.

        Safe before `start` and to repeat. Cancelling leaves calls running until another stop.
        """
        self._health.close()
        if self._server is not None:
            await self._server.stop(grace_seconds)
