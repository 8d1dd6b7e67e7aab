"""The streams of the log on the local disk: whose they are, and those that are nobody's.

Makes the spool of a connection that asks for one, tells what an earlier process has left of it,
and removes what belongs to no connection of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from websocketmanager.domain.envelope import StreamIdentity
from websocketmanager.domain.facts import MessageLogDiscarded
from websocketmanager.domain.identity import stream_name
from websocketmanager.domain.model import ConnectionId
from websocketmanager.domain.options import Overflow
from websocketmanager.domain.record import Record
from websocketmanager.domain.url_policy import redact
from websocketmanager.ports import Journal, LogExtent, MessageLog
from websocketmanager.service.overflow import Bounds
from websocketmanager.service.spool import DiskBudget, Spool, SpoolHands

_NOTHING = LogExtent()


class Spools:
    """All spools of a process.

    Args:
        log: on the local disk; None: there is none.
        journal: told what was removed.
        max_bytes: that the log may hold.
    """

    def __init__(self, log: MessageLog | None, journal: Journal, *, max_bytes: int) -> None:
        self._log = log
        self._journal = journal
        self._disk = DiskBudget(max_bytes)

    def lacks(self, record: Record) -> bool:
        """Whether the connection asks for a log and there is none."""
        return self._log is None and record.spec.options.buffer.logged

    def extent(self, record: Record) -> LogExtent:
        """Returns what an earlier process has left of a connection."""
        if self._log is None or not record.spec.options.buffer.logged:
            return _NOTHING
        return self._log.extents.get(_name(record), _NOTHING)

    def maker(self, record: Record, bounds: Bounds) -> Callable[[SpoolHands], Spool] | None:
        """Returns what makes the spool of a connection's buffer; None: it needs none."""
        log, options = self._log, record.spec.options
        if log is None or not options.buffer.logged:
            return None
        identity = StreamIdentity(
            connection_id=record.id,
            created_at=record.created_at,
            url=redact(record.spec.url),
            session=record.session,
            owner_epoch=record.owner_epoch,
        )
        return lambda hands: Spool(
            log,
            _name(record),
            self._disk,
            identity=identity,
            format=options.format,
            markers=options.markers,
            durable=options.buffer.durable,
            blocking=options.buffer.overflow is not Overflow.SPILL,
            bounds=bounds,
            hands=hands,
        )

    def keep(self) -> None:
        """Has the log take what would be lost with the process, before it is closed."""
        for spool in self._disk.spools:
            spool.keep()

    def discard_strays(self, known: Iterable[Record], unreadable: Collection[ConnectionId]) -> None:
        """Removes what an earlier process has left of connections that are not here.

        Another instance may have taken them over, and told another story since.

        Args:
            known: the records of this process.
            unreadable: connections whose records could not be read: theirs is kept.
        """
        if self._log is None:
            return
        names = {_name(record) for record in known}
        for name, extent in self._log.extents.items():
            connection_id = ConnectionId(name.partition("/")[0])
            if name in names or connection_id in unreadable:
                continue
            self._log.remove(name)
            if extent.entries:
                self._journal.emit(MessageLogDiscarded(connection_id, extent.entries))


def _name(record: Record) -> str:
    return stream_name(record.id, record.created_at)
