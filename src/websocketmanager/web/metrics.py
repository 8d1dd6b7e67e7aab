"""Renders the metrics that app/ hands over."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def metrics_route(render: Callable[[], tuple[bytes, str]]) -> Route:
    """Returns `/metrics`; `render` gives the page and its content type."""

    async def metrics(_request: Request) -> Response:
        page, content_type = render()
        return Response(page, headers={"content-type": content_type})

    return Route("/metrics", metrics)
