"""Messages that arrive together become of the pump what they would one by one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.clock import START
from tests.kit.quiet import wait_quiet
from tests.service.test_pump import DOWN, A, Works, identity, works
from websocketmanager.domain.envelope import MessageRun
from websocketmanager.domain.model import Format, Kind, Message
from websocketmanager.domain.options import Overflow
from websocketmanager.service.pump import Pump

BURSTS = st.lists(
    st.tuples(st.sampled_from(Kind), st.lists(st.integers(0, 60), min_size=1, max_size=12)),
    min_size=1,
    max_size=5,
)


def runs_of(pump: Pump) -> list[int]:
    """Returns how many events each parcel that waits has, of runs only."""
    return [parcel.count for parcel in pump._feed.events if isinstance(parcel, MessageRun)]


def take_apart(pump: Pump, kind: Kind, payloads: list[bytes], at: float) -> int:
    """Takes messages one by one, as far as the reader may; one at least."""
    for count, data in enumerate(payloads, 1):
        pump.accept(Message(kind, data), at)
        if pump.full:
            return count
    return len(payloads)


async def played(
    site: Works, pump: Pump, bursts: list[tuple[Kind, list[int]]], *, together: bool
) -> tuple[Any, ...]:
    """Takes bursts while the API is away; returns all that can be seen of it, then and after."""
    site.faults.break_all(DOWN)
    taken = []
    for number, (kind, sizes) in enumerate(bursts):
        payloads = [bytes([65 + place]) * size for place, size in enumerate(sizes)]
        before = list(payloads)
        if together:
            taken.append(pump.accept_run(kind, payloads, START + number))
        else:
            taken.append(take_apart(pump, kind, payloads, START + number))
        assert payloads == before, "left as it was"
    seen = (taken, pump.statistics(), pump.full, pump.sequence, pump.last_kind, site.budget.used)
    site.faults.heal()
    await site.drained()
    events = [(event.data, event.metadata) for event in site.sink.events]
    return (*seen, events, pump.statistics(), pump.full, site.budget.used)


@settings(max_examples=60)
@given(
    BURSTS,
    st.integers(1, 30),
    st.integers(1, 700),
    st.sampled_from([Format.RAW, Format.RAW, Format.ENVELOPE]),
    st.sampled_from([one for one in Overflow if one is not Overflow.SPILL]),
    st.booleans(),
)
def test_a_run_is_taken_as_its_messages_would_be_one_by_one(
    bursts: list[tuple[Kind, list[int]]],
    max_messages: int,
    max_bytes: int,
    format: Format,
    overflow: Overflow,
    routed: bool,
) -> None:
    async def play(*, together: bool) -> tuple[Any, ...]:
        async with works() as site:
            pump = site.pump(
                topic=A if routed else None,
                format=format,
                overflow=overflow,
                max_messages=max_messages,
                max_bytes=max_bytes,
                markers=True,
            )
            return await played(site, pump, bursts, together=together)

    assert asyncio.run(play(together=True)) == asyncio.run(play(together=False))


async def test_messages_that_need_no_look_wait_as_one_run() -> None:
    async with works() as site:
        pump = site.pump(session=0)
        pump.open_session(identity(1), START)
        assert pump.accept_run(Kind.TEXT, [b"a", b"b"], START) == 2
        assert pump.accept_run(Kind.BINARY, [b"c"] * 3, START) == 3
        assert runs_of(pump) == [2, 3]
        pump.confirm_session(1)
        await site.drained()
        assert site.published() == [b"a", b"b", b"c", b"c", b"c"]
        assert [sequence for _, sequence in site.stamps()] == ["001", "002", "003", "004", "005"]


@pytest.mark.parametrize(
    "given",
    [
        {"format": Format.ENVELOPE},
        {"overflow": Overflow.DROP_OLDEST},
        {"overflow": Overflow.DROP_NEWEST},
        {"overflow": Overflow.CLOSE},
        {"overflow": Overflow.CONFLATE, "conflate_pointer": "/s"},
    ],
    ids=["envelope", "oldest", "newest", "close", "conflate"],
)
async def test_while_there_is_room_no_policy_takes_a_run_apart(given: dict[str, Any]) -> None:
    async with works() as site:
        pump = site.pump(session=0, **given)
        pump.open_session(identity(1), START)
        tap = pump.taps.add(site.clock, max_message_bytes=0)
        assert pump.accept_run(Kind.TEXT, [b"{}", b"[]"], START) == 2
        assert (runs_of(pump), len(pump._feed.events)) == ([2], 1)
        seen = [await anext(tap) for _ in range(2)]
        assert [(one.data, one.sequence) for one in seen] == [(b"{}", 1), (b"[]", 2)]


async def test_a_run_stops_at_the_bounds_and_takes_one_at_least() -> None:
    async with works() as site:
        pump = site.pump(session=0, max_messages=5, max_bytes=10)
        pump.open_session(identity(1), START)
        assert pump.bounds == (5, 10)
        assert pump.accept_run(Kind.TEXT, [b""] * 9, START) == 5
        assert pump.full
        assert pump.accept_run(Kind.TEXT, [b"", b""], START) == 1

        other = site.pump(session=0, max_messages=5, max_bytes=10)
        other.open_session(identity(1), START)
        assert other.accept_run(Kind.TEXT, [b"1234", b"5678", b"90123", b"x"], START) == 3
        assert other.full
        assert other.accept_run(Kind.TEXT, [bytes(99), b""], START) == 1


async def test_a_run_may_overdraw_the_budget_of_the_process() -> None:
    async with works(max_budget=3000) as site:
        pump = site.pump(session=0)
        pump.open_session(identity(1), START)
        assert pump.accept_run(Kind.TEXT, [b"x" * 100] * 10, START) == 10
        assert pump.full
        assert site.budget.used == 10 * (100 + 512)
        pump.confirm_session(1)
        await site.drained()
        assert (pump.full, site.budget.used) == (False, 0)


async def test_a_refused_topic_drops_a_waiting_run_with_its_count() -> None:
    async with works() as site:
        site.refused.add(A)
        pump = site.pump()
        assert pump.accept_run(Kind.TEXT, [b"x"] * 7, START) == 7
        await site.drained()
        assert (pump.statistics().dropped, pump.statistics().buffered_messages) == (7, 0)
        # One of those that come later tries it, when its time has come.
        assert pump.accept_run(Kind.TEXT, [b"y"] * 3, START) == 3
        assert pump.statistics().dropped == 10
        site.refused.clear()
        site.clock.advance(30.0)
        assert pump.accept_run(Kind.TEXT, [b"z"] * 3, START) == 3
        await site.drained()
        assert site.published() == [b"z"]
        assert pump.accept_run(Kind.TEXT, [b"a"] * 3, START) == 3
        await wait_quiet()
        await site.drained()
        assert site.published() == [b"z", b"a", b"a", b"a"]


async def test_an_abandoned_connection_drops_its_runs() -> None:
    async with works() as site:
        pump = site.pump(session=0)
        pump.open_session(identity(1), START)
        pump.accept_run(Kind.TEXT, [b"x"] * 4, START)
        pump.abandon()
        assert pump.statistics().dropped == 4
        assert pump.accept_run(Kind.TEXT, [b"x"] * 2, START) == 2
        assert pump.statistics().dropped == 6
        assert (site.lane.pending, site.budget.used) == (0, 0)
