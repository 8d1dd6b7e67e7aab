"""`grpc.health.v1`: whether this server serves, told to callers that ask or watch.

Not the library's servicer: that one says SERVING from its construction, lets one slow watcher
hold up the change for all, and keeps watchers open through a graceful stop.
"""
# ruff: noqa: N802 - RPC names are the protocol's

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

from websocketmanager.domain.limits import shown

Context = grpc.aio.ServicerContext[Any, Any]


class Health:
    """One status for several service names; NOT_SERVING until told otherwise."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = frozenset(services)
        self._serving = False
        self._closed = False
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        """Changes the status and wakes the watchers; after `close` it stays NOT_SERVING."""
        if not self._closed:
            self._change(serving=serving)

    def close(self) -> None:
        """Says NOT_SERVING for good and ends the watches, so that none delays a stop."""
        self._closed = True
        self._change(serving=False)

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """Answers with the status; NOT_FOUND for a service that is not here."""
        if request.service not in self._services:
            problem = f"no service is named {shown(request.service)}"
            await context.abort(grpc.StatusCode.NOT_FOUND, problem)
        return HealthCheckResponse(status=self._status(request.service))

    async def List(self, _request: HealthListRequest, _context: Context) -> HealthListResponse:
        """Answers with the status of every service."""
        answer = HealthListResponse()
        for service in self._services:
            answer.statuses[service].status = self._status(service)
        return answer

    async def Watch(
        self, request: HealthCheckRequest, _context: Context
    ) -> AsyncIterator[HealthCheckResponse]:
        """Yields the status now and at each change, until `close`."""
        told = None
        while True:
            # Taken before the status is read: a change while we write is not missed.
            changed, closed = self._changed, self._closed
            status = self._status(request.service)
            if status != told:
                yield HealthCheckResponse(status=status)
                told = status
            if closed:
                return
            await changed.wait()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return int(HealthCheckResponse.SERVICE_UNKNOWN)
        if self._serving:
            return int(HealthCheckResponse.SERVING)
        return int(HealthCheckResponse.NOT_SERVING)

    def _change(self, *, serving: bool) -> None:
        self._serving = serving
        self._changed.set()
        self._changed = asyncio.Event()
