"""What a message costs between socket and API call, in units that a busy machine does not change.

    python -m tests.bench.guard

The path is the service's own: `Pump.accept_run`, lane, encoder; socket and API are left out.
Two measures. *Bytecodes* per message are counted, and come out the same each time; they see every
line of Python that is added, and nothing of what C does. The *ratio* of processor time to a loop
in this process that does about the least there is to do (one small object, one queue, one join)
sees both; both sides are repeated in turn, and the fastest of each counts.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tests.bench.programs import say
from tests.kit.clock import START, ManualClock, ScriptedDice
from tests.kit.journal import RecordingJournal
from websocketmanager.adapters.memory import MemoryEventSink
from websocketmanager.domain.envelope import Parcel, StreamIdentity
from websocketmanager.domain.model import Format, Kind, Topic
from websocketmanager.domain.wire import EventEncoder
from websocketmanager.ports import PublishResult
from websocketmanager.service.budget import Budget
from websocketmanager.service.lane import Lane
from websocketmanager.service.pump import Pump

#: Messages that one wake-up of a reader brings.
_BURST = 64
_BATCH_BYTES = 1 << 20
_DATA = b'{"e":"trade","s":"BTCUSDT","p":"64250.15000000","q":"0.00250000"}'.ljust(200, b" ")


class EncodingSink(MemoryEventSink):
    """Encodes what it is given for the wire, as the real one does, and sends it nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self._encoder = EventEncoder("pubsub")
        self.size = 0

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        """Accepts all that fits in one batch."""
        body, count = self._encoder.batch(events, 0, _BATCH_BYTES)
        self.size += len(body)
        return PublishResult(count)


async def run_path(messages: int, pumps: int = 1, sink: MemoryEventSink | None = None) -> None:
    """Takes messages through the path, each once per pump."""
    sink = sink or EncodingSink()
    clock = ManualClock()
    lane = Lane(sink, clock, ScriptedDice(), RecordingJournal())
    ways = [_open_pump(lane, clock, number) for number in range(1, pumps + 1)]
    running = asyncio.create_task(lane.run())
    arrived = [_DATA] * _BURST
    try:
        for burst in range(messages // _BURST):
            at = START + burst * 1e-3
            for pump in ways:
                assert pump.accept_run(Kind.TEXT, arrived, at) == _BURST
            await lane.wait_drained()
    finally:
        running.cancel()
        await asyncio.wait([running])


async def run_accept(messages: int) -> None:
    """Takes messages as far as the queue, where they stay."""
    lane = Lane(EncodingSink(), ManualClock(), ScriptedDice(), RecordingJournal())
    pump = _open_pump(lane, ManualClock(), 1)
    arrived = [_DATA] * _BURST
    for _ in range(messages // _BURST):
        pump.accept_run(Kind.TEXT, arrived, START)


def _open_pump(lane: Lane, clock: ManualClock, number: int) -> Pump:
    pump = Pump(
        lane=lane,
        budget=Budget(1 << 30),
        clock=clock,
        format=Format.RAW,
        markers=False,
        max_messages=65_536,
        max_bytes=1 << 25,
        on_degraded=lambda *_: None,
        on_restored=lambda *_: None,
    )
    url = "wss://feed.example/stream"
    pump.set_topic(Topic("marketdata.ticks"))
    pump.open_session(StreamIdentity(f"00000000-{number:08d}", START, url, 1, 1), START)
    pump.confirm_session(1)
    return pump


def microseconds_by_stage(messages: int = 6400, repeats: int = 9) -> dict[str, float]:
    """Returns processor time per message: stamping and queueing, the lane, encoding, reference."""
    works: dict[str, Callable[[], object]] = {
        "accept": lambda: asyncio.run(run_accept(messages), debug=False),
        "unencoded": lambda: asyncio.run(run_path(messages, sink=MemoryEventSink()), debug=False),
        "all": lambda: _in_loop(messages, 1),
        "reference": lambda: run_reference(messages),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    with no_collections():
        for _ in range(repeats):
            for name, work in works.items():
                times[name].append(_cpu_seconds(work))
    best = {name: min(values) / messages * 1e6 for name, values in times.items()}
    return {
        "stamp and queue": best["accept"],
        "lane": best["unencoded"] - best["accept"],
        "encode": best["all"] - best["unencoded"],
        "reference loop": best["reference"],
    }


class _Item:
    __slots__ = ("at", "data", "number")

    def __init__(self, number: int, data: bytes, at: float) -> None:
        self.number = number
        self.data = data
        self.at = at


def run_reference(messages: int) -> int:
    """Does what no path can do without, in plain Python; returns the bytes joined."""
    head, middle, tail = b"h" * 150, b"m" * 60, b"\x12\xc8\x01"
    waiting: deque[_Item] = deque()
    size = 0
    for burst in range(messages // _BURST):
        for number in range(_BURST):
            waiting.append(_Item(burst * _BURST + number, _DATA, START))
        pieces = []
        while waiting:
            item = waiting.popleft()
            digits = b"%020d" % item.number
            pieces.append(b"".join((head, digits, middle, digits, tail, item.data)))
        size += len(b"".join(pieces))
    return size


def bytecodes_per_message(pumps: int = 1) -> float:
    """Counts the bytecodes of the path, the lane's share of asyncio's included."""
    few, many = (_count_bytecodes(messages, pumps) for messages in (_BURST * 4, _BURST * 20))
    return (many - few) / (_BURST * 16)


def _count_bytecodes(messages: int, pumps: int) -> int:
    counted = 0

    def within(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal counted
        if event == "opcode":
            counted += 1
        return within

    def entered(frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return within

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        _in_loop(messages, pumps)
    finally:
        sys.settrace(before)
    return counted


def cpu_ratio(pumps: int = 1, *, messages: int = 3200, repeats: int = 6) -> float:
    """Returns the path's processor time over the reference's, the fastest repeat of each."""
    _in_loop(messages, pumps)
    run_reference(messages)
    path, reference = [], []
    with no_collections():
        for _ in range(repeats):
            path.append(_cpu_seconds(lambda: _in_loop(messages, pumps)))
            reference.append(_cpu_seconds(lambda: run_reference(messages)))
    return min(path) / min(reference)


@contextmanager
def no_collections() -> Iterator[None]:
    """A collection belongs to whoever made the garbage, not to whom it hits."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _in_loop(messages: int, pumps: int) -> None:
    # Not in debug mode, which traces every task.
    asyncio.run(run_path(messages, pumps), debug=False)


def _cpu_seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


if __name__ == "__main__":
    say(f"bytecodes per message: {bytecodes_per_message():.1f}")
    say(f"times the reference loop: {', '.join(f'{cpu_ratio():.2f}' for _ in range(5))}")
    for stage, microseconds in microseconds_by_stage().items():
        say(f"{stage}: {microseconds:.2f} µs")
    say(f"when it does everything twice: {bytecodes_per_message(2):.1f}, {cpu_ratio(2):.2f}")
