"""Each detector alone: the feed that fails just so is replaced in time, the healthy one never.

The server of these tests acts once per tick of virtual time. It answers a tick late, so that
what is owed is really waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.kit.clock import ManualClock
from tests.kit.quiet import wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import DOWN, House, World, running_house, spec_of
from tests.service.sessions import advance, entered, errors, reconnected, said, status
from websocketmanager.domain.facts import RunnerCrashed
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.model import BufferOptions, FirstDial, Kind, Message, Status
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    Liveness,
    Match,
    Opening,
    Pattern,
    Payload,
    QuietWindow,
    Step,
    Subscription,
)
from websocketmanager.service.entry import Entry

DATA = Pattern(Match.POINTER, pointer="/p")
PONG = Pattern(Match.POINTER, pointer="/pong")
BEAT = ApplicationHeartbeat(Payload('{"ping":1}'), interval_ms=20_000, expect=PONG)
TICK = 20.0


@dataclass
class Server:
    """What it does at each tick. A fault turns one of these off.

    Attributes:
        data: sends a message that is data.
        chatter: sends a message that is none.
        pongs: answers protocol pings.
        beats: answers heartbeats.
    """

    data: bool = True
    chatter: bool = True
    pongs: bool = True
    beats: bool = True
    _heard: dict[ScriptedSocket, int] = field(default_factory=dict, init=False)

    def tick(self, socket: ScriptedSocket) -> None:
        socket.answers_pings = self.pongs
        new = socket.sent[self._heard.get(socket, 0) :]
        self._heard[socket] = len(socket.sent)
        if self.beats:
            socket.push(*['{"pong":1}' for message in new if b"ping" in message.data])
        if self.chatter:
            socket.push('{"status":"ok"}')
        if self.data:
            socket.push('{"p":1}')


SILENT = {"data": False, "chatter": False, "beats": False}


@dataclass(frozen=True)
class Case:
    """One detector: what is chosen, which server is healthy, what fails, and how late is seen."""

    kind: FailureKind
    limit: float
    liveness: Liveness
    healthy: dict[str, bool]
    fault: dict[str, bool]
    ping_interval_seconds: float = 0.0


CASES = [
    Case(
        FailureKind.READ_IDLE,
        30.0,
        Liveness(read_idle_ms=30_000),
        {"data": False},
        SILENT,
    ),
    Case(
        FailureKind.DATA_STALE,
        50.0,
        Liveness(data_age_ms=50_000, data=DATA, heartbeat=BEAT),
        {},
        {"data": False},
        ping_interval_seconds=20.0,
    ),
    Case(
        FailureKind.HEARTBEAT_TIMEOUT,
        45.0,
        Liveness(heartbeat=replace(BEAT, timeout_ms=25_000)),
        {},
        {"beats": False},
    ),
    # A server that has nothing to say, and then is not there any more.
    Case(
        FailureKind.PING_TIMEOUT,
        40.0,
        Liveness(),
        SILENT,
        {**SILENT, "pongs": False},
        ping_interval_seconds=20.0,
    ),
    # One that talks, and then is not there any more.
    Case(
        FailureKind.PING_TIMEOUT,
        40.0,
        Liveness(),
        {"beats": False, "pongs": False},
        {**SILENT, "pongs": False},
        ping_interval_seconds=20.0,
    ),
]
each_case = pytest.mark.parametrize(
    "case", CASES, ids=[f"{number}-{case.kind}" for number, case in enumerate(CASES)]
)


@asynccontextmanager
async def opened(
    liveness: Liveness, *, ping_interval_seconds: float = 0.0, **options: Any
) -> AsyncIterator[tuple[World, House, Entry]]:
    # Days pass in these tests, and the debug mode makes them long.
    asyncio.get_running_loop().set_debug(False)
    world = World()
    async with running_house(world, ping_interval_seconds=ping_interval_seconds) as house:
        spec = spec_of(first_dial=FirstDial.RETRY, liveness=liveness, **options)
        yield world, house, await entered(house, spec)


async def serve(
    house: House, server: Server, seconds: float, *, tick: float = TICK, step: float = TICK
) -> None:
    """Lets time pass in steps while the server acts at each tick."""
    per_tick = round(tick / step)
    for number in range(1, round(seconds / step) + 1):
        house.clock.advance(step)
        await wait_quiet()
        if number % per_tick == 0:
            server.tick(house.dialer.sockets[-1])
            await wait_quiet()


async def noticed(house: House, socket: ScriptedSocket, *, at_most: float) -> float:
    """Returns after how many seconds the socket is dropped."""
    begin = house.clock.monotonic()
    await wait_quiet()
    while not socket.aborted:
        assert house.clock.monotonic() - begin <= at_most, "nobody noticed"
        house.clock.advance(0.25)
        await wait_quiet()
    return house.clock.monotonic() - begin


@each_case
async def test_a_healthy_feed_runs_for_a_day_without_a_false_alarm(case: Case) -> None:
    interval = case.ping_interval_seconds
    async with opened(case.liveness, ping_interval_seconds=interval, topic=None) as opening:
        world, house, _ = opening
        server = Server(**case.healthy)
        await serve(house, server, 24 * 3600.0)
        assert errors(world) == []
        assert len(house.dialer.sockets) == 1
        if case.ping_interval_seconds:
            assert house.dialer.sockets[0].pings == pytest.approx(24 * 180, abs=2)


@each_case
@pytest.mark.parametrize("offset", [0.0, 7.0, 19.0])
async def test_the_fault_is_noticed_in_time_and_ends_in_a_new_session(
    case: Case, offset: float
) -> None:
    interval = case.ping_interval_seconds
    async with opened(case.liveness, ping_interval_seconds=interval) as (world, house, entry):
        server = Server(**case.healthy)
        await serve(house, server, 600.0)
        for name, value in case.fault.items():
            setattr(server, name, value)
        # From now on it is dead in this one way; it goes on as before in all others.
        socket = house.dialer.sockets[0]
        socket.answers_pings = server.pongs
        last_sign = house.clock.monotonic()
        while not socket.aborted:
            assert house.clock.monotonic() - last_sign <= case.limit * 1.25, "nobody noticed"
            await advance(house, 1.0, step=1.0)
            if (house.clock.monotonic() - offset) % TICK == 0:
                server.tick(socket)
                await wait_quiet()
        await house.settle()
        assert [kind for kind, _ in errors(world)] == [case.kind.value]
        assert entry.record.cause is not None
        assert entry.record.cause.error_type == case.kind.value
        assert status(entry) in {Status.RECONNECTING, Status.CONNECTED}
        healthy = Server(**case.healthy)
        await serve(house, healthy, 120.0)
        assert len(house.dialer.sockets) == 2
        assert status(entry) is Status.CONNECTED


@pytest.mark.parametrize("case", CASES[:3], ids=[case.kind for case in CASES[:3]])
async def test_no_other_sign_hides_the_fault_and_no_detector_fires_too_early(case: Case) -> None:
    async with opened(case.liveness) as (_, house, _):
        server = Server(**case.healthy)
        await serve(house, server, 600.0)
        for name, value in case.fault.items():
            setattr(server, name, value)
        socket = house.dialer.sockets[0]
        await serve(house, server, 20.0)
        early = 25.0 if case.kind is FailureKind.HEARTBEAT_TIMEOUT else case.limit
        await serve(house, server, early - 20.0 - 1.0, step=1.0)
        assert not socket.aborted
        await serve(house, server, case.limit * 1.25 - early + 1.0, step=1.0)
        assert socket.aborted


# --- pings ----------------------------------------------------------------------------------------

each_pace = pytest.mark.parametrize(
    ("interval", "timeout"), [(20.0, 20.0), (5.0, 20.0), (20.0, 5.0), (0.25, 0.5), (0.5, 0.25)]
)


def paced(interval: float, timeout: float) -> Liveness:
    return Liveness(ping_interval_ms=round(interval * 1e3), ping_timeout_ms=round(timeout * 1e3))


@each_pace
async def test_who_never_answers_is_lost_with_the_timeout_of_the_first_ping(
    interval: float, timeout: float
) -> None:
    async with opened(paced(interval, timeout)) as (world, house, _):
        socket = house.dialer.sockets[0]
        socket.answers_pings = False
        took = await noticed(house, socket, at_most=interval + timeout + 0.25)
        assert took == interval + timeout
        assert socket.pings == 1
        await house.settle()
        assert errors(world) == [
            (FailureKind.PING_TIMEOUT.value, f"no sign of life within {timeout:g} s of a ping")
        ]


@each_pace
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
async def test_who_falls_silent_is_lost_in_time_whenever_its_last_sign_came(
    interval: float, timeout: float, share: float
) -> None:
    async with opened(paced(interval, timeout)) as (_, house, _):
        socket = house.dialer.sockets[0]
        socket.answers_pings = False
        await advance(house, interval, step=0.05)
        await advance(house, share * timeout - 0.05, step=0.05)
        assert not socket.aborted
        socket.hear()
        took = await noticed(house, socket, at_most=interval + timeout + 0.25)
        assert took >= min(interval, timeout)


@each_pace
async def test_a_sign_of_life_is_enough_and_pings_keep_their_interval(
    interval: float, timeout: float
) -> None:
    async with opened(paced(interval, timeout)) as (_, house, _):
        socket = house.dialer.sockets[0]
        for _ in range(40):
            await advance(house, interval / 2, step=interval / 2)
            socket.hear()
        assert not socket.aborted
        assert socket.pings == pytest.approx(20, abs=1)


@pytest.mark.parametrize(("interval", "together"), [(5.0, True), (0.5, False)])
async def test_pings_of_many_come_together_unless_they_are_frequent(
    interval: float, *, together: bool
) -> None:
    class Timed(ScriptedSocket):
        pinged_at = 0.0

        def send_ping(self) -> None:
            super().send_ping()
            self.pinged_at = house.clock.monotonic()

    spec = spec_of(first_dial=FirstDial.RETRY, liveness=paced(interval, interval))
    sockets: list[Timed] = []
    async with running_house(World()) as house:
        for _ in range(3):
            dial = house.dialer.hang()
            dial.socket = socket = Timed()
            sockets.append(socket)
            dial.succeed()
            await advance(house, 0.01, step=0.01)
            await entered(house, spec)
        while not all(socket.pings for socket in sockets):
            await advance(house, 0.005, step=0.005)
        times = {round(socket.pinged_at, 3) for socket in sockets}
        assert len(times) == (1 if together else 3)


async def test_a_ping_takes_no_task_unless_it_waits_for_its_turn() -> None:
    class Counting(ScriptedSocket):
        tasks = 0

        def send_ping(self) -> None:
            super().send_ping()
            self.tasks = len(asyncio.all_tasks())

    counts = []
    for spacing in (0, 1000):
        world = World()
        async with running_house(world, ping_interval_seconds=20.0) as house:
            dial = house.dialer.hang()
            dial.socket = socket = Counting()
            dial.succeed()
            await entered(house, spec_of(first_dial=FirstDial.RETRY, send_spacing_ms=spacing))
            before = len(asyncio.all_tasks())
            await advance(house, 20.0)
            assert socket.pings == 1
            counts.append(socket.tasks - before)
    assert counts == [0, 1]


async def test_a_fault_in_a_ping_ends_its_session_alone() -> None:
    class Crashing(ScriptedSocket):
        def send_ping(self) -> None:
            raise ValueError("ours")

    world = World()
    async with running_house(world, ping_interval_seconds=20.0) as house:
        dial = house.dialer.hang()
        dial.socket = Crashing()
        dial.succeed()
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY))
        await advance(house, 20.0)
        await house.settle()
        assert [kind for kind, _ in errors(world)] == [FailureKind.INTERNAL.value]
        assert dial.socket.aborted
        assert entry.running
        await reconnected(house, 2)
        assert status(entry) is Status.CONNECTED


# --- first data -----------------------------------------------------------------------------------

FIRST = Liveness(first_data_ms=30_000, data=DATA, heartbeat=BEAT)


async def test_first_data_that_does_not_come_is_noticed_in_every_session() -> None:
    subscriptions = (
        Subscription("a", Payload("+a"), acknowledge=Pattern(Match.REGEX, regex="ack")),
    )
    async with opened(FIRST, ping_interval_seconds=10.0, subscriptions=subscriptions) as opening:
        world, house, _ = opening
        server = Server(data=False)
        for count in range(1, 4):
            while len(house.dialer.sockets) < count:
                await advance(house, 0.25, step=0.25)
            socket = house.dialer.sockets[count - 1]
            socket.push('{"p":"ack"}')
            begin = house.clock.monotonic()
            while not socket.aborted:
                server.tick(socket)
                await advance(house, 1.0, step=0.25)
                assert house.clock.monotonic() - begin <= 37.5
            assert house.clock.monotonic() - begin >= 29.0
        await house.settle()
        assert {kind for kind, _ in errors(world)} == {"first_data_missing"}


async def test_first_data_that_comes_ends_the_watch_for_a_day() -> None:
    async with opened(FIRST, topic=None) as (world, house, _):
        server = Server()
        await serve(house, server, 20.0)
        server.data = False
        await serve(house, server, 24 * 3600.0)
        assert errors(world) == []
        assert len(house.dialer.sockets) == 1


async def test_sessions_that_get_their_first_data_in_time_are_never_replaced() -> None:
    async with opened(FIRST) as (world, house, _):
        server = Server()
        for count in range(1, 50):
            await serve(house, server, 600.0)
            house.dialer.sockets[-1].lose()
            while len(house.dialer.sockets) == count:
                await advance(house, 0.5, step=0.5)
        assert {kind for kind, _ in errors(world)} == {"connection_lost"}


async def test_a_forwarded_reply_of_the_dialogue_is_no_data() -> None:
    opening = Opening((Step(expect=Pattern(), forward=True),))
    liveness = Liveness(first_data_ms=30_000)
    async with opened(liveness, opening=opening) as (world, house, _):
        house.dialer.sockets[0].push('{"p":"welcome"}')
        await advance(house, 31.0, step=1.0)
        await house.settle()
        assert [kind for kind, _ in errors(world)] == ["first_data_missing"]
        assert world.messages() == [b'{"p":"welcome"}']


async def test_the_age_of_data_is_judged_without_a_limit_for_the_first() -> None:
    async with opened(Liveness(data_age_ms=50_000, data=DATA)) as (world, house, _):
        server = Server(data=False)
        await serve(house, server, 3600.0)
        assert errors(world) == []
        server.data = True
        await serve(house, server, 20.0)
        server.data = False
        await serve(house, server, 70.0, step=10.0)
        await house.settle()
        assert [kind for kind, _ in errors(world)] == ["data_stale"]


async def test_every_message_is_data_without_a_pattern_but_replies_are_not() -> None:
    liveness = Liveness(data_age_ms=50_000, heartbeat=BEAT)
    async with opened(liveness) as (world, house, _):
        server = Server(data=False)
        await serve(house, server, 600.0)
        assert errors(world) == []
        server.chatter = False
        await serve(house, server, 70.0, step=10.0)
        await house.settle()
        assert [kind for kind, _ in errors(world)] == ["data_stale"]


async def test_pongs_keep_a_silent_reader_from_being_idle() -> None:
    liveness = Liveness(read_idle_ms=30_000)
    async with opened(liveness, ping_interval_seconds=20.0) as (world, house, _):
        server = Server(**SILENT)
        await serve(house, server, 3600.0)
        assert errors(world) == []
        # The kernel's buffers still take our pings; nothing comes back.
        server.pongs = False
        socket = house.dialer.sockets[0]
        server.tick(socket)
        assert await noticed(house, socket, at_most=37.5) > 25.0
        await house.settle()
        assert [kind for kind, _ in errors(world)] == ["read_idle"]


# --- heartbeats -----------------------------------------------------------------------------------


async def test_heartbeats_are_sent_evenly_and_their_replies_are_not_forwarded() -> None:
    async with opened(Liveness(heartbeat=BEAT)) as (world, house, _):
        server = Server(data=False, chatter=False)
        await serve(house, server, 400.0)
        await house.settle()
        assert said(house.dialer.sockets[0]).count('{"ping":1}') == 20
        assert world.messages() == []


async def test_a_heartbeat_without_expectation_only_speaks() -> None:
    async with opened(Liveness(heartbeat=replace(BEAT, expect=None))) as (world, house, _):
        await serve(house, Server(**SILENT), 3600.0)
        assert errors(world) == []
        assert len(house.dialer.sockets[0].sent) == 180


async def test_a_reply_that_is_read_before_the_send_returns_counts() -> None:
    class Quick(ScriptedSocket):
        """Its send returns when the reply was read and dealt with."""

        def __init__(self) -> None:
            super().__init__()
            self.dealt_with = asyncio.Event()

        async def recv(self) -> Message:
            self.dealt_with.set()
            return await super().recv()

        async def send(self, data: bytes, kind: Kind) -> None:
            await super().send(data, kind)
            self.dealt_with.clear()
            self.push('{"pong":1}')
            await self.dealt_with.wait()

    world = World()
    async with running_house(world, ping_interval_seconds=0.0) as house:
        dial = house.dialer.hang()
        dial.socket = Quick()
        dial.succeed()
        heartbeat = replace(BEAT, timeout_ms=5_000)
        liveness = Liveness(heartbeat=heartbeat)
        await entered(house, spec_of(first_dial=FirstDial.RETRY, liveness=liveness))
        await advance(house, 600.0, step=1.0)
        assert len(house.dialer.sockets) == 1
        assert len(dial.socket.sent) == 30


async def test_a_server_that_does_not_read_gets_no_pile_of_heartbeats() -> None:
    async with opened(Liveness(heartbeat=replace(BEAT, timeout_ms=600_000))) as (_, house, _):
        socket = house.dialer.sockets[0]
        socket.takes_messages = False
        await advance(house, 500.0, step=5.0)
        socket.takes_messages = True
        assert socket.sent == []
        assert not socket.aborted
        assert await noticed(house, socket, at_most=150.0) > 100.0


# --- what silences them ---------------------------------------------------------------------------

#: When virtual time begins: Tuesday, 2023-11-14 22:13:20 UTC.
BEGIN = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def until(hour: int, minute: int, *, day: int = 14) -> float:
    """Returns the seconds from the beginning of virtual time."""
    return (datetime(2023, 11, day, hour, minute, tzinfo=UTC) - BEGIN).total_seconds()


@pytest.mark.parametrize("limit", [60.0, 600.0, 7200.0])
@pytest.mark.parametrize(
    ("start", "end"),
    [("22:15", "23:15"), ("22:15", "22:16"), ("22:10", "22:20"), ("22:15", "22:45")],
)
async def test_silence_counts_anew_from_the_end_of_a_quiet_window(
    limit: float, start: str, end: str
) -> None:
    window = QuietWindow((1,), start, end)
    liveness = Liveness(data_age_ms=round(limit * 1000), data=DATA, quiet=(window,))
    async with opened(liveness) as (world, house, _):
        socket = house.dialer.sockets[0]
        socket.push('{"p":1}')
        over = until(*map(int, end.split(":")))
        begun = until(*map(int, start.split(":")))
        alarm = over + limit if limit > begun else limit
        step = limit / 50
        while not socket.aborted:
            await advance(house, step, step=step)
            assert house.clock.monotonic() <= alarm + limit * 0.25
        assert house.clock.monotonic() >= alarm
        await house.settle()
        assert [kind for kind, _ in errors(world)] == ["data_stale"]


async def test_a_quiet_window_silences_the_first_data_too_and_nothing_else() -> None:
    window = QuietWindow((1,), "22:00", "23:00")
    liveness = Liveness(
        first_data_ms=60_000, data=DATA, quiet=(window,), heartbeat=replace(BEAT, timeout_ms=25_000)
    )
    async with opened(liveness) as (world, house, _):
        server = Server(data=False)
        await serve(house, server, until(23, 0), step=10.0)
        assert errors(world) == []
        server.beats = False
        await serve(house, server, 50.0, step=5.0)
        await house.settle()
        assert [kind for kind, _ in errors(world)] == ["heartbeat_timeout"]
        await serve(house, server, 12.0, step=1.0)
    async with opened(replace(liveness, heartbeat=None)) as (world, house, _):
        await serve(house, Server(data=False), until(23, 0) + 70.0, step=10.0)
        assert [kind for kind, _ in errors(world)] == ["first_data_missing"]


async def test_a_feed_with_daily_quiet_hours_runs_for_days_without_a_false_alarm() -> None:
    window = QuietWindow((0, 1, 2, 3, 4, 6), "17:00", "08:00", "America/New_York")
    weekend = QuietWindow((5, 6), "00:00", "00:00", "America/New_York")
    liveness = Liveness(data_age_ms=150_000, data=DATA, quiet=(window, weekend))
    async with opened(liveness, topic=None) as (world, house, _):
        server = Server(chatter=False)
        for _ in range(7 * 24 * 60):
            # New York, in November, at the tick to come.
            local = datetime.fromtimestamp(house.clock.now() + 60.0 - 5 * 3600.0, UTC)
            server.data = local.weekday() < 5 and 8 <= local.hour < 17
            await serve(house, server, 60.0, tick=60.0, step=60.0)
        assert errors(world) == []
        assert len(house.dialer.sockets) == 1
        # It works, for all that: on a working day at nine the feed falls silent.
        while datetime.fromtimestamp(house.clock.now() - 5 * 3600.0, UTC).hour != 9:
            await serve(house, Server(), 60.0, tick=60.0, step=60.0)
        await serve(house, Server(**SILENT), 180.0, tick=60.0, step=60.0)
        assert [kind for kind, _ in errors(world)] == ["data_stale"]


FULL = BufferOptions(max_messages=4)
EVERY = Liveness(
    read_idle_ms=30_000,
    first_data_ms=30_000,
    data_age_ms=30_000,
    data=DATA,
    heartbeat=replace(BEAT, timeout_ms=15_000),
)


@pytest.mark.parametrize(
    "liveness",
    [
        Liveness(read_idle_ms=30_000),
        Liveness(first_data_ms=30_000, data=DATA),
        Liveness(data_age_ms=30_000),
        Liveness(heartbeat=replace(BEAT, timeout_ms=15_000)),
        EVERY,
    ],
    ids=["read_idle", "first_data", "data_age", "heartbeat", "all"],
)
async def test_a_full_buffer_is_no_silence_of_the_server(liveness: Liveness) -> None:
    async with opened(liveness, ping_interval_seconds=20.0, buffer=FULL) as (world, house, _):
        world.sink_faults.break_all(DOWN)
        socket = house.dialer.sockets[0]
        socket.push(*["x"] * 5)
        server = Server()
        await serve(house, server, 7200.0)
        assert socket.unread > 300, "the buffer is full, and the reader waits"
        assert not socket.aborted
        world.sink_faults.heal()
        await serve(house, server, 600.0)
        assert not socket.aborted
        assert len(house.dialer.sockets) == 1


@pytest.mark.parametrize(
    ("liveness", "limit"),
    [
        (Liveness(read_idle_ms=30_000), 30.0),
        (Liveness(data_age_ms=30_000), 30.0),
        (Liveness(first_data_ms=30_000, data=DATA), 30.0),
        (Liveness(heartbeat=replace(BEAT, timeout_ms=30_000)), 30.0),
    ],
    ids=["read_idle", "data_age", "first_data", "heartbeat"],
)
async def test_limits_count_anew_when_the_buffer_has_room(liveness: Liveness, limit: float) -> None:
    async with opened(liveness, buffer=FULL) as (world, house, _):
        await house.settle()
        world.sink_faults.break_all(DOWN)
        socket = house.dialer.sockets[0]
        socket.push(*["x"] * 4)
        # It comes free a moment before the limit: whatever waited in the socket is read only now.
        await advance(house, 28.0 + (20.0 if liveness.heartbeat else 0.0), step=1.0)
        assert said(socket).count('{"ping":1}') == (2 if liveness.heartbeat else 0)
        world.sink_faults.heal()
        free = house.clock.monotonic()
        while world.messages() == []:
            await advance(house, 0.25, step=0.25)
        freed = house.clock.monotonic()
        assert freed - free < 2.5, "the lane tries again soon"
        while not socket.aborted:
            await advance(house, 0.25, step=0.25)
            assert house.clock.monotonic() <= freed + limit * 1.25
        assert house.clock.monotonic() >= freed + limit - 0.5


# --- our own faults -------------------------------------------------------------------------------


async def test_a_detector_that_crashes_ends_its_session_and_is_told() -> None:
    class Faulty(ManualClock):
        armed = False

        def now(self) -> float:
            if self.armed:
                self.armed = False
                raise ValueError("ours")
            return super().now()

    world = World()
    clock = world.clock = Faulty()
    async with running_house(world) as house:
        liveness = Liveness(data_age_ms=11_000, quiet=(QuietWindow((0,), "01:00", "02:00"),))
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, liveness=liveness))
        house.dialer.sockets[0].push("x")
        await house.settle()
        await advance(house, 10.0, step=1.0)
        clock.armed = True
        await advance(house, 2.0, step=1.0)
        await house.settle()
        assert len(house.journal.of(RunnerCrashed)) == 1
        assert [kind for kind, _ in errors(world)] == ["internal"]
        assert house.dialer.sockets[0].aborted
        assert status(entry) is Status.RECONNECTING


async def test_a_heartbeat_that_crashes_is_told_and_the_connection_goes_on() -> None:
    class Odd(ScriptedSocket):
        async def send(self, data: bytes, kind: Kind) -> None:
            raise ValueError("ours")

    world = World()
    async with running_house(world) as house:
        dial = house.dialer.hang()
        dial.socket = Odd()
        dial.succeed()
        liveness = Liveness(heartbeat=replace(BEAT, expect=None))
        await entered(house, spec_of(first_dial=FirstDial.RETRY, liveness=liveness))
        await advance(house, 21.0, step=1.0)
        assert house.journal.of(RunnerCrashed)
        assert dial.socket.aborted
        await advance(house, 60.0, step=1.0)
        assert len(house.dialer.sockets) == 2
