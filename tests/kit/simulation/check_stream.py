"""Compares what was published with what the venue produced and delivered, message by message."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime

from tests.kit.simulation.account import ENDED, EXTENDED, GAP, MESSAGE, STARTED, Account, Entry
from tests.kit.simulation.log import Frame, Produced, Said, SessionLog
from websocketmanager.domain.options import Overlap

#: Event times have microseconds, and floats near 2e9 have their own opinion of them.
_TOLERANCE_SECONDS = 1e-4


def check_order(account: Account) -> Iterator[str]:
    """Markers and messages stand where they must, and messages are numbered without a hole."""
    present, before, count, gap = 0, 0, 0, False
    for entry in account.stream:
        where = f"{entry.kind} {entry.session}/{entry.sequence}"
        if entry.kind == MESSAGE:
            count += 1
            if (entry.session, entry.sequence) != (present, count):
                yield f"{where} where {present}/{count} was due"
        elif entry.kind == EXTENDED:
            if entry.session != present or entry.facts["to_sequence"] != count + 1:
                yield f"{where} within {present}, after {count} messages: {entry.facts}"
        elif entry.kind == GAP:
            if present or gap or entry.session != before + 1:
                yield f"{where} after session {before}, within {present}"
            gap = True
        elif entry.kind == STARTED:
            if present or entry.session != before + 1 or entry.facts["first_sequence"] != 1:
                yield f"{where} after session {before}, within {present}: {entry.facts}"
            if entry.facts["resumed"] is not (entry.session > 1):
                yield f"{where} is not honest about what it resumes"
            present, count, gap = entry.session, 0, False
        else:
            if entry.session != present or entry.facts["last_sequence"] != count:
                yield f"{where} within {present}, after {count} messages: {entry.facts}"
            before, present = entry.session, 0


def check_sessions(account: Account) -> Iterator[str]:
    """What was published of a session is what reached its socket: all, in order, once."""
    published: dict[int, list[Entry]] = {session: [] for session in account.sessions}
    for entry in account.stream:
        if entry.kind == MESSAGE:
            published.setdefault(entry.session, []).append(entry)
    for session, entries in published.items():
        log = account.sessions.get(session)
        if log is None:
            yield f"session {session} was published and never connected"
            continue
        before = published.get(session - 1, [])
        repeated = {one.data for one in before} if account.overlap is not Overlap.CUT else set()
        yield from _compare(session, entries, log.arrived, repeated)


def _compare(
    session: int, entries: list[Entry], arrived: list[Frame], repeated: set[bytes]
) -> Iterator[str]:
    rest = iter(entries)
    entry = next(rest, None)
    for frame in arrived:
        if frame.said in {Said.WORD, Said.REFUSAL, Said.ACKNOWLEDGEMENT}:
            continue  # if it was published, what follows is out of step
        if entry is not None and entry.data == frame.data:
            if abs(entry.at - frame.at) > _TOLERANCE_SECONDS and not _held(entry, frame):
                yield f"session {session}/{entry.sequence} is told with another time"
            entry = next(rest, None)
        elif frame.said in {Said.DATA, Said.NOTICE} and frame.data not in repeated:
            yield f"session {session} lost {frame.number or frame.data!r}"
            return  # what follows is out of step
    if entry is not None:
        yield f"session {session}/{entry.sequence} did not come from the venue: {entry.data!r}"


def _held(entry: Entry, frame: Frame) -> bool:
    # What waited for the end of the session before is stamped when it is numbered.
    return entry.at > frame.at


def check_gaps(account: Account) -> Iterator[str]:
    """A gap is marked where something can be missing, with its true bounds, and nowhere else."""
    last: Entry | None = None
    gap: Entry | None = None
    told: Entry | None = None
    sessions = account.sessions
    for entry in account.stream:
        if entry.kind == GAP:
            gap = told = entry
        elif entry.kind == EXTENDED:
            yield from _check_extended(told, entry)
        elif entry.kind == ENDED:
            last = entry
            yield from _check_end(account, entry)
        elif entry.kind == STARTED:
            if entry.session > 1 and last is not None:
                before, after = sessions[entry.session - 1], sessions[entry.session]
                if seamless(before, after) is not (gap is None):
                    yield f"session {entry.session} begins {'with' if gap else 'without'} a gap"
                if gap is not None:
                    yield from _check_gap(account, gap, last, entry)
                elif abs(entry.at - (before.ended_at or 0.0)) > _TOLERANCE_SECONDS:
                    yield f"session {entry.session} did not follow at once"
            gap = None


def check_handovers(account: Account) -> Iterator[str]:
    """A session takes over with all its subscriptions acknowledged, and not before it delivers."""
    for session, after in account.sessions.items():
        before = account.sessions.get(session - 1)
        if before is None or before.leaving_at is None or not seamless(before, after):
            continue
        until = before.leaving_at + _TOLERANCE_SECONDS
        came = {one.said for one in after.arrived if one.at <= until}
        if not came & {Said.DATA, Said.NOTICE}:
            yield f"session {session} took over without data"
        replies = [one for one in after.arrived if one.said is Said.ACKNOWLEDGEMENT]
        for stream in account.wanted_at(after.opened_at) & account.wanted_at(until):
            asked = after.subscribed_at(stream)
            if asked is None or not any(asked <= one.at <= until for one in replies):
                yield f"session {session} took over without {stream}"


def seamless(before: SessionLog, after: SessionLog) -> bool:
    """Whether nothing can be missing between two sessions, by the venue's account."""
    left = before.leaving_at is not None and before.end == "peer_closed"
    return left and after.opened_at <= (before.leaving_at or 0.0)


def _check_end(account: Account, entry: Entry) -> Iterator[str]:
    log = account.sessions[entry.session]
    if (cause := entry.facts["cause"]) != cause_of(log):
        yield f"session {entry.session} ended by {cause_of(log)}, and {cause} is told"
    if log.ended_at is None or _differs(entry.facts["ended_at"], log.ended_at):
        yield f"session {entry.session} ended at {log.ended_at}, not {entry.facts['ended_at']}"


def _check_gap(account: Account, gap: Entry, last: Entry, started: Entry) -> Iterator[str]:
    session = gap.session
    before, after = account.sessions[session - 1], account.sessions[session]
    wanted = {
        "session": session,
        "from_session": session - 1,
        "from_sequence": last.sequence,
        "to_sequence": 1,
        "cause": cause_of(before),
        "lost": None,
        "ended_at": last.facts["ended_at"],
        "started_at": started.facts["started_at"],
    }
    if gap.facts != wanted:
        yield f"the gap before session {session} is {gap.facts}, not {wanted}"
    ready = after.ready_at(account.words)
    if ready is None:
        yield f"session {session} began without its dialogue"
    elif _differs(gap.facts["started_at"], max(ready, before.ended_at or 0.0)):
        yield f"the gap before session {session} ends at {gap.facts['started_at']}, not {ready}"


def _check_extended(gap: Entry | None, entry: Entry) -> Iterator[str]:
    wanted = {**(gap.facts if gap else {}), "cause": "subscribing"}
    changed = {name: entry.facts[name] for name in ("to_sequence", "started_at")}
    if entry.facts != {**wanted, **changed}:
        yield f"the gap before session {entry.session} is extended as {entry.facts}, not {wanted}"
    if _differs(entry.facts["started_at"], entry.at):
        yield f"the gap before session {entry.session} ends at {entry.at}, not as it says"


def cause_of(log: SessionLog) -> str:
    """Returns by what a session has ended, by the venue's account."""
    if log.end != "aborted":
        return log.end if log.leaving_at is None else "rotated"
    refused = any(one.said is Said.REFUSAL for one in log.arrived)
    return "server_refused" if refused else "ping_timeout"


def check_missing(account: Account) -> Iterator[str]:
    """Everything that was desired and produced is published, or lies within a gap."""
    seen = {one.number for entry in account.stream if (one := account.produced(entry))}
    gaps = list(_gaps(account))
    reaches = _reaches(account)
    lasts = [last for last, _ in gaps]
    for one in account.log.produced:
        if one.number in seen or not account.begun_at <= one.at <= account.ended_at:
            continue
        if one.stream not in account.wanted_at(one.at):
            continue
        # A later gap reaches further: the last one that begins before it is the one.
        index = bisect_left(lasts, one.number) - 1
        covered = index >= 0 and _covers(account, one, gaps[index][1], reaches)
        if not covered and not _is_new(account, one):
            yield f"{one.number} of {one.stream} is missing, and no gap holds it"


def _gaps(account: Account) -> Iterator[tuple[int, int]]:
    """Yields the last produced number before each gap, and the session behind it."""
    last = 0
    for entry in account.stream:
        if produced := account.produced(entry):
            last = max(last, produced.number)
        elif entry.kind == GAP:
            yield last, entry.session


def _reaches(account: Account) -> dict[int, float]:
    """Returns until when the gap before each session reaches, as it was told."""
    return {
        entry.session: datetime.fromisoformat(entry.facts["started_at"]).timestamp()
        for entry in account.stream
        if entry.kind == EXTENDED
    }


def _covers(account: Account, missing: Produced, session: int, reaches: dict[int, float]) -> bool:
    """Whether the gap before a session reaches to it: ahead of the new subscription.

    And ahead of where the gap was told to end, unless the session did not live to see that.
    """
    log = account.sessions[session]
    until = log.subscribed_at(missing.stream)
    if until is None:  # it did not live to see it
        until = log.gone_at
    return missing.at <= min(until, reaches.get(session, log.gone_at) + _TOLERANCE_SECONDS)


def _is_new(account: Account, missing: Produced) -> bool:
    """Whether it was produced before the first subscription to a stream that is newly desired."""
    since = None
    before: frozenset[str] = frozenset()
    for at, streams in account.wanted:
        if at <= missing.at and missing.stream in streams - before:
            since = at
        before = streams
    if since is None:
        return False
    asked = (log.subscribed_at(missing.stream, since) for log in account.sessions.values())
    return missing.at <= min((at for at in asked if at is not None), default=float("inf"))


def check_repetitions(account: Account) -> Iterator[str]:
    """Nothing comes twice but what both sessions of a change were written meanwhile."""
    where: dict[int, list[int]] = {}
    for entry in account.stream:
        if produced := account.produced(entry):
            where.setdefault(produced.number, []).append(entry.session)
    sessions = account.sessions
    for number, found in where.items():
        if len(found) == 1:
            continue
        before, after = sessions[found[0]], sessions[found[-1]]
        both = len(found) == 2 and found[1] == found[0] + 1
        if account.overlap is not Overlap.CUT:
            yield f"{number} was published in the sessions {found}, in spite of the comparison"
        elif not both or after.opened_at > (before.ended_at or 0.0):
            yield f"{number} was published in the sessions {found}"


def _differs(text: str | None, at: float) -> bool:
    if text is None:
        return True
    return abs(datetime.fromisoformat(text).timestamp() - at) > _TOLERANCE_SECONDS
