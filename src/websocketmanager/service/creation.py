"""Creates connections: judged, named once, durable before the answer, nothing left of a failure."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from weakref import WeakValueDictionary

from websocketmanager.domain.facts import ConnectionCreated, RecordIgnored
from websocketmanager.domain.identity import connection_id_of_name
from websocketmanager.domain.model import (
    ConnectionId,
    ConnectionSpec,
    ConnectionView,
    FirstDial,
    Status,
)
from websocketmanager.domain.record import Record, differing_fields, from_json
from websocketmanager.domain.url_policy import redact
from websocketmanager.errors import (
    ApiError,
    ApiUnavailable,
    ConnectionEnded,
    FirstDialFailed,
    LimitReached,
    NameInUse,
    RecordUnreadable,
    ServiceUnavailable,
)
from websocketmanager.ports import StateStore
from websocketmanager.service.entry import Entry
from websocketmanager.service.index import Index
from websocketmanager.service.ledger import RecordLost
from websocketmanager.service.registry import Registry
from websocketmanager.service.runner import Tools


class Creation:
    """`Connect` on the connections of a registry.

    Args:
        tools: of the process.
        store: for the records of names that are not known here.
        index: of this instance.
        registry: where what is created goes.
    """

    def __init__(self, tools: Tools, store: StateStore, index: Index, registry: Registry) -> None:
        self._tools = tools
        self._store = store
        self._index = index
        self._registry = registry
        self._errands = registry.errands
        self._removal = registry.removal
        self._creating: WeakValueDictionary[ConnectionId, asyncio.Lock] = WeakValueDictionary()
        self._reserved = 0

    async def connect(self, spec: ConnectionSpec) -> ConnectionView:
        """Opens a connection, or returns the one that has the name and the same intent.

        Raises:
            AddressRefused, NameInUse, LimitReached, FirstDialFailed, ApiError,
            ConnectionEnded, ServiceUnavailable: as their names say; no record is left behind.
        """
        await self._judge(spec.url)
        creation = self._errands.outcome(self._find_or_create(spec))
        try:
            entry, created = await asyncio.shield(creation)
            view = await self._first_answer(entry, spec)
            if created and spec.options.reconnect.first_dial is FirstDial.RETRY:
                # Promised, whatever the first dial has come to since.
                return replace(view, status=Status.CONNECTING)
            return view
        except asyncio.CancelledError:
            # Nobody will learn its id, so nobody could ever end it.
            if not spec.name:
                creation.add_done_callback(self._abandon)
            raise

    async def _judge(self, url: str) -> None:
        """Refuses early what the policy refuses; a slow name is left to the dial."""
        try:
            async with self._tools.clock.timeout(self._tools.policy.default_timeout_seconds):
                await self._tools.dialer.judge(url)
        except TimeoutError:
            return

    async def _find_or_create(self, spec: ConnectionSpec) -> tuple[Entry, bool]:
        """Returns the connection, and whether this call has made it."""
        if not spec.name:
            fresh = ConnectionId(self._tools.dice.uuid())
            return await self._create(fresh, spec, etag=None), True
        connection_id = connection_id_of_name(spec.name)
        # Kept alive by those who hold or await it, and by nothing else.
        lock = self._creating.setdefault(connection_id, asyncio.Lock())
        async with lock:
            entry = self._registry.entries.get(connection_id)
            if entry is not None and entry.ending:
                self._errands.spawn(self._removal.remove_quietly(entry, "its name is used again"))
                await entry.gone.wait()
                if self._registry.stopping:
                    raise ServiceUnavailable("stopping")
                entry = None
            if entry is None:
                etag = await self._etag_of_free_name(connection_id, spec)
                return await self._create(connection_id, spec, etag=etag), True
            self._refuse_difference(spec, entry.record)
            if not entry.running:
                self._registry.revive(entry)
            return entry, False

    async def _etag_of_free_name(
        self, connection_id: ConnectionId, spec: ConnectionSpec
    ) -> str | None:
        """Returns the etag of a tombstone that may be overwritten, if there is one."""
        key = Record(
            connection_id, spec, Status.CONNECTING, 0.0, self._tools.policy.instance_id
        ).key
        stored = await self._store.get(key)
        if stored is None:
            return None
        try:
            record = from_json(key, stored.value)
        except RecordUnreadable as error:
            self._tools.journal.emit(RecordIgnored(error.key, error.problem))
            raise NameInUse(
                name=spec.name, connection_id=connection_id, fields=("an unreadable record",)
            ) from error
        if record.deleted or record.instance_id == self._tools.policy.instance_id:
            return stored.etag  # a tombstone, or what a failed creation of ours has left
        self._refuse_difference(spec, record)
        raise NameInUse(
            name=spec.name, connection_id=connection_id, fields=(f"owner {record.instance_id}",)
        )

    def _refuse_difference(self, spec: ConnectionSpec, record: Record) -> None:
        fields = differing_fields(spec, record)
        if fields:
            raise NameInUse(name=spec.name, connection_id=record.id, fields=fields)

    async def _create(
        self, connection_id: ConnectionId, spec: ConnectionSpec, *, etag: str | None
    ) -> Entry:
        limit = self._tools.policy.limits.max_connections
        if len(self._registry.entries) + self._reserved >= limit:
            raise LimitReached(limit="connections", maximum=limit)
        self._reserved += 1
        try:
            record = Record(
                id=connection_id,
                spec=spec,
                status=Status.CONNECTING,
                created_at=self._tools.clock.now(),
                instance_id=self._tools.policy.instance_id,
                declared_topic=spec.topic,
                declared_tags=spec.tags,
                incarnation=self._tools.policy.incarnation,
            )
            entry = self._registry.make_entry(
                record, etag=etag, stored=etag is not None, resumed=False
            )
            try:
                await self._index.add(connection_id)
                await self._tools.ledger.open(entry.book)
            except ApiError:
                # What a failed creation of a name leaves is overwritten by the next one.
                if not spec.name:
                    self._errands.spawn(self._removal.scrub(entry))
                raise
            except RecordLost as error:
                raise NameInUse(
                    name=spec.name, connection_id=connection_id, fields=(str(error),)
                ) from error
        finally:
            self._reserved -= 1
        if spec.options.reconnect.first_dial is FirstDial.RETRY:
            # The next save says that the caller may know of it; the answer waits for that.
            entry.book.record = replace(entry.book.record, answered=True)
        self._tools.journal.emit(ConnectionCreated(connection_id, entry.runner.url))
        self._registry.admit(entry)
        return entry

    async def _first_answer(self, entry: Entry, spec: ConnectionSpec) -> ConnectionView:
        waits = spec.options.reconnect.first_dial is FirstDial.FAIL
        if waits:
            await entry.runner.tried.wait()
        failure = entry.runner.first_failure
        if waits and entry.runner.end is not None and failure is not None:
            await entry.runner.finished.wait()
            if entry.ending:
                await self._removed_in_time(entry, "first dial failed")
            # Else it was there before this call, and stays as it was: ended.
            raise FirstDialFailed(
                url=redact(spec.url), error_type=failure.kind.value, problem=failure.message
            )
        if self._registry.stopping:
            raise ServiceUnavailable("stopping")
        if entry.removed:
            raise ConnectionEnded(connection_id=entry.record.id, problem="it was disconnected")
        try:
            # An answer that a crash could undo would be a lie.
            async with self._tools.clock.timeout(self._tools.policy.default_timeout_seconds):
                await entry.durable.wait()
        except TimeoutError as error:
            if not spec.name:
                self._errands.spawn(self._removal.remove_quietly(entry, "not durable"))
            raise ApiUnavailable("State.SaveState", "the record could not be saved") from error
        return entry.view()

    async def _removed_in_time(self, entry: Entry, reason: str) -> None:
        """Waits for the removal, but not for an API that is away: it goes on by itself."""
        try:
            async with self._tools.clock.timeout(self._tools.policy.default_timeout_seconds):
                await self._errands.carry(self._removal.remove_quietly(entry, reason))
        except TimeoutError:
            return

    def _abandon(self, creation: asyncio.Future[tuple[Entry, bool]]) -> None:
        if creation.cancelled() or creation.exception() is not None:
            return
        if not self._registry.stopping:
            self._errands.spawn(
                self._removal.remove_quietly(creation.result()[0], "its caller went away")
            )
