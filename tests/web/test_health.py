"""Twin of web/health.py."""

from __future__ import annotations

import pytest

from tests.web.client import fetch, serving
from websocketmanager.domain.readiness import Readiness


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_not_ready_says_what_is_missing(path: str) -> None:
    state = Readiness(
        missing=("recovery", "api"), remaining_connections=17, details={"api_breaker": "open"}
    )
    async with serving(readiness=lambda: state) as port:
        answer = await fetch(port, path)
    assert answer.status == 503
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "status": "not ready",
        "missing": ["recovery", "api"],
        "remaining_connections": 17,
        "details": {"api_breaker": "open"},
    }


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_ready_with_connections_that_remain(path: str) -> None:
    async with serving(readiness=lambda: Readiness(remaining_connections=3)) as port:
        answer = await fetch(port, path)
    assert answer.status == 200
    assert answer.json["status"] == "ready"
    assert answer.json["missing"] == []
    assert answer.json["remaining_connections"] == 3


async def test_readiness_is_asked_for_every_request() -> None:
    states = iter([Readiness(missing=("recovery",)), Readiness(), Readiness(missing=("stopping",))])
    async with serving(readiness=lambda: next(states)) as port:
        seen = [(await fetch(port, "/health/ready")).status for _ in range(3)]
    assert seen == [503, 200, 503]


async def test_live_does_not_depend_on_readiness() -> None:
    async with serving(readiness=lambda: Readiness(missing=("api",))) as port:
        answer = await fetch(port, "/health/live")
    assert (answer.status, answer.json) == (200, {"status": "live"})


async def test_head_has_the_headers_and_no_body() -> None:
    async with serving(readiness=lambda: Readiness(missing=("api",))) as port:
        answer = await fetch(port, "/health/ready", "HEAD")
        whole = await fetch(port, "/health/ready")
    assert (answer.status, answer.body) == (503, b"")
    assert answer.headers["content-length"] == str(len(whole.body))
