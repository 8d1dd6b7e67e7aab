"""Brings everything back after a restart, before the service calls itself ready.

Reads the index of this instance and the records, takes each over under a new epoch, publishes
again what a crash may have left unpublished, and has the connections dialled: bounded in
parallel and spaced per host. One counts as recovered when its first dial was tried, or waits for a
place that another has.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from websocketmanager.domain.facts import (
    RecordIgnored,
    RecoveryDelayed,
    RecoveryFinished,
    RecoveryStarted,
)
from websocketmanager.domain.host_rules import host_of
from websocketmanager.domain.identity import record_id, record_key
from websocketmanager.domain.model import ConnectionId, Status
from websocketmanager.domain.record import Record, from_json
from websocketmanager.errors import ApiError, RecordUnreadable
from websocketmanager.ports import StateStore, Versioned
from websocketmanager.service.entry import Entry
from websocketmanager.service.index import Index
from websocketmanager.service.registry import Registry
from websocketmanager.service.runner import Tools

_READS_IN_FLIGHT = 32
_FIRST_PAUSE_SECONDS = 0.2
_MAX_PAUSE_SECONDS = 5.0


class Recovery:
    """One recovery of one process."""

    def __init__(
        self,
        registry: Registry,
        store: StateStore,
        index: Index,
        tools: Tools,
        *,
        on_loaded: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._on_loaded = on_loaded
        self._store = store
        self._index = index
        self._tools = tools
        self._unreadable: set[ConnectionId] = set()
        self.loaded = False
        """Whether the records were read."""
        self.remaining = 0
        """Connections whose first dial was not tried yet."""
        self.finished = asyncio.Event()
        """Set once all were tried or the deadline passed: readiness may open."""

    async def run(self) -> None:
        """Recovers; ends when every connection was tried, even behind the deadline."""
        records = await self._read_until_done()
        if self._registry.stopping:
            return
        entries, leaving = self._take_over(records)
        self.remaining = len(entries)
        self._registry.discard_strays(self._unreadable)
        self.loaded = True
        self._on_loaded()
        self._tools.journal.emit(RecoveryStarted(len(entries)))
        started = self._tools.clock.monotonic()
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - they end with this method
            watch = tasks.create_task(self._watch_deadline(started, len(entries)))
            await self._dial(entries)
            for entry in leaving:
                await entry.buried.wait()
            watch.cancel()
        self._open(started, len(entries))

    # --- reading ------------------------------------------------------------------------------

    async def _read_until_done(self) -> list[tuple[Record, str]]:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._read()
            except* ApiError as group:
                self._tools.journal.emit(RecoveryDelayed(str(group.exceptions[0])))
            await self._tools.clock.sleep(pause * (0.5 + 0.5 * self._tools.dice.uniform()))
            pause = min(pause * 2.0, _MAX_PAUSE_SECONDS)

    async def _read(self) -> list[tuple[Record, str]]:
        indexed = await self._index.load()
        ids = dict.fromkeys(indexed)
        if ids:
            await self._store.register([record_key(connection_id) for connection_id in ids])
        visible = [record_id(key) for key in await self._store.get_all()]
        ids |= dict.fromkeys(connection_id for connection_id in visible if connection_id)
        slots = asyncio.Semaphore(_READS_IN_FLIGHT)
        stored: dict[ConnectionId, Versioned | None] = {}

        async def read(connection_id: ConnectionId) -> None:
            async with slots:
                stored[connection_id] = await self._store.get(record_key(connection_id))

        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - they end with this method
            for connection_id in ids:
                tasks.create_task(read(connection_id))
        found = {key: kept for key in ids if (kept := stored[key]) is not None}
        return await self._ours(found, indexed)

    async def _ours(
        self, stored: Mapping[ConnectionId, Versioned], indexed: Collection[ConnectionId]
    ) -> list[tuple[Record, str]]:
        """Returns the records of this instance; has the index list them and nothing of others."""
        listed: list[ConnectionId] = []
        records: list[tuple[Record, str]] = []
        for connection_id, versioned in stored.items():
            try:
                record = from_json(record_key(connection_id), versioned.value)
            except RecordUnreadable as error:
                self._tools.journal.emit(RecordIgnored(error.key, error.problem))
                if connection_id in indexed:
                    listed.append(connection_id)  # somebody may mend it
                continue
            if record.instance_id == self._tools.policy.instance_id:
                listed.append(connection_id)
                records.append((record, versioned.etag))
        await self._index.settle(listed)
        self._unreadable = set(listed) - {record.id for record, _ in records}
        return records

    # --- taking over --------------------------------------------------------------------------

    def _take_over(self, records: list[tuple[Record, str]]) -> tuple[list[Entry], list[Entry]]:
        """Adopts all; removes tombstones and what no caller can know of.

        Returns those to dial, and those on their way out.
        """
        entries, leaving = [], []
        for record, etag in sorted(records, key=lambda pair: pair[0].created_at):
            entry = self._registry.adopt(record, etag)
            if record.deleted:
                self._registry.removal.finish(entry, "its removal was interrupted")
                leaving.append(entry)
            elif not record.answered and not record.spec.name:
                self._registry.removal.remove_later(entry, "Connect was never answered")
                leaving.append(entry)
            elif record.status is not Status.DISCONNECTED:
                entries.append(entry)
        return entries, leaving

    # --- dialling -----------------------------------------------------------------------------

    async def _dial(self, entries: list[Entry]) -> None:
        # Each host has its own: dials that wait for a slow one's turns keep no others waiting.
        parallel = self._tools.policy.dials_in_parallel
        slots: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(parallel)
        )

        async def dial(entry: Entry) -> None:
            async with slots[host_of(entry.record.spec.url)]:
                if not (entry.removed or self._registry.stopping):
                    self._registry.start(entry)
                    await entry.runner.tried.wait()
                self.remaining -= 1

        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - they end with this method
            for entry in entries:
                tasks.create_task(dial(entry))

    async def _watch_deadline(self, started: float, total: int) -> None:
        await self._tools.clock.sleep(self._tools.policy.recovery_deadline_seconds)
        self._open(started, total)

    def _open(self, started: float, total: int) -> None:
        if self.finished.is_set():
            return
        seconds = self._tools.clock.monotonic() - started
        tried = total - self.remaining
        self._tools.journal.emit(RecoveryFinished(tried, self.remaining, seconds))
        self.finished.set()
