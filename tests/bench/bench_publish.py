"""From the pump to a subscriber of the API, by each way there is: messages a second and CPU.

    python -m tests.bench.bench_publish [--rounds 5] [--messages 200000] [--connections 1]

This process is the service behind its reader: pump, lane, sink. The API is a process of its own,
or this one (`direct`), and so is the subscriber, which reads by `SubscribeEvents` and counts what
is lost or out of order: none may be. Ways take turns, the table has medians. Ratios to `batch` in
the same run mean something; absolute numbers are this machine's and this moment's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.kit.journal import RecordingJournal
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.adapters.virtufin_api import ApiSettings, VirtufinApi
from websocketmanager.domain.envelope import StreamIdentity
from websocketmanager.domain.facts import Fact
from websocketmanager.domain.model import Format, Kind, Topic
from websocketmanager.embedded.fanout import QueueLimits
from websocketmanager.embedded.server import running_embedded_api
from websocketmanager.embedded.sink import DirectEventSink
from websocketmanager.ports import EventSink
from websocketmanager.service.budget import Budget
from websocketmanager.service.lane import Lane
from websocketmanager.service.pump import Pump

_WAYS = ("unary", "batch", "stream", "direct")
_TOPIC = Topic("websocketmanager.bench")
_DATA = b'{"e":"trade","s":"BTCUSDT","n":' + b"7" * 168 + b"}"
#: Unary calls are that much slower that fewer of them tell as much.
_UNARY_SHARE = 40
_BURST = 100
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


class Quiet:
    """A journal that keeps nothing."""

    def emit(self, fact: Fact) -> None:
        """Forgets."""


@dataclass(frozen=True)
class Row:
    """One run: messages a second, and µs of CPU per message here and at the API."""

    rate: float
    service: float
    api: float


# --- the subscriber: a process of its own ---------------------------------------------------------


async def subscriber(port: int, count: int) -> None:
    """Says when the subscription stands, then what came: events, lost, out of order."""
    import grpc

    from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb

    options = (("grpc.max_receive_message_length", -1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        # Of the batches no more is read at first than how many events they hold: who reads all
        # of it as it comes is slower than the flood, and would be cut.
        call = channel.unary_stream(
            "/virtufin.Pubsub/SubscribeEvents",
            pb.SubscribeEventsRequest.SerializeToString,
            pb.SerialisedBatch.FromString,
        )(pb.SubscribeEventsRequest(topics=[_TOPIC]))
        await call.initial_metadata()
        _say("ready")
        events: list[bytes] = []
        async for batch in call:
            events += batch.events
            if len(events) >= count:
                break
        lost = misordered = 0
        last: dict[str, int] = defaultdict(int)
        for body in events:
            event = pb.PubsubSubscribeResponse.FromString(body)
            its_id = event.metadata["ce-websocketid"]
            number = int(event.metadata["ce-sequence"])
            lost += max(0, number - last[its_id] - 1)
            misordered += number <= last[its_id]
            last[its_id] = number
        came = len(events)
        _say(f"{came} {lost} {misordered}")
        call.cancel()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# --- the API and the service ----------------------------------------------------------------------


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_SECONDS


@asynccontextmanager
async def _child(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs a Python process until the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def _sink(way: str) -> AsyncIterator[tuple[EventSink, int, int | None]]:
    """Yields a sink of the way, the API's port, and its process, when that is another one."""
    clock, dice = SystemClock(), SystemDice()
    async with AsyncExitStack() as stack:
        if way == "direct":
            api = await stack.enter_async_context(
                running_embedded_api(
                    host="127.0.0.1",
                    port=0,
                    database=":memory:",
                    topic_rules="platform",
                    journal=RecordingJournal(),
                    clock=clock,
                    dice=dice,
                    # The flood is faster than a subscriber in Python, which would be cut.
                    queue_limits=QueueLimits(max_events=1 << 30, max_bytes=1 << 40),
                )
            )
            sink = DirectEventSink(
                api.publisher, pubsub_name="pubsub", clock=clock, journal=Quiet()
            )
            yield sink, api.port, None
            return
        port = _free_port()
        arguments = ("api", "--bind-host", "127.0.0.1", "--database", ":memory:")
        process = await stack.enter_async_context(
            _child("-m", "websocketmanager", *arguments, "--api-grpc-port", str(port))
        )
        assert process.stderr is not None
        await process.stderr.readline()  # it says where it listens
        settings = ApiSettings(target=f"127.0.0.1:{port}")
        remote = VirtufinApi(settings, clock=clock, dice=dice, journal=Quiet(), inject=lambda: ())
        stack.push_async_callback(remote.close)
        if way != "stream":
            remote._events._mode = "batch" if way == "batch" else "unary"
        yield remote, port, process.pid


def _pumps(lane: Lane, count: int) -> list[Pump]:
    budget, clock = Budget(1 << 30), SystemClock()
    pumps = []
    for number in range(count):
        pump = Pump(
            lane=lane,
            budget=budget,
            clock=clock,
            format=Format.RAW,
            markers=False,
            max_messages=10_000,
            max_bytes=64 * 1024 * 1024,
            on_degraded=lambda *_: None,
            on_restored=lambda *_: None,
        )
        its_id = f"0b5a0a4e-7c9e-4d1c-8b6a-{number:012d}"
        pump.set_topic(_TOPIC)
        pump.open_session(
            StreamIdentity(its_id, 1_700_000_000.0, "wss://stream.venue.test/ws/btcusdt", 1, 1),
            clock.now(),
        )
        pump.confirm_session(1)
        pumps.append(pump)
    return pumps


async def _feed(pumps: list[Pump], count: int, burst: int) -> None:
    """Gives each pump its bursts, as fast as there is room."""
    clock = SystemClock()
    left = count
    while left:
        for pump in pumps:
            left -= pump.accept_run(Kind.TEXT, [_DATA] * min(burst, left), clock.now())
            if pump.full:
                await pump.wait_room()
        await asyncio.sleep(0)


async def run(way: str, messages: int, connections: int, burst: int = _BURST) -> Row:
    """Runs one way once; fails when anything is lost or out of order."""
    async with AsyncExitStack() as stack:
        sink, port, api_pid = await stack.enter_async_context(_sink(way))
        program = (
            "import asyncio; from tests.bench.bench_publish import subscriber; "
            f"asyncio.run(subscriber({port}, {messages}))"
        )
        reader = await stack.enter_async_context(_child("-c", program))
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"ready\n"
        lane = Lane(sink, SystemClock(), SystemDice(), Quiet())
        running = asyncio.create_task(lane.run())
        api_before = _cpu_seconds(api_pid) if api_pid else 0.0
        cpu, began = time.process_time(), time.perf_counter()
        await _feed(_pumps(lane, connections), messages, burst)
        await lane.wait_drained()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        said = (await asyncio.wait_for(reader.stdout.readline(), 60)).split()
        api = _cpu_seconds(api_pid) - api_before if api_pid else 0.0
        assert said == [b"%d" % messages, b"0", b"0"], f"{way}: came, lost, misordered: {said!r}"
        running.cancel()
        await asyncio.wait([running])
        return Row(messages / seconds, cpu / messages * 1e6, api / messages * 1e6)


def main() -> int:
    """Runs the ways in turns and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--connections", type=int, default=1)
    options = parser.parse_args()
    rows: dict[str, list[Row]] = {way: [] for way in _WAYS}
    for _ in range(options.rounds):
        for way in _WAYS:
            messages = options.messages // (_UNARY_SHARE if way == "unary" else 1)
            rows[way].append(uvloop.run(run(way, messages, options.connections)))
    batch = [row.rate for row in rows["batch"]]
    sys.stdout.write(
        f"{options.connections} connections, 200 bytes, {options.rounds} rounds, nothing lost or "
        f"out of order\n{'way':10}{'msg/s':>10}{'to batch':>10}{'service µs':>12}{'API µs':>10}\n"
    )
    for way, several in rows.items():
        ratio = statistics.median(
            row.rate / other for row, other in zip(several, batch, strict=True)
        )
        rate, service, api = (
            statistics.median(getattr(row, name) for row in several)
            for name in ("rate", "service", "api")
        )
        sys.stdout.write(f"{way:10}{rate:10.0f}{ratio:10.2f}{service:12.2f}{api:10.2f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
