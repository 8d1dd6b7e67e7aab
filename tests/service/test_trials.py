"""A trial belongs to its caller: few run at once, and none outlives who asked for it."""

from __future__ import annotations

import pytest

from tests.kit.quiet import wait_quiet
from tests.service.house import World, running_house, spec_of
from tests.service.sessions import LOGIN, with_key
from tests.service.trying import TRADES, started
from websocketmanager.domain.options import (
    Opening,
)
from websocketmanager.errors import LimitReached
from websocketmanager.service.trials import MAX_TRIALS, Trials


async def test_so_many_at_once_and_no_more() -> None:
    async with running_house(World()) as house:
        trials = Trials(house.tools)
        async with trials.running(spec_of()):
            others = [trials.running(spec_of()) for _ in range(MAX_TRIALS - 1)]
            for other in others:
                await other.__aenter__()
            with pytest.raises(LimitReached):
                async with trials.running(spec_of()):
                    pass
            for other in others:
                await other.__aexit__(None, None, None)
        async with started(house, spec_of(), trials) as trial:
            trial.socket.push("1")
            await trial.end()


PLACES = ["turn", "pacer", "dial", "dialogue", "subscriptions", "data", "close"]


@pytest.mark.parametrize("place", PLACES)
async def test_a_caller_that_goes_away_leaves_nothing(place: str) -> None:
    world = with_key()
    spec = spec_of(
        exclusive="k",
        opening=Opening((LOGIN,) if place == "dialogue" else ()),
        subscriptions=(TRADES,) if place == "subscriptions" else (),
    )
    pending = world.dialer.hang() if place == "dial" else None
    spacing = 3.0 if place == "pacer" else 0.0
    async with running_house(world, dial_spacing_seconds=spacing) as house:
        trials = Trials(house.tools)
        async with house.tools.places.hold(host="", exclusive="k" if place == "turn" else ""):
            if spacing:
                await house.tools.pacer.wait_turn(spec.url)
            async with started(house, spec, trials) as trial:
                if place == "close":
                    trial.socket.answers_close = False
                    trial.socket.push("1")
                    await wait_quiet()
                    assert trial.socket.closes == [1000]
                assert trial.task is not None
                trial.task.cancel()
                await wait_quiet()
                assert trial.task.cancelled()
        assert all(socket.aborted for socket in world.dialer.sockets)
        assert bool(world.dialer.targets) == (place not in {"turn", "pacer"})
        assert pending is None or pending.cancelled
        assert len(house.timers) == 0
        await wait_quiet()
        # The credential is free, and a trial of the same kind works.
        house.clock.advance(10.0)
        await wait_quiet()
        async with started(house, spec_of(exclusive="k"), trials) as again:
            house.clock.advance(3.0)
            await wait_quiet()
            again.socket.push("1")
            await again.end()
            assert again.phases[-1] == "first_data ok"


async def test_when_the_block_is_left_the_socket_is_gone() -> None:
    async with running_house(World()) as house:
        async with Trials(house.tools).running(spec_of()):
            await wait_quiet()
        assert house.dialer.sockets[0].aborted
