"""A day of one connection at a simulated venue, by the options of a shipped profile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from random import Random

from tests.kit.clock import ScriptedDice
from tests.kit.simulation.account import Account, read_lifecycle, read_stream
from tests.kit.simulation.agenda import Agenda, SteppedClock, pass_time
from tests.kit.simulation.venue import Setting, SimulatedVenue, VenueDialer
from tests.kit.simulation.weather import schedule
from tests.service.house import DOWN, TOPIC, World, running_house, spec_of
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
from websocketmanager.errors import ConnectionEnded, NotConnected, RotationFailed
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
        seconds: its length.
        trouble_every_seconds: mean time between two troubles.
        trouble_seconds: after which nothing goes wrong any more, if it is less than the day.
        update_every_seconds: between two changes of the desired set.
        rotate_every_seconds: between two rotations that a caller asks for.
        api_fails: whether publishing is impossible for a while, too, as one more trouble.
    """

    seed: int
    seconds: float = DAY_SECONDS
    trouble_every_seconds: float = 900.0
    trouble_seconds: float = DAY_SECONDS
    update_every_seconds: float = 4321.0
    rotate_every_seconds: float = 5000.0
    api_fails: bool = False


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


def setting(seed: int, streams: Sequence[str], *, every_seconds: float = 20.0) -> Setting:
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
    until = min(day.trouble_seconds, day.seconds - CALM_SECONDS)
    if day.api_fails:
        troubles = (*troubles, lambda: _fail_to_publish(venue, world))
    schedule(venue, troubles, since=60.0, until=until, mean_seconds=day.trouble_every_seconds)
    async with running_house(world, dial_spacing_seconds=DIAL_SPACING_SECONDS) as house:
        view = await house.supervisor.connect(spec)
        changes = _enter_changes(venue, house.supervisor, view.id, spec, day)
        rotations = _enter_rotations(venue, house.supervisor, view.id, day)
        await pass_time(clock, agenda, until=day.seconds)
        venue.end()
        await pass_time(clock, agenda, until=day.seconds + 60.0)
        assert all(task.done() and not task.exception() for _, _, task in changes)
        assert all(task.done() for task in rotations)
    await venue.stop()
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


def _fail_to_publish(venue: SimulatedVenue, world: World) -> None:
    venue.note("nothing can be published")
    world.sink_faults.break_all(DOWN)
    venue.later(venue.dice.uniform(1.0, 300.0), world.sink_faults.heal)


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
    while at < day.seconds - CALM_SECONDS:
        venue.agenda.at(at, partial(change, number))
        at, number = at + day.update_every_seconds, number + 1
    return changes


def _enter_rotations(
    venue: SimulatedVenue, supervisor: Supervisor, connection_id: ConnectionId, day: Day
) -> list[asyncio.Task[None]]:
    tasks: list[asyncio.Task[None]] = []

    async def rotate() -> None:
        # What cannot be replaced just now is not.
        with suppress(NotConnected, RotationFailed, ConnectionEnded):
            await supervisor.rotate(connection_id)

    at = day.rotate_every_seconds
    while at < day.seconds - CALM_SECONDS:
        venue.agenda.at(at, lambda: tasks.append(asyncio.create_task(rotate())))
        at += day.rotate_every_seconds
    return tasks


def fast_rotation(overlap: Overlap) -> Rotation:
    """Returns a rotation every two hours at most, for a venue that ages fast."""
    return Rotation(
        max_age_ms=6_600_000,
        jitter_ms=600_000,
        overlap=overlap,
        overlap_pointer="/E" if overlap is Overlap.POINTER else "",
    )
