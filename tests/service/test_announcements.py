"""What happens to a connection becomes events with the facts that the contract names."""

from __future__ import annotations

from typing import Any

from tests.kit.sockets import ScriptedSocket
from tests.service.house import House, World
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.lifecycle import Announce, EventName
from websocketmanager.domain.model import (
    Cause,
    ConnectionId,
    ConnectionSpec,
    InstanceId,
    Status,
)
from websocketmanager.domain.record import Record
from websocketmanager.service.announcements import Announcer
from websocketmanager.service.ledger import Book

FAILURE = Failure(FailureKind.PEER_CLOSED, "closed with 1012", 1012, "restart")
EVERYWHERE = {"connection_id", "url", "instance_id", "session", "owner_epoch"}


class Nobody:
    """The owner of a book that is never saved."""

    def note_saved(self, durably: Record) -> None:
        raise AssertionError(durably)

    def note_lost(self, problem: str) -> None:
        raise AssertionError(problem)

    def position(self) -> int:
        return 0


class Desk:
    """An announcer on a book whose ledger does not run: drafts stay to be read."""

    def __init__(self, **given: Any) -> None:
        record = Record(
            ConnectionId("c1"),
            ConnectionSpec("wss://user:secret@h/"),
            Status.CONNECTING,
            1.0,
            InstanceId("one"),
            session=3,
            owner_epoch=2,
            **given,
        )
        self.book = Book(record, Nobody())
        ledger = House(World()).ledger
        self.announcer = Announcer(self.book, ledger, url="wss://h/")

    def announced(self, command: Announce, *, now: float = 100.0) -> dict[str, Any]:
        self.announcer.announce(command, now, ScriptedSocket("[::1]:80", "v2"), 42)
        draft = self.book.drafts[-1]
        assert (draft.name, draft.at) == (command.name.value, now)
        assert set(draft.data) >= EVERYWHERE
        assert draft.data["url"] == "wss://h/"
        assert (draft.data["session"], draft.data["owner_epoch"]) == (3, 2)
        return {key: value for key, value in draft.data.items() if key not in EVERYWHERE}


async def test_each_event_says_what_the_contract_wants() -> None:
    desk = Desk()
    assert desk.announced(Announce(EventName.CONNECTING, attempt=1)) == {"attempt": 1}
    assert desk.announced(Announce(EventName.CONNECTED, attempt=0, resumed=False)) == {
        "attempt": 1,
        "address": "[::1]:80",
        "subprotocol": "v2",
        "downtime_ms": 0,
        "resumed": False,
    }
    reconnecting = Announce(
        EventName.RECONNECTING, 2, delay_seconds=1.5, failure=FAILURE, reason="peer_closed"
    )
    assert desk.announced(reconnecting) == {
        "attempt": 2,
        "delay_ms": 1500,
        "reason": "peer_closed",
        "close_code": 1012,
        "close_reason": "restart",
        "last_sequence": 42,
    }
    assert desk.announced(Announce(EventName.ERROR, failure=FAILURE)) == {
        "error_type": "peer_closed",
        "error_message": "closed with 1012",
        "close_code": 1012,
        "close_reason": "restart",
    }
    ended = Announce(EventName.DISCONNECTED, reason="fatal", failure=FAILURE, final=True)
    assert desk.announced(ended) == {
        "reason": "fatal",
        "close_code": 1012,
        "close_reason": "restart",
        "final": True,
    }
    farewell = desk.announcer.farewell(5.0, reason="requested")
    assert (farewell.name, farewell.data["reason"]) == ("disconnected", "requested")
    assert farewell.data["final"]


def downtime(desk: Desk, *, now: float, resumed: bool = True) -> object:
    command = Announce(EventName.CONNECTED, attempt=1, resumed=resumed)
    return desk.announced(command, now=now)["downtime_ms"]


async def test_downtime_is_measured_where_it_was_seen() -> None:
    desk = Desk()
    desk.announcer.persist(Status.CONNECTED, None, 10.0)
    desk.announcer.persist(Status.RECONNECTING, Cause("x", "y"), 20.0)
    desk.announcer.persist(Status.RECONNECTING, None, 25.0)
    assert downtime(desk, now=30.5) == 10_500
    desk.announcer.persist(Status.CONNECTED, None, 30.5)
    desk.announcer.persist(Status.RECONNECTING, None, 40.0)
    assert downtime(desk, now=41.0) == 1000
    assert downtime(desk, now=0.0) == 0, "a wall clock may jump back"


async def test_after_a_crash_nobody_knows_the_downtime() -> None:
    desk = Desk(connected_at=5.0)
    desk.announcer.persist(Status.CONNECTED, None, 10.0)
    crashed = Desk()
    crashed.book.record = desk.book.record
    crashed.announcer = Announcer(crashed.book, House(World()).ledger, url="wss://h/")
    crashed.announcer.persist(Status.RECONNECTING, None, 50.0)
    assert downtime(crashed, now=51.0) is None
    ended = Desk(disconnected_at=40.0)
    assert downtime(ended, now=41.0) == 1000


async def test_the_record_follows_the_status() -> None:
    desk = Desk()
    cause = Cause("network_error", "no route")
    desk.announcer.persist(Status.RECONNECTING, cause, 10.0)
    assert (desk.book.record.status, desk.book.record.cause) == (Status.RECONNECTING, cause)
    desk.announcer.persist(Status.RECONNECTING, None, 11.0)
    assert desk.book.record.cause == cause
    desk.announcer.persist(Status.DISCONNECTED, None, 12.0)
    assert (desk.book.record.disconnected_at, desk.book.record.cause) == (12.0, cause)
    desk.announcer.persist(Status.CONNECTED, None, 13.0)
    connected = desk.book.record
    assert (connected.disconnected_at, connected.cause) == (None, None)
    assert desk.book.dirty


async def test_degradation_has_a_beginning_and_an_end() -> None:
    desk = Desk()
    desk.announcer.degraded("topic_rejected", "no such topic", 1, 10.0, active=True)
    desk.announcer.degraded("publishing_behind", "full", 0, 15.0, active=True)
    desk.announcer.degraded("topic_rejected", "", 7, 20.0, active=False)
    desk.announcer.degraded("topic_rejected", "again", 1, 30.0, active=True)
    told = [
        (draft.data["cause"], draft.data["active"], draft.data["dropped"], draft.data["since"])
        for draft in desk.book.drafts
    ]
    assert told == [
        ("topic_rejected", True, 1, "1970-01-01T00:00:10.000000Z"),
        ("publishing_behind", True, 0, "1970-01-01T00:00:15.000000Z"),
        ("topic_rejected", False, 7, "1970-01-01T00:00:10.000000Z"),
        ("topic_rejected", True, 1, "1970-01-01T00:00:30.000000Z"),
    ]
    desk.announcer.degraded("unseen", "", 0, 40.0, active=False)
