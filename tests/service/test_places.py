"""Places: so many at a time, in order, successors at once, and none lost by whoever goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit.clock import ManualClock
from tests.kit.journal import RecordingJournal
from tests.kit.quiet import wait_quiet
from websocketmanager.domain.facts import PlaceAwaited
from websocketmanager.service.places import TOLD_AFTER_SECONDS, Places


@dataclass
class Hotel:
    """Guests by name: `come` asks for places, `inside` tells who has them, `leave` ends a stay."""

    most: dict[str, int] = field(default_factory=dict)
    clock: ManualClock = field(default_factory=ManualClock)
    journal: RecordingJournal = field(default_factory=RecordingJournal)
    inside: list[str] = field(default_factory=list)
    waited: list[str] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = Places(self.clock, self.journal, lambda host: self.most.get(host, 0))

    def come(self, name: str, host: str = "h", **how: Any) -> asyncio.Task[None]:
        self.gates[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._stay(name, host, how))
        return self.tasks[name]

    async def _stay(self, name: str, host: str, how: dict[str, Any]) -> None:
        waits = lambda: self.waited.append(name)  # noqa: E731 - it says it best
        async with self.places.hold(host=host, connection_id=name, waits=waits, **how):
            self.inside.append(name)
            try:
                await self.gates[name].wait()
            finally:
                self.inside.remove(name)

    async def leave(self, name: str) -> None:
        self.gates[name].set()
        await wait_quiet()

    async def empty(self) -> None:
        """All go; asserts that nothing is left of them."""
        for gate in self.gates.values():
            gate.set()
        await wait_quiet()
        assert all(task.done() for task in self.tasks.values())
        assert self.places._rooms == {}
        assert self.clock.sleepers == 0


async def test_a_host_has_so_many_places_and_they_are_given_on_in_order() -> None:
    hotel = Hotel({"h": 2})
    for name in "abcde":
        hotel.come(name)
    await wait_quiet()
    assert (hotel.inside, hotel.waited) == (["a", "b"], ["c", "d", "e"])
    hotel.tasks["c"].cancel()
    await hotel.leave("b")
    assert hotel.inside == ["a", "d"]
    await hotel.leave("a")
    assert hotel.inside == ["d", "e"]
    await hotel.empty()


async def test_a_credential_has_one_place() -> None:
    hotel = Hotel()
    for name in "abc":
        hotel.come(name, exclusive="login")
    hotel.come("d", exclusive="other")
    hotel.come("e")
    await wait_quiet()
    assert hotel.inside == ["a", "d", "e"]
    await hotel.leave("a")
    assert hotel.inside == ["d", "e", "b"]
    await hotel.empty()


async def test_hosts_are_independent_and_without_a_cap_nobody_waits() -> None:
    hotel = Hotel({"h": 1, "i": 1})
    for name, host in ("a", "h"), ("b", "i"), ("c", "free"), ("d", "free"):
        hotel.come(name, host)
    await wait_quiet()
    assert hotel.inside == ["a", "b", "c", "d"]
    await hotel.empty()


async def test_who_waits_for_a_credential_takes_no_place_at_the_host_meanwhile() -> None:
    hotel = Hotel({"h": 2})
    hotel.come("a", exclusive="login")
    hotel.come("b", exclusive="login")
    hotel.come("c")
    await wait_quiet()
    assert hotel.inside == ["a", "c"]
    await hotel.leave("a")
    assert hotel.inside == ["c", "b"]
    await hotel.empty()


async def test_a_successor_takes_its_place_at_once_and_its_place_is_not_given_on() -> None:
    hotel = Hotel({"h": 1})
    hotel.come("old", exclusive="login")
    hotel.come("waiting", exclusive="login")
    await wait_quiet()
    hotel.come("new", exclusive="login", succeeds=True)
    await wait_quiet()
    assert hotel.inside == ["old", "new"]
    await hotel.leave("old")
    assert hotel.inside == ["new"]
    await hotel.leave("new")
    assert hotel.inside == ["waiting"]
    await hotel.empty()


async def test_a_long_wait_is_told_once() -> None:
    hotel = Hotel({"h": 1})
    hotel.come("a", exclusive="login")
    hotel.come("b", exclusive="login")
    hotel.come("c")
    await wait_quiet()
    hotel.clock.advance(TOLD_AFTER_SECONDS - 0.1)
    await wait_quiet()
    assert hotel.journal.of(PlaceAwaited) == []
    hotel.come("late")
    await wait_quiet()
    for _ in range(3):
        hotel.clock.advance(TOLD_AFTER_SECONDS)
        await wait_quiet()
    assert hotel.journal.of(PlaceAwaited) == [
        PlaceAwaited("b", "credential", 1, 1),
        PlaceAwaited("c", "host", 1, 2),
        PlaceAwaited("late", "host", 1, 2),
    ]
    assert hotel.waited == ["b", "c", "late"]
    await hotel.leave("a")
    assert hotel.inside == ["c"]
    await hotel.empty()


async def test_a_wait_without_a_name_is_not_told() -> None:
    clock, journal = ManualClock(), RecordingJournal()
    places = Places(clock, journal, lambda _: 1)
    async with places.hold(host="h"):
        waiting = asyncio.create_task(places.hold(host="h").__aenter__())
        await wait_quiet()
        clock.advance(10 * TOLD_AFTER_SECONDS)
        await wait_quiet()
        assert not waiting.done()
        assert journal.facts == []
        waiting.cancel()


# --- cancelled anywhere ---------------------------------------------------------------------------


async def _nothing(hotel: Hotel) -> None:
    await wait_quiet()


async def _told(hotel: Hotel) -> None:
    hotel.clock.advance(TOLD_AFTER_SECONDS)
    await wait_quiet()


async def _credential_free(hotel: Hotel) -> None:
    await hotel.leave("login")


async def _granted_and_not_yet_told(hotel: Hotel) -> None:
    await hotel.leave("login")
    hotel.gates["host"].set()
    # The place is given on within one turn of the loop; the guest has not gone on yet.
    while "host" in hotel.inside:  # noqa: ASYNC110 - the turns of the loop are what it is about
        await asyncio.sleep(0)
    assert "guest" not in hotel.inside


async def _inside(hotel: Hotel) -> None:
    await hotel.leave("login")
    await hotel.leave("host")
    assert hotel.inside == ["guest"]


@pytest.mark.parametrize(
    "arrive", [_nothing, _told, _credential_free, _granted_and_not_yet_told, _inside]
)
async def test_cancelling_at_any_await_leaks_no_place(
    arrive: Callable[[Hotel], Awaitable[None]],
) -> None:
    hotel = Hotel({"h": 1})
    hotel.come("login", "elsewhere", exclusive="login")
    hotel.come("host")
    await wait_quiet()
    guest = hotel.come("guest", exclusive="login")
    await wait_quiet()
    hotel.come("next", exclusive="login")
    await wait_quiet()
    await arrive(hotel)
    guest.cancel()
    await wait_quiet()
    assert guest.cancelled()
    await hotel.leave("login")
    await hotel.leave("host")
    assert hotel.inside == ["next"]
    await hotel.empty()


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["come", "succeed", "leave", "cancel", "time", "quiet"]),
        st.integers(0, 30),
    ),
    max_size=80,
)


@given(_STEPS)
def test_whatever_happens_there_are_never_more_than_places_and_none_is_lost(
    steps: list[tuple[str, int]],
) -> None:
    async def play() -> None:
        hotel = Hotel({"h": 3})
        for what, number in steps:
            if what == "succeed":
                await wait_quiet()  # who is on the way out has no successor
            names = list(hotel.tasks)
            name = names[number % len(names)] if names else ""
            match what:
                case "come":
                    key = "login" if number % 3 == 0 else ""
                    hotel.come(str(len(names)), exclusive=key)
                case "succeed" if name in hotel.inside:
                    # As a session does: the new one is in before the old one goes.
                    hotel.come(str(len(names)), succeeds=True)
                    await wait_quiet()
                    await hotel.leave(name)
                case "leave" if name in hotel.inside:
                    hotel.gates[name].set()
                case "cancel" if name:
                    hotel.tasks[name].cancel()
                case "time":
                    hotel.clock.advance(TOLD_AFTER_SECONDS)
                case "quiet":
                    await wait_quiet()
                    rooms = hotel.places._rooms.values()
                    assert all(room.taken <= room.places for room in rooms)
                    assert all(room.taken == room.places for room in rooms if room.waiting)
            assert len(hotel.inside) <= 3 + (what == "succeed")
        await hotel.empty()

    asyncio.run(play())
