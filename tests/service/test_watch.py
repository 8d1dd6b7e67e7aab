"""Who watches gets each event once, in order, and is never waited for."""

from __future__ import annotations

import json

import pytest

from websocketmanager.domain.envelope import LIFECYCLE_TYPE_PREFIX, lifecycle_event
from websocketmanager.domain.model import (
    ConnectionId,
    ConnectionSpec,
    InstanceId,
    LifecycleNotice,
    Status,
    Topic,
)
from websocketmanager.domain.record import Record, RecordedEvent
from websocketmanager.errors import ConnectionNotFound, LimitReached, ServiceUnavailable
from websocketmanager.service.history import Histories
from websocketmanager.service.mailbox import Mailbox
from websocketmanager.service.watch import MAX_WAITING, MAX_WATCHERS, Watchers


def record(id: str = "c", event: int = 0, **tags: str) -> Record:
    spec = ConnectionSpec("wss://x/", tags=tags)
    return Record(ConnectionId(id), spec, Status.CONNECTED, 1000.5, InstanceId("one"), event=event)


def event(number: int, name: str = "connected") -> RecordedEvent:
    return RecordedEvent.of(number, name, 7.0, {"event": number, "é": "ü"})


@pytest.fixture
def watchers() -> Watchers:
    return Watchers(Histories(), type_prefix=LIFECYCLE_TYPE_PREFIX)


def waiting(box: Mailbox[LifecycleNotice]) -> list[tuple[str, int]]:
    return [(one.connection_id, one.number) for one in box.waiting]


def test_an_event_is_told_as_it_is_published(watchers: Watchers) -> None:
    box = watchers.open(())
    watchers.tell(record(), [event(3)])
    (told,) = box.waiting
    published = lifecycle_event(
        topic=Topic("t.t"),
        type_prefix=LIFECYCLE_TYPE_PREFIX,
        state="connected",
        connection_id="c",
        created_at=1000.5,
        number=3,
        at=7.0,
        data=event(3).data,
    )
    assert (told.id, told.type) == (published.metadata["ce-id"], published.metadata["ce-type"])
    assert told.data == published.data
    assert (told.state, told.number, told.at, told.missed) == ("connected", 3, 7.0, 0)


def test_by_connection_and_by_tags(watchers: Watchers) -> None:
    everything = watchers.open(())
    mine = watchers.open((), record("c"))
    tagged = watchers.open((("venue", "x"),))
    watchers.tell(record("c"), [event(1), event(2)])
    watchers.tell(record("d", venue="x", kind="y"), [event(1)])
    assert waiting(everything) == [("c", 1), ("c", 2), ("d", 1)]
    assert waiting(mine) == [("c", 1), ("c", 2)]
    assert waiting(tagged) == [("d", 1)]


def test_first_what_is_known_then_what_comes(watchers: Watchers) -> None:
    watchers.tell(record(), [event(number) for number in range(1, 71)])
    box = watchers.open((), record(event=70), after_event=5)
    watchers.tell(record(event=71), [event(71)])
    assert [one.number for one in box.waiting] == list(range(21, 72))
    assert [one.missed for one in box.waiting] == [15] + [0] * 50


def test_what_is_missed_is_told_with_the_next_event(watchers: Watchers) -> None:
    box = watchers.open((), record(event=20), after_event=12)
    assert not box.waiting
    watchers.tell(record(event=21), [event(21)])
    assert [(one.number, one.missed) for one in box.waiting] == [(21, 8)]


async def test_a_slow_watcher_is_cut_and_harms_nobody(watchers: Watchers) -> None:
    slow, quick = watchers.open(()), watchers.open(())
    got = []
    for number in range(1, MAX_WAITING + 2):
        watchers.tell(record(), [event(number)])
        got.append((await anext(quick)).number)
    assert got == list(range(1, MAX_WAITING + 2))
    with pytest.raises(LimitReached) as cut:
        await anext(slow)
    assert cut.value.maximum == MAX_WAITING
    watchers.tell(record(), [event(MAX_WAITING + 2)])
    assert not slow.waiting, "it costs nothing any more"


async def test_streams_of_a_connection_that_is_gone_end(watchers: Watchers) -> None:
    mine, lost = watchers.open((), record("c")), watchers.open((), record("d"))
    everything = watchers.open(())
    watchers.tell(record("c"), [event(1, "disconnected")])
    watchers.end(ConnectionId("c"), None)
    watchers.end(ConnectionId("d"), ConnectionNotFound("d"))
    assert [json.loads(one.data)["event"] async for one in mine] == [1]
    with pytest.raises(ConnectionNotFound):
        await anext(lost)
    assert waiting(everything) == [("c", 1)]
    watchers.stop(ServiceUnavailable("stopping"))
    await anext(everything)
    with pytest.raises(ServiceUnavailable):
        await anext(everything)


def test_too_many_are_refused_and_those_who_leave_make_room(watchers: Watchers) -> None:
    boxes = [watchers.open(()) for _ in range(MAX_WATCHERS)]
    with pytest.raises(LimitReached):
        watchers.open(())
    boxes[0].close()
    watchers.open(())
