"""No crash and no failure leaves a hole or a lie, in whatever order they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.service.house import DOWN, House, World, assert_no_holes, data_of
from tests.service.office import Sole, draft, open_book, record_of
from websocketmanager.adapters.memory import MemoryEventSink, MemoryStateStore
from websocketmanager.domain.envelope import (
    LIFECYCLE_TOPIC,
    LIFECYCLE_TYPE_PREFIX,
    Event,
    Parcel,
    each_event,
    lifecycle_event,
)
from websocketmanager.domain.record import RECENT_EVENTS, from_json
from websocketmanager.errors import ApiError, StateConflict
from websocketmanager.ports import PublishResult, Refusal
from websocketmanager.service.ledger import Book, RecordLost

CONFLICT = StateConflict("State.SaveState", "scripted")


class AnyStore(MemoryStateStore):
    """Fails by a list of behaviours; remembers every event that any saved record held."""

    def __init__(self) -> None:
        super().__init__()
        self.behaviours: list[str] = []
        self.held: set[tuple[str, int, str]] = set()

    async def _fault(self, *, after: bool) -> None:
        await asyncio.sleep(0)
        if self.behaviours and self.behaviours[-1].endswith("after") == after:
            behaviour = self.behaviours.pop()
            if behaviour.startswith("down"):
                raise DOWN
            if behaviour.startswith("conflict"):
                raise CONFLICT

    async def save(self, key: str, value: str, *, etag: str | None = None) -> None:
        await self._fault(after=False)
        await super().save(key, value, etag=etag)
        record = from_json(key, value)
        for event in record.recent_events:
            self.held.add((record.id, event.number, json.dumps(event.data)))
        await self._fault(after=True)


class AnySink(MemoryEventSink):
    """Fails by a list of behaviours; wants every event to be in the store already."""

    def __init__(self, store: AnyStore) -> None:
        super().__init__()
        self.behaviours: list[str] = []
        self._store = store

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        apart = each_event(events)
        behaviour = self.behaviours.pop() if self.behaviours else "ok"
        await asyncio.sleep(0)
        for event in apart:
            data = data_of(event)
            assert ("c1", event.tag, json.dumps(data)) in self._store.held, "published unsaved"
        part = len(apart) // 2
        match behaviour:
            case "down":
                raise DOWN
            case "down after":
                self.events += apart[:part]
                await asyncio.sleep(0)
                raise DOWN
            case "part":
                self.events += apart[:part]
                return PublishResult(part)
            case "unsure":
                return PublishResult(0, Refusal(definite=False, problem="scripted"))
        self.events += apart
        await asyncio.sleep(0)
        return PublishResult(len(apart))


STORE = ["ok", "down", "down", "down after", "down after", "conflict", "conflict after"]
SINK = ["ok", "down", "down after", "part", "unsure"]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("post"), st.integers(1, 5)),
        st.tuples(st.just("post"), st.integers(1, 5)),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("turns"), st.integers(0, 12)),
        st.tuples(st.just("time"), st.integers(1, 20)),
        st.tuples(st.just("crash"), st.integers(0, 12)),
        st.tuples(st.just("bury"), st.integers(0, 6)),
    ),
    max_size=25,
)


@settings(max_examples=250, deadline=None, database=None)
@given(
    steps=steps,
    store=st.lists(st.sampled_from(STORE), max_size=25),
    sink=st.lists(st.sampled_from(SINK), max_size=25),
)
def test_no_crash_and_no_failure_leaves_a_hole(
    steps: list[tuple[str, int]], store: list[str], sink: list[str]
) -> None:
    asyncio.run(Play(store, sink).run(steps))


class Play:
    """One connection through failures and crashes."""

    def __init__(self, store: list[str], sink: list[str]) -> None:
        self.world = World()
        self.store = AnyStore()
        self.sink = AnySink(self.store)
        self.world.values, self.world.sink = self.store, self.sink
        self.store.behaviours, self.sink.behaviours = store, sink
        self.posted = 0
        self.tasks: list[asyncio.Task[None]] = []
        self.verbs: list[asyncio.Task[None]] = []
        self.book: Book
        self.house: House

    async def run(self, steps: list[tuple[str, int]]) -> None:
        self.begin()
        for action, count in steps:
            match action:
                case "post":
                    self.post(count)
                case "commit":
                    self.verb(self.commit)
                case "bury":
                    self.verb(partial(self.bury, count))
                case "turns":
                    for _ in range(count):
                        await asyncio.sleep(0)
                case "time":
                    self.world.clock.advance(count / 4)
                    await wait_quiet()
                case _:
                    for _ in range(count):
                        await asyncio.sleep(0)
                    await self.crash()
                    self.begin()
            assert self.book.unacknowledged <= RECENT_EVENTS or self.book.closed
        self.store.behaviours.clear()
        self.sink.behaviours.clear()
        await let_time_pass(self.world.clock, self.done)
        await self.crash()
        self.begin()
        self.post(1)
        await let_time_pass(self.world.clock, self.done)
        await self.crash()

        assert_no_holes(self.sink.events)
        stored = self.world.record("c1")
        assert stored is not None
        mine = f"c1/{round(stored.created_at * 1000)}/"
        published = [e for e in self.sink.events if e.metadata["ce-id"].startswith(mine)]
        assert published[-1].tag == stored.event
        first_times = {event.tag: data_of(event)["text"] for event in published}
        posts = [int(text) for text in first_times.values() if text.isdigit()]
        assert posts == sorted(posts), "events come in the order of what they tell"

    def done(self) -> bool:
        busy = self.house.lane.pending or self.house.ledger.busy
        return not busy and all(verb.done() for verb in self.verbs)

    def begin(self) -> None:
        self.house = House(self.world)
        stored = self.world.record("c1")
        if stored is None:
            # A connection that is gone comes back as another one.
            self.world.clock.advance(0.01)
            created_at = self.world.clock.now()
            record = record_of(
                self.world,
                created_at=created_at,
                incarnation=self.house.policy.incarnation,
            )
            self.book = Book(record, Sole())
        else:
            entry = self.house.registry.adopt(stored, self.store.values[stored.key].etag)
            self.book = entry.book
            self.book.owner = Sole()
            if stored.deleted:
                self.verb(partial(self.house.ledger.erase, self.book, patience_seconds=2.0))
        parts = (self.house.lane.run(), self.house.ledger.run())
        self.tasks = [asyncio.create_task(part) for part in parts]

    def post(self, count: int) -> None:
        for _ in range(count):
            self.posted += 1
            self.house.ledger.post(
                self.book, lambda r: replace(r, session=r.session + 1), draft(str(self.posted))
            )

    async def commit(self) -> None:
        self.posted += 1
        text = str(self.posted)
        await self.house.ledger.commit(self.book, lambda r: replace(r, writer=text))

    async def bury(self, count: int) -> None:
        release = await self.house.ledger.bury(self.book, draft(f"bury {count}"))
        if release is not None:
            for _ in range(count):
                await asyncio.sleep(0)
            release()
            await self.house.ledger.erase(self.book, patience_seconds=2.0)

    def verb(self, verb: Callable[[], Awaitable[None]]) -> None:
        async def tried() -> None:
            try:
                await verb()
            except (ApiError, RecordLost):
                return

        self.verbs.append(asyncio.create_task(tried()))

    async def crash(self) -> None:
        ended = [*self.tasks, *self.verbs]
        for task in ended:
            task.cancel()
        results = await asyncio.gather(*ended, return_exceptions=True)
        self.tasks, self.verbs = [], []
        faults = [r for r in results if isinstance(r, Exception)]
        assert not faults, faults


def test_the_play_sees_what_it_should() -> None:
    # The checks of the property themselves: a hole is a hole, two events of one id are two.
    world = World()
    house = House(world)
    for first, second in ((1, 3), (1, 1)):
        book, _ = open_book(record_of(world))
        pair = [
            replace_number(house, book, first, "a"),
            replace_number(house, book, second, "b"),
        ]
        with pytest.raises(AssertionError):
            assert_no_holes(pair)


def replace_number(house: House, book: Book, number: int, text: str) -> Event:
    return lifecycle_event(
        topic=LIFECYCLE_TOPIC,
        type_prefix=LIFECYCLE_TYPE_PREFIX,
        state="error",
        connection_id="c1",
        created_at=book.record.created_at,
        number=number,
        at=0.0,
        data={"text": text},
    )
