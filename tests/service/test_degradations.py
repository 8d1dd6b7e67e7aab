"""Telling when a connection delivers worse than promised."""

from __future__ import annotations

from dataclasses import replace

from tests.kit.quiet import wait_quiet
from tests.service.house import World, running_house, spec_of
from tests.service.sessions import advance, degradations, entered
from websocketmanager.domain.facts import MessagesDropped
from websocketmanager.domain.model import FirstDial
from websocketmanager.service.pump import DROPPING, PUBLISHING_BEHIND, TOPIC_REJECTED

RETRY = spec_of(first_dial=FirstDial.RETRY)
FAIL = spec_of()


async def test_a_buffer_that_fills_again_and_again_is_told_once_and_taken_back_once() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, RETRY)
        for _ in range(5):
            entry.runner.tell_degraded(PUBLISHING_BEHIND, "full", 0)
            await advance(house, 1.0)
            entry.runner.tell_restored(PUBLISHING_BEHIND, 0)
            await advance(house, 1.0)
        assert degradations(world) == [(PUBLISHING_BEHIND, True)]
        await advance(house, 10.0)
        assert degradations(world) == [(PUBLISHING_BEHIND, True), (PUBLISHING_BEHIND, False)]
        entry.runner.tell_degraded(PUBLISHING_BEHIND, "full", 0)
        await wait_quiet()
        assert degradations(world)[2:] == [(PUBLISHING_BEHIND, True)]


async def test_what_was_dropped_is_told_at_the_end() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, RETRY)
        entry.runner.tell_degraded(TOPIC_REJECTED, "no such topic", 1)
        entry.runner.tell_restored(TOPIC_REJECTED, 7)
        await house.settle()
        assert degradations(world) == [(TOPIC_REJECTED, True), (TOPIC_REJECTED, False)]
        dropped = [fact for fact in house.journal.facts if isinstance(fact, MessagesDropped)]
        assert [(fact.count, fact.cause) for fact in dropped] == [(7, TOPIC_REJECTED)]


async def test_what_is_dropped_again_and_again_is_told_with_the_whole_count() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, RETRY)
        for count in (3, 4):
            entry.runner.tell_degraded(DROPPING, "full", 1)
            await advance(house, 1.0)
            entry.runner.tell_restored(DROPPING, count)
        await advance(house, 10.0)
        assert degradations(world) == [(DROPPING, True), (DROPPING, False)]
        dropped = [fact for fact in house.journal.facts if isinstance(fact, MessagesDropped)]
        assert [(fact.count, fact.cause) for fact in dropped] == [(7, DROPPING)]


async def test_restless_causes_do_not_wait_for_one_another() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, RETRY)
        entry.runner.tell_degraded(DROPPING, "full", 1)
        entry.runner.tell_degraded(PUBLISHING_BEHIND, "full", 0)
        entry.runner.tell_restored(PUBLISHING_BEHIND, 0)
        await advance(house, 10.0)
        told = [(DROPPING, True), (PUBLISHING_BEHIND, True), (PUBLISHING_BEHIND, False)]
        assert degradations(world) == told


async def test_without_a_running_connection_nothing_is_calmed() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, replace(RETRY, auto_reconnect=False, options=FAIL.options))
        house.dialer.sockets[-1].close_from_peer(1000)
        await wait_quiet()
        assert not entry.running
        entry.runner.tell_degraded(PUBLISHING_BEHIND, "what is left waits", 0)
        entry.runner.tell_restored(PUBLISHING_BEHIND, 0)
        await wait_quiet()
        assert degradations(world) == [(PUBLISHING_BEHIND, True), (PUBLISHING_BEHIND, False)]
