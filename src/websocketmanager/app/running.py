"""Starts the parts in order, and stops them in order.

`running_app` is the one door: it yields once the faces are bound, while recovery goes on behind
a readiness that says so; leaving it is the graceful stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import websocketmanager
from websocketmanager.adapters.peers import GrpcPeers
from websocketmanager.adapters.telemetry import Telemetry, running_telemetry
from websocketmanager.app.addresses import advertised_host, host_port, local_host
from websocketmanager.app.parts import Parts, SinkMaker
from websocketmanager.app.policies import api_settings_of
from websocketmanager.domain.facts import (
    ReadinessChanged,
    ServiceListening,
    ServiceStarting,
    ServiceStopped,
    ServiceStopping,
)
from websocketmanager.errors import ApiError, WebSocketManagerError
from websocketmanager.service.leases import Heartbeat
from websocketmanager.settings import Settings

#: Part of the grace that running calls get before the rest of the stop.
_CALLS_SECONDS = 2.0
_WEB_SECONDS = 0.5
#: Part of the grace that the log on disk gets at its end, at most, and as a share of it.
_SAVING_SECONDS = 1.0
_SAVING_SHARE = 0.25


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
        parts = Parts(settings, telemetry, environ or {}, direct)
        try:
            async with _running(parts) as app:
                yield app
        except BaseExceptionGroup as group:
            raise _first_cause(group) from group


@asynccontextmanager
async def _running(parts: Parts) -> AsyncIterator[App]:
    """Starts everything, yields, stops everything in order."""
    settings = parts.settings
    parts.journal.emit(
        ServiceStarting(
            websocketmanager.__version__,
            settings.instance_id,
            parts.policy.incarnation,
            api_settings_of(settings).target,
        )
    )
    http_port = parts.web.bind()
    grpc_port = await parts.grpc.start()
    local = local_host(settings)
    app = App(
        grpc_port=grpc_port,
        http_port=http_port,
        grpc_address=host_port(local, grpc_port),
        http_address=host_port(local, http_port),
        ready=asyncio.Event(),
    )
    parts.journal.emit(ServiceListening(app.grpc_address, app.http_address))
    advertised = replace(parts.policy, grpc_address=host_port(advertised_host(settings), grpc_port))
    heartbeat = Heartbeat(parts.api, GrpcPeers(), parts.clock, parts.journal, advertised)
    try:
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - the long-lived parts
            web = tasks.create_task(parts.web.serve())
            background = [
                tasks.create_task(work)
                for work in (
                    parts.lane.run(),
                    parts.ledger.run(),
                    parts.timers.run(),
                    _begin(parts, heartbeat, app),
                )
            ]
            connections = tasks.create_task(parts.registry.run())
            yield app
            await _end(parts, app, heartbeat, connections)
            for task in background:
                task.cancel()
            await parts.web.stop(_WEB_SECONDS)
            await asyncio.wait([web])
    finally:
        await parts.grpc.stop(0)
        await parts.web.stop(0)
        if parts.log is not None:
            await parts.log.close()
        await parts.api.close()


async def _begin(parts: Parts, heartbeat: Heartbeat, app: App) -> None:
    """Claims the instance id, recovers, opens readiness, and beats from then on."""
    await heartbeat.claim()
    if parts.log is not None:
        await parts.log.start()  # the name in the folder is ours as long as the id is
    async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - as above
        tasks.create_task(heartbeat.run())
        tasks.create_task(parts.recovery.run())
        await parts.recovery.finished.wait()
        parts.grpc.set_serving(True)
        parts.journal.emit(ReadinessChanged(True, "nothing"))
        app.ready.set()


async def _end(
    parts: Parts, app: App, heartbeat: Heartbeat, connections: asyncio.Task[None]
) -> None:
    """The graceful stop, within its grace."""
    grace = parts.settings.shutdown_grace_seconds
    parts.stopping = True
    parts.grpc.set_serving(False)
    parts.journal.emit(ServiceStopping(app.stop_reason, grace))
    parts.journal.emit(ReadinessChanged(False, "stopping"))
    parts.registry.stop()
    # The end of it is the log's, for what the API does not take.
    saving = 0.0 if parts.log is None else min(_SAVING_SECONDS, grace * _SAVING_SHARE)
    try:
        async with asyncio.timeout(grace - saving):
            await parts.grpc.stop(min(_CALLS_SECONDS, grace))
            await asyncio.wait([connections])
            await _flush(parts)
            await _quietly(heartbeat.release())
    except TimeoutError:
        connections.cancel()
    if parts.log is not None:
        parts.registry.spools.keep()
        await parts.log.close()
    app.dropped = parts.registry.unflushed
    parts.journal.emit(ServiceStopped(app.dropped))


async def _flush(parts: Parts) -> None:
    """Waits until records and events are all at the API; each may bring more of the other."""
    while parts.lane.pending or parts.ledger.busy:
        await parts.ledger.wait_idle()
        await parts.lane.wait_drained()


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
