"""Takes connections out for good: on request, after a failure, when their time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.facts import ConnectionRemoved, RecordIgnored
from websocketmanager.domain.model import ConnectionId
from websocketmanager.errors import ApiError
from websocketmanager.service.entry import Entry
from websocketmanager.service.errands import Errands
from websocketmanager.service.index import Index
from websocketmanager.service.ledger import RecordLost
from websocketmanager.service.runner import Tools

#: How long `Disconnect` waits for its last event before the record goes.
_FAREWELL_SECONDS = 2.0
_SWEEP_SECONDS = 30.0
_RETRY_SECONDS = 1.0


class Removal:
    """Removes entries, each once: tombstone first, then the socket, then the record.

    Args:
        tools: of the process.
        index: of this instance.
        errands: does what nobody waits for.
        stop: set when the process stops; what is left is for its next recovery.
    """

    def __init__(self, tools: Tools, index: Index, errands: Errands, stop: asyncio.Event) -> None:
        self._tools = tools
        self._index = index
        self._errands = errands
        self._stop = stop

    async def remove(
        self,
        entry: Entry,
        reason: str,
        *,
        announce: bool = True,
        patience_seconds: float | None = _FAREWELL_SECONDS,
    ) -> None:
        """Ends an entry for good: tombstone first, then the socket, then the record.

        Args:
            entry: what to remove; several may ask at once, one does it.
            reason: for the journal and the event.
            announce: whether to announce the end of one that does not run.
            patience_seconds: how long the record waits for its last event to be published;
                None for as long as it takes.

        Raises:
            ApiError: the store did not take the tombstone; nothing has changed.
            RecordLost: another process owns it.
        """
        if entry.removed:
            await entry.gone.wait()
            return
        last = entry.runner.farewell(reason) if entry.running or announce else None
        release = await self._tools.ledger.bury(entry.book, last)
        if release is None:
            await entry.gone.wait()
            return
        entry.buried.set()
        if entry.running:
            entry.runner.stop(life.EndReason.REQUESTED)
            await entry.runner.finished.wait()
        release()
        await self._bury_rest(entry, reason, patience_seconds=patience_seconds)

    async def _bury_rest(
        self, entry: Entry, reason: str, *, patience_seconds: float | None
    ) -> None:
        connection_id = entry.record.id
        try:
            await self._tools.ledger.erase(entry.book, patience_seconds=patience_seconds)
            await self._index.discard(connection_id)
        except ApiError as error:
            # The tombstone is stored, so it is final; the next recovery deletes what is left.
            self._tools.journal.emit(RecordIgnored(entry.record.key, error.problem))
        if entry.forget(entry):
            self._tools.journal.emit(ConnectionRemoved(connection_id, reason))

    async def remove_quietly(
        self,
        entry: Entry,
        reason: str,
        *,
        announce: bool = False,
        patience_seconds: float | None = _FAREWELL_SECONDS,
    ) -> None:
        """Removes what nobody waits for; an unreachable API is waited for.

        Args:
            entry: what to remove.
            reason: for the journal and the event.
            announce: whether to announce the end of one that does not run.
            patience_seconds: as for `remove`.
        """
        if entry.leaving:
            await entry.gone.wait()
            return
        entry.leaving = True
        while not self._stop.is_set() and not entry.gone.is_set():
            try:
                await self.remove(
                    entry, reason, announce=announce, patience_seconds=patience_seconds
                )
            except ApiError:
                await self._tools.clock.sleep(_RETRY_SECONDS)
            except RecordLost:
                return

    def remove_later(self, entry: Entry, reason: str) -> None:
        """Ends an entry for good, as soon as the store takes it."""
        # The end of something whose beginning was never told is not told either.
        told = entry.record.event > 0
        self._errands.spawn(
            self.remove_quietly(entry, reason, announce=told, patience_seconds=None)
        )

    def finish(self, entry: Entry, reason: str) -> None:
        """Deletes what an interrupted removal has left behind its tombstone."""
        entry.buried.set()
        self._errands.spawn(self._bury_rest(entry, reason, patience_seconds=None))

    async def scrub(self, entry: Entry) -> None:
        """Deletes what a failed creation may have left, as soon as the store takes it."""
        while not self._stop.is_set():
            try:
                await self._tools.ledger.scrub(entry.book)
                await self._index.discard(entry.record.id)
            except ApiError:
                await self._tools.clock.sleep(_RETRY_SECONDS)
            else:
                return

    async def sweep(self, entries: Mapping[ConnectionId, Entry]) -> None:
        """Removes those that ended by themselves after the retention time, until cancelled."""
        retention = self._tools.policy.disconnected_retention_seconds
        while True:
            await self._tools.clock.sleep(min(_SWEEP_SECONDS, max(retention, 0.1)))
            now = self._tools.clock.now()
            for entry in [*entries.values()]:
                ended = entry.record.disconnected_at
                if not entry.running and ended is not None and now - ended >= retention:
                    self._errands.spawn(self.remove_quietly(entry, "retention is over"))
