"""A simulated Alpaca for 24 hours: every message accounted for, one connection, no login storm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.kit.simulation.account import GAP
from tests.kit.simulation.alpaca import SimulatedAlpaca
from tests.kit.simulation.checker import problems
from tests.service.simulated_day import Day, live_day, on_top, profile_options, setting
from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.retry import Advice

STREAMS = ("trades AAPL", "quotes AAPL", "trades BTC/USD", "quotes BTC/USD")
PARAMETERS = {"symbol": "AAPL,BTC/USD", "channel": "trades,quotes"}
URL = "wss://stream.data.alpaca.test/v2/iex"
KEY, SECRET = "key-1", 'se"cret\\2'
SECRETS = {"ALPACA_KEY_ID": KEY, "ALPACA_SECRET_KEY": SECRET}


def patient(options: ConnectionOptions) -> ConnectionOptions:
    """Returns options that do not give up at a login that is refused."""
    rules = tuple(
        replace(rule, advice=Advice.LATER) if rule.name == "auth failed" else rule
        for rule in options.opening.refusals
    )
    return replace(options, opening=replace(options.opening, refusals=rules))


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_rough_day_at_alpaca(seed: int) -> None:
    venue = SimulatedAlpaca(setting(seed, STREAMS), {KEY: SECRET})
    options = patient(on_top(profile_options("alpaca", PARAMETERS)))
    account = await live_day(
        venue, URL, options, Day(seed), secrets=SECRETS, troubles=venue.troubles
    )
    assert problems(account) == []
    assert len(account.log.produced) > 30_000
    assert len(venue.log.troubles) > 60
    assert sum(entry.kind == GAP for entry in account.stream) > 30
