"""A trial in a house on virtual time, and what it told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import House, World, running_house
from websocketmanager.domain.model import ConnectionSpec
from websocketmanager.domain.options import (
    Match,
    Pattern,
    Payload,
    Subscription,
)
from websocketmanager.domain.trial import Outcome, Phase, TrialStep
from websocketmanager.service.trials import Trials

DIAL = (Phase.RESOLVE, Phase.POLICY, Phase.TCP, Phase.TLS, Phase.HANDSHAKE)
TRADES, BOOK = (
    Subscription(
        key,
        Payload(f"+{key}"),
        acknowledge=Pattern(Match.POINTER, "/ok", f'"{key}"'),
    )
    for key in ("trades", "book")
)


@dataclass
class Running:
    """A trial that runs, and what it told."""

    house: House
    told: list[TrialStep] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def socket(self) -> ScriptedSocket:
        return self.house.dialer.sockets[-1]

    @property
    def phases(self) -> list[str]:
        """What was told so far, those that were skipped apart."""
        return [
            f"{step.phase} {step.outcome}"
            for step in self.told
            if step.outcome is not Outcome.SKIPPED
        ]

    def step(self, phase: Phase) -> TrialStep:
        (found,) = [step for step in self.told if step.phase is phase]
        return found

    @property
    def failure(self) -> tuple[str, str, str]:
        (failed,) = [step for step in self.told if step.outcome is Outcome.FAILED]
        return failed.phase, failed.error_type, failed.error_message

    async def end(self, *, step: float = 0.5) -> None:
        """Lets time pass until it is over."""
        task = self.task
        assert task is not None
        await let_time_pass(self.house.clock, task.done, step=step)
        await task
        assert [step.phase for step in self.told] == list(Phase)


@asynccontextmanager
async def trying(
    spec: ConnectionSpec, world: World | None = None, *, trials: Trials | None = None
) -> AsyncIterator[Running]:
    """Runs a house and in it a trial up to where it waits."""
    world = world or World()
    world.dialer.passes = world.dialer.passes or list(DIAL)
    async with running_house(world) as house:
        async with started(house, spec, trials or Trials(house.tools)) as running:
            yield running
        # Whatever it was: nothing of it is anywhere.
        assert world.records == []
        assert world.values.values == {}
        assert world.sink.events == []
        assert house.supervisor.list_connections(()) == ()
        assert all(socket.aborted for socket in world.dialer.sockets)
        assert len(house.timers) == 0


@asynccontextmanager
async def started(house: House, spec: ConnectionSpec, trials: Trials) -> AsyncIterator[Running]:
    running = Running(house)

    async def run() -> None:
        async with trials.running(spec) as steps:
            async for step in steps:
                running.told.append(step)

    running.task = asyncio.create_task(run())
    try:
        await wait_quiet()
        yield running
    finally:
        running.task.cancel()
        await asyncio.wait([running.task])
