"""All checks of a day; each is a generator of problems in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.kit.simulation import check_conduct, check_stream
from tests.kit.simulation.account import STARTED, Account

CHECKS: tuple[Callable[[Account], Iterator[str]], ...] = (
    check_stream.check_order,
    check_stream.check_sessions,
    check_stream.check_gaps,
    check_stream.check_handovers,
    check_stream.check_missing,
    check_stream.check_repetitions,
    check_conduct.check_sockets,
    check_conduct.check_subscriptions,
    check_conduct.check_dials,
    check_conduct.check_delays,
    check_conduct.check_detection,
    check_conduct.check_alarms,
    check_conduct.check_venue,
    check_conduct.check_lifecycle,
)


def problems(account: Account) -> list[str]:
    """Returns what is wrong; nothing is wanted."""
    begun = {one.session for one in account.stream if one.kind == STARTED}
    if begun != account.sessions.keys():
        # Without it the venue's side of a session is not known, and there is nothing to compare.
        told = list(account.sessions)
        return [f"check_known: the sessions {begun} began, and {told} were told as connected"]
    return [f"{check.__name__}: {problem}" for check in CHECKS for problem in check(account)]
