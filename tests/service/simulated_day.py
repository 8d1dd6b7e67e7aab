"""A day of one connection at a simulated venue, by the options of a shipped profile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.kit.clock import ScriptedDice
from tests.kit.simulation.account import Account, read_lifecycle, read_stream
from tests.kit.simulation.agenda import Agenda, SteppedClock, pass_time
from tests.kit.simulation.venue import Setting, SimulatedVenue, VenueDialer
from tests.kit.simulation.weather import schedule
from tests.service.house import TOPIC, World, running_house, spec_of
from websocketmanager.adapters.profile_files import packaged_folder, read_profiles
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.domain.change import ConnectionChange, SubscriptionsChange
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import (
    ConnectionId,
    ConnectionOptions,
    ConnectionSpec,
    FirstDial,
    ReconnectOptions,
)
from websocketmanager.domain.options import Overlap, Rotation
from websocketmanager.domain.profiles import filled, merged
from websocketmanager.service.supervisor import Supervisor

DAY_SECONDS = 86_400.0
#: The field's advice for Binance: one dial a second and host.
DIAL_SPACING_SECONDS = 1.0
#: At the end, so that everything is back and what was on its way is there.
CALM_SECONDS = 600.0


@dataclass(frozen=True)
class Day:
    """How a day goes.

    Attributes:
        seed: of everything that is random.
        trouble_every_seconds: mean time between two troubles.
        troubles_end_seconds: after which nothing goes wrong any more.
        update_every_seconds: between two changes of the desired set.
    """

    seed: int
    trouble_every_seconds: float = 900.0
    troubles_end_seconds: float = DAY_SECONDS - CALM_SECONDS
    update_every_seconds: float = 4321.0


def profile_options(name: str, parameters: Mapping[str, str]) -> ConnectionOptions:
    """Returns what a shipped profile makes of parameters."""
    profiles = read_profiles(packaged_folder(), compile_regex=compile_regex, limits=Limits())
    options, faults = filled(profiles[name], parameters)
    assert not faults, faults
    return options


def on_top(below: ConnectionOptions, rotation: Rotation | None = None) -> ConnectionOptions:
    """Returns options with markers, that dial until they are in, with another rotation if given."""
    above = ConnectionOptions(
        markers=True,
        reconnect=ReconnectOptions(first_dial=FirstDial.RETRY),
        rotation=rotation or Rotation(),
    )
    return merged(below, above)


def setting(seed: int, streams: Sequence[str], *, every_seconds: float = 8.0) -> Setting:
    """Returns where a venue stands."""
    return Setting(SteppedClock(), Agenda(), Random(seed), streams, every_seconds)


async def live_day(
    venue: SimulatedVenue,
    url: str,
    options: ConnectionOptions,
    day: Day,
    *,
    secrets: Mapping[str, str] | None = None,
    troubles: Sequence[Callable[[], None]],
) -> Account:
    """Connects, lets the day pass, and returns everything for the check.

    Every second change of the desired set takes the last subscription out, every other one
    brings it back.
    """
    # Its stack traces cost more than the simulation; other tests run the same code with them.
    asyncio.get_running_loop().set_debug(False)
    clock, agenda = venue.clock, venue.agenda
    world = World()
    world.clock, world.dialer = clock, VenueDialer(venue)
    world.secrets.values.update(secrets or {})
    dice = Random(day.seed + 1000)
    world.dice = ScriptedDice(iter(dice.random, None))
    spec = replace(spec_of(url=url), options=options)
    begun = clock.now()
    venue.begin()
    until = day.troubles_end_seconds
    schedule(venue, troubles, since=60.0, until=until, mean_seconds=day.trouble_every_seconds)
    async with running_house(world, dial_spacing_seconds=DIAL_SPACING_SECONDS) as house:
        view = await house.supervisor.connect(spec)
        changes = _enter_changes(venue, house.supervisor, view.id, spec, day)
        await pass_time(clock, agenda, until=DAY_SECONDS)
        venue.end()
        await pass_time(clock, agenda, until=DAY_SECONDS + 60.0)
        assert all(task.done() and not task.exception() for _, _, task in changes)
        assert not venue.faults, venue.faults
        for task in venue._tasks:
            task.cancel()
    everything = frozenset(one.key for one in options.subscriptions)
    return Account(
        venue.log,
        venue.violations,
        url,
        read_stream(event for event in world.sink.events if event.route.topic == TOPIC),
        read_lifecycle(world.lifecycle()),
        [(begun, everything), *((at, wanted) for at, wanted, _ in changes)],
        begun,
        clock.now(),
        spacing_seconds=options.send_spacing_ms / 1000,
        overlap=options.rotation.overlap,
        words=sum(step.expect is not None for step in options.opening.steps),
        exclusive=bool(options.exclusive),
        silence_seconds=_silence(options),
    )


def _silence(options: ConnectionOptions) -> float:
    """Returns how long the pings, the service's own by default, may take to notice a dead link."""
    interval = options.liveness.ping_interval_ms or 20_000
    timeout = options.liveness.ping_timeout_ms or 20_000
    return (interval + timeout + 4 * options.send_spacing_ms) / 1000


_Changes = list[tuple[float, frozenset[str], "asyncio.Task[object]"]]


def _enter_changes(
    venue: SimulatedVenue,
    supervisor: Supervisor,
    connection_id: ConnectionId,
    spec: ConnectionSpec,
    day: Day,
) -> _Changes:
    changes: _Changes = []
    subscriptions = spec.options.subscriptions
    everything = frozenset(one.key for one in subscriptions)
    last = subscriptions[-1]

    def change(number: int) -> None:
        out = number % 2 == 0
        wanted = SubscriptionsChange(add=() if out else (last,), remove=(last.key,) if out else ())
        asked = ConnectionChange(connection_id, subscriptions=wanted)
        task: asyncio.Task[object] = asyncio.create_task(supervisor.update(asked))
        now_wanted = everything - {last.key} if out else everything
        changes.append((venue.clock.now(), now_wanted, task))

    at, number = day.update_every_seconds, 0
    while at < DAY_SECONDS - CALM_SECONDS:
        venue.agenda.at(at, lambda number=number: change(number))  # type: ignore[misc]  # mypy cannot infer a bound default
        at, number = at + day.update_every_seconds, number + 1
    return changes


def cut_rotation(overlap: Overlap) -> Rotation:
    """Returns a rotation every two hours at most, for a venue that ages fast."""
    return Rotation(
        max_age_ms=6_600_000,
        jitter_ms=600_000,
        overlap=overlap,
        overlap_pointer="/E" if overlap is Overlap.POINTER else "",
    )
