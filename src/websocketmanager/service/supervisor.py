"""The verbs of the service.

Each verb that changes something runs as a task of the registry and goes on when its caller goes
away: nothing is left half-done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from websocketmanager.domain.change import ConnectionChange
from websocketmanager.domain.limits import tags_faults
from websocketmanager.domain.model import (
    ConnectionDetail,
    ConnectionId,
    ConnectionSpec,
    ConnectionView,
    Kind,
    LifecycleNotice,
    Topic,
)
from websocketmanager.domain.option_faults import option_faults
from websocketmanager.domain.record import Record
from websocketmanager.domain.secrets import secret_names
from websocketmanager.errors import (
    ConnectionNotFound,
    InvalidArgument,
    NotConnected,
    ServiceUnavailable,
    TagNotFound,
)
from websocketmanager.ports import StateStore
from websocketmanager.service.creation import Creation
from websocketmanager.service.entry import Entry
from websocketmanager.service.index import Index
from websocketmanager.service.ledger import Change, RecordLost
from websocketmanager.service.mailbox import Mailbox
from websocketmanager.service.registry import Registry
from websocketmanager.service.runner import Runner, Tools
from websocketmanager.service.tap import Tap


class Supervisor:
    """Serves the verbs on the connections of a registry."""

    def __init__(self, tools: Tools, store: StateStore, index: Index, registry: Registry) -> None:
        self._tools = tools
        self._registry = registry
        self._creation = Creation(tools, store, index, registry)
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
        return await self._creation.connect(spec)

    def list_connections(self, filters: Sequence[tuple[str, str]]) -> tuple[ConnectionView, ...]:
        """Returns the connections whose tags match all filters, oldest first."""
        self._refuse_unless_serving()
        return tuple(
            entry.view()
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
            await self._registry.errands.carry(self._registry.removal.remove(entry, "requested"))
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
        return await self._registry.errands.carry(self._update(entry, change))

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
        return self._entry(connection_id).view()

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
        return entry.view()

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

    # --- helpers ------------------------------------------------------------------------------

    async def _route(self, connection_id: ConnectionId, topic: Topic | None) -> None:
        entry = self._entry(connection_id)

        async def work() -> None:
            await self._commit(entry, lambda r: replace(r, spec=replace(r.spec, topic=topic)))
            entry.pump.set_topic(topic)

        await self._registry.errands.carry(work())

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

        await self._registry.errands.carry(self._commit(self._entry(connection_id), change))

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
                status=entry.status.value,
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
