"""Names of things in the world: connection ids and state keys (fixed by the contract)."""

from __future__ import annotations

import uuid

from websocketmanager.domain.model import ConnectionId, InstanceId

_PREFIX = "websocketmanager"
#: Names hash into ids below this URN (RFC 9562 §5.5).
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:com.virtufin.websocketmanager")

PEERS_KEY = f"{_PREFIX}.heartbeat.peers"


def connection_id_of_name(name: str) -> ConnectionId:
    """Returns the id that every `Connect` with this name gets: UUIDv5 of the name."""
    return ConnectionId(str(uuid.uuid5(_NAMESPACE, name)))


def record_key(connection_id: ConnectionId) -> str:
    """Returns the state key of a connection's record."""
    return f"{_PREFIX}.connection.{connection_id}"


def record_id(key: str) -> ConnectionId | None:
    """Returns the connection id in a record's key, or None for any other key."""
    prefix = record_key(ConnectionId(""))
    return ConnectionId(key.removeprefix(prefix)) if key.startswith(prefix) else None


def stream_name(connection_id: ConnectionId, created_at: float) -> str:
    """Returns the name of a connection's stream in the message log.

    A name used again after `Disconnect` gets another one.

    Args:
        connection_id: the connection's id.
        created_at: Unix seconds.
    """
    return f"{connection_id}/{round(created_at * 1000)}"


def index_key(instance_id: InstanceId) -> str:
    """Returns the state key of the list of ids that an instance owns."""
    return f"{_PREFIX}.instance.index.{instance_id}"


def heartbeat_key(instance_id: InstanceId) -> str:
    """Returns the state key of an instance's heartbeat."""
    return f"{_PREFIX}.heartbeat.{instance_id}"
