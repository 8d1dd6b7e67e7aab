"""Liveness and readiness, for orchestrators and for people with curl."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from websocketmanager.domain.readiness import Readiness


def health_routes(readiness: Callable[[], Readiness]) -> list[Route]:
    """Returns the probes; `readiness` is asked anew for every request and must not wait.

    `/health/live` answers 200 whenever the loop runs: what this process waits for is no
    reason to restart it. `/health/ready`, and `/health` for older probes, answer 200 or 503.
    """

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_request: Request) -> Response:
        now = readiness()
        body = {
            "status": "ready" if now.ready else "not ready",
            "missing": list(now.missing),
            "remaining_connections": now.remaining_connections,
            "details": dict(now.details),
        }
        return JSONResponse(body, status_code=200 if now.ready else 503)

    return [
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/health", ready),
    ]
