"""The breaker opens, fails fast, probes once and closes, on our clock."""

from __future__ import annotations

import pytest

from tests.kit.clock import ManualClock
from tests.kit.journal import RecordingJournal
from websocketmanager.adapters.virtufin_api.breaker import Breaker, Pass
from websocketmanager.domain.facts import BreakerChanged

TTL = 2.0


class Bench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.journal = RecordingJournal()
        self.breaker = Breaker(
            "api:1", threshold=3, ttl_seconds=TTL, clock=self.clock, journal=self.journal
        )

    def call(self, *, failed: bool) -> None:
        self.breaker.settle(self.admitted(), failed=failed)

    def admitted(self) -> Pass:
        given = self.breaker.admit()
        assert given is not None
        return given

    def open(self) -> None:
        for _ in range(3):
            self.call(failed=True)

    def state(self) -> str:
        return self.breaker.state

    def states(self) -> list[str]:
        return [fact.state for fact in self.journal.of(BreakerChanged)]


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def test_it_opens_after_the_threshold_in_a_row(bench: Bench) -> None:
    for failed in (True, True, False, True, True):
        bench.call(failed=failed)
    assert bench.state() == "closed"

    bench.call(failed=True)

    assert bench.state() == "open"
    assert bench.breaker.admit() is None
    assert bench.journal.facts == [BreakerChanged("api:1", "open")]


def test_it_probes_once_after_its_time_to_live(bench: Bench) -> None:
    bench.open()
    bench.clock.advance(TTL - 0.001)
    assert bench.breaker.admit() is None
    bench.clock.advance(0.001)

    bench.admitted()

    assert bench.state() == "half-open"
    assert bench.breaker.admit() is None


def test_a_good_probe_closes_it(bench: Bench) -> None:
    bench.open()
    bench.clock.advance(TTL)

    bench.call(failed=False)

    assert bench.state() == "closed"
    assert bench.states() == ["open", "half-open", "closed"]
    bench.call(failed=True)
    bench.call(failed=True)
    assert bench.state() == "closed"


def test_a_bad_probe_opens_it_for_another_time_to_live(bench: Bench) -> None:
    bench.open()
    bench.clock.advance(TTL)
    bench.call(failed=True)
    assert bench.state() == "open"

    bench.clock.advance(TTL - 0.001)
    assert bench.breaker.admit() is None
    bench.clock.advance(0.001)
    bench.call(failed=False)

    assert bench.states() == ["open", "half-open", "open", "half-open", "closed"]


def test_a_cancelled_probe_frees_its_place(bench: Bench) -> None:
    bench.open()
    bench.clock.advance(TTL)
    bench.breaker.withdraw(bench.admitted())

    bench.call(failed=False)

    assert bench.state() == "closed"


@pytest.mark.parametrize("failed", [True, False])
def test_a_call_of_before_the_opening_says_nothing_about_the_probe(
    bench: Bench, failed: bool
) -> None:
    late = bench.admitted()
    bench.open()
    bench.clock.advance(TTL)
    probe = bench.admitted()

    bench.breaker.settle(late, failed=failed)

    assert bench.state() == "half-open"
    assert bench.breaker.admit() is None
    bench.breaker.settle(probe, failed=False)
    assert bench.state() == "closed"


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_jump_of_the_wall_clock_changes_nothing(bench: Bench, jump: float) -> None:
    bench.open()
    bench.clock.jump_wall_clock(jump)
    assert bench.breaker.admit() is None

    bench.clock.advance(TTL)

    assert bench.breaker.admit() is not None
