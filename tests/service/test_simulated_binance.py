"""A simulated Binance for 24 hours: every message accounted for, no rule broken, no storm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.kit.simulation.account import GAP
from tests.kit.simulation.binance import SimulatedBinance
from tests.kit.simulation.checker import problems
from tests.service.simulated_day import (
    DAY_SECONDS,
    Day,
    fast_rotation,
    live_day,
    on_top,
    profile_options,
    setting,
)
from websocketmanager.domain.options import Overlap

#: More than five, so that a burst of them would break a rule.
STREAMS = tuple(
    f"{symbol}@{channel}"
    for symbol in ("btcusdt", "ethusdt")
    for channel in ("trade", "aggTrade", "bookTicker")
)
PARAMETERS = {"symbol": "btcusdt,ethusdt", "channel": "trade,aggTrade,bookTicker"}
URL = "wss://stream.binance.test:9443/ws"
#: What the profile chooses is for a day; a tenth of it shows ten times as many changes.
AGES_FAST = replace(SimulatedBinance.rules, max_age_seconds=7200.0)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("seed", "overlap"), [(1, Overlap.CUT), (2, Overlap.POINTER), (3, Overlap.CONTENT)]
)
async def test_a_rough_day_at_binance(seed: int, overlap: Overlap) -> None:
    venue = SimulatedBinance(setting(seed, STREAMS, every_seconds=45.0), AGES_FAST)
    options = on_top(profile_options("binance-spot", PARAMETERS), fast_rotation(overlap))
    day = Day(seed, api_fails=seed == 1)
    account = await live_day(venue, URL, options, day, troubles=venue.troubles)
    assert problems(account) == []
    # And it was a rough day.
    assert len(account.log.produced) > 8_000
    assert len(venue.log.troubles) > 60
    assert sum(entry.kind == GAP for entry in account.stream) > 30
    assert sum(change.takes_over for change in account.lifecycle) > 10


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_calm_day_at_binance_ends_with_a_rotation_before_the_age_limit() -> None:
    venue = SimulatedBinance(setting(4, STREAMS, every_seconds=45.0))
    options = on_top(profile_options("binance-spot", PARAMETERS))
    day = Day(
        4,
        trouble_seconds=3000.0,
        update_every_seconds=DAY_SECONDS,
        rotate_every_seconds=DAY_SECONDS,
    )
    account = await live_day(venue, URL, options, day, troubles=(venue.close_one,))
    assert problems(account) == []
    assert account.lifecycle[-1].takes_over
    assert account.lifecycle[-1].at > account.begun_at + 22 * 3600
