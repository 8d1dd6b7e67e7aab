"""All checks of a day; each is a generator of problems in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.kit.simulation import check_conduct, check_stream
from tests.kit.simulation.account import Account

CHECKS: tuple[Callable[[Account], Iterator[str]], ...] = (
    check_stream.check_order,
    check_stream.check_sessions,
    check_stream.check_gaps,
    check_stream.check_missing,
    check_stream.check_repetitions,
    check_conduct.check_sockets,
    check_conduct.check_subscriptions,
    check_conduct.check_dials,
    check_conduct.check_delays,
    check_conduct.check_detection,
    check_conduct.check_venue,
    check_conduct.check_lifecycle,
)


def problems(account: Account) -> list[str]:
    """Returns what is wrong; nothing is wanted."""
    return [f"{check.__name__}: {problem}" for check in CHECKS for problem in check(account)]
