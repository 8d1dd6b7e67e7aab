"""Renders `docs/lifecycle.md` from the lifecycle table and the tables of `retry`."""

from __future__ import annotations

from websocketmanager.domain import lifecycle, retry
from websocketmanager.domain.failure import Failure, FailureKind

_EVENTS = lifecycle.Event.__args__

_CLOSE_CODES = (*range(1000, 1004), *range(1005, 1016), 3000, 3003, 3008, 4000)
_STATUSES = (301, 302, 400, 401, 403, 404, 408, 418, 425, 429, 500, 502, 503, 504)

_HEAD = """\
# The life of a connection

Generated from `src/websocketmanager/domain/lifecycle/` and `retry.py` by `make docs`; not
edited by hand.

Each change of state first saves the record, then announces the event. Every dial has a
generation; what belongs to none of the present ones is dropped before this table is asked.
*Illegal* means a fault of ours: it is reported and the state stays. *Ignored* is listed, so that
nothing is ignored by accident.
"""


def render() -> str:
    """Returns the whole document."""
    parts = [_HEAD, _transitions(), _projection(), _classes(), _codes(), _statuses(), _delays()]
    return "\n".join(parts)


def _transitions() -> str:
    header = "| state | " + " | ".join(event.__name__ for event in _EVENTS) + " |"
    lines = ["## States and events", "", header, "|---" * (len(_EVENTS) + 1) + "|"]
    for state in lifecycle.State:
        cells = [lifecycle.TABLE[state, event].text for event in _EVENTS]
        lines.append(f"| **{state}** | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _projection() -> str:
    return """\
## Wire status

| state | status |
|---|---|
| idle, first dialing | `connecting` |
| open, rotating, handing over | `connected` |
| waiting, later dialing | `reconnecting` |
| closing, done | `disconnected` |
"""


def _classes() -> str:
    lines = [
        "## Failures",
        "",
        "`error_type` of events and errors is one of these.",
        "",
        "| error_type | what follows |",
        "|---|---|",
    ]
    for kind in FailureKind:
        if kind is FailureKind.PEER_CLOSED:
            follows = "by close code, below"
        elif kind is FailureKind.HANDSHAKE_REJECTED:
            follows = "by HTTP status, below"
        else:
            follows = retry.classify(Failure(kind, "")).value
        lines.append(f"| `{kind}` | {follows} |")
    return "\n".join([*lines, ""])


def _codes() -> str:
    lines = ["## Close codes (RFC 6455 §7.4)", "", "| code | what follows |", "|---|---|"]
    for code in _CLOSE_CODES:
        advice = retry.classify(Failure(FailureKind.PEER_CLOSED, "", close_code=code))
        lines.append(f"| {code} | {advice} |")
    lines.append("| any other | later |")
    return "\n".join([*lines, ""])


def _statuses() -> str:
    lines = ["## Handshake answers", "", "| HTTP status | what follows |", "|---|---|"]
    for status in _STATUSES:
        failure = Failure(FailureKind.HANDSHAKE_REJECTED, "", http_status=status)
        lines.append(f"| {status} | {retry.classify(failure)} |")
    lines.append("| other 3xx and 4xx | never |")
    lines.append("| any with `Retry-After` | later, unless listed |")
    return "\n".join([*lines, ""])


def _delays() -> str:
    return f"""\
## Delays

*again*: drawn evenly from 0 to min(`max_delay_ms`, `base_delay_ms` × 2^(attempt − 1)).
*later*: the upper half of `max_delay_ms`, and not before the server's `Retry-After` (believed
up to {retry.MAX_RETRY_AFTER_SECONDS:.0f} s). *never*: the connection ends with `disconnected`.
A row of attempts ends when a session was open for `stable_after_ms`; until then backoff grows.
An `unknown` failure is dialled at most {retry.MAX_UNKNOWN_ATTEMPTS} times in a row.
"""
