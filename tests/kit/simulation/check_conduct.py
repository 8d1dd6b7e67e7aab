"""Judges how the service behaved towards the venue: sockets, dials, logins, subscriptions."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator

from tests.kit.simulation.account import Account, Change
from tests.kit.simulation.log import DialLog, SessionLog
from tests.kit.simulation.venue import REPLY_SECONDS

#: Dials and logins within a minute: full jitter from 1 s to 30 s makes about nine.
_MAX_IN_A_MINUTE = 15
_ROUNDING_SECONDS = 0.002
#: A dial may wait for its turn at the host.
_MAX_TURN_SECONDS = 2.0
#: Short turns that others may take before a request, as pings.
_OTHER_TURNS = 3


def check_sockets(account: Account) -> Iterator[str]:
    """Two sockets at a time at most; one where only one may be."""
    most = 1 if account.exclusive else 2
    changes = [(one.opened_at, 1) for one in account.links]
    ends = (one.ended_at for one in account.links if one.ended_at is not None)
    changes += [(at, -1) for at in ends if at < account.ended_at]
    held = 0
    for at, change in sorted(changes):
        held += change
        if held > most:
            yield f"{held} sockets at {at:.3f}"
    if held != 1:
        yield f"{held} sockets at the end"


def check_subscriptions(account: Account) -> Iterator[str]:
    """Every session had what was desired, each stream once, from the time of writing it on."""
    for log in account.links:
        ready = log.ready_at(account.words)
        if ready is None:
            continue
        most = max(len(streams) for _, streams in account.wanted)
        bound = (most + _OTHER_TURNS) * (account.spacing_seconds + REPLY_SECONDS) + 4 * log.delay
        end = min(log.gone_at, account.ended_at)
        moments = {ready + bound, end - log.delay, *(at + bound for at, _ in account.wanted)}
        for at in sorted(moments):
            if ready + bound <= at < end:
                yield from _check_moment(account, log, at, bound)


def _check_moment(account: Account, log: SessionLog, at: float, bound: float) -> Iterator[str]:
    changed = [streams for when, streams in account.wanted if at - bound < when <= at]
    sets = [account.wanted_at(at - bound), *changed]
    has = log.has_at(at)
    required, allowed = frozenset.intersection(*sets), frozenset.union(*sets)
    where = f"session {log.number} of the venue at {at - log.opened_at:.3f} s of its life"
    if not required <= set(has) or not set(has) <= allowed:
        yield f"{where} has {sorted(has)}, and {sorted(required)} is desired"
    if len(has) != len(set(has)):
        yield f"{where} has something twice: {has}"


def check_dials(account: Account) -> Iterator[str]:
    """Every dial was announced with its delay, or made a second socket; none came too early."""
    dials = [one for one in account.log.dials if one.url == account.url]
    dials.sort(key=lambda one: one.at)
    due = deque(one for one in account.lifecycle if one.state in {"connecting", "reconnecting"})
    for dial in dials:
        if any(_is_held(one, dial.at) for one in account.links):
            continue  # beside a session that goes on
        while due and not _announces(due[0], dial):
            due.popleft()
        if not due:
            yield f"a dial at {dial.at:.3f} that nothing announced"
            return
        due.popleft()
    for dial, following in itertools.pairwise(dials):
        if following.at < dial.ended_at + dial.wait - _ROUNDING_SECONDS:
            yield f"dialled {following.at - dial.ended_at:.1f} s after a Retry-After of {dial.wait}"
    yield from _check_rate("dials", (one.at for one in dials))
    yield from _check_rate("logins", (at for one in account.links for at in one.logins))


def _is_held(log: SessionLog, at: float) -> bool:
    return log.opened_at <= at and (log.ended_at is None or at < log.ended_at)


def _announces(change: Change, dial: DialLog) -> bool:
    turn: float = dial.at - change.at - change.facts.get("delay_ms", 0) / 1000
    return -_ROUNDING_SECONDS <= turn <= _MAX_TURN_SECONDS


def _check_rate(what: str, times: Iterable[float]) -> Iterator[str]:
    recent: deque[float] = deque()
    for at in sorted(times):
        recent.append(at)
        while recent[0] < at - 60.0:
            recent.popleft()
        if len(recent) > _MAX_IN_A_MINUTE:
            yield f"{len(recent)} {what} within a minute at {at:.3f}"
            return


def check_delays(account: Account) -> Iterator[str]:
    """What the venue meant by a close code is heeded."""
    for change in account.lifecycle:
        slow = change.facts.get("close_code") in {1008, 1013}
        if change.state != "reconnecting" or not slow:
            continue
        if (delay := change.facts["delay_ms"]) < account.slow_seconds * 1000:
            yield f"event {change.number}: {delay} ms after a 1008 or 1013"


def check_detection(account: Account) -> Iterator[str]:
    """A link that died without a word is noticed in time."""
    for log in account.links:
        if log.silent_since is None:
            continue
        seconds = min(log.ended_at or account.ended_at, account.ended_at) - log.silent_since
        if seconds > account.silence_seconds:
            yield f"session {log.number} of the venue was dead for {seconds:.1f} s"


_DEGRADATIONS = {"rotation_failed", "subscription_unacknowledged"}


def check_alarms(account: Account) -> Iterator[str]:
    """Nothing is called degraded that is not."""
    active: set[str] = set()
    for change in account.lifecycle:
        if change.state != "degraded":
            continue
        cause, session = change.facts["cause"], change.facts["session"]
        if change.facts["active"] and cause in active - {"subscription_unacknowledged"}:
            yield f"event {change.number} tells {cause} again"
        if not change.facts["active"] and cause not in active:
            yield f"event {change.number} takes {cause} back, which was not told"
        (active.add if change.facts["active"] else active.discard)(cause)
        if cause not in _DEGRADATIONS:
            yield f"event {change.number} is degraded by {cause}"
        silent = account.sessions[session].silent_since if session else None
        if cause == "subscription_unacknowledged" and change.facts["active"] and silent is None:
            yield f"event {change.number} misses acknowledgements that came"
    if active:
        yield f"at the end it is degraded by {sorted(active)}"


def check_venue(account: Account) -> Iterator[str]:
    """The venue has nothing to complain of, and had to end no session for its age."""
    yield from (f"violation: {words}" for words in account.violations)
    for log in account.links:
        if log.venue_end == "too old" and log.silent_since is None:
            yield f"session {log.number} of the venue reached its greatest age"


_FOLLOWERS = {
    "": {"connecting"},
    "connecting": {"connected", "error"},
    "connected": {"connected", "error", "reconnecting"},
    "reconnecting": {"connected", "error", "reconnecting"},
    "error": {"reconnecting"},
}


def check_lifecycle(account: Account) -> Iterator[str]:
    """The changes are numbered without a hole, in an order that makes sense."""
    last, session = "", 0
    for number, change in enumerate(account.lifecycle, 1):
        if change.number != number or change.facts["event"] != number:
            yield f"event {change.number} where {number} was due"
        if change.state == "degraded":
            if last == "error":
                yield f"event {number} stands between an error and what it caused"
            continue
        if change.state not in _FOLLOWERS[last]:
            yield f"event {number} is {change.state} after {last or 'nothing'}"
        if change.state == "connected":
            session += 1
            if change.takes_over is not (last == "connected"):
                yield f"event {number} does not say honestly whether it took over"
            if change.facts["session"] != session:
                yield f"event {number} is of session {change.facts['session']}, not {session}"
        last = change.state
    if last != "connected":
        yield f"at the end it is {last}"
