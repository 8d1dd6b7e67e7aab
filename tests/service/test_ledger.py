"""The heart: a record first, then its events; no crash and no failure leaves a hole or a lie."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.service.house import DOWN, INSTANCE, House, World, assert_no_holes, data_of
from websocketmanager.adapters.memory import MemoryEventSink, MemoryStateStore
from websocketmanager.domain.envelope import (
    LIFECYCLE_TOPIC,
    LIFECYCLE_TYPE_PREFIX,
    Event,
    Parcel,
    each_event,
    lifecycle_event,
)
from websocketmanager.domain.facts import LifecycleEventsDropped, OwnershipLost, RecordSaveDelayed
from websocketmanager.domain.model import ConnectionId, ConnectionSpec, InstanceId, Status
from websocketmanager.domain.record import RECENT_EVENTS, Record, from_json
from websocketmanager.errors import ApiError, ApiUnavailable, StateConflict
from websocketmanager.ports import PublishResult, Refusal
from websocketmanager.service.ledger import Book, Draft, RecordLost

CONFLICT = StateConflict("State.SaveState", "scripted")


@dataclass
class Told:
    """What a book told its owner."""

    saved: list[Record] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


@asynccontextmanager
async def office(world: World) -> AsyncIterator[House]:
    """Runs a house's lane and ledger alone."""
    house = House(world)
    tasks = [asyncio.create_task(part) for part in (house.lane.run(), house.ledger.run())]
    try:
        yield house
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)


def record_of(world: World, **given: object) -> Record:
    record = Record(
        ConnectionId("c1"),
        ConnectionSpec("wss://h/x"),
        Status.CONNECTING,
        world.clock.now(),
        INSTANCE,
        incarnation="process-1",
    )
    return replace(record, **given)  # type: ignore[arg-type] # any field


def open_book(record: Record) -> tuple[Book, Told]:
    told = Told()
    return Book(record, on_saved=told.saved.append, on_lost=told.lost.append), told


def draft(text: str = "x") -> Draft:
    return Draft("error", 1_700_000_000.0, {"connection_id": "c1", "text": text})


def texts(world: World) -> list[str]:
    return [data_of(event)["text"] for event in world.lifecycle()]


async def test_a_record_is_saved_before_its_event_is_published() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, lambda r: replace(r, session=1), draft())
        await hold.arrived.wait()
        await wait_quiet()
        assert (world.sink.events, told.saved) == ([], [])
        hold.release()
        await house.settle()

        assert texts(world) == ["x"]
        stored = world.record("c1")
        assert stored is not None
        assert (stored.session, stored.event) == (1, 1)
        assert [saved.session for saved in told.saved] == [1]
        assert stored.recent_events[0].data["event"] == 1
        assert data_of(world.lifecycle()[0])["event"] == 1


async def test_what_is_posted_during_a_save_follows_it() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await hold.arrived.wait()
        house.ledger.post(book, lambda r: replace(r, session=7), draft("2"))
        house.ledger.post(book, None, draft("3"))
        hold.release()
        await house.settle()

        assert texts(world) == ["1", "2", "3"]
        assert world.store_faults.calls.count("save") == 2
        assert book.record.session == 7
        stored = world.record("c1")
        assert stored is not None
        assert (stored.session, stored.event) == (7, 3)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [DOWN, CONFLICT])
async def test_a_failed_save_is_repeated_with_equal_numbers(error: ApiError, after: bool) -> None:
    world = World()
    world.store_faults.fail("save", error, times=3, after=after)
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"), draft("2"))
        await wait_quiet()
        if not (after and error is CONFLICT):
            assert world.sink.events == []
            assert house.journal.of(RecordSaveDelayed)
        house.ledger.post(book, None, draft("3"))
        await house.settle()

        assert texts(world) == ["1", "2", "3"]
        assert_no_holes(world.lifecycle())
        assert not told.lost


async def test_what_is_posted_during_a_save_that_fails_follows_it_too() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    world.store_faults.fail("save", DOWN, after=True)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"), draft("2"))
        await hold.arrived.wait()
        house.ledger.post(book, None, draft("3"))
        hold.release()
        await house.settle()
        assert texts(world) == ["1", "2", "3"]


async def test_an_outage_is_told_once() -> None:
    world = World()
    world.store_faults.break_all(DOWN)
    async with office(world) as house:
        books = [open_book(record_of(world, id=f"c{n}"))[0] for n in range(3)]
        for book in books:
            house.ledger.post(book, None, draft())
        for _ in range(5):
            world.clock.advance(3.0)
            await wait_quiet()
        assert len(house.journal.of(RecordSaveDelayed)) == 1
        world.store_faults.heal()
        await house.settle()
        assert len(world.sink.events) == 3


async def test_at_most_eight_events_are_unacknowledged() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        for number in range(20):
            house.ledger.post(book, None, draft(str(number)))
            await wait_quiet()
        assert book.unacknowledged == RECENT_EVENTS
        assert house.ledger.busy
        world.sink_faults.heal()
        await house.settle()
        assert texts(world) == [str(number) for number in range(20)]
        assert (book.unacknowledged, house.ledger.busy) == (0, False)


async def test_what_overflows_is_counted_and_told() -> None:
    world = World()
    world.store_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        for number in range(600):
            house.ledger.post(book, None, draft(str(number)))
        world.store_faults.heal()
        await house.settle()
        events = world.lifecycle()
        assert data_of(events[0])["events_dropped"] == 88
        assert not any("events_dropped" in data_of(event) for event in events[1:])
        assert texts(world)[-1] == "599"
        assert_no_holes(events)


async def test_what_overflows_during_a_save_is_told_by_the_next() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("first"))
        await hold.arrived.wait()
        for number in range(520):
            house.ledger.post(book, None, draft(str(number)))
        hold.release()
        await house.settle()
        told = [data_of(event).get("events_dropped") for event in world.lifecycle()]
        assert told[:3] == [None, 8, None]


async def test_waiting_for_idle_ends_when_all_is_saved() -> None:
    world = World()
    hold = world.store_faults.hold("save")
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        await house.ledger.wait_idle()
        house.ledger.post(book, None, draft())
        waiting = asyncio.create_task(house.ledger.wait_idle())
        await hold.arrived.wait()
        assert not waiting.done()
        hold.release()
        await waiting
        assert not house.ledger.busy


async def test_waiting_for_idle_ends_when_the_last_unsaved_book_is_buried() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, *[draft(str(number)) for number in range(9)])
        await wait_quiet()
        waiting = asyncio.create_task(house.ledger.wait_idle())
        await wait_quiet()
        await house.ledger.bury(book, draft("last"))
        await wait_quiet()
        assert waiting.done()


# --- committing ---------------------------------------------------------------------------------


async def test_a_commit_is_seen_when_the_store_has_it() -> None:
    world = World()
    async with office(world) as house:
        book, told = open_book(record_of(world))
        hold = world.store_faults.hold("save")
        committing = asyncio.create_task(house.ledger.commit(book, lambda r: replace(r, session=4)))
        await hold.arrived.wait()
        assert book.record.session == 0
        hold.release()
        await committing
        assert book.record.session == 4
        stored = world.record("c1")
        assert stored is not None
        assert stored.session == 4
        assert [saved.session for saved in told.saved] == [4]


@pytest.mark.parametrize("after", [False, True])
async def test_a_failed_commit_leaves_nothing_behind(after: bool) -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        await house.ledger.open(book)
        world.store_faults.fail("save", DOWN, after=after)
        with pytest.raises(ApiUnavailable):
            await house.ledger.commit(book, lambda r: replace(r, session=4))
        assert book.record.session == 0
        await house.settle()
        stored = world.record("c1")
        assert stored is not None
        assert stored.session == 0


async def test_what_is_posted_during_a_commit_stays() -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        hold = world.store_faults.hold("save")
        committing = asyncio.create_task(
            house.ledger.commit(book, lambda r: replace(r, status=Status.CONNECTED))
        )
        await hold.arrived.wait()
        house.ledger.post(book, lambda r: replace(r, session=5), draft())
        hold.release()
        await committing
        await house.settle()
        stored = world.record("c1")
        assert stored is not None
        assert (stored.session, stored.status) == (5, Status.CONNECTED)


async def test_a_refused_change_saves_nothing() -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))

        def refuse(record: Record) -> Record:
            raise ValueError("refused")

        with pytest.raises(ValueError, match="refused"):
            await house.ledger.commit(book, refuse)
        assert world.record("c1") is None
        await house.ledger.commit(book, lambda r: r)


@pytest.mark.parametrize("after", [False, True])
async def test_a_failed_first_save_is_not_repeated(after: bool) -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        world.store_faults.fail("save", DOWN, after=after)
        with pytest.raises(ApiUnavailable):
            await house.ledger.open(book)
        house.ledger.post(book, None, draft())
        await house.settle()
        assert (world.record("c1") is not None) == after
        await house.ledger.scrub(book)
        assert world.record("c1") is None
        assert world.sink.events == []


# --- ownership ----------------------------------------------------------------------------------


async def test_our_own_write_is_recognised_behind_a_conflict() -> None:
    world = World()
    world.store_faults.fail("save", CONFLICT, after=True)
    async with office(world) as house:
        book, told = open_book(record_of(world))
        await house.ledger.commit(book, lambda r: replace(r, session=2))
        assert (book.record.session, told.lost) == (2, [])


OTHERS = {
    "a higher epoch": {"owner_epoch": 2, "incarnation": "other"},
    "another process at our epoch": {"incarnation": "other"},
    "a newer connection of the name": {"created_at": 1_800_000_000.0},
}


@pytest.mark.parametrize("theirs", OTHERS.values(), ids=OTHERS)
async def test_a_record_of_another_ends_the_book(theirs: dict[str, object]) -> None:
    world = World()
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        other = replace(book.record, instance_id=InstanceId("two"), **theirs)  # type: ignore[arg-type] # any
        await world.put(other, indexed=False)
        house.ledger.post(book, None, draft("2"), draft("3"))
        await house.settle()

        assert len(told.lost) == 1
        assert len(house.journal.of(OwnershipLost)) == 1
        assert texts(world) == ["1"]
        assert world.record("c1") == other
        house.ledger.post(book, None, draft("4"))
        await house.settle()
        assert world.record("c1") == other


async def test_a_commit_and_a_burial_find_out_too() -> None:
    for verb in ("commit", "bury"):
        world = World()
        async with office(world) as house:
            book, told = open_book(record_of(world))
            house.ledger.post(book, None, draft("1"))
            await house.settle()
            other = replace(book.record, owner_epoch=5, incarnation="other")
            await world.put(other, indexed=False)
            verbs: dict[str, Callable[[], Awaitable[object]]] = {
                "commit": partial(house.ledger.commit, book, lambda r: replace(r, session=3)),
                "bury": partial(house.ledger.bury, book, draft("2")),
            }
            with pytest.raises(RecordLost):
                await verbs[verb]()
            assert world.record("c1") == other
            assert len(told.lost) == 1, "it stops acting for the connection"
            with pytest.raises(RecordLost):
                await house.ledger.commit(book, lambda r: replace(r, session=3))


async def test_an_older_owner_is_overwritten() -> None:
    world = World()
    older = record_of(world, owner_epoch=1, incarnation="older", event=3)
    await world.put(older, indexed=False)
    async with office(world) as house:
        entry = house.registry.adopt(older, world.values.values[older.key].etag)
        house.ledger.post(entry.book, None, draft())
        await house.settle()
        stored = world.record("c1")
        assert stored is not None
        assert (stored.owner_epoch, stored.incarnation, stored.event) == (2, "process-1", 4)


async def test_two_processes_at_once_and_one_wins() -> None:
    world = World()
    older = record_of(world, incarnation="older")
    await world.put(older, indexed=False)
    etag = world.values.values[older.key].etag
    async with office(world) as one, office(world) as other:
        first, second = one.registry.adopt(older, etag), other.registry.adopt(older, etag)
        hold = world.store_faults.hold("save")
        one.ledger.post(first.book, None, draft("one"))
        await hold.arrived.wait()
        other.ledger.post(second.book, None, draft("other"))
        await wait_quiet()
        hold.release()
        await one.settle()
        await other.settle()
        assert texts(world) == ["other"]
        assert first.removed
        assert not second.removed


async def test_a_record_that_the_store_lost_is_written_anew() -> None:
    world = World()
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        world.values.values.clear()
        house.ledger.post(book, None, draft("2"))
        await house.settle()
        assert not told.lost
        stored = world.record("c1")
        assert stored is not None
        assert stored.event == 2


async def test_an_unreadable_record_is_left_untouched() -> None:
    world = World()
    async with office(world) as house:
        book, told = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        await world.values.save(book.record.key, '{"schema":99}')
        house.ledger.post(book, None, draft("2"))
        await house.settle()
        assert told.lost
        assert world.values.values[book.record.key].value == '{"schema":99}'


# --- burial -------------------------------------------------------------------------------------


async def test_a_burial_saves_the_last_event_and_publishes_when_told() -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        release = await house.ledger.bury(book, draft("last"))
        stored = world.record("c1")
        assert stored is not None
        assert (stored.deleted, stored.event) == (True, 2)
        await wait_quiet()
        assert texts(world) == ["1"]
        assert release is not None
        release()
        await house.ledger.erase(book, patience_seconds=2.0)
        assert texts(world) == ["1", "last"]
        assert world.record("c1") is None
        house.ledger.post(book, None, draft("late"))
        with pytest.raises(RecordLost):
            await house.ledger.commit(book, lambda r: r)
        await house.settle()
        assert world.record("c1") is None
        assert await house.ledger.bury(book, draft("again")) is None


async def test_a_burial_takes_along_what_waits() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, *[draft(str(number)) for number in range(12)])
        await wait_quiet()
        assert book.unacknowledged == 8
        release = await house.ledger.bury(book, draft("last"))
        stored = world.record("c1")
        assert stored is not None
        numbers = [event.number for event in stored.recent_events]
        assert numbers == list(range(1, 14)), "all that a crash now could lose"
        assert release is not None
        release()
        world.sink_faults.heal()
        await house.settle()
        assert_no_holes(world.lifecycle())
        assert texts(world)[-1] == "last"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("operation", ["save", "get"])
async def test_a_failed_burial_changes_nothing(operation: str, after: bool) -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, draft("1"))
        await house.settle()
        if operation == "save":
            world.store_faults.fail("save", DOWN, after=after)
        else:
            await house.ledger.commit(book, lambda r: r)
            house.ledger.post(book, None)  # has the etag read
            await house.settle()
            world.store_faults.fail("get", DOWN, times=1)
            if after:  # the read-back fails, the tombstone is stored
                book.etag = world.values.values[book.record.key].etag
        with pytest.raises(ApiUnavailable):
            await house.ledger.bury(book, draft("last"))
        await house.settle()
        stored = world.record("c1")
        assert stored is not None
        assert not stored.deleted, "a crash now would end a living connection"
        house.ledger.post(book, None, draft("2"))
        await house.settle()
        assert texts(world) == ["1", "2"]
        assert_no_holes(world.lifecycle())


async def test_erasing_waits_for_the_last_event_but_not_for_ever() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        release = await house.ledger.bury(book, draft("last"))
        assert release is not None
        release()
        erasing = asyncio.create_task(house.ledger.erase(book, patience_seconds=2.0))
        await wait_quiet()
        assert not erasing.done()
        assert world.record("c1") is not None
        world.clock.advance(2.0)
        await erasing
        assert world.record("c1") is None
        world.sink_faults.heal()
        await house.settle()
        assert texts(world) == ["last"]


# --- again after a crash ------------------------------------------------------------------------


async def test_what_a_crash_left_unpublished_is_published_with_equal_bytes() -> None:
    world = World()
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, *[draft(str(number)) for number in range(3)])
        await house.settle()
        world.sink_faults.break_all(DOWN)
        house.ledger.post(book, None, *[draft(str(number)) for number in range(3, 9)])
        await wait_quiet()
    world.sink_faults.heal()
    stored = world.record("c1")
    assert stored is not None
    async with office(world) as house:
        entry = house.registry.adopt(stored, world.values.values[stored.key].etag)
        house.ledger.post(entry.book, None, draft("after"))
        await house.settle()

    assert_no_holes(world.lifecycle())
    assert len(world.lifecycle()) == 3 + 8 + 1
    assert texts(world)[-1] == "after"


async def test_a_second_crash_before_anything_is_published_leaves_no_hole() -> None:
    world = World()
    world.sink_faults.break_all(DOWN)
    async with office(world) as house:
        book, _ = open_book(record_of(world))
        house.ledger.post(book, None, *[draft(str(number)) for number in range(6)])
        await wait_quiet()
    for _ in range(2):
        stored = world.record("c1")
        assert stored is not None
        async with office(world) as house:
            entry = house.registry.adopt(stored, world.values.values[stored.key].etag)
            house.ledger.post(entry.book, None, *[draft("more")] * 6)
            await wait_quiet()
            assert entry.book.unacknowledged == RECENT_EVENTS
            if entry.record.owner_epoch == 3:
                world.sink_faults.heal()
                await house.settle()
    assert_no_holes(world.lifecycle())
    assert world.lifecycle()[-1].tag == 14


async def test_a_lifecycle_topic_that_is_refused_stops_nothing() -> None:
    world = World()
    world.sink.refused_topics = {LIFECYCLE_TOPIC}
    async with office(world) as house:
        book, told = open_book(record_of(world))
        for number in range(20):
            house.ledger.post(book, lambda r: replace(r, session=r.session + 1), draft(str(number)))
        await house.settle()
        assert told.saved[-1].session == 20
        assert len(house.journal.of(LifecycleEventsDropped)) == 20


# --- any faults, any crash ------------------------------------------------------------------------


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
            self.book = Book(record, on_saved=lambda _: None, on_lost=self._lost)
        else:
            entry = self.house.registry.adopt(stored, self.store.values[stored.key].etag)
            self.book = entry.book
            self.book.on_lost = self._lost
            if stored.deleted:
                self.verb(partial(self.house.ledger.erase, self.book, patience_seconds=2.0))
        parts = (self.house.lane.run(), self.house.ledger.run())
        self.tasks = [asyncio.create_task(part) for part in parts]

    def _lost(self, problem: str) -> None:
        raise AssertionError(f"nobody else owns it: {problem}")

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


async def test_records_that_are_refused_do_not_stop_the_others() -> None:
    world = World()
    world.store_faults.fail("save", DOWN, times=40)  # more than saves in flight
    async with office(world) as house:
        refused = [
            open_book(record_of(world, id=ConnectionId(f"refused-{number}")))[0]
            for number in range(40)
        ]
        for book in refused:
            house.ledger.post(book)
        await wait_quiet()  # all wait for their next attempt, none of them in a slot

        book, told = open_book(record_of(world))
        house.ledger.post(book)
        await wait_quiet()
        assert [saved.id for saved in told.saved] == ["c1"]
