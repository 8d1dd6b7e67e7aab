"""The exception tree. Imports nothing of ours.

WebSocketManagerError
├── InvalidArgument            a request is malformed; every fault by field path
├── AddressRefused             the address policy says no
├── ConnectionNotFound         no such connection
├── TagNotFound                no such tag
├── NameInUse                  the name belongs to another intent
├── NotConnected               nothing can be sent now
├── FirstDialFailed            Connect could not open the connection
├── ServiceUnavailable         this process does not serve now: recovering or stopping
├── WriteTimeout               the peer did not read in time
├── ReplyTimeout               no correlated reply in time
├── ConnectionEnded            the connection was lost or removed under a waiting call
├── RotationFailed             the session could not be replaced
├── SecretMissing              a secret that a connection refers to cannot be had
├── LimitReached               a bound of this service is reached
├── SettingsInvalid            the configuration is wrong; every fault by key path
├── RecordUnreadable           a persisted value cannot be understood
├── InstanceIdInUse            another live process uses this instance id
└── ApiError                   the virtufin-api did not do what was asked
    ├── ApiUnavailable         not now: transport, deadline, overload, open breaker
    ├── ApiUnauthenticated     it does not accept our key
    ├── ApiRefused             it refuses this request, now and later
    └── StateConflict          the etag was not current
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input, at the path of its field or key."""

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class WebSocketManagerError(Exception):
    """Base of all our errors; its text is a sentence fit for a caller."""


class InvalidArgument(WebSocketManagerError):
    """A request is malformed; `faults` names every field that is."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("; ".join(map(str, faults)))


class AddressRefused(WebSocketManagerError):
    """The address policy refuses a host, by the named rule."""

    def __init__(self, *, host: str, address: str, rule: str) -> None:
        self.host = host
        self.address = address
        self.rule = rule
        where = host if host == address else f"{host} ({address})"
        super().__init__(f"url: {where} is refused: {rule} addresses need an entry in AllowedHosts")


class ConnectionNotFound(WebSocketManagerError):
    """No connection has this id."""

    def __init__(self, connection_id: str) -> None:
        self.connection_id = connection_id
        super().__init__(f"no connection has the id {connection_id}")


class TagNotFound(WebSocketManagerError):
    """The connection has no tag with this key."""

    def __init__(self, connection_id: str, key: str) -> None:
        self.connection_id = connection_id
        self.key = key
        super().__init__(f"connection {connection_id} has no tag {key!r}")


class NameInUse(WebSocketManagerError):
    """The name belongs to a connection with another intent."""

    def __init__(self, *, name: str, connection_id: str, fields: Sequence[str]) -> None:
        self.name = name
        self.connection_id = connection_id
        self.fields = tuple(fields)
        super().__init__(
            f"name {name!r} belongs to connection {connection_id}, which differs in: "
            + ", ".join(self.fields)
        )


class NotConnected(WebSocketManagerError):
    """Nothing can be sent now. `next_attempt_at` is RFC 3339 or empty."""

    def __init__(self, *, connection_id: str, status: str, next_attempt_at: str) -> None:
        self.connection_id = connection_id
        self.status = status
        self.next_attempt_at = next_attempt_at
        when = f"; the next attempt is at {next_attempt_at}" if next_attempt_at else ""
        super().__init__(f"connection {connection_id} is {status}{when}")


class FirstDialFailed(WebSocketManagerError):
    """The first dial failed and the connection was not kept."""

    def __init__(self, *, url: str, error_type: str, problem: str) -> None:
        self.url = url
        self.error_type = error_type
        super().__init__(f"{url} could not be opened ({error_type}): {problem}")


class ServiceUnavailable(WebSocketManagerError):
    """This process does not serve now; `state` is recovering or stopping."""

    def __init__(self, state: str) -> None:
        self.state = state
        super().__init__(f"the service is {state}")


class WriteTimeout(WebSocketManagerError):
    """The peer read too slowly for a message to be written in time."""

    def __init__(self, *, connection_id: str, timeout_seconds: float) -> None:
        self.connection_id = connection_id
        self.timeout_seconds = timeout_seconds
        super().__init__(
            f"connection {connection_id} did not take the message within {timeout_seconds:g} s"
        )


class ReplyTimeout(WebSocketManagerError):
    """No reply with the correlation bytes came in time."""

    def __init__(self, *, connection_id: str, timeout_seconds: float) -> None:
        self.connection_id = connection_id
        self.timeout_seconds = timeout_seconds
        super().__init__(
            f"connection {connection_id} sent no correlated reply within {timeout_seconds:g} s"
        )


class ConnectionEnded(WebSocketManagerError):
    """The session ended while a caller waited on it."""

    def __init__(self, *, connection_id: str, problem: str) -> None:
        self.connection_id = connection_id
        super().__init__(f"connection {connection_id} ended while waiting: {problem}")


class RotationFailed(WebSocketManagerError):
    """A session could not be replaced: its successor failed.

    The old session goes on, unless it has ended meanwhile (`reconnects`), as it must where only
    one may exist.
    """

    def __init__(
        self, *, connection_id: str, error_type: str, problem: str, reconnects: bool = False
    ) -> None:
        self.connection_id = connection_id
        self.error_type = error_type
        self.problem = problem
        self.reconnects = reconnects
        then = "it reconnects" if reconnects else "the old session goes on"
        super().__init__(
            f"connection {connection_id} was not rotated: {error_type}: {problem}; {then}"
        )


class SecretMissing(WebSocketManagerError):
    """Secrets that a connection refers to cannot be had; `problems` says why, by name."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        self.names = tuple(problems)
        super().__init__(
            "; ".join(f"secret {name} {problem}" for name, problem in problems.items())
        )


class LimitReached(WebSocketManagerError):
    """A bound of this service is reached."""

    def __init__(self, *, limit: str, maximum: int) -> None:
        self.limit = limit
        self.maximum = maximum
        super().__init__(f"the limit of {maximum} {limit} is reached")


class SettingsInvalid(WebSocketManagerError):
    """The configuration is wrong; `faults` names every key that is."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("\n".join(map(str, faults)))


class RecordUnreadable(WebSocketManagerError):
    """A persisted value cannot be understood and is left untouched."""

    def __init__(self, *, key: str, problem: str) -> None:
        self.key = key
        self.problem = problem
        super().__init__(f"{key}: {problem}")


class InstanceIdInUse(WebSocketManagerError):
    """Another live process uses this instance id."""

    def __init__(self, *, instance_id: str, address: str) -> None:
        self.instance_id = instance_id
        self.address = address
        super().__init__(
            f"another live process uses the instance id {instance_id!r} (at {address}); "
            "give this one its own InstanceId"
        )


class ApiError(WebSocketManagerError):
    """The virtufin-api did not do what was asked. `operation` is Service.Rpc."""

    def __init__(self, operation: str, problem: str) -> None:
        self.operation = operation
        self.problem = problem
        super().__init__(f"virtufin-api {operation}: {problem}")


class ApiUnavailable(ApiError):
    """Not now: transport failure, deadline, overload or an open circuit breaker."""


class ApiUnauthenticated(ApiError):
    """It does not accept our key (VIRTUFIN_API_KEY)."""


class ApiRefused(ApiError):
    """It refuses this request, and would again."""


class StateConflict(ApiError):
    """The etag given with a save was not current."""
