"""All parts of the service on doubles: a `World` outlives its processes, a `House` is one.

world = World()
async with running_house(world) as house:
    view = await house.supervisor.connect(spec())
# left without a word, as after kill -9
async with running_house(world, recover=True) as house:
    ...
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tests.kit.clock import ManualClock, ScriptedDice
from tests.kit.journal import RecordingJournal
from tests.kit.port_faults import FaultScript, FaultyEventSink, FaultyStateStore
from tests.kit.quiet import let_time_pass, wait_quiet
from tests.kit.sockets import ScriptedDialer, ScriptedSocket
from websocketmanager.adapters.memory import (
    MemoryEventSink,
    MemoryMessageLog,
    MemorySecrets,
    MemoryStateStore,
)
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.domain.envelope import LIFECYCLE_TOPIC, LIFECYCLE_TYPE_PREFIX, Event
from websocketmanager.domain.identity import index_key, record_key
from websocketmanager.domain.model import (
    ConnectionId,
    ConnectionOptions,
    ConnectionSpec,
    FirstDial,
    InstanceId,
    ReconnectOptions,
    Topic,
)
from websocketmanager.domain.overflow import LogEntry
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.domain.record import Record, from_json, to_json
from websocketmanager.errors import ApiUnavailable
from websocketmanager.service.index import Index
from websocketmanager.service.lane import Lane
from websocketmanager.service.ledger import Ledger
from websocketmanager.service.outbox import Outbox
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.places import Places
from websocketmanager.service.recovery import Recovery
from websocketmanager.service.registry import Registry
from websocketmanager.service.runner import Tools
from websocketmanager.service.supervisor import Supervisor
from websocketmanager.service.timers import Timers

DOWN = ApiUnavailable("any", "scripted outage")
INSTANCE = InstanceId("one")
URL = "wss://feed.test/stream"
TOPIC = Topic("websocketmanager.ticks")


class World:
    """What is there before and after a process: time, the network, the API and its faults."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.dice = ScriptedDice()
        self.dialer = ScriptedDialer(self.clock)
        self.values = MemoryStateStore()
        self.sink = MemoryEventSink()
        self.secrets = MemorySecrets({})
        self.store_faults = FaultScript()
        self.sink_faults = FaultScript()
        self.incarnations = itertools.count(1)
        self.disk: dict[str, list[tuple[int, LogEntry]]] | None = None
        """What the message log holds; None: there is none."""

    def record(self, connection_id: str) -> Record | None:
        """Returns what the store has of a connection."""
        key = record_key(ConnectionId(connection_id))
        kept = self.values.values.get(key)
        return from_json(key, kept.value) if kept else None

    @property
    def records(self) -> list[Record]:
        """All stored records."""
        prefix = record_key(ConnectionId(""))
        return [
            from_json(key, kept.value)
            for key, kept in self.values.values.items()
            if key.startswith(prefix)
        ]

    def indexed(self, instance_id: str = INSTANCE) -> list[str]:
        """Returns the stored index of an instance."""
        kept = self.values.values.get(index_key(InstanceId(instance_id)))
        return list(json.loads(kept.value)["ids"]) if kept else []

    async def put(self, record: Record, *, indexed: bool = True) -> None:
        """Stores a record as an earlier process would have."""
        await self.values.save(record.key, to_json(record))
        if indexed:
            ids = [*self.indexed(record.instance_id), record.id]
            value = json.dumps({"schema": 1, "ids": ids})
            await self.values.save(index_key(record.instance_id), value)

    def lifecycle(self, connection_id: str | None = None) -> list[Event]:
        """Returns the published lifecycle events, repeated ones included."""
        return [
            event
            for event in self.sink.events
            if event.route.topic == LIFECYCLE_TOPIC
            and connection_id in {None, data_of(event)["connection_id"]}
        ]

    def states(self, connection_id: str | None = None) -> list[str]:
        """Returns what the published lifecycle events say, in order."""
        return [
            event.metadata["ce-type"].removeprefix(LIFECYCLE_TYPE_PREFIX)
            for event in self.lifecycle(connection_id)
        ]

    def messages(self, topic: Topic = TOPIC) -> list[bytes]:
        """Returns the data of what was published on a topic."""
        return [event.data for event in self.sink.events if event.route.topic == topic]

    def break_api(self) -> None:
        """Makes the API unreachable."""
        self.store_faults.break_all(DOWN)
        self.sink_faults.break_all(DOWN)

    def heal_api(self) -> None:
        """Makes it reachable again."""
        self.store_faults.heal()
        self.sink_faults.heal()


class House:
    """One process."""

    def __init__(self, world: World, **policy: Any) -> None:
        self.world = world
        self.clock = world.clock
        self.dialer = world.dialer
        self.journal = RecordingJournal()
        number = next(world.incarnations)
        basis = ServicePolicy(INSTANCE, f"process-{number}", dial_spacing_seconds=0.0)
        self.policy = replace(basis, **policy)
        store = FaultyStateStore(world.values, world.store_faults)
        sink = FaultyEventSink(world.sink, world.sink_faults)
        self.store = store
        self.lane = Lane(sink, world.clock, world.dice, self.journal)
        self.outbox = Outbox(
            self.lane,
            self.journal,
            topic=self.policy.lifecycle_topic,
            type_prefix=self.policy.lifecycle_type_prefix,
        )
        self.ledger = Ledger(store, self.outbox, world.clock, world.dice, self.journal)
        self.index = Index(store, self.policy.instance_id)
        self.timers = Timers(world.clock, self.journal)
        self.tools = Tools(
            clock=world.clock,
            dice=world.dice,
            dialer=world.dialer,
            journal=self.journal,
            ledger=self.ledger,
            pacer=Pacer(world.clock, world.dice, self.policy.dial_spacing_at),
            policy=self.policy,
            secrets=world.secrets,
            timers=self.timers,
            places=Places(world.clock, self.journal, self.policy.max_sockets_at),
            compile_regex=compile_regex,
        )
        self.log = None if world.disk is None else MemoryMessageLog(world.disk)
        self.registry = Registry(self.tools, self.index, self.lane, self.log)
        self.supervisor = Supervisor(self.tools, store, self.index, self.registry)
        self.recovery = Recovery(
            self.registry, store, self.index, self.tools, on_loaded=self.supervisor.begin
        )

    async def settle(self) -> None:
        """Waits until all is quiet and what was posted is saved and published."""
        await let_time_pass(self.clock, lambda: not (self.lane.pending or self.ledger.busy))

    async def connected(
        self, spec: ConnectionSpec | None = None
    ) -> tuple[ConnectionId, ScriptedSocket]:
        """Connects; returns the id and the socket."""
        view = await self.supervisor.connect(spec or spec_of())
        await wait_quiet()
        return view.id, self.dialer.sockets[-1]


@asynccontextmanager
async def running_house(
    world: World, *, recover: bool = False, **policy: Any
) -> AsyncIterator[House]:
    """Runs one process; leaving the block kills it.

    Args:
        world: where it lives.
        recover: start with a recovery, and go on behind it.
        policy: fields of ServicePolicy.
    """
    house = House(world, **policy)
    parts = [
        house.lane.run(),
        house.ledger.run(),
        house.timers.run(),
        house.registry.run(),
    ]
    tasks = [asyncio.create_task(part) for part in parts]
    await wait_quiet()
    try:
        if recover:
            tasks.append(asyncio.create_task(house.recovery.run()))
            await wait_quiet()
        else:
            house.supervisor.begin()
        yield house
    finally:
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        faults = [
            error
            for error in done
            if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError)
        ]
        assert not faults, faults


def spec_of(
    name: str = "",
    *,
    url: str = URL,
    auto_reconnect: bool = True,
    first_dial: FirstDial = FirstDial.FAIL,
    topic: Topic | None = TOPIC,
    tags: Mapping[str, str] | None = None,
    markers: bool = False,
    max_attempts: int = 0,
    **options: Any,
) -> ConnectionSpec:
    """Returns an intent."""
    reconnect = ReconnectOptions(first_dial=first_dial, max_attempts=max_attempts)
    return ConnectionSpec(
        url,
        auto_reconnect=auto_reconnect,
        tags=tags or {},
        name=name,
        topic=topic,
        options=ConnectionOptions(reconnect=reconnect, markers=markers, **options),
    )


def data_of(event: Event) -> dict[str, Any]:
    """Returns the JSON of an event."""
    return dict(json.loads(event.data))


def assert_no_holes(events: list[Event]) -> None:
    """Asserts that the published lifecycle events of each connection count from 1 without a hole,
    come in order, and that equal ids have equal bytes."""
    seen: dict[str, Event] = {}
    last: dict[str, int] = {}
    for event in events:
        identity = event.metadata["ce-id"]
        connection, _, number = identity.rpartition("/event/")
        if identity in seen:
            assert seen[identity].data == event.data, identity
            assert seen[identity].metadata == event.metadata, identity
            continue
        seen[identity] = event
        assert int(number) == last.get(connection, 0) + 1, f"{identity} after {last}"
        last[connection] = int(number)
