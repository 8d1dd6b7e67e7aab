"""What each stage between socket and API costs per message, by how many arrive together.

    python -m tests.bench.bench_stages [--rounds 5] [--messages 25600] [--docs]

The service's own code for each stage, on 200 bytes of JSON: *read* cuts frames that have arrived,
*check* looks at their UTF-8, *hear* is the session (whom it is for, signs of life), *stamp* is the
pump (session, sequence, time, counts, bounds), *queue* the lane (batches, what became of them),
*encode* makes the wire's bytes, *send* is gRPC with the acknowledgements. Statistics, lifecycle and
detectors have no stage of their own: what they cost is within *hear* and *stamp*.

Processor time of this process, cases in turn, medians. A stage is the difference of two cases where
it cannot run alone. System calls to read the socket are left out; *send* has its own.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TypeAlias

import uvloop

from tests.bench import bench_publish
from tests.bench.bench_policies import Case, open_pump, open_session
from tests.bench.guard import EncodingSink, no_collections
from tests.bench.machine import machine
from tests.bench.report import write_docs
from tests.kit.clock import START, ManualClock, ScriptedDice
from tests.kit.driven import answer_to
from tests.kit.journal import RecordingJournal
from tests.kit.opening import target
from tests.kit.raw_peer import BINARY, TEXT, frame
from websocketmanager.adapters.memory import MemoryEventSink
from websocketmanager.adapters.websocket.handshake import protocol_for
from websocketmanager.adapters.websocket.reading import MessageReader
from websocketmanager.domain.model import Kind
from websocketmanager.service.lane import Lane

_DATA = b'{"e":"trade","s":"BTCUSDT","p":"64250.15000000","q":"0.00250000"}'.ljust(200, b" ")
_BURSTS = (1, 8, 64)
#: What is sent goes on in full batches only when as much arrives together.
_SENDING_BURST = _BURSTS[-1]
_MOST_BYTES = 1 << 20

#: Takes so many messages, so many at a time.
_Work: TypeAlias = Callable[[int, int], Coroutine[None, None, None]]


class Taker:
    """`ports.Receiver` that takes everything."""

    full = False

    def take(self, kind: Kind, payloads: list[bytes]) -> int:
        """Takes all."""
        return len(payloads)


def reading(opcode: int) -> _Work:
    """Returns what reads frames of one kind that have arrived."""

    async def read(messages: int, burst: int) -> None:
        protocol = protocol_for(target("ws://h/", max_message_bytes=_MOST_BYTES))
        reader, taker = MessageReader(protocol, _MOST_BYTES), Taker()
        protocol.send_request(protocol.connect())
        reader.feed(answer_to(protocol.key), _MOST_BYTES)
        arrived = frame(opcode, _DATA) * burst
        for _ in range(messages // burst):
            assert reader.feed(arrived, _MOST_BYTES) == len(arrived)
            reader.give(taker)

    return read


async def hear(messages: int, burst: int) -> None:
    """Takes messages through session and pump into the queue, where they stay."""
    clock = ManualClock()
    lane = Lane(MemoryEventSink(), clock, ScriptedDice(), RecordingJournal())
    pump = open_pump(Case(), lane, clock)
    session = open_session(Case(), pump, clock)
    arrived = [_DATA] * burst
    for _ in range(messages // burst):
        session.intake.take(Kind.TEXT, arrived)


async def stamp(messages: int, burst: int) -> None:
    """Takes messages through the pump into the queue, where they stay."""
    clock = ManualClock()
    lane = Lane(MemoryEventSink(), clock, ScriptedDice(), RecordingJournal())
    pump = open_pump(Case(), lane, clock)
    arrived = [_DATA] * burst
    for _ in range(messages // burst):
        pump.accept_run(Kind.TEXT, arrived, START)


def through_the_lane(make_sink: Callable[[], MemoryEventSink]) -> _Work:
    """Returns what takes messages through pump and lane into a sink."""

    async def run(messages: int, burst: int) -> None:
        clock = ManualClock()
        lane = Lane(make_sink(), clock, ScriptedDice(), RecordingJournal())
        pump = open_pump(Case(), lane, clock)
        running = asyncio.create_task(lane.run())
        arrived = [_DATA] * burst
        for _ in range(messages // burst):
            pump.accept_run(Kind.TEXT, arrived, START)
            await lane.wait_drained()
        running.cancel()
        await asyncio.wait([running])

    return run


CASES: dict[str, _Work] = {
    "binary": reading(BINARY),
    "text": reading(TEXT),
    "hear": hear,
    "stamp": stamp,
    "lane": through_the_lane(MemoryEventSink),
    "encode": through_the_lane(EncodingSink),
}


def measure(rounds: int, messages: int) -> dict[int, dict[str, float]]:
    """Returns µs per message of each stage, by how many messages arrive together."""
    taken: dict[tuple[int, str], list[float]] = {}
    for _ in range(rounds):
        for burst in _BURSTS:
            for name, work in CASES.items():
                with no_collections():
                    began = time.process_time()
                    uvloop.run(work(messages, burst))
                    spent = time.process_time() - began
                taken.setdefault((burst, name), []).append(spent / messages * 1e6)
    found = {}
    for burst in _BURSTS:
        case = {name: statistics.median(taken[burst, name]) for name in CASES}
        found[burst] = {
            "read": case["binary"],
            "check": case["text"] - case["binary"],
            "hear": case["hear"] - case["stamp"],
            "stamp": case["stamp"],
            "queue": case["lane"] - case["stamp"],
            "encode": case["encode"] - case["lane"],
        }
        if burst == _SENDING_BURST:
            found[burst]["send"] = _sending(rounds, messages * 8) - case["encode"]
    return found


def _sending(rounds: int, messages: int) -> float:
    """Returns what pump, lane, encoder and gRPC cost together, the API in another process."""
    rows = [
        uvloop.run(bench_publish.run("stream", messages, 1, _SENDING_BURST)) for _ in range(rounds)
    ]
    return statistics.median(row.service for row in rows)


def table(found: dict[int, dict[str, float]]) -> Sequence[str]:
    """Returns the table in Markdown."""
    heads = " | ".join(f"{burst} together" for burst in _BURSTS)
    lines = [f"| µs CPU per message | {heads} |", "|---" * (len(_BURSTS) + 1) + "|"]
    for stage in found[_SENDING_BURST]:
        values = (f"{row[stage]:.2f}" if stage in row else "–" for row in found.values())
        lines.append(f"| {stage} | {' | '.join(values)} |")
    sums = (f"{sum(row.values()):.2f}" for row in found.values())
    return [*lines, f"| together | {' | '.join(sums)} |"]


def main() -> int:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description="Measures each stage between socket and API.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=25_600)
    parser.add_argument("--docs", action="store_true", help="renew docs/performance.md")
    options = parser.parse_args()
    described = machine()
    lines = table(measure(options.rounds, options.messages))
    sys.stdout.write("\n".join(lines) + "\n")
    if options.docs:
        write_docs("stages", lines, {"machine": described})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
