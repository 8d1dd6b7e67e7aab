"""One live process per instance id, found out by asking the world and not its clock."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.kit.clock import ManualClock
from tests.kit.journal import RecordingJournal
from tests.kit.port_faults import FaultScript, FaultyStateStore
from tests.kit.quiet import let_time_pass, wait_quiet
from websocketmanager.adapters.memory import MemoryStateStore
from websocketmanager.domain.facts import HeartbeatFailed
from websocketmanager.domain.identity import PEERS_KEY, heartbeat_key
from websocketmanager.domain.model import InstanceId
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.errors import (
    ApiUnavailable,
    InstanceIdInUse,
    RecordUnreadable,
    StateConflict,
)
from websocketmanager.service.leases import Heartbeat

ONE = InstanceId("one")
KEY = heartbeat_key(ONE)
DOWN = ApiUnavailable("State.SaveState", "scripted")


class Neighbours:
    """`ports.Peers`: who answers."""

    def __init__(self) -> None:
        self.answering: set[str] = set()
        self.asked: list[str] = []

    async def answers(self, address: str) -> bool:
        self.asked.append(address)
        return address in self.answering


class Street:
    """A store, its faults and the time, for several processes."""

    def __init__(self) -> None:
        self.values = MemoryStateStore()
        self.faults = FaultScript()
        self.store = FaultyStateStore(self.values, self.faults)
        self.clock = ManualClock()
        self.journal = RecordingJournal()
        self.neighbours = Neighbours()

    def process(self, number: int, **policy: Any) -> Heartbeat:
        basis = ServicePolicy(ONE, f"process-{number}", grpc_address=f"10.0.0.{number}:5002")
        return Heartbeat(
            self.store, self.neighbours, self.clock, self.journal, replace(basis, **policy)
        )

    @property
    def heartbeat(self) -> dict[str, Any]:
        return dict(json.loads(self.values.values[KEY].value))

    @property
    def instances(self) -> list[str]:
        return list(json.loads(self.values.values[PEERS_KEY].value)["instances"])


async def test_a_free_id_is_claimed_and_known_to_peers() -> None:
    street = Street()
    await street.process(1).claim()
    assert street.heartbeat["incarnation"] == "process-1"
    assert street.heartbeat["beat"] == 1
    assert street.heartbeat["grpc_address"] == "10.0.0.1:5002"
    assert street.instances == ["one"]


async def test_a_dead_predecessor_is_followed_at_once() -> None:
    street = Street()
    await street.process(1).claim()
    await street.process(2).claim()
    assert street.heartbeat["incarnation"] == "process-2"
    assert street.neighbours.asked == ["10.0.0.1:5002"]
    assert street.clock.slept == []


async def test_a_predecessor_at_our_own_address_is_dead() -> None:
    street = Street()
    await street.process(1).claim()
    street.neighbours.answering.add("10.0.0.1:5002")
    await street.process(2, grpc_address="10.0.0.1:5002").claim()
    assert street.heartbeat["incarnation"] == "process-2"
    assert street.neighbours.asked == []


async def test_a_twin_that_answers_and_beats_is_not_robbed() -> None:
    street = Street()
    first, second = street.process(1), street.process(2)
    await first.claim()
    street.neighbours.answering.add("10.0.0.1:5002")
    beating = asyncio.create_task(first.run())
    claiming = asyncio.create_task(second.claim())
    await let_time_pass(street.clock, claiming.done, at_most=15.0)
    with pytest.raises(InstanceIdInUse) as caught:
        await claiming
    assert caught.value.address == "10.0.0.1:5002"
    assert street.heartbeat["incarnation"] == "process-1"
    beating.cancel()
    await asyncio.wait([beating])


async def test_whoever_answers_and_does_not_beat_is_somebody_else() -> None:
    street = Street()
    await street.process(1).claim()
    street.neighbours.answering.add("10.0.0.1:5002")
    claiming = asyncio.create_task(street.process(2).claim())
    await let_time_pass(street.clock, claiming.done, at_most=20.0)
    await claiming
    assert street.clock.monotonic() >= 15.0
    assert street.heartbeat["incarnation"] == "process-2"


async def test_it_beats_within_its_interval() -> None:
    street = Street()
    heartbeat = street.process(1)
    await heartbeat.claim()
    beating = asyncio.create_task(heartbeat.run())
    for beat in (2, 3):
        assert await street.clock.wait_for_sleeper() == 10.0
        street.clock.advance(10.0)
        await wait_quiet()
        assert street.heartbeat["beat"] == beat
    assert street.heartbeat["last_seen"] > street.heartbeat["started_at"]
    beating.cancel()
    await asyncio.wait([beating])


async def test_an_id_that_is_taken_in_the_run_ends_the_run() -> None:
    street = Street()
    first = street.process(1)
    await first.claim()
    beating = asyncio.create_task(first.run())
    await street.process(2).claim()
    await wait_quiet()
    street.clock.advance(10.0)
    with pytest.raises(InstanceIdInUse):
        await beating
    assert street.heartbeat["incarnation"] == "process-2"


@pytest.mark.parametrize("operation", ["get", "save"])
async def test_an_outage_is_told_and_survived(operation: str) -> None:
    street = Street()
    street.faults.fail(operation, DOWN, times=3)
    heartbeat = street.process(1)
    claiming = asyncio.create_task(heartbeat.claim())
    await let_time_pass(street.clock, claiming.done)
    await claiming
    assert len(street.journal.of(HeartbeatFailed)) == 3
    beating = asyncio.create_task(heartbeat.run())
    await wait_quiet()
    street.faults.fail(operation, DOWN)
    street.clock.advance(10.0)
    await wait_quiet()
    assert len(street.journal.of(HeartbeatFailed)) == 4
    street.clock.advance(10.0)
    await wait_quiet()
    assert not beating.done()
    assert street.values.values[KEY].value.count("process-1") == 1
    beating.cancel()
    await asyncio.wait([beating])


async def test_a_release_deletes_our_own_heartbeat_alone() -> None:
    street = Street()
    first, second = street.process(1), street.process(2)
    await first.claim()
    await second.claim()
    await first.release()
    assert street.heartbeat["incarnation"] == "process-2"
    await second.release()
    assert KEY not in street.values.values
    await second.release()


async def test_a_value_that_is_no_heartbeat_is_nobody() -> None:
    for value in ("no json", "[]", "{}"):
        street = Street()
        await street.values.save(KEY, value)
        await street.process(1).claim()
        assert street.heartbeat["incarnation"] == "process-1"


async def test_peers_that_join_at_once_are_all_there() -> None:
    street = Street()
    await street.process(9, instance_id=InstanceId("nine")).claim()
    held = [street.faults.hold("save") for _ in range(4)]
    joining = [
        asyncio.create_task(street.process(n, instance_id=InstanceId(f"i{n}")).claim())
        for n in range(4)
    ]
    for hold in held:
        await hold.arrived.wait()
        hold.release()
    await asyncio.gather(*joining)
    assert street.instances == ["i0", "i1", "i2", "i3", "nine"]


async def test_the_very_first_peers_join_at_once() -> None:
    street = Street()
    first = street.process(1, instance_id=InstanceId("i1"))
    second = street.process(2, instance_id=InstanceId("i2"))
    # There is no create-if-absent: the last of two first writers wins, and the other finds out.
    beats = [street.faults.hold("save") for _ in range(2)]
    sets = [street.faults.hold("save") for _ in range(2)]
    joining = [asyncio.create_task(one.claim()) for one in (first, second)]
    for hold in beats:
        await hold.arrived.wait()
    for hold in beats:
        hold.release()
    for hold in sets:
        await hold.arrived.wait()
    sets[0].release()
    await wait_quiet()
    sets[1].release()
    await asyncio.gather(*joining)
    beating = [asyncio.create_task(one.run()) for one in (first, second)]
    await wait_quiet()
    street.clock.advance(10.0)
    await wait_quiet()
    assert street.instances == ["i1", "i2"]
    for task in beating:
        task.cancel()
    await asyncio.wait(beating)


async def test_a_conflict_that_was_our_own_write_is_no_conflict() -> None:
    street = Street()
    await street.process(9, instance_id=InstanceId("nine")).claim()
    conflict = StateConflict("State.SaveState", "scripted")
    hold = street.faults.hold("save")
    joining = asyncio.create_task(street.process(1).claim())
    await hold.arrived.wait()
    second = street.faults.hold("save")
    hold.release()
    await second.arrived.wait()
    street.faults.fail("save", conflict, after=True)
    second.release()
    await joining
    assert street.instances == ["nine", "one"]


async def test_peers_of_a_newer_version_are_left_untouched() -> None:
    street = Street()
    await street.values.save(PEERS_KEY, '{"schema":2,"members":{}}')
    with pytest.raises(RecordUnreadable):
        await street.process(1).claim()
    assert street.values.values[PEERS_KEY].value == '{"schema":2,"members":{}}'


async def test_peers_that_a_newer_version_rewrites_in_the_run_end_nothing() -> None:
    street = Street()
    heartbeat = street.process(1)
    await heartbeat.claim()
    beating = asyncio.create_task(heartbeat.run())
    await wait_quiet()
    await street.values.save(PEERS_KEY, '{"schema":2}')
    for beat in (2, 3):
        street.clock.advance(10.0)
        await wait_quiet()
        assert street.heartbeat["beat"] == beat
    assert street.values.values[PEERS_KEY].value == '{"schema":2}'
    beating.cancel()
    await asyncio.wait([beating])
