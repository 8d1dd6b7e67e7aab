"""From receipt to the disk: what `durable` adds before a message counts as received.

    python -m tests.bench.bench_durable [--rounds 3] [--seconds 5] [--folder DIR]

Another process says, evenly spaced, when a message is due; each goes through the spool of a
connection into the log of the process, and its time counts from its schedule until the spool lets
it go on, stored. The event loop works as long for every message as reading and publishing it take,
since whoever waits for the disk waits for the loop as well. The API accepts at once. What the sync
of an append alone takes on this disk is told beside.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.bench.programs import BUILD, RIG_CORE, TESTED_CORE, on_core
from websocketmanager.adapters.message_log import SqliteMessageLog
from websocketmanager.domain.envelope import MessageRun, Parcel, StreamIdentity, message_route
from websocketmanager.domain.facts import Fact
from websocketmanager.domain.model import Format, Kind, Topic
from websocketmanager.domain.overflow import LogRun
from websocketmanager.service.overflow import Bounds
from websocketmanager.service.spool import DiskBudget, Spool, SpoolHands

_SPAWN = multiprocessing.get_context("spawn")
_DUE = struct.Struct("<q")
_DATA = (b'{"e":"trade","s":"BTCUSDT","p":"64250.15000000","n":' + b"7" * 147 + b"}")[:200]
_TOPIC = Topic("marketdata.bench")
_IDENTITY = StreamIdentity("bench", 1_700_000_000.0, "wss://stream.venue.test/", 1, 1)
_PLENTY = 1 << 40
#: What may wait for the disk when messages come as fast as they are taken.
_OUTSTANDING = 8192
_WARM_SECONDS = 1.0
_TARGET_MS = 10.0


@dataclass(frozen=True)
class Load:
    """Messages per second, evenly spaced; 0: as fast as they are taken."""

    title: str
    rate: int


LOADS = (
    Load("1,000 msg/s", 1_000),
    Load("20,000 msg/s", 20_000),
    Load("as fast as they are taken", 0),
)
_PACED = {load.title for load in LOADS if load.rate}


class _Quiet:
    """A journal that tells of a failing disk and of nothing else."""

    def emit(self, fact: Fact) -> None:
        sys.stderr.write(f"{fact}\n")


def feed(sending: socket.socket, rate: int, seconds: float) -> None:
    """Sends the scheduled time of each message when it is due, in nanoseconds."""
    start = time.monotonic_ns()
    with sending:
        for number in range(int(rate * seconds)):
            due = start + number * 1_000_000_000 // rate
            while (wait := due - time.monotonic_ns()) > 0:
                time.sleep(wait / 1e9)
            sending.sendall(_DUE.pack(due))


class Bench:
    """A connection's spool on a log, between a feed and an API that accepts at once."""

    def __init__(self, log: SqliteMessageLog, busy_us: float) -> None:
        self._latencies: list[int] = []
        self._begin = self._end = 0  # of the window
        self._spent = 0.0
        self.changed = asyncio.Event()  # after each answer of the API
        self._due: deque[int] = deque()
        self._accepted: list[Parcel] = []
        self._busy = int(busy_us * 1000)
        self._loop = asyncio.get_running_loop()
        self._sequence = 0
        self._route = message_route(_IDENTITY, _TOPIC)
        self._spool = Spool(
            log,
            "bench/1",
            DiskBudget(_PLENTY),
            identity=_IDENTITY,
            format=Format.RAW,
            markers=False,
            durable=True,
            blocking=False,
            bounds=Bounds(_PLENTY, _PLENTY),
            hands=SpoolHands(
                push=self._push,
                drop=lambda event: None,
                wanted=lambda parcel: parcel.count,
                room=lambda parcel: parcel.count,
                is_low=lambda: True,
                load=lambda: (0, 0),
                stalled=lambda: False,
                reserve=lambda size: None,
                changed=lambda: None,
                lost=lambda count: None,
                degrade=lambda problem: None,
                restore=lambda: None,
                now=time.time,
            ),
        )

    @property
    def waiting(self) -> int:
        """Messages that are not on the disk yet."""
        return len(self._due)

    def arrive(self, due: int) -> None:
        """Takes one message."""
        if not self._sequence:
            self._begin = due + int(_WARM_SECONDS * 1e9)
        if not self._spent and due >= self._begin:
            self._spent = _spent()
        self._sequence += 1
        at = due / 1e9
        run = MessageRun(self._route, [_DATA], "text/plain", 1, self._sequence, at, len(_DATA))
        self._due.append(due)
        self._spool.take(run, LogRun(1, self._sequence, at, 1, _TOPIC, Kind.TEXT, "", [_DATA]))
        if self._busy:
            until = time.perf_counter_ns() + self._busy
            while time.perf_counter_ns() < until:
                pass

    def figures(self) -> dict[str, float]:
        """Returns milliseconds until stored, messages a second, microseconds of each message."""
        count, lasted = len(self._latencies), (self._end - self._begin) / 1e9
        return {
            **percentiles([value / 1e6 for value in self._latencies]),
            "per_second": count / lasted,
            "cpu_us": (_spent() - self._spent) / count * 1e6 - self._busy / 1e3,
        }

    def _push(self, event: Parcel) -> None:
        due = self._due.popleft()
        if due >= self._begin:
            self._end = time.monotonic_ns()
            self._latencies.append(self._end - due)
        if not self._accepted:
            self._loop.call_later(0.001, self._settle)
        self._accepted.append(event)

    def _settle(self) -> None:
        accepted, self._accepted = self._accepted, []
        self._spool.settled(accepted)
        self.changed.set()


async def _paced(bench: Bench, rate: int, seconds: float) -> None:
    receiving, sending = socket.socketpair()
    receiving.setblocking(False)
    sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    child = _SPAWN.Process(target=feed, args=(sending, rate, seconds))
    with on_core(RIG_CORE):
        child.start()
    sending.close()
    loop, ended, rest = asyncio.get_running_loop(), asyncio.Event(), b""

    def read() -> None:
        nonlocal rest
        data = receiving.recv(1 << 16)
        if not data:
            loop.remove_reader(receiving)
            ended.set()
        rest += data
        whole = len(rest) - len(rest) % _DUE.size
        for (due,) in _DUE.iter_unpack(rest[:whole]):
            bench.arrive(due)
        rest = rest[whole:]

    loop.add_reader(receiving, read)
    await ended.wait()
    while bench.waiting:
        bench.changed.clear()
        await bench.changed.wait()
    receiving.close()
    child.join()


async def _flooded(bench: Bench, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for _ in range(64):
            bench.arrive(time.monotonic_ns())
        await asyncio.sleep(0)
        while bench.waiting >= _OUTSTANDING:
            bench.changed.clear()
            await bench.changed.wait()


async def measure(load: Load, seconds: float, busy_us: float, folder: Path) -> dict[str, float]:
    """Measures one load on a fresh log; returns milliseconds, messages and processor time."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        log = SqliteMessageLog(Path(place) / "log.sqlite3", _Quiet())
        await log.start()
        bench = Bench(log, busy_us)
        if load.rate:
            await _paced(bench, load.rate, _WARM_SECONDS + seconds)
        else:
            await _flooded(bench, _WARM_SECONDS + seconds)
        figures = bench.figures()
        await log.close()
    return figures


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def sync_alone(seconds: float, folder: Path, *, size: int = 16384) -> dict[str, float]:
    """Returns what one append of this size and its `fdatasync` take, milliseconds."""
    took = []
    data = os.urandom(size)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        until = time.monotonic() + seconds
        while (began := time.monotonic()) < until:
            file.write(data)
            os.fdatasync(file.fileno())
            took.append((time.monotonic() - began) * 1e3)
    return percentiles(took)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Returns some of them by name."""
    ordered = sorted(values)
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    found = {name: ordered[int(share * len(ordered))] for name, share in at.items()}
    return {**found, "max": ordered[-1]}


def main() -> int:
    """Measures and prints; the promised p99 is told beside, as another disk may not keep it."""
    parser = argparse.ArgumentParser(description="Measures the way to the disk.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--busy-us", type=float, default=15.0, help="work of the loop per message")
    parser.add_argument("--folder", type=Path, default=BUILD, help="on the disk to be measured")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, float]]] = {}
    with on_core(TESTED_CORE):
        for _ in range(chosen.rounds):
            alone = sync_alone(chosen.seconds / 2, chosen.folder)
            rows.setdefault("the sync of 16 KiB alone", []).append(alone)
            for load in LOADS:
                found = uvloop.run(measure(load, chosen.seconds, chosen.busy_us, chosen.folder))
                rows.setdefault(load.title, []).append(found)
    show(rows)
    return 0


def show(rows: dict[str, list[dict[str, float]]]) -> None:
    """Prints the medians as a table."""
    lines = [
        "| until stored | p50 ms | p99 ms | p99.9 ms | longest ms | msg/s | µs CPU per message |",
        "|---|---|---|---|---|---|---|",
    ]
    for title, results in rows.items():
        row = {key: statistics.median(one[key] for one in results) for key in results[0]}
        cells = [f"{row[key]:.2f}" for key in ("p50", "p99", "p999", "max")]
        cells.append(f"{row['per_second']:,.0f}" if "per_second" in row else "–")
        cells.append(f"{row['cpu_us']:.1f}" if "cpu_us" in row else "–")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    paced = (results for title, results in rows.items() if title in _PACED)
    worst = max(statistics.median(one["p99"] for one in results) for results in paced)
    word = "kept" if worst <= _TARGET_MS else "missed"
    lines.append(f"p99 until stored at a steady rate, at most {_TARGET_MS:g} ms: {word}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
