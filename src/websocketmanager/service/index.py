"""The list of ids that this instance owns, durable before a record is written.

An id without a record is harmless and is dropped at recovery; a record without an id would be
lost, so the index always comes first. Only this instance writes it: the last write wins.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

from websocketmanager.domain.identity import index_key, record_key
from websocketmanager.domain.model import ConnectionId, InstanceId
from websocketmanager.errors import RecordUnreadable
from websocketmanager.ports import StateStore

_SCHEMA = 1


class Index:
    """Ids owned here. Concurrent changes share a save."""

    def __init__(self, store: StateStore, instance_id: InstanceId) -> None:
        self._store = store
        self._key = index_key(instance_id)
        self._lock = asyncio.Lock()
        self._ids: dict[ConnectionId, None] = {}
        self._unregistered: list[ConnectionId] = []
        self._wanted = 0
        self._saved = 0

    async def load(self) -> tuple[ConnectionId, ...]:
        """Reads the stored ids.

        Raises:
            ApiError: the store cannot be read now.
            RecordUnreadable: the value is not an index; it is left untouched.
        """
        stored = await self._store.get(self._key)
        if stored is not None:
            self._ids = dict.fromkeys(_parsed(self._key, stored.value))
        return tuple(self._ids)

    async def add(self, connection_id: ConnectionId) -> None:
        """Returns once the id is durable.

        Raises:
            ApiError: it may or may not be.
        """
        self._ids[connection_id] = None
        self._unregistered.append(connection_id)
        await self._flush()

    async def settle(self, connection_ids: Iterable[ConnectionId]) -> None:
        """Lists exactly these ids from now on.

        Saves at once what would be lost otherwise, an id that was not listed; an id that goes
        is harmless and goes with the next save.

        Raises:
            ApiError: new ones may or may not be stored.
        """
        before, self._ids = self._ids, dict.fromkeys(connection_ids)
        if self._ids.keys() - before.keys():
            await self._flush()

    async def discard(self, *connection_ids: ConnectionId) -> None:
        """Removes ids.

        Raises:
            ApiError: they may still be stored, which is harmless.
        """
        for connection_id in connection_ids:
            self._ids.pop(connection_id, None)
        await self._flush()

    async def _flush(self) -> None:
        self._wanted += 1
        mine = self._wanted
        async with self._lock:
            if self._saved >= mine:
                return
            saving = self._wanted
            ids, fresh = list(self._ids), self._unregistered
            self._unregistered = []
            try:
                if fresh:
                    await self._store.register([record_key(i) for i in fresh])
                await self._store.save(self._key, json.dumps({"schema": _SCHEMA, "ids": ids}))
            except BaseException:
                self._unregistered = fresh + self._unregistered
                raise
            self._saved = saving


def _parsed(key: str, text: str) -> Iterable[ConnectionId]:
    try:
        value = json.loads(text)
        if value["schema"] != _SCHEMA:
            raise RecordUnreadable(key=key, problem=f"schema {value['schema']!r} is not known")
        return [ConnectionId(str(member)) for member in value["ids"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordUnreadable(key=key, problem=f"not an index: {error!r}") from error
