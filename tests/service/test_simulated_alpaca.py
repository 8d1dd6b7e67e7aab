"""A simulated Alpaca for 24 hours: every message accounted for, one connection, no login storm."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.kit.simulation.account import GAP
from tests.kit.simulation.alpaca import SimulatedAlpaca
from tests.kit.simulation.checker import problems
from tests.service.simulated_day import Day, live_day, on_top, profile_options, setting
from websocketmanager.domain.failure import Failure, FailureKind
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


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_rough_day_at_alpaca(seed: int) -> None:
    venue = SimulatedAlpaca(setting(seed, STREAMS, every_seconds=30.0), {KEY: SECRET})
    options = patient(on_top(profile_options("alpaca", PARAMETERS)))
    account = await live_day(
        venue, URL, options, Day(seed), secrets=SECRETS, troubles=venue.troubles
    )
    assert problems(account) == []
    assert len(account.log.produced) > 8_000
    assert len(venue.log.troubles) > 60
    assert sum(entry.kind == GAP for entry in account.stream) > 30
    # Also what the venue itself had to refuse: a login while the last session was open for it.
    refusals = {one.data for log in account.links for one in log.written if not one.number}
    for code in (402, 406, 407, 500):
        assert any(f'"code": {code}'.replace(" ", "").encode() in one for one in refusals), code


async def test_a_login_that_is_refused_for_good_is_tried_once() -> None:
    venue = SimulatedAlpaca(setting(3, STREAMS), {KEY: SECRET})
    venue.refusal = (402, "auth failed")
    options = on_top(profile_options("alpaca", PARAMETERS))
    day = Day(3, seconds=3600.0, trouble_seconds=0.0, update_every_seconds=7200.0)
    account = await live_day(venue, URL, options, day, secrets=SECRETS, troubles=())
    assert [len(log.logins) for log in account.links] == [1]
    assert [change.state for change in account.lifecycle] == [
        "connecting",
        "error",
        "disconnected",
    ]
    assert account.lifecycle[-1].facts["reason"] == "fatal"
    assert account.stream == []
    assert account.violations == []


@pytest.mark.parametrize("status", [401, 403])
async def test_a_handshake_that_is_refused_is_tried_once_more_with_renewed_secrets(
    status: int,
) -> None:
    venue = SimulatedAlpaca(setting(3, STREAMS), {KEY: SECRET})
    venue.dial_fate = Failure(FailureKind.HANDSHAKE_REJECTED, "refused", http_status=status)
    options = on_top(profile_options("alpaca", PARAMETERS))
    day = Day(3, seconds=3600.0, trouble_seconds=0.0, update_every_seconds=7200.0)
    account = await live_day(venue, URL, options, day, secrets=SECRETS, troubles=())
    assert len(account.log.dials) == 2
    assert account.lifecycle[-1].state == "disconnected"
    assert account.lifecycle[-1].facts["reason"] == "fatal"
