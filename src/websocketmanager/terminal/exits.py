"""Exit codes, and what a person can do about each failure. Tables only."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command ends. Documented in `--help` and docs/command-line.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    DEADLINE = 5
    REFUSED = 6
    UPSTREAM = 7
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS = {
    Exit.OK: "done; serve, api and dev: stopped in good order",
    Exit.FAILED: "failed for a reason not listed here; test: a step failed",
    Exit.USAGE: "wrong usage, configuration or argument; a port in use",
    Exit.UNREACHABLE: "the service or the API is not reachable or not ready",
    Exit.NOT_FOUND: "no such connection",
    Exit.DEADLINE: "no answer in time",
    Exit.REFUSED: "refused: not allowed, not connected, name in use, or a limit reached",
    Exit.UPSTREAM: "connect, rotate: the WebSocket server could not be opened",
    Exit.INTERRUPTED: "ended at once by SIGINT (serve, api and dev: by the second signal)",
    Exit.TERMINATED: "ended at once by SIGTERM (serve, api and dev: by the second signal)",
}

#: ErrorInfo reasons whose gRPC code says too little.
_BY_REASON = {
    "FIRST_DIAL_FAILED": Exit.UPSTREAM,
    "ROTATION_FAILED": Exit.UPSTREAM,
    "CONNECTION_ENDED": Exit.REFUSED,
}
_BY_CODE = {
    "INVALID_ARGUMENT": Exit.USAGE,
    "UNAVAILABLE": Exit.UNREACHABLE,
    "UNIMPLEMENTED": Exit.UNREACHABLE,
    "NOT_FOUND": Exit.NOT_FOUND,
    "DEADLINE_EXCEEDED": Exit.DEADLINE,
    "ALREADY_EXISTS": Exit.REFUSED,
    "PERMISSION_DENIED": Exit.REFUSED,
    "FAILED_PRECONDITION": Exit.REFUSED,
    "RESOURCE_EXHAUSTED": Exit.REFUSED,
    "UNAUTHENTICATED": Exit.REFUSED,
    "CANCELLED": Exit.INTERRUPTED,
}
_ADVICE_BY_REASON = {
    "FIRST_DIAL_FAILED": "check the URL, or keep the connection trying with --first-dial retry",
    "ROTATION_FAILED": "`websocketmanager get ID` shows whether the old session goes on, and why",
    "CONNECTION_ENDED": "wait until `websocketmanager list` shows it connected, and send again",
    "SERVICE_UNAVAILABLE": "wait until /health/ready answers 200, and call again",
    "API_UNAVAILABLE": "the service cannot reach its virtufin-api: start it or check its address",
    "API_FAILED": "the service's log says what its virtufin-api answered",
    "API_REFUSED": "the service's log says what its virtufin-api answered",
    "RECORD_UNREADABLE": "a newer version wrote this record: use that version",
}
_ADVICE_BY_CODE = {
    "INVALID_ARGUMENT": "correct the named field and call again",
    "UNIMPLEMENTED": "another program answers there: check the address and its port",
    "NOT_FOUND": "`websocketmanager list` shows the ids; name:NAME works for named connections",
    "DEADLINE_EXCEEDED": "try again, or allow more time with --timeout",
    "ALREADY_EXISTS": "use another --name, or disconnect the connection that has it",
    "PERMISSION_DENIED": "start the service with --allow-host for this host or network",
    "FAILED_PRECONDITION": "wait until `websocketmanager list` shows it connected",
    "RESOURCE_EXHAUSTED": "end something else first, or raise the limit in the service's settings",
    "UNAUTHENTICATED": "set VIRTUFIN_API_KEY to the key that the API expects",
    "INTERNAL": "the service's log says more",
}


def exit_of(code: str, reason: str) -> Exit:
    """Returns how a command ends after a call that failed; total."""
    by_reason = _BY_REASON.get(reason)
    return by_reason if by_reason is not None else _BY_CODE.get(code, Exit.FAILED)


def advice(code: str, reason: str, *, unreachable: str) -> str:
    """Returns what to do next; `unreachable` is the advice for a peer that does not answer."""
    if text := _ADVICE_BY_REASON.get(reason):
        return text
    if code == "UNAVAILABLE":
        return unreachable
    return _ADVICE_BY_CODE.get(code, "the service's log may say more")
