"""Numbers of the whole process, read when metrics are collected: what no fact tells."""

from __future__ import annotations

from collections.abc import Callable

from websocketmanager.adapters.telemetry import Telemetry
from websocketmanager.domain.model import Status
from websocketmanager.service.lane import Lane
from websocketmanager.service.registry import Registry

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


def show_gauges(
    telemetry: Telemetry,
    *,
    registry: Registry,
    lane: Lane,
    publish_mode: Callable[[], str],
    is_ready: Callable[[], bool],
) -> None:
    """Shows what the parts count, from now on.

    Args:
        telemetry: takes the gauges; a second time is refused.
        registry: the connections.
        lane: what waits for the API.
        publish_mode: by which way events reach the API.
        is_ready: whether readiness is open.
    """
    observe = telemetry.observe

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
        lambda: [(float(is_ready()), {})],
    )
    observe(
        "buffer.events",
        "Events that wait for the API.",
        "{event}",
        lambda: [(lane.pending, {})],
    )
    observe(
        "publish.mode",
        "By which way events reach the API; 1 for the one in use.",
        "1",
        lambda: [(1.0, {"mode": publish_mode()})],
    )
    observe(
        "messages.spilled",
        "Messages that wait on the local disk alone.",
        "{message}",
        lambda: [(registry.totals().spilled_messages, {})],
    )
    for name, field, unit, text in _TOTALS:
        observe(name, text, unit, _total(registry, field), "counter")


def _total(registry: Registry, field: str) -> Callable[[], list[tuple[float, dict[str, str]]]]:
    return lambda: [(getattr(registry.totals(), field), {})]
