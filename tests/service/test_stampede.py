"""Many connections to one host at once: its dials are paced, spread, and all come back."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from random import Random

import pytest

from tests.kit.clock import ScriptedDice
from tests.kit.quiet import wait_quiet
from tests.kit.simulation.agenda import Agenda, SteppedClock, pass_time
from tests.kit.sockets import ScriptedDialer, ScriptedSocket
from tests.service.house import House, World, data_of, running_house, spec_of
from websocketmanager.domain.facts import PlaceAwaited, SessionOpened
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.host_rules import HostRules
from websocketmanager.domain.model import FirstDial, Status
from websocketmanager.ports import DialObserver, DialTarget
from websocketmanager.service.trials import Trials

SPACING_SECONDS = 0.01
#: The service's own, as nobody chooses another here.
BASE_SECONDS = 1.0


class TimedDialer(ScriptedDialer):
    """Notes when each dial began, and how many sockets are open at most."""

    def __init__(self, clock: SteppedClock) -> None:
        super().__init__(clock)
        self.times: list[float] = []
        self.most_open = 0
        self._clock = clock

    async def dial(
        self, target: DialTarget, observer: DialObserver | None = None
    ) -> ScriptedSocket:
        self.times.append(self._clock.monotonic())
        socket = await super().dial(target, observer)
        self.most_open = max(self.most_open, len(self.open))
        return socket

    @property
    def open(self) -> list[ScriptedSocket]:
        """The sockets that have not ended."""
        return [socket for socket in self.sockets if not socket.aborted]

    def lose_all(self) -> None:
        """The network goes away under all sockets at once."""
        for socket in self.open:
            socket.lose()


class Crowd:
    """A world with a dialer that notes times, and dice of a seed."""

    def __init__(self, seed: int) -> None:
        # Stack traces of asyncio's debug mode cost more than the connections.
        asyncio.get_running_loop().set_debug(False)
        self.clock = SteppedClock()
        self.dialer = TimedDialer(self.clock)
        self.world = World()
        self.world.clock, self.world.dialer = self.clock, self.dialer
        self.world.dice = ScriptedDice(iter(Random(seed).random, None))

    async def connect(self, house: House, count: int) -> None:
        """Connects so many, and lets all of them open."""
        for number in range(count):
            spec = spec_of(f"c{number}", first_dial=FirstDial.RETRY)
            await house.supervisor.connect(spec)
        await self.pass_time(2 * count * SPACING_SECONDS + 5.0)

    async def pass_time(self, seconds: float) -> None:
        await pass_time(self.clock, Agenda(), until=self.clock.monotonic() + seconds)

    def delays(self) -> list[float]:
        """Returns the announced seconds before every further attempt."""
        return [
            data_of(event)["delay_ms"] / 1000
            for event in self.world.lifecycle()
            if event.metadata["ce-type"].endswith(".reconnecting")
        ]

    def assert_paced(self, spacing_seconds: float) -> None:
        """No two dials were closer than the spacing, so none of them at the same time."""
        gaps = [after - before for before, after in itertools.pairwise(sorted(self.dialer.times))]
        assert min(gaps) >= spacing_seconds - 2e-6


async def test_a_thousand_connections_lost_at_once_come_back_without_a_stampede() -> None:
    crowd, count = Crowd(seed=1), 1000
    async with running_house(crowd.world, dial_spacing_seconds=SPACING_SECONDS) as house:
        await crowd.connect(house, count)
        assert len(crowd.dialer.open) == count
        lost_at = crowd.clock.monotonic()
        crowd.dialer.lose_all()
        await crowd.pass_time(BASE_SECONDS + 1.3 * count * SPACING_SECONDS)
        assert len(crowd.dialer.open) == count
        assert {view.status for view in house.supervisor.list_connections(())} == {Status.CONNECTED}
        assert len(crowd.dialer.times) == 2 * count, "each was dialled once more, none twice"
        crowd.assert_paced(SPACING_SECONDS)
        # The host had nothing to do for no longer than the first delays; then it was kept busy.
        took = max(crowd.dialer.times) - lost_at
        assert count * SPACING_SECONDS <= took <= BASE_SECONDS + 1.21 * count * SPACING_SECONDS
        delays = crowd.delays()
        tenths = Counter(int(10 * delay / BASE_SECONDS) for delay in delays)
        assert sorted(tenths) == list(range(10)), "spread over the whole window"
        assert max(tenths.values()) < 1.5 * count / 10


async def test_while_the_host_refuses_everybody_the_attempts_are_paced_and_spread() -> None:
    crowd, count = Crowd(seed=2), 100
    async with running_house(crowd.world, dial_spacing_seconds=SPACING_SECONDS) as house:
        await crowd.connect(house, count)
        crowd.dialer.break_down(FailureKind.CONNECT_REFUSED)
        crowd.dialer.lose_all()
        await crowd.pass_time(60.0)
        assert crowd.dialer.open == []
        attempts = len(crowd.dialer.times) - count
        # Backoff bounds them: about log2 of the cap in the first half minute, then one in 15 s.
        assert 4 * count < attempts < 12 * count
        crowd.dialer.heal()
        await crowd.pass_time(35.0)
        assert len(crowd.dialer.open) == count
        crowd.assert_paced(SPACING_SECONDS)


async def test_a_host_never_has_more_sockets_than_its_cap_and_all_get_their_turn() -> None:
    crowd, count, cap = Crowd(seed=4), 100, 20
    async with running_house(
        crowd.world, dial_spacing_seconds=SPACING_SECONDS, max_sockets_per_host=cap
    ) as house:
        await crowd.connect(house, count)
        assert len(crowd.dialer.open) == cap
        states = Counter(view.status for view in house.supervisor.list_connections(()))
        assert states == {Status.CONNECTED: cap, Status.CONNECTING: count - cap}
        assert len(house.journal.of(PlaceAwaited)) == count - cap, "each wait is told once"
        # Whoever loses its socket goes behind those that wait, so each has one in the end.
        for _ in range(count // cap - 1):
            crowd.dialer.lose_all()
            await crowd.pass_time(BASE_SECONDS + 1.3 * cap * SPACING_SECONDS)
            assert len(crowd.dialer.open) == cap
        assert len(house.journal.of(SessionOpened)) == count
        assert len({fact.connection_id for fact in house.journal.of(SessionOpened)}) == count
        assert crowd.dialer.most_open == cap
        crowd.assert_paced(SPACING_SECONDS)


async def test_a_rotation_at_the_cap_waits_for_nothing_and_leaves_no_place_behind() -> None:
    crowd = Crowd(seed=5)
    async with running_house(crowd.world, max_sockets_per_host=1) as house:
        first = await house.supervisor.connect(spec_of("first"))
        waiting = await house.supervisor.connect(spec_of("other", first_dial=FirstDial.RETRY))
        await wait_quiet()
        rotation = asyncio.create_task(house.supervisor.rotate(first.id))
        await wait_quiet()
        assert len(crowd.dialer.open) == 2
        crowd.dialer.sockets[-1].push("data")
        await rotation
        await wait_quiet()
        assert len(crowd.dialer.open) == 1
        await house.supervisor.disconnect(first.id)
        await wait_quiet()
        assert house.supervisor.list_connections(())[0].id == waiting.id
        assert house.supervisor.list_connections(())[0].status is Status.CONNECTED
        assert crowd.dialer.most_open == 2


@pytest.mark.parametrize("spacing", [1.0, 0.25])
async def test_new_lost_recovered_rotated_and_tested_share_the_turns_of_a_host(
    spacing: float,
) -> None:
    crowd = Crowd(seed=3)
    rules = HostRules.of([f"feed.test={spacing * 1000:.0f}"])
    async with running_house(crowd.world, dial_spacing_rules=rules) as house:
        for name in ("lost", "rotated", "recovered"):
            await house.supervisor.connect(spec_of(name, first_dial=FirstDial.RETRY))
        await crowd.pass_time(10.0)
        await house.settle()
    before = len(crowd.dialer.times)
    async with running_house(crowd.world, recover=True, dial_spacing_rules=rules) as house:
        # Three recoveries are under way; now everything else comes at once.
        ids = {one.record.spec.name: key for key, one in house.registry.entries.items()}
        await crowd.pass_time(3 * 1.2 * spacing)
        crowd.dialer.sockets[-3].lose()
        rotation = asyncio.create_task(house.supervisor.rotate(ids["rotated"]))
        trial = asyncio.create_task(_tested(house))
        await house.supervisor.connect(spec_of("new", first_dial=FirstDial.RETRY))
        await crowd.pass_time(5 * 1.2 * spacing + BASE_SECONDS)
        rotation.cancel()
        trial.cancel()
        await asyncio.wait({rotation, trial})
        assert len(crowd.dialer.times) - before == 3 + 4
        await wait_quiet()
    crowd.assert_paced(spacing)


async def _tested(house: House) -> None:
    async with Trials(house.tools).running(spec_of()):
        await asyncio.Event().wait()
