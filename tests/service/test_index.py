"""The index is durable before a record is, and many changes share a save."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.kit.port_faults import FaultScript, FaultyStateStore
from tests.kit.quiet import wait_quiet
from websocketmanager.adapters.memory import MemoryStateStore
from websocketmanager.domain.identity import index_key, record_key
from websocketmanager.domain.model import ConnectionId, InstanceId
from websocketmanager.errors import ApiUnavailable, RecordUnreadable
from websocketmanager.service.index import Index

ONE = InstanceId("one")
KEY = index_key(ONE)
DOWN = ApiUnavailable("State.SaveState", "scripted")


class Shelf:
    def __init__(self) -> None:
        self.values = MemoryStateStore()
        self.faults = FaultScript()
        self.index = Index(FaultyStateStore(self.values, self.faults), ONE)

    @property
    def ids(self) -> list[str]:
        return list(json.loads(self.values.values[KEY].value)["ids"])


def cid(number: int) -> ConnectionId:
    return ConnectionId(f"c{number}")


async def test_an_id_is_durable_and_visible_when_add_returns() -> None:
    shelf = Shelf()
    await shelf.index.add(cid(1))
    await shelf.index.add(cid(2))
    assert shelf.ids == ["c1", "c2"]
    assert shelf.values.registered == {record_key(cid(1)), record_key(cid(2))}
    await shelf.index.discard(cid(1))
    assert shelf.ids == ["c2"]
    again = Shelf()
    again.values.values = shelf.values.values
    assert await again.index.load() == ("c2",)


async def test_changes_that_wait_share_a_save() -> None:
    shelf = Shelf()
    hold = shelf.faults.hold("save")
    first = asyncio.create_task(shelf.index.add(cid(0)))
    await hold.arrived.wait()
    others = [asyncio.create_task(shelf.index.add(cid(number))) for number in range(1, 50)]
    await wait_quiet()
    assert not any(task.done() for task in others)
    hold.release()
    await asyncio.gather(first, *others)
    assert shelf.faults.calls.count("save") == 2
    assert len(shelf.ids) == 50


@pytest.mark.parametrize("operation", ["register", "save"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_failure_is_told_to_its_caller_and_forgotten_by_none(
    operation: str, after: bool
) -> None:
    shelf = Shelf()
    hold = shelf.faults.hold(operation)
    first = asyncio.create_task(shelf.index.add(cid(1)))
    await hold.arrived.wait()
    second = asyncio.create_task(shelf.index.add(cid(2)))
    await wait_quiet()
    shelf.faults.fail(operation, DOWN, after=after)
    hold.release()
    with pytest.raises(ApiUnavailable):
        await first
    await second
    assert set(shelf.ids) == {"c1", "c2"}
    assert shelf.values.registered == {record_key(cid(1)), record_key(cid(2))}


async def test_a_caller_that_goes_away_leaves_the_others_their_save() -> None:
    shelf = Shelf()
    hold = shelf.faults.hold("save")
    first = asyncio.create_task(shelf.index.add(cid(1)))
    await hold.arrived.wait()
    second = asyncio.create_task(shelf.index.add(cid(2)))
    await wait_quiet()
    first.cancel()
    await second
    assert first.cancelled()
    assert "c2" in shelf.ids
    assert record_key(cid(2)) in shelf.values.registered


async def test_settling_saves_only_what_would_be_lost() -> None:
    shelf = Shelf()
    await shelf.index.add(cid(1))
    await shelf.index.add(cid(2))
    saves = shelf.faults.calls.count("save")
    await shelf.index.settle([cid(2)])
    assert shelf.faults.calls.count("save") == saves
    assert shelf.ids == ["c1", "c2"]
    await shelf.index.settle([cid(2), cid(3)])
    assert shelf.ids == ["c2", "c3"]


@pytest.mark.parametrize("value", ["x", "[]", '{"schema":2,"ids":[]}', '{"schema":1}', "{}"])
async def test_what_is_no_index_is_left_untouched(value: str) -> None:
    shelf = Shelf()
    await shelf.values.save(KEY, value)
    with pytest.raises(RecordUnreadable):
        await shelf.index.load()
    assert shelf.values.values[KEY].value == value


async def test_no_index_yet_is_an_empty_one() -> None:
    assert await Shelf().index.load() == ()
