"""However messages are cut into runs, all that is seen of them is as if they came one by one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.service.test_pump import DOWN, A, B, Works, identity, works
from tests.service.test_spool import STREAM, Disk
from websocketmanager.domain.envelope import count_events
from websocketmanager.domain.failure import SocketFailed
from websocketmanager.domain.model import Format, Kind
from websocketmanager.domain.options import Overflow
from websocketmanager.ports import PublishResult, Refusal
from websocketmanager.service.pump import Pump

UNSURE = Refusal(definite=False, problem="scripted")


@dataclass(frozen=True)
class Shape:
    """What a connection chose, and what it runs on."""

    format: Format
    overflow: Overflow
    durable: bool
    max_messages: int
    max_bytes: int
    max_batch: int
    ordered: bool


SHAPES = st.builds(
    Shape,
    st.sampled_from(Format),
    st.sampled_from(Overflow),
    st.booleans(),
    st.integers(1, 20),
    st.integers(30, 900),
    st.integers(1, 6),
    st.booleans(),
)
BURSTS = st.tuples(st.sampled_from(Kind), st.lists(st.integers(0, 60), min_size=1, max_size=12))
STEPS = st.lists(
    BURSTS
    | BURSTS
    | st.sampled_from(
        [
            "publish",
            "publish",
            "topic",
            "refuse",
            "permit",
            "unsure",
            "away",
            "back",
            "session",
            "time",
            "disk_fails",
            "disk_works",
        ]
    ),
    max_size=24,
)

#: Returns how many of so many messages the next run has.
Cut = Callable[[int], int]


def one_by_one(_: int) -> int:
    return 1


def whole(count: int) -> int:
    return count


def cut_by(sizes: Sequence[int]) -> Cut:
    endless: Iterator[int] = cycle(sizes)
    return lambda count: min(next(endless), count)


class Reader:
    """Gives a pump what has arrived, as a session does."""

    def __init__(self, pump: Pump, site: Works, cut: Cut) -> None:
        self.unread: deque[tuple[Kind, list[bytes]]] = deque()
        self.failed = 0
        self._pump = pump
        self._site = site
        self._cut = cut
        self._more = asyncio.Event()

    def give(self, kind: Kind, payloads: list[bytes]) -> None:
        self.unread.append((kind, payloads))
        self._more.set()

    async def run(self) -> None:
        pump = self._pump
        while True:
            while self.unread:
                kind, rest = self.unread[0]
                if not pump.full:
                    run = rest[: self._cut(len(rest))]
                    before = list(run)
                    taken = pump.accept_run(kind, run, self._site.clock.now())
                    assert run == before, "left as it was"
                    self.unread[0] = kind, rest[taken:]
                    if not self.unread[0][1]:
                        self.unread.popleft()
                try:
                    await pump.wait_room()
                except SocketFailed:
                    self.failed += 1
                    self.unread.clear()  # nobody reads it any more
            self._more.clear()
            await self._more.wait()


class Play:
    """One connection, what happens to it, and what was seen of it."""

    def __init__(self, site: Works, shape: Shape, cut: Cut) -> None:
        self.site = site
        self.disk = Disk(site)
        self.seen: list[Any] = []
        self._session = 1
        self._topics = cycle([B, None, A])
        given: dict[str, Any] = {
            "format": shape.format,
            "overflow": shape.overflow,
            "max_messages": shape.max_messages,
            "max_bytes": shape.max_bytes,
            "markers": True,
        }
        if shape.durable or shape.overflow is Overflow.SPILL:
            blocking = shape.overflow is not Overflow.SPILL
            given["overflow"] = Overflow.BLOCK if blocking else Overflow.SPILL
            self.pump = self.disk.pump(durable=shape.durable, blocking=blocking, **given)
        else:
            self.pump = site.pump(**given)
        self.tap = self.pump.taps.add(site.clock, max_message_bytes=0)
        self.reader = Reader(self.pump, site, cut)
        self._hold = site.faults.hold("publish")

    async def step(self, number: int, step: Any) -> None:
        site, pump = self.site, self.pump
        if isinstance(step, str):
            acts: dict[str, Callable[[], None]] = {
                "publish": self._publish,
                "topic": lambda: pump.set_topic(next(self._topics)),
                "refuse": lambda: site.refused.add(A),
                "permit": site.refused.clear,
                "unsure": lambda: site.faults.answer("publish", PublishResult(0, UNSURE)),
                "away": lambda: site.faults.break_all(DOWN),
                "back": site.faults.heal,
                "session": lambda: self._next_session(number),
                "time": lambda: site.clock.advance(16.0),
                "disk_fails": self._break_disk,
                "disk_works": self.disk.log.heal,
            }
            acts[step]()
        else:
            kind, sizes = step
            self.reader.give(
                kind, [b"%d" % (place % 3) + b" " * size for place, size in enumerate(sizes)]
            )
        await wait_quiet()
        self.look()

    def _publish(self) -> None:
        self._hold.release()
        self._hold = self.site.faults.hold("publish")

    def _next_session(self, number: int) -> None:
        pump, now = self.pump, self.site.clock.now()
        pump.end_session(now, "lost")
        self._session += 1
        pump.open_session(identity(self._session), now, seamless=number % 3 == 0)
        if number % 2:
            pump.confirm_session(self._session)

    def _break_disk(self) -> None:
        self.disk.log.problem = "scripted"

    def look(self) -> None:
        """Notes what can be seen now, and that the counts agree."""
        pump, counts = self.pump, self.pump.statistics()
        unread = sum(len(rest) for _, rest in self.reader.unread)
        assert pump._feed.waiting == count_events(pump._feed.events)
        self.seen.append((counts, pump.live(), pump.full, pump.degraded, pump.sequence, unread))
        self.seen.append((pump.last_kind, self.site.budget.used, self.disk.budget.used))
        kept = self.disk.log.kept.get(STREAM, [])
        self.seen.append([(entry.sequence, entry.marker, entry.data) for _, entry in kept])

    async def end(self) -> list[Any]:
        """Lets everything go, and returns all that was seen."""
        site, pump = self.site, self.pump
        self._hold.release()
        site.faults.heal()
        self.disk.log.heal()
        pump.confirm_session(self._session)
        await let_time_pass(
            site.clock,
            lambda: (
                not (self.reader.unread or site.lane.pending or pump.statistics().spilled_bytes)
            ),
            step=0.5,
        )
        self.look()
        assert (site.budget.used, self.disk.budget.used) == (0, 0)
        assert not self.disk.log.kept.get(STREAM)
        counts = pump.statistics()
        gone = counts.messages_published + counts.dropped + counts.unrouted
        assert counts.messages_received == gone
        self.tap.finish(None)
        site.clock.skip_sleeps = True
        taps = [(one.data, one.sequence, one.topic, one.skipped) async for one in self.tap]
        events = [(event.route.topic, event.data, event.metadata) for event in site.sink.events]
        return [*self.seen, self.reader.failed, *site.told, *taps, *events]


async def play(steps: Sequence[Any], shape: Shape, cut: Cut) -> list[Any]:
    """Returns everything that can be seen while and after the steps are played."""
    async with works(max_batch=shape.max_batch, ordered=shape.ordered) as site:
        one = Play(site, shape, cut)
        task = asyncio.create_task(one.reader.run())
        try:
            for number, step in enumerate(steps):
                await one.step(number, step)
                assert not task.done() or task.result() is None
            return await one.end()
        finally:
            task.cancel()
            await asyncio.wait([task])


@settings(max_examples=800, deadline=None)
@given(STEPS, SHAPES, st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_however_messages_are_cut_into_runs_nobody_sees_a_difference(
    steps: list[Any], shape: Shape, sizes: list[int]
) -> None:
    alone = asyncio.run(play(steps, shape, one_by_one))
    assert asyncio.run(play(steps, shape, whole)) == alone
    assert asyncio.run(play(steps, shape, cut_by(sizes))) == alone
