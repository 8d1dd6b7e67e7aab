"""The heartbeat of this instance: says that it lives, and that nobody else uses its id.

A second process with the same instance id would own the same records. Whether the one that
wrote the stored heartbeat still lives is asked of the world, not of its clock: nothing listens
at its address, or its counter stands still for longer than an interval.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.facts import HeartbeatFailed
from websocketmanager.domain.identity import PEERS_KEY, heartbeat_key
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.errors import ApiError, InstanceIdInUse, RecordUnreadable, StateConflict
from websocketmanager.ports import Clock, Journal, Peers, StateStore

_SCHEMA = 1
#: A living process beats within its interval; half as much again for a slow store.
_WATCH_INTERVALS = 1.5
_PAUSE_SECONDS = 0.5


class Heartbeat:
    """Writes the heartbeat of one process.

    Args:
        store: where heartbeats live.
        peers: asks whether somebody answers at an address.
        clock: for the interval and `last_seen`.
        journal: told of failures.
        policy: instance id, incarnation, interval, our own address.
    """

    def __init__(
        self, store: StateStore, peers: Peers, clock: Clock, journal: Journal, policy: ServicePolicy
    ) -> None:
        self._store = store
        self._peers = peers
        self._clock = clock
        self._journal = journal
        self._policy = policy
        self._key = heartbeat_key(policy.instance_id)
        self._beat = 0
        self._started_at = clock.now()

    async def claim(self) -> None:
        """Makes the instance id ours; waits for an unreachable store.

        Raises:
            InstanceIdInUse: another live process has it.
            RecordUnreadable: the set of peers is of a newer version; it is left untouched.
        """
        while True:
            try:
                await self._refuse_living_twin()
                await self._write()
                await self._join_peers()
            except ApiError as error:
                self._journal.emit(HeartbeatFailed(error.problem))
                await self._clock.sleep(_PAUSE_SECONDS)
            else:
                return

    async def run(self) -> None:
        """Beats until cancelled.

        Raises:
            InstanceIdInUse: another process took the id.
        """
        while True:
            await self._clock.sleep(self._policy.heartbeat_interval_seconds)
            try:
                stored = await self._read()
                if stored and stored.get("incarnation") != self._policy.incarnation:
                    raise self._in_use(stored)
                await self._write()
                # The very first peers cannot join by compare-and-swap: one may have overwritten us.
                await self._join_peers()
            except (ApiError, RecordUnreadable) as error:
                # Peers of a newer version, too: this process serves on beside them.
                self._journal.emit(HeartbeatFailed(error.problem))

    async def release(self) -> None:
        """Says that this process is gone. Raises ApiError when the store cannot be told."""
        stored = await self._read()
        if stored and stored.get("incarnation") == self._policy.incarnation:
            await self._store.delete(self._key)

    async def _refuse_living_twin(self) -> None:
        stored = await self._read()
        if not stored or stored.get("incarnation") == self._policy.incarnation:
            return
        address = str(stored.get("grpc_address", ""))
        if address == self._policy.grpc_address:
            return  # we listen there now, so nobody else does
        if not await self._peers.answers(address):
            return
        interval = self._policy.heartbeat_interval_seconds
        waited = 0.0
        while waited < interval * _WATCH_INTERVALS:
            await self._clock.sleep(interval / 4)
            waited += interval / 4
            later = await self._read()
            if later and later.get("beat") != stored.get("beat"):
                raise self._in_use(later)

    def _in_use(self, stored: Mapping[str, Any]) -> InstanceIdInUse:
        return InstanceIdInUse(
            instance_id=self._policy.instance_id, address=str(stored.get("grpc_address", ""))
        )

    async def _read(self) -> Mapping[str, Any]:
        stored = await self._store.get(self._key)
        return _mapping(stored.value) if stored else {}

    async def _write(self) -> None:
        self._beat += 1
        value = {
            "schema": _SCHEMA,
            "incarnation": self._policy.incarnation,
            "beat": self._beat,
            "grpc_address": self._policy.grpc_address,
            "started_at": timestamp(self._started_at),
            "last_seen": timestamp(self._clock.now()),
        }
        await self._store.save(self._key, json.dumps(value))

    async def _join_peers(self) -> None:
        """Adds us to the set of instances, which all write by compare-and-swap."""
        while True:
            stored = await self._store.get(PEERS_KEY)
            peers = _instances(stored.value) if stored else []
            if self._policy.instance_id in peers:
                return
            joined = {"schema": _SCHEMA, "instances": sorted([*peers, self._policy.instance_id])}
            try:
                await self._store.save(
                    PEERS_KEY, json.dumps(joined), etag=stored.etag if stored else None
                )
            except StateConflict:
                continue
            return


def _instances(text: str) -> list[str]:
    value = _mapping(text)
    if value.get("schema", _SCHEMA) != _SCHEMA:
        raise RecordUnreadable(
            key=PEERS_KEY, problem=f"schema {value['schema']!r} is not known (this is {_SCHEMA})"
        )
    instances = value.get("instances", [])
    return [str(member) for member in instances] if isinstance(instances, list) else []


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
