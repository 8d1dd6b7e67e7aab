"""What must hold between two values that are valid each by itself."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from websocketmanager.errors import Fault
from websocketmanager.settings.model import KEYS, Settings
from websocketmanager.settings.sources import Given


@dataclass(frozen=True, slots=True)
class _Rule:
    """What must hold between two valid fields; the first one is blamed."""

    fields: tuple[str, str]
    holds: Callable[[Any, Any], bool]
    problem: str


_RULES = (
    _Rule(
        ("max_reconnect_delay_ms", "reconnect_base_delay_ms"),
        lambda most, base: most >= base,
        "must be at least {other} ({value})",
    ),
    _Rule(
        ("stale_threshold_seconds", "heartbeat_interval_seconds"),
        lambda stale, beat: stale > 2 * beat,
        "must be more than twice {other} ({value}), or a peer that missed one beat counts as dead",
    ),
    _Rule(
        ("grpc_port", "http_port"),
        lambda grpc, http: grpc != http or grpc == 0,
        "must differ from {other} ({value})",
    ),
    _Rule(
        ("max_buffer_bytes", "api_max_message_bytes"),
        lambda buffer, message: buffer >= message,
        "must be at least {other} ({value}), or one message may never fit",
    ),
)


def broken_rules(
    settings: Settings, given: Mapping[str, Given], *, except_for: Container[str]
) -> Iterator[Fault]:
    """Yields what does not fit together, but nothing about the fields of `except_for`."""
    for rule in _RULES:
        blamed, other = rule.fields
        if blamed in except_for or other in except_for:
            continue
        if rule.holds(getattr(settings, blamed), getattr(settings, other)):
            continue
        if given[blamed].origin == "default":
            # The fault lies with the value that somebody set; say it at that key.
            yield Fault(
                given[other].spelling,
                f"does not fit ({given[other].origin}): {KEYS[blamed].name} "
                f"({getattr(settings, blamed)}) "
                + rule.problem.format(other=KEYS[other].name, value=getattr(settings, other)),
            )
            continue
        problem = rule.problem.format(other=KEYS[other].name, value=getattr(settings, other))
        yield Fault(given[blamed].spelling, f"{problem} ({given[blamed].origin})")
