"""The composition root: wiring, start order, stop order. Holds no product rule.

`running_app` is the one door: it yields once the faces are bound, while recovery goes on behind
a readiness that says so; leaving it is the graceful stop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import websocketmanager
from websocketmanager.adapters.message_log import SqliteMessageLog
from websocketmanager.adapters.peers import GrpcPeers
from websocketmanager.adapters.profile_files import packaged_folder, read_profiles
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.adapters.secrets import FolderAndEnvironmentSecrets
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.adapters.telemetry import Telemetry, running_telemetry
from websocketmanager.adapters.virtufin_api import ApiSettings, VirtufinApi
from websocketmanager.adapters.websocket import WebSocketDialer
from websocketmanager.api.server import ApiServer
from websocketmanager.domain.address_policy import AddressPolicy
from websocketmanager.domain.facts import (
    ReadinessChanged,
    ServiceListening,
    ServiceStarting,
    ServiceStopped,
    ServiceStopping,
)
from websocketmanager.domain.host_rules import HostRules
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import InstanceId, Status
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.domain.profiles import Profile
from websocketmanager.domain.readiness import Readiness
from websocketmanager.errors import ApiError, WebSocketManagerError
from websocketmanager.ports import Clock, EventSink, Journal
from websocketmanager.service.index import Index
from websocketmanager.service.lane import Lane
from websocketmanager.service.leases import Heartbeat
from websocketmanager.service.ledger import Ledger
from websocketmanager.service.outbox import Outbox
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.places import Places
from websocketmanager.service.recovery import Recovery
from websocketmanager.service.registry import Registry
from websocketmanager.service.runner import Tools
from websocketmanager.service.supervisor import Supervisor
from websocketmanager.service.timers import Timers
from websocketmanager.service.trial import Trials
from websocketmanager.settings import Settings
from websocketmanager.web.server import WebServer

#: Makes a sink beside the channel to the API.
SinkMaker = Callable[[Clock, Journal], EventSink]

#: Events that are worth a publish call of their own while others fly.
_MUCH_EVENTS = 256
#: Part of the grace that running calls get before the rest of the stop.
_CALLS_SECONDS = 2.0
_WEB_SECONDS = 0.5
#: Bind addresses that stand for every address of the machine.
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared, not bound


@dataclass(slots=True)
class App:
    """A running service.

    Attributes:
        grpc_port: where the gRPC face is bound.
        http_port: where the HTTP face is bound.
        grpc_address: `host:port` for clients on this machine.
        http_address: likewise.
        ready: set once recovery opened readiness.
        dropped: messages and lifecycle events that a stop could not flush in its grace.
        stop_reason: what the journal says of the stop; whoever leaves the context sets it.
    """

    grpc_port: int
    http_port: int
    grpc_address: str
    http_address: str
    ready: asyncio.Event
    dropped: int = 0
    stop_reason: str = "asked"


@asynccontextmanager
async def running_app(
    settings: Settings,
    *,
    environ: Mapping[str, str] | None = None,
    direct: SinkMaker | None = None,
) -> AsyncIterator[App]:
    """Runs the service for the length of the block.

    Args:
        settings: validated.
        environ: where OpenTelemetry's standard names are looked up; none without it.
        direct: makes what takes the events when the API lives in this process.

    Raises:
        OSError: a port cannot be bound.
        InstanceIdInUse: another live process has the instance id, now or later.
        RecordUnreadable: the index of this instance was written by a newer version.
        SettingsInvalid: with every fault of every profile.
    """
    async with _telemetry(settings, environ or {}) as telemetry:
        house = _House(settings, telemetry, environ or {}, direct)
        try:
            async with house.running() as app:
                yield app
        except BaseExceptionGroup as group:
            raise _first_cause(group) from group


class _House:
    """All parts of one process, made but not started."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        environ: Mapping[str, str],
        direct: SinkMaker | None,
    ) -> None:
        self.settings = settings
        self.telemetry = telemetry
        self.journal = telemetry.journal
        clock, dice = SystemClock(), SystemDice()
        self.clock = clock
        self.policy = policy = _policy(settings, dice.uuid())
        self.api = VirtufinApi(
            _api_settings(settings),
            clock=clock,
            dice=dice,
            journal=self.journal,
            inject=telemetry.tracer.inject,
        )
        self.direct = direct is not None
        sink = direct(clock, self.journal) if direct is not None else self.api
        self.lane = Lane(sink, clock, dice, self.journal, much=_MUCH_EVENTS)
        outbox = Outbox(
            self.lane,
            self.journal,
            topic=policy.lifecycle_topic,
            type_prefix=policy.lifecycle_type_prefix,
        )
        self.ledger = Ledger(self.api, outbox, clock, dice, self.journal)
        index = Index(self.api, policy.instance_id)
        dialer = WebSocketDialer(
            AddressPolicy.of(settings.allowed_hosts), clock=clock, engine=settings.socket_engine
        )
        self.timers = Timers(clock, self.journal)
        folder = Path(settings.secrets_folder) if settings.secrets_folder else None
        tools = Tools(
            clock=clock,
            dice=dice,
            dialer=dialer,
            journal=self.journal,
            ledger=self.ledger,
            pacer=Pacer(clock, dice, policy.dial_spacing_at),
            policy=policy,
            secrets=FolderAndEnvironmentSecrets(lambda: environ, folder),
            timers=self.timers,
            places=Places(clock, self.journal, policy.max_sockets_at),
            compile_regex=compile_regex,
        )
        self.log = _message_log(settings, self.journal)
        self.registry = Registry(tools, index, self.lane, self.log)
        self.supervisor = Supervisor(tools, self.api, index, self.registry)
        self.recovery = Recovery(
            self.registry, self.api, index, tools, on_loaded=self.supervisor.begin
        )
        self.grpc = ApiServer(
            self.supervisor,
            Trials(tools),
            host=settings.bind_host,
            port=settings.grpc_port,
            limits=policy.limits,
            compile_regex=compile_regex,
            clock=clock,
            journal=self.journal,
            tracer=telemetry.tracer,
            profiles=profiles_of(settings),
        )
        self.web = WebServer(
            host=settings.bind_host,
            port=settings.http_port,
            readiness=self.readiness,
            render_metrics=telemetry.render_metrics,
        )
        self.stopping = False
        self._observe()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[App]:
        """Starts everything, yields, stops everything in order."""
        settings = self.settings
        self.journal.emit(
            ServiceStarting(
                websocketmanager.__version__,
                settings.instance_id,
                self.policy.incarnation,
                _api_settings(settings).target,
            )
        )
        http_port = self.web.bind()
        grpc_port = await self.grpc.start()
        local = "127.0.0.1" if settings.bind_host in _EVERYWHERE else settings.bind_host
        app = App(
            grpc_port=grpc_port,
            http_port=http_port,
            grpc_address=_address(local, grpc_port),
            http_address=_address(local, http_port),
            ready=asyncio.Event(),
        )
        self.journal.emit(ServiceListening(app.grpc_address, app.http_address))
        advertised = replace(self.policy, grpc_address=_address(_advertised(settings), grpc_port))
        heartbeat = Heartbeat(self.api, GrpcPeers(), self.clock, self.journal, advertised)
        try:
            async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - app.py owns the long-lived parts
                web = tasks.create_task(self.web.serve())
                parts = [
                    tasks.create_task(work)
                    for work in (
                        self.lane.run(),
                        self.ledger.run(),
                        self.timers.run(),
                        self._begin(heartbeat, app),
                    )
                ]
                connections = tasks.create_task(self.registry.run())
                yield app
                await self._end(app, heartbeat, connections)
                for part in parts:
                    part.cancel()
                await self.web.stop(_WEB_SECONDS)
                await asyncio.wait([web])
        finally:
            await self.grpc.stop(0)
            await self.web.stop(0)
            if self.log is not None:
                await self.log.close()
            await self.api.close()

    async def _begin(self, heartbeat: Heartbeat, app: App) -> None:
        """Claims the instance id, recovers, opens readiness, and beats from then on."""
        await heartbeat.claim()
        if self.log is not None:
            await self.log.start()  # the name in the folder is ours as long as the id is
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - as above
            tasks.create_task(heartbeat.run())
            tasks.create_task(self.recovery.run())
            await self.recovery.finished.wait()
            self.grpc.set_serving(True)
            self.journal.emit(ReadinessChanged(True, "nothing"))
            app.ready.set()

    async def _end(self, app: App, heartbeat: Heartbeat, connections: asyncio.Task[None]) -> None:
        """The graceful stop, within its grace."""
        grace = self.settings.shutdown_grace_seconds
        self.stopping = True
        self.grpc.set_serving(False)
        self.journal.emit(ServiceStopping(app.stop_reason, grace))
        self.journal.emit(ReadinessChanged(False, "stopping"))
        self.registry.stop()
        try:
            async with asyncio.timeout(grace):
                await self.grpc.stop(min(_CALLS_SECONDS, grace))
                await asyncio.wait([connections])
                await self._flush()
                await _quietly(heartbeat.release())
        except TimeoutError:
            connections.cancel()
        if self.log is not None:
            await self.log.close()
        app.dropped = self.registry.unflushed
        self.journal.emit(ServiceStopped(app.dropped))

    async def _flush(self) -> None:
        """Waits until records and events are all at the API; each may bring more of the other."""
        while self.lane.pending or self.ledger.busy:
            await self.ledger.wait_idle()
            await self.lane.wait_drained()

    # --- what probes and metrics see ------------------------------------------------------------

    def readiness(self) -> Readiness:
        """Returns what is missing now."""
        missing = []
        if self.stopping:
            missing.append("stopping")
        if not self.recovery.loaded:
            missing.append("records")
        elif not self.recovery.finished.is_set():
            missing.append("recovery")
        details = {
            "instance_id": self.settings.instance_id,
            "api_breaker": self.api.breaker_state,
            "publishing": "stalled" if self.lane.stalled else "ok",
        }
        return Readiness(tuple(missing), self.recovery.remaining, details)

    def _observe(self) -> None:
        observe = self.telemetry.observe
        registry = self.registry

        def by_status() -> list[tuple[float, dict[str, str]]]:
            counts = dict.fromkeys(Status, 0)
            for status in registry.statuses():
                counts[status] += 1
            return [(count, {"status": status.value}) for status, count in counts.items()]

        observe("connections", "Connections of this process, by status.", "{connection}", by_status)
        observe(
            "ready",
            "Whether readiness is open.",
            "1",
            lambda: [(float(self.readiness().ready), {})],
        )
        observe(
            "buffer.events",
            "Events that wait for the API.",
            "{event}",
            lambda: [(self.lane.pending, {})],
        )
        observe(
            "publish.mode",
            "By which way events reach the API; 1 for the one in use.",
            "1",
            lambda: [(1.0, {"mode": "direct" if self.direct else self.api.publish_mode})],
        )
        observe(
            "messages.spilled",
            "Messages that wait on the local disk alone.",
            "{message}",
            lambda: [(registry.totals().spilled_messages, {})],
        )
        for name, field, unit, text in _TOTALS:
            observe(name, text, unit, _total(registry, field), "counter")


#: Counts over all connections, those that are gone included: metric, field, unit, description.
_TOTALS = (
    ("messages.received", "messages_received", "{message}", "Messages received from upstream."),
    ("messages.received.size", "bytes_received", "By", "Bytes of messages received."),
    ("messages.published", "messages_published", "{message}", "Messages that the API accepted."),
    ("messages.unrouted", "unrouted", "{message}", "Messages received while no topic was set."),
    ("messages.sent", "messages_sent", "{message}", "Messages sent upstream."),
    ("messages.sent.size", "bytes_sent", "By", "Bytes of messages sent."),
    ("reconnects", "reconnects", "{dial}", "Dials after a connection's first."),
)


def _total(registry: Registry, field: str) -> Callable[[], list[tuple[float, dict[str, str]]]]:
    return lambda: [(getattr(registry.totals(), field), {})]


@asynccontextmanager
async def _telemetry(settings: Settings, environ: Mapping[str, str]) -> AsyncIterator[Telemetry]:
    """Runs telemetry; its last flush may wait for a collector, so it waits in a thread."""
    running = running_telemetry(
        service_version=websocketmanager.__version__,
        instance_id=settings.instance_id,
        environ=environ,
    )
    try:
        yield running.__enter__()
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)


def profiles_of(settings: Settings) -> Mapping[str, Profile]:
    """Returns the profiles that `Connect` may name.

    Raises:
        SettingsInvalid: with every fault of every file.
    """
    folder = Path(settings.profiles_folder) if settings.profiles_folder else packaged_folder()
    return read_profiles(folder, compile_regex=compile_regex, limits=_limits(settings))


def _message_log(settings: Settings, journal: Journal) -> SqliteMessageLog | None:
    if not settings.message_log_folder:
        return None
    path = Path(settings.message_log_folder) / f"{settings.instance_id}.sqlite3"
    return SqliteMessageLog(path, journal)


def _policy(settings: Settings, incarnation: str) -> ServicePolicy:
    return ServicePolicy(
        instance_id=InstanceId(settings.instance_id),
        incarnation=incarnation,
        default_timeout_seconds=settings.default_timeout_ms / 1000,
        reconnect_base_seconds=settings.reconnect_base_delay_ms / 1000,
        reconnect_max_seconds=settings.max_reconnect_delay_ms / 1000,
        reconnect_max_attempts=settings.reconnect_max_attempts,
        ping_interval_seconds=settings.ping_interval_ms / 1000,
        ping_timeout_seconds=settings.ping_timeout_ms / 1000,
        dial_spacing_seconds=settings.dial_spacing_ms / 1000,
        dial_spacing_rules=HostRules.of(settings.host_dial_spacing_ms),
        max_sockets_per_host=settings.max_connections_per_host,
        max_sockets_rules=HostRules.of(settings.host_max_connections),
        dials_in_parallel=settings.dials_in_parallel,
        recovery_deadline_seconds=settings.recovery_deadline_seconds,
        heartbeat_interval_seconds=settings.heartbeat_interval_seconds,
        disconnected_retention_seconds=settings.disconnected_retention_seconds,
        api_max_message_bytes=settings.api_max_message_bytes,
        message_log_max_bytes=settings.message_log_max_bytes,
        lifecycle_type_prefix=settings.lifecycle_type_prefix,
        limits=_limits(settings),
    )


def _limits(settings: Settings) -> Limits:
    limits = Limits()
    return replace(
        limits,
        max_connections=settings.max_connections,
        max_buffer_bytes=settings.max_buffer_bytes,
        has_message_log=bool(settings.message_log_folder),
        max_message_bytes=min(limits.max_message_bytes, settings.api_max_message_bytes),
    )


def _api_settings(settings: Settings) -> ApiSettings:
    dapr = settings.api_route == "dapr"
    port = settings.dapr_grpc_port if dapr else settings.api_grpc_port
    return ApiSettings(
        target=_address("127.0.0.1" if dapr else settings.api_host, port),
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        pubsub_name=settings.pubsub_name,
        route=settings.api_route,
        app_id=settings.api_app_id,
        timeout_seconds=settings.api_timeout_ms / 1000,
        max_message_bytes=settings.api_max_message_bytes,
    )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _advertised(settings: Settings) -> str:
    """Returns the host under which other processes reach this one."""
    if settings.advertised_host:
        return settings.advertised_host
    everywhere = settings.bind_host in _EVERYWHERE
    return socket.gethostname() if everywhere else settings.bind_host


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """A release that fails is found out by the others all the same."""
    try:
        await work
    except ApiError:
        return


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Returns the error an operator should read: one of ours before anything else."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            leaves.append(error)
    ours = [error for error in leaves if isinstance(error, WebSocketManagerError | OSError)]
    return (ours or leaves)[0]
