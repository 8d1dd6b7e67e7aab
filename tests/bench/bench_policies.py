"""What a message costs off the plain path: policies of a full buffer, the disk, looks at messages.

    python -m tests.bench.bench_policies [--rounds 5] [--messages 6400] [--only PATTERN]

The way is the service's own, as in `guard`: from `Intake.take` over pump and lane to the encoded
batch, in bursts of 64 Text messages of 200 bytes of JSON; socket and API are left out. Where the
buffer is full the API takes nothing, and there is no batch. Cases are measured in turn; processor
time of all threads counts, so that of the disk's is in it and waiting for the disk is not. Ratios
mean something; microseconds are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import fnmatch
import statistics
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.guard import EncodingSink, no_collections
from tests.bench.programs import BUILD
from tests.kit.clock import START, ManualClock, ScriptedDice
from tests.kit.journal import RecordingJournal
from tests.kit.log_listener import Listening
from tests.kit.sockets import ScriptedDialer
from websocketmanager.adapters.memory import MemorySecrets
from websocketmanager.adapters.message_log import SqliteMessageLog
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.domain import lifecycle as life
from websocketmanager.domain.correlation import correlator_of
from websocketmanager.domain.envelope import Parcel, StreamIdentity, count_events
from websocketmanager.domain.model import (
    ConnectionOptions,
    ConnectionSpec,
    Format,
    InstanceId,
    Kind,
    Topic,
)
from websocketmanager.domain.options import (
    Correlation,
    Liveness,
    Match,
    Opening,
    Overflow,
    Pattern,
    RefusalRule,
)
from websocketmanager.domain.plan import compile_plan
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.domain.retry import Advice
from websocketmanager.ports import PublishResult
from websocketmanager.service.budget import Budget
from websocketmanager.service.lane import Lane
from websocketmanager.service.overflow import Bounds
from websocketmanager.service.pacing import Pacer
from websocketmanager.service.places import Places
from websocketmanager.service.pump import Pump
from websocketmanager.service.replies import Replies
from websocketmanager.service.session import Session, SessionTools
from websocketmanager.service.spool import DiskBudget, Spool, SpoolHands
from websocketmanager.service.timers import Timers

_BURST = 64
_PLENTY = 1 << 40
_TOPIC = Topic("marketdata.bench")
_IDENTITY = StreamIdentity("bench", START, "wss://feed.example/stream", 1, 1)
#: A hundred instruments in turn.
_DATA = [
    (b'{"e":"trade","s":"S%02d","p":"64250.15000000","q":"0.00250000","n":"' % number).ljust(
        198, b"7"
    )
    + b'"}'
    for number in range(100)
]
_TRADES = Pattern(Match.POINTER, pointer="/e", value='"trade"')


@dataclass(frozen=True)
class Case:
    """What is chosen for the connection, and how its buffer is."""

    overflow: Overflow = Overflow.BLOCK
    full: bool = False
    durable: bool = False
    taps: int = 0
    data: Pattern | None = None
    refusals: int = 0
    format: Format = Format.RAW
    topic: Topic | None = _TOPIC

    @property
    def max_messages(self) -> int:
        """Bound of the buffer."""
        return 1024 if self.full else 65_536


CASES = {
    "plain": Case(),
    "drop_oldest": Case(Overflow.DROP_OLDEST),
    "drop_newest": Case(Overflow.DROP_NEWEST),
    "conflate": Case(Overflow.CONFLATE),
    "close": Case(Overflow.CLOSE),
    "spill": Case(Overflow.SPILL),
    "durable": Case(durable=True),
    "drop_oldest, full": Case(Overflow.DROP_OLDEST, full=True),
    "drop_newest, full": Case(Overflow.DROP_NEWEST, full=True),
    "conflate, full": Case(Overflow.CONFLATE, full=True),
    "a tap open": Case(taps=1),
    "no topic": Case(topic=None),
    "no topic, a tap open": Case(topic=None, taps=1),
    "format envelope": Case(format=Format.ENVELOPE),
    "data: any text": Case(data=Pattern(frame=Kind.TEXT)),
    "data: pointer, all match": Case(data=_TRADES),
    "data: pointer, none match": Case(data=Pattern(Match.POINTER, pointer="/op", value='"x"')),
    "data: RE2, all match": Case(data=Pattern(Match.REGEX, regex='"e":"trade"')),
    "three refusals": Case(refusals=3),
}


class CountingSink(EncodingSink):
    """Says when it has so many events, or takes nothing."""

    def __init__(self, wanted: int, *, away: bool) -> None:
        super().__init__()
        self._missing = wanted
        self._away = away
        self.done = asyncio.Event()

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        """Encodes events as the real one does."""
        if self._away:
            await self.done.wait()
            return PublishResult(count_events(events))
        result = await super().publish(events)
        self._missing -= result.accepted
        if self._missing <= 0:
            self.done.set()
        return result


async def run_case(case: Case, messages: int, folder: Path) -> float:
    """Takes messages through one case; returns microseconds of processor time per message."""
    clock = ManualClock(skip_sleeps=True)
    warm = case.max_messages * 2 // _BURST * _BURST if case.full else 0
    sink = CountingSink(messages, away=case.full)
    lane = Lane(sink, clock, ScriptedDice(), RecordingJournal())
    running = asyncio.create_task(lane.run())
    log = SqliteMessageLog(folder / "log.sqlite3", RecordingJournal())
    if case.durable or case.overflow is Overflow.SPILL:
        await log.start()
    pump = open_pump(case, lane, clock, log)
    session = open_session(case, pump, clock)
    if case.durable or case.overflow is Overflow.SPILL:
        # The log answers in turn: the spool knows by then that nothing is there.
        other = Listening(log, "bench/2")
        await other.wait(lambda: bool(other.extents))
    for _ in range(case.taps):
        pump.taps.add(clock, max_message_bytes=0)
    try:
        await _feed(session, pump, lane, warm, drains=False)
        began = time.process_time()
        await _feed(session, pump, lane, messages, drains=not case.full)
        if not case.full and case.topic is not None:
            await sink.done.wait()
        spent = time.process_time() - began
    finally:
        sink.done.set()
        running.cancel()
        await asyncio.wait([running])
        await log.close()
    return spent / messages * 1e6


async def _feed(session: Session, pump: Pump, lane: Lane, messages: int, *, drains: bool) -> None:
    for start in range(0, messages, _BURST):
        arrived = [_DATA[number % len(_DATA)] for number in range(start, start + _BURST)]
        while arrived:
            arrived = arrived[session.intake.take(Kind.TEXT, arrived) :]
            if pump.full:
                await pump.wait_room()
        await asyncio.sleep(0)
        if drains:
            await lane.wait_drained()


def open_pump(
    case: Case, lane: Lane, clock: ManualClock, log: SqliteMessageLog | None = None
) -> Pump:
    """Returns the pump of a case; one that needs the disk needs a log."""

    def make(hands: SpoolHands) -> Spool:
        assert log is not None
        return Spool(
            log,
            "bench/1",
            DiskBudget(_PLENTY),
            identity=_IDENTITY,
            format=case.format,
            markers=False,
            durable=case.durable,
            blocking=case.overflow is not Overflow.SPILL,
            bounds=Bounds(case.max_messages, 1 << 25),
            hands=hands,
        )

    pump = Pump(
        lane=lane,
        budget=Budget(1 << 30),
        clock=clock,
        format=case.format,
        markers=False,
        max_messages=case.max_messages,
        max_bytes=1 << 25,
        overflow=case.overflow,
        conflate_pointer="/s",
        make_spool=make if case.durable or case.overflow is Overflow.SPILL else None,
        on_degraded=lambda *_: None,
        on_restored=lambda *_: None,
    )
    pump.set_topic(case.topic)
    pump.open_session(_IDENTITY, START)
    pump.confirm_session(1)
    return pump


@dataclass(frozen=True)
class _Connection:
    """Whom the session tells: nobody."""

    pump: Pump
    replies: Replies
    connection_id: str = "bench"

    def post(self, event: life.Event) -> None:
        pass

    def note_queued(self) -> None:
        pass

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    def tell_degraded(self, cause: str, detail: str, count: int) -> None:
        pass


def open_session(case: Case, pump: Pump, clock: ManualClock) -> Session:
    refusal = RefusalRule(Pattern(Match.POINTER, pointer="/error"), Advice.NEVER)
    options = ConnectionOptions(
        liveness=Liveness(data=case.data, data_age_ms=60_000 if case.data else 0),
        opening=Opening(refusals=(refusal,) * case.refusals),
    )
    plan = compile_plan(ConnectionSpec("wss://feed.example/", options=options), compile_regex)
    journal, dice = RecordingJournal(), ScriptedDice()
    tools = SessionTools(
        clock=clock,
        dice=dice,
        dialer=ScriptedDialer(),
        journal=journal,
        secrets=MemorySecrets({}),
        pacer=Pacer(clock, dice, lambda host: 0.0),
        timers=Timers(clock, journal),
        places=Places(clock, journal, lambda host: 0),
        policy=ServicePolicy(instance_id=InstanceId("bench"), incarnation="1"),
    )
    replies = Replies(correlator_of(Correlation()), connection_id="bench", max_pending=1)
    session = Session(1, plan, tools, _Connection(pump, replies))
    session.adopt()
    return session


def measure(names: Sequence[str], rounds: int, messages: int, folder: Path) -> dict[str, float]:
    """Returns the median of each case, measured in turn."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                work = run_case(CASES[name], messages, Path(place))
                with no_collections():
                    found[name].append(asyncio.run(work, debug=False))
    return {name: statistics.median(values) for name, values in found.items()}


def main() -> int:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="Measures what is not the plain path.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=6400)
    parser.add_argument("--only", default="*", help="of the cases; plain is always there")
    parser.add_argument("--folder", type=Path, default=BUILD, help="on the disk to be measured")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in CASES if name == "plain" or fnmatch.fnmatch(name, chosen.only)]
    medians = measure(names, chosen.rounds, chosen.messages // _BURST * _BURST, chosen.folder)
    lines = ["| case | µs per message | × plain |", "|---|---|---|"]
    lines += [f"| {n} | {us:.2f} | {us / medians['plain']:.1f} |" for n, us in medians.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
