"""Twin of web/metrics.py."""

from __future__ import annotations

from tests.web.client import fetch, serving


async def test_metrics_are_what_was_handed_over() -> None:
    async with serving(render_metrics=lambda: (b"a 1\n", "text/plain; version=0.0.4")) as port:
        answer = await fetch(port, "/metrics")
    assert (answer.status, answer.body) == (200, b"a 1\n")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4"
