"""Turns the machine's announcements into lifecycle events of a connection's record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.model import Cause, Status
from websocketmanager.domain.record import Record
from websocketmanager.ports import Socket
from websocketmanager.service.ledger import Book, Draft, Ledger


class Announcer:
    """Writes what happens to one connection into its book.

    Args:
        book: the connection's.
        ledger: saves the record, then publishes the events.
        url: redacted.
    """

    __slots__ = ("_book", "_connected", "_degraded_since", "_down_since", "_ledger", "_url")

    def __init__(self, book: Book, ledger: Ledger, *, url: str) -> None:
        self._book = book
        self._ledger = ledger
        self._url = url
        self._down_since: float | None = book.record.disconnected_at
        self._connected = False
        self._degraded_since: dict[str, float] | None = None

    def persist(self, status: Status, cause: Cause | None, now: float) -> None:
        """Has the record show the status; the events that follow wait for it."""
        # What the record says may be of an earlier process: how long that is gone, nobody knows.
        if status is not Status.CONNECTED and self._connected:
            self._down_since = now
        self._connected = status is Status.CONNECTED

        def change(record: Record) -> Record:
            done = now if status is Status.DISCONNECTED else None
            return replace(
                record,
                status=status,
                cause=cause or (None if status is Status.CONNECTED else record.cause),
                disconnected_at=done,
            )

        self._ledger.post(self._book, change)

    def announce(
        self, command: life.Announce, now: float, socket: Socket | None, last_sequence: int
    ) -> None:
        """Posts one lifecycle event."""
        facts = self._facts(command, now, socket, last_sequence)
        self._post(command.name, now, facts)

    def degraded(self, cause: str, detail: str, count: int, now: float, *, active: bool) -> None:
        """Posts that delivery is worse than promised, or that it is as promised again."""
        if self._degraded_since is None:
            self._degraded_since = {}
        since = self._degraded_since.setdefault(cause, now)
        if not active:
            del self._degraded_since[cause]
        facts = {
            "cause": cause,
            "detail": detail,
            "since": timestamp(since),
            "active": active,
            "dropped": count,
        }
        self._post(life.EventName.DEGRADED, now, facts)

    def farewell(self, now: float, *, reason: str) -> Draft:
        """Returns the last event of a connection that a caller ends."""
        facts = {"reason": reason, "close_code": 1000, "close_reason": "", "final": True}
        return self._draft(life.EventName.DISCONNECTED, now, facts)

    def _post(self, name: life.EventName, now: float, facts: dict[str, Any]) -> None:
        self._ledger.post(self._book, None, self._draft(name, now, facts))

    def _draft(self, name: life.EventName, now: float, facts: dict[str, Any]) -> Draft:
        record = self._book.record
        data = {
            "connection_id": record.id,
            "url": self._url,
            "instance_id": record.instance_id,
            "session": record.session,
            "owner_epoch": record.owner_epoch,
            **facts,
        }
        return Draft(name.value, now, data)

    def _facts(
        self, command: life.Announce, now: float, socket: Socket | None, last_sequence: int
    ) -> dict[str, Any]:
        failure = command.failure
        close_code = failure.close_code if failure else 0
        close_reason = failure.close_reason if failure else ""
        match command.name:
            case life.EventName.CONNECTED:
                down = self._down_since
                # Unknown after a crash: nobody watched.
                unknown = None if command.resumed else 0
                rotated = bool(command.reason)  # one session handed over to the next
                downtime = unknown if down is None else max(round((now - down) * 1000), 0)
                return {
                    "attempt": max(command.attempt, 1),
                    "address": socket.address if socket else "",
                    "subprotocol": socket.subprotocol if socket else "",
                    "downtime_ms": 0 if rotated else downtime,
                    "resumed": command.resumed,
                    **({"reason": command.reason} if command.reason else {}),
                }
            case life.EventName.RECONNECTING:
                return {
                    "attempt": command.attempt,
                    "delay_ms": round(command.delay_seconds * 1000),
                    "reason": command.reason,
                    "close_code": close_code,
                    "close_reason": close_reason,
                    "last_sequence": last_sequence,
                }
            case life.EventName.ERROR:
                return {
                    "error_type": failure.kind.value if failure else "",
                    "error_message": failure.message if failure else "",
                    "close_code": close_code,
                    "close_reason": close_reason,
                }
            case life.EventName.DISCONNECTED:
                return {
                    "reason": command.reason,
                    "close_code": close_code,
                    "close_reason": close_reason,
                    "final": command.final,
                }
            case _:
                return {"attempt": command.attempt}
