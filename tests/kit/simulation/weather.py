"""Troubles at random times."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.kit.simulation.venue import SimulatedVenue


def schedule(
    venue: SimulatedVenue,
    troubles: Sequence[Callable[[], None]],
    *,
    since: float,
    until: float,
    mean_seconds: float,
) -> None:
    """Enters troubles into the venue's agenda, each as likely as any other.

    Args:
        venue: whose.
        troubles: to choose from; what stands twice is twice as likely.
        since, until: monotonic seconds.
        mean_seconds: between two of them.
    """
    at = since
    while (at := at + venue.dice.expovariate(1 / mean_seconds)) < until:
        venue.agenda.at(at, venue.dice.choice(troubles))
