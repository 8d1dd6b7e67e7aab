"""The verbs of the service.

Each verb that changes something runs as a task of the registry and goes on when its caller goes
away: nothing is left half-done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

from websocketmanager.domain.change import ConnectionChange
from websocketmanager.domain.facts import (
    ConnectionCreated,
    RecordIgnored,
)
from websocketmanager.domain.identity import connection_id_of_name
from websocketmanager.domain.limits import tags_faults
from websocketmanager.domain.model import (
    ConnectionDetail,
    ConnectionId,
    ConnectionSpec,
    ConnectionView,
    FirstDial,
    Kind,
    LifecycleNotice,
    Status,
    Topic,
)
from websocketmanager.domain.option_faults import option_faults
from websocketmanager.domain.record import Record, differing_fields, from_json
from websocketmanager.domain.secrets import secret_names
from websocketmanager.domain.url_policy import redact
from websocketmanager.errors import (
    ApiError,
    ApiUnavailable,
    ConnectionEnded,
    ConnectionNotFound,
    FirstDialFailed,
    InvalidArgument,
    LimitReached,
    NameInUse,
    NotConnected,
    RecordUnreadable,
    ServiceUnavailable,
    TagNotFound,
)
from websocketmanager.ports import StateStore
from websocketmanager.service.index import Index
from websocketmanager.service.ledger import Change, RecordLost
from websocketmanager.service.mailbox import Mailbox
from websocketmanager.service.registry import Entry, Registry
from websocketmanager.service.runner import Runner, Tools
from websocketmanager.service.tap import Tap


class Supervisor:
    """Serves the verbs on the connections of a registry."""

    def __init__(self, tools: Tools, store: StateStore, index: Index, registry: Registry) -> None:
        self._tools = tools
        self._store = store
        self._index = index
        self._registry = registry
        self._creating: WeakValueDictionary[ConnectionId, asyncio.Lock] = WeakValueDictionary()
        self._reserved = 0
        self._loaded = False

    @property
    def state(self) -> str:
        """What callers are told: recovering, serving or stopping."""
        if self._registry.stopping:
            return "stopping"
        return "serving" if self._loaded else "recovering"

    def begin(self) -> None:
        """Serves from now on: what was stored is known."""
        self._loaded = True

    # --- verbs --------------------------------------------------------------------------------

    async def connect(self, spec: ConnectionSpec) -> ConnectionView:
        """Opens a connection, or returns the one that has the name and the same intent.

        Raises:
            AddressRefused, NameInUse, LimitReached, FirstDialFailed, ApiError,
            ConnectionEnded, ServiceUnavailable: as their names say; no record is left behind.
        """
        self._refuse_unless_serving()
        await self._judge(spec.url)
        creation = self._registry.outcome(self._find_or_create(spec))
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

    def list_connections(self, filters: Sequence[tuple[str, str]]) -> tuple[ConnectionView, ...]:
        """Returns the connections whose tags match all filters, oldest first."""
        self._refuse_unless_serving()
        return tuple(
            self._registry.view(entry)
            for entry in self._registry.entries.values()
            if not entry.removed
            and all(entry.record.spec.tags.get(key) == value for key, value in filters)
        )

    async def disconnect(self, connection_id: ConnectionId) -> None:
        """Ends a connection for good.

        Raises:
            ConnectionNotFound: no such connection.
            ApiError: the store did not take it; the connection goes on.
        """
        self._refuse_unless_serving()
        entry = self._entry(connection_id)
        try:
            await self._registry.carry(self._registry.remove(entry, "requested"))
        except RecordLost as error:
            raise ConnectionNotFound(connection_id) from error

    async def start_publish(self, connection_id: ConnectionId, topic: Topic) -> None:
        """Publishes on the topic from the next message on. Raises as `set_tags`."""
        await self._route(connection_id, topic)

    async def stop_publish(self, connection_id: ConnectionId) -> None:
        """Publishes no further message. Raises as `set_tags`."""
        await self._route(connection_id, None)

    async def send(
        self,
        connection_id: ConnectionId,
        data: bytes,
        kind: Kind,
        timeout_seconds: float | None,
    ) -> bytes:
        """Returns the correlated reply; None waits as long as the service's default.

        Raises:
            ConnectionNotFound, NotConnected, ConnectionEnded, LimitReached, ReplyTimeout.
        """
        runner = self._sender(connection_id)
        seconds = timeout_seconds or self._tools.policy.default_timeout_seconds
        return await runner.sender.request(data, kind, timeout_seconds=seconds)

    async def send_raw(self, connection_id: ConnectionId, data: bytes, kind: Kind) -> None:
        """Sends a message as it is. Raises as `send`."""
        runner = self._sender(connection_id)
        seconds = self._tools.policy.default_timeout_seconds
        await runner.sender.send(data, kind, timeout_seconds=seconds)

    async def set_tag(self, connection_id: ConnectionId, key: str, value: str) -> None:
        """Sets one tag. Raises as `set_tags`."""
        # The other tags are those of the moment of the save: callers may set several at once.
        await self._retag(connection_id, lambda tags: {**tags, key: value})

    def get_tag(self, connection_id: ConnectionId, key: str) -> str:
        """Returns one tag.

        Raises:
            ConnectionNotFound, TagNotFound.
        """
        tags = self._entry(connection_id).record.spec.tags
        if key not in tags:
            raise TagNotFound(connection_id, key)
        return tags[key]

    async def set_tags(self, connection_id: ConnectionId, tags: Mapping[str, str]) -> None:
        """Replaces all tags; durable when it returns.

        Raises:
            ConnectionNotFound: no such connection.
            InvalidArgument: too many tags.
            ApiError: the store did not take it; nothing has changed.
        """
        await self._retag(connection_id, lambda _: dict(tags))

    def get_tags(self, connection_id: ConnectionId) -> Mapping[str, str]:
        """Returns all tags. Raises ConnectionNotFound."""
        return self._entry(connection_id).record.spec.tags

    def get(self, connection_id: ConnectionId) -> ConnectionDetail:
        """Returns all that is known of a connection. Raises ConnectionNotFound."""
        return self._registry.detail(self._present(connection_id))

    async def update(self, change: ConnectionChange) -> ConnectionView:
        """Changes topic, tags and subscriptions: durable, then in force, or not at all.

        Raises:
            ConnectionNotFound: no such connection.
            InvalidArgument: the options would not be valid together.
            SecretMissing: a new subscription refers to a secret that cannot be had.
            ApiError: the store did not take it; nothing has changed.
        """
        entry = self._present(change.connection_id)
        return await self._registry.carry(self._update(entry, change))

    async def rotate(self, connection_id: ConnectionId) -> ConnectionView:
        """Replaces the session of a connection; returns once the new one has taken over.

        Raises:
            ConnectionNotFound: no such connection.
            NotConnected: it has no open session.
            RotationFailed: the new session could not be made.
            ConnectionEnded: the connection ended meanwhile.
        """
        self._refuse_unless_serving()
        self._present(connection_id)
        await self._sender(connection_id).rotate()
        return self._registry.view(self._entry(connection_id))

    def watch(
        self,
        connection_id: ConnectionId | None,
        filters: Sequence[tuple[str, str]],
        after_event: int | None,
    ) -> Mailbox[LifecycleNotice]:
        """Returns lifecycle events from now on; whoever reads them closes the stream.

        It ends when the one connection that is watched was removed.

        Args:
            connection_id: the only one to watch; None: all.
            filters: tags that it must carry when the event happens.
            after_event: with an id: first the known events behind this number.

        Raises:
            ConnectionNotFound, LimitReached, ServiceUnavailable: also from the stream, when
                another process owns the connection, its reader is slow, the service stops.
        """
        self._refuse_unless_serving()
        record = None if connection_id is None else self._present(connection_id).record
        return self._registry.watchers.open(filters, record, after_event)

    def tail(self, connection_id: ConnectionId, max_message_bytes: int) -> Tap:
        """Returns the messages of a connection from now on, each cut to so many bytes; 0: whole.

        Lossy: it never slows the connection. Ends and raises as `watch`.
        """
        self._refuse_unless_serving()
        taps = self._present(connection_id).pump.taps
        return taps.add(self._tools.clock, max_message_bytes=max_message_bytes)

    # --- update, in parts ---------------------------------------------------------------------

    async def _update(self, entry: Entry, change: ConnectionChange) -> ConnectionView:
        if change.subscriptions is not None:
            present = entry.record.spec
            wanted = change.applied(present)
            self._refuse_faults(wanted)
            if fresh := secret_names(wanted) - secret_names(present):
                # Found out here, not by a session that lives: it would have to die of it.
                await self._tools.secrets.read(fresh)
        await self._commit(entry, lambda record: self._changed(record, change))
        if change.reroute:
            entry.pump.set_topic(change.topic)
        if change.subscriptions is not None:
            # The runner of this moment: it may be another one since.
            entry.runner.change_subscriptions()
        return self._registry.view(entry)

    def _changed(self, record: Record, change: ConnectionChange) -> Record:
        present, spec = record.spec, change.applied(record.spec)
        if change.subscriptions is None:
            return replace(record, spec=spec)
        before = present.options.subscriptions
        if len(spec.options.subscriptions) > len(before):
            self._refuse_faults(spec)  # once more: another call may have added some meanwhile
        declared = record.declared_subscriptions
        return replace(
            record, spec=spec, declared_subscriptions=before if declared is None else declared
        )

    def _refuse_faults(self, spec: ConnectionSpec) -> None:
        secure = not spec.url[:3].lower().startswith("ws:")
        compile_regex = self._tools.compile_regex
        faults = option_faults(spec.options, compile_regex=compile_regex, secure=secure)
        if faults:
            raise InvalidArgument(*faults)

    # --- connect, in parts --------------------------------------------------------------------

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
                self._registry.spawn(self._registry.remove_quietly(entry, "its name is used again"))
                await entry.gone.wait()
                self._refuse_unless_serving()
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
                declared_tags=dict(spec.tags),
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
                    self._registry.spawn(self._registry.scrub(entry))
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
        self._tools.journal.emit(ConnectionCreated(connection_id, redact(spec.url)))
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
        if self.state == "stopping":
            raise ServiceUnavailable("stopping")
        if entry.removed:
            raise ConnectionEnded(connection_id=entry.record.id, problem="it was disconnected")
        try:
            # An answer that a crash could undo would be a lie.
            async with self._tools.clock.timeout(self._tools.policy.default_timeout_seconds):
                await entry.durable.wait()
        except TimeoutError as error:
            if not spec.name:
                self._registry.spawn(self._registry.remove_quietly(entry, "not durable"))
            raise ApiUnavailable("State.SaveState", "the record could not be saved") from error
        return self._registry.view(entry)

    async def _removed_in_time(self, entry: Entry, reason: str) -> None:
        """Waits for the removal, but not for an API that is away: it goes on by itself."""
        try:
            async with self._tools.clock.timeout(self._tools.policy.default_timeout_seconds):
                await self._registry.carry(self._registry.remove_quietly(entry, reason))
        except TimeoutError:
            return

    def _abandon(self, creation: asyncio.Future[tuple[Entry, bool]]) -> None:
        if creation.cancelled() or creation.exception() is not None:
            return
        if not self._registry.stopping:
            self._registry.spawn(
                self._registry.remove_quietly(creation.result()[0], "its caller went away")
            )

    # --- helpers ------------------------------------------------------------------------------

    async def _route(self, connection_id: ConnectionId, topic: Topic | None) -> None:
        entry = self._entry(connection_id)

        async def work() -> None:
            await self._commit(entry, lambda r: replace(r, spec=replace(r.spec, topic=topic)))
            entry.pump.set_topic(topic)

        await self._registry.carry(work())

    async def _retag(
        self,
        connection_id: ConnectionId,
        retagged: Callable[[Mapping[str, str]], Mapping[str, str]],
    ) -> None:
        def change(record: Record) -> Record:
            tags = retagged(record.spec.tags)
            faults = tags_faults(tags)
            if faults:
                raise InvalidArgument(*faults)
            return replace(record, spec=replace(record.spec, tags=tags))

        await self._registry.carry(self._commit(self._entry(connection_id), change))

    async def _commit(self, entry: Entry, change: Change) -> None:
        try:
            await self._tools.ledger.commit(entry.book, change)
        except RecordLost as error:
            raise ConnectionNotFound(entry.record.id) from error

    def _present(self, connection_id: ConnectionId) -> Entry:
        """Returns an entry that is not on its way out."""
        entry = self._entry(connection_id)
        if entry.removed:
            raise ConnectionNotFound(connection_id)
        return entry

    def _sender(self, connection_id: ConnectionId) -> Runner:
        entry = self._entry(connection_id)
        if not entry.running:
            raise NotConnected(
                connection_id=connection_id,
                status=self._registry.status(entry).value,
                next_attempt_at="",
            )
        return entry.runner

    def _entry(self, connection_id: ConnectionId) -> Entry:
        entry = self._registry.entries.get(connection_id)
        if entry is None:
            if self.state != "serving":
                raise ServiceUnavailable(self.state)
            raise ConnectionNotFound(connection_id)
        return entry

    def _refuse_unless_serving(self) -> None:
        if self.state != "serving":
            raise ServiceUnavailable(self.state)
