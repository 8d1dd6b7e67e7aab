"""Rotation: a session is replaced in good order, by its age or by the server's notice."""

from __future__ import annotations

import pytest

from tests.kit.quiet import wait_quiet
from tests.service.house import World, data_of, running_house, spec_of
from tests.service.sessions import advance, errors, reconnected
from websocketmanager.domain.options import Match, Pattern, Rotation

NOTICE = Pattern(Match.POINTER, pointer="/event", value='"serverShutdown"')


async def test_a_session_is_replaced_at_its_age_without_an_error() -> None:
    world = World()
    spec = spec_of(rotation=Rotation(max_age_ms=60_000, jitter_ms=20_000), markers=True)
    async with running_house(world) as house:
        _, first = await house.connected(spec)
        await advance(house, 49.0, step=1.0)
        assert first.closes == []
        await advance(house, 2.0)  # 60 s less half of the jitter
        assert first.closes == [1000]
        second = await reconnected(house, 2)
        second.push(b"after")
        await house.settle()
        assert errors(world) == []
        reasons = [data_of(event).get("reason") for event in world.lifecycle()]
        assert "rotated" in reasons
        assert b"after" in world.messages()


@pytest.mark.parametrize("notices", [1, 3])
async def test_a_notice_is_delivered_and_the_session_replaced_once(notices: int) -> None:
    world = World()
    async with running_house(world) as house:
        _, first = await house.connected(spec_of(rotation=Rotation(notices=(NOTICE,))))
        first.push(b'{"event":"trade"}')
        await wait_quiet()
        assert first.closes == []
        for _ in range(notices):
            first.push(b'{"event":"serverShutdown"}')
        await reconnected(house, 2)
        await house.settle()
        assert first.closes == [1000]
        assert world.messages()[:2] == [b'{"event":"trade"}', b'{"event":"serverShutdown"}']
        assert len(house.dialer.sockets) == 2
