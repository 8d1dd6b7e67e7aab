"""Lifecycle events to whoever watches, as they are recorded; nobody who watches is waited for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from websocketmanager.domain.envelope import lifecycle_event_id
from websocketmanager.domain.model import ConnectionId, LifecycleNotice
from websocketmanager.domain.record import Record, RecordedEvent
from websocketmanager.errors import LimitReached
from websocketmanager.service.history import Histories
from websocketmanager.service.mailbox import Mailbox

#: Events that may wait for one watcher.
MAX_WAITING = 1000
#: Watchers of one process.
MAX_WATCHERS = 1000


@dataclass(eq=False, slots=True)
class _Watcher:
    """Who wants what. `missed` is told with the next event."""

    connection_id: ConnectionId | None
    filters: Sequence[tuple[str, str]]
    mailbox: Mailbox[LifecycleNotice] = field(init=False)
    missed: int = 0

    def wants(self, record: Record) -> bool:
        if self.connection_id not in {None, record.id}:
            return False
        tags: Mapping[str, str] = record.spec.tags
        return all(tags.get(key) == value for key, value in self.filters)


class Watchers:
    """Gives each recorded event to the histories and to those who watch.

    Args:
        histories: where events are remembered.
        type_prefix: of `ce-type`.
    """

    def __init__(self, histories: Histories, *, type_prefix: str) -> None:
        self._histories = histories
        self._type_prefix = type_prefix
        self._watchers: dict[_Watcher, None] = {}

    def tell(self, record: Record, events: Sequence[RecordedEvent]) -> None:
        """Passes on events that the record holds now; those of one connection in order."""
        for event in events:
            self._histories.add(record.id, event)
            wanting = [one for one in self._watchers if one.wants(record)]
            if not wanting:
                continue
            notice = self._notice(record, event)
            for watcher in wanting:
                self._offer(watcher, notice)

    def open(
        self,
        filters: Sequence[tuple[str, str]],
        record: Record | None = None,
        after_event: int | None = None,
    ) -> Mailbox[LifecycleNotice]:
        """Returns the events from now on.

        Args:
            filters: tags that a connection must carry, all of them.
            record: of the only connection to watch; None: all.
            after_event: with a record: first the known events behind this number.

        Raises:
            LimitReached: too many watch already.
        """
        if len(self._watchers) >= MAX_WATCHERS:
            raise LimitReached(limit="watchers", maximum=MAX_WATCHERS)
        watcher = _Watcher(record.id if record else None, filters)
        watcher.mailbox = Mailbox(lambda: self._drop(watcher))
        self._watchers[watcher] = None
        if record is not None and after_event is not None and watcher.wants(record):
            history = self._histories.of(record.id)
            known, watcher.missed = history.behind(after_event, last=record.event)
            for event in known:
                self._offer(watcher, self._notice(record, event))
        return watcher.mailbox

    def end(self, connection_id: ConnectionId, error: Exception | None) -> None:
        """Ends the streams that watch only a connection that is gone."""
        for watcher in [one for one in self._watchers if one.connection_id == connection_id]:
            self._finish(watcher, error)

    def stop(self, error: Exception) -> None:
        """Ends all streams."""
        for watcher in [*self._watchers]:
            self._finish(watcher, error)

    def _notice(self, record: Record, event: RecordedEvent) -> LifecycleNotice:
        return LifecycleNotice(
            connection_id=record.id,
            id=lifecycle_event_id(record.id, record.created_at, event.number),
            type=self._type_prefix + event.name,
            state=event.name,
            number=event.number,
            at=event.at,
            data=event.json,
        )

    def _offer(self, watcher: _Watcher, notice: LifecycleNotice) -> None:
        waiting = watcher.mailbox.waiting
        if len(waiting) >= MAX_WAITING:
            # What waits is useless without the rest: it reads again behind the last it got.
            waiting.clear()
            limit = "events that may wait for a slow watcher"
            self._finish(watcher, LimitReached(limit=limit, maximum=MAX_WAITING))
            return
        if watcher.missed:
            notice = replace(notice, missed=watcher.missed)
            watcher.missed = 0
        watcher.mailbox.push(notice)

    def _finish(self, watcher: _Watcher, error: Exception | None) -> None:
        self._drop(watcher)
        watcher.mailbox.finish(error)

    def _drop(self, watcher: _Watcher) -> None:
        self._watchers.pop(watcher, None)
