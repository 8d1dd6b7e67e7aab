"""What reading one message costs, by engine: CPU of the reading process, one run, interleaved.

    python -m tests.bench.bench_reader [--rounds 5] [--messages 200000] [--connections 1000]

A forked process sends 200-byte Text messages as fast as they are taken. `driver` and `client` are
the adapter's engines, up to the messages that the service gets; `core` is an `asyncio.Protocol`
that gives every byte to the library's sans-I/O protocol and looks at nothing, the least that any
client on it can cost. Ratios mean something; microseconds are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import multiprocessing.connection
import resource
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop
from websockets.frames import DATA_OPCODES, Frame

from tests.kit.certificates import client_context, server_context
from tests.kit.opening import LOOPBACK, target
from tests.kit.raw_peer import BINARY, TEXT, RawSession, frame, running_raw_peer
from websocketmanager.adapters.system import SystemClock
from websocketmanager.adapters.websocket import WebSocketDialer
from websocketmanager.adapters.websocket.dialer import Engine
from websocketmanager.adapters.websocket.handshake import protocol_for, request_for
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.options import Compression
from websocketmanager.ports import DialTarget

_FORK = multiprocessing.get_context("fork")
#: Two hundred bytes as a market feed sends them.
_PAYLOAD = (b'{"e":"trade","s":"BTCUSDT","p":"64250.15000000","q":"0.00250000","n":' + b"7" * 131)[
    :200
]
_BURST_MESSAGES = 400
_ENGINES: tuple[Engine, ...] = ("driver", "client")


@dataclass(frozen=True)
class Row:
    """What is on the wire."""

    name: str
    tls: bool = False
    deflate: bool = False


ROWS = (Row("plain"), Row("deflate", deflate=True), Row("TLS", tls=True))


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# --- the sender, a process of its own -------------------------------------------------------------


def burst(*, deflate: bool) -> bytes:
    """Returns frames that may be sent again and again: the packed ones begin with full blocks."""
    if not deflate:
        return frame(TEXT, _PAYLOAD) * _BURST_MESSAGES
    packer = zlib.compressobj(6, wbits=-12)
    frames = []
    for _ in range(_BURST_MESSAGES):
        packed = packer.compress(_PAYLOAD) + packer.flush(zlib.Z_SYNC_FLUSH)
        frames.append(frame(TEXT, packed[:-4], rsv=4))
    return b"".join(frames)


async def send_forever(peer: RawSession) -> None:
    request = await peer.read_request()
    deflate = "sec-websocket-extensions" in request.headers
    lines = ("Sec-WebSocket-Extensions: permessage-deflate",) if deflate else ()
    await peer.upgrade(*lines)
    if request.path == "/idle":
        await peer.send_frame(BINARY, b"one")
        return
    data = burst(deflate=deflate)
    while not peer.writer.is_closing():
        await peer.send(data)
        # Below the high-water mark `drain` does not yield, and nothing would be seen to end.
        await asyncio.sleep(0)


def serve(pipe: multiprocessing.connection.Connection) -> None:
    async def run() -> None:
        server = server_context("127.0.0.1")
        async with (
            running_raw_peer(send_forever) as plain,
            running_raw_peer(send_forever, tls=server) as secure,
        ):
            pipe.send((plain.port, secure.port))
            await asyncio.Event().wait()

    uvloop.run(run())


# --- the readers ----------------------------------------------------------------------------------


class Counter:
    """`ports.Receiver` that counts messages until there are enough."""

    def __init__(self, enough: int) -> None:
        self.count = 0
        self._enough = enough

    @property
    def full(self) -> bool:
        return self.count >= self._enough

    def take(self, kind: Kind, payloads: list[bytes]) -> int:
        self.count += len(payloads)
        return len(payloads)


async def through_an_engine(engine: Engine, dialled: DialTarget, count: int) -> float:
    """Returns the CPU seconds that `count` messages took."""
    dialer = WebSocketDialer(LOOPBACK, SystemClock(), tls=client_context(), engine=engine)
    socket = await dialer.dial(dialled)
    await socket.recv_into(Counter(1))
    counter = Counter(count)
    begun = time.process_time()
    await socket.recv_into(counter)
    taken = time.process_time() - begun
    socket.abort()
    return taken * count / counter.count


class BareCore(asyncio.Protocol):
    """Gives every byte to the library's protocol and counts the messages."""

    def __init__(self, dialled: DialTarget) -> None:
        self.core = protocol_for(dialled)
        self.dialled = dialled
        self.left = 0
        self.count = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.core.send_request(request_for(self.core, self.dialled, "bench"))
        for data in self.core.data_to_send():
            cast("asyncio.Transport", transport).write(data)

    def data_received(self, data: bytes) -> None:
        self.core.receive_data(data)
        for event in self.core.events_received():
            if isinstance(event, Frame) and event.opcode in DATA_OPCODES:
                self.count += 1
        if self.count >= self.left and not self.done.done():
            self.done.set_result(None)


async def through_the_core(dialled: DialTarget, count: int) -> float:
    loop = asyncio.get_running_loop()
    port = int(dialled.url.rsplit(":", 1)[1].split("/")[0])
    context = client_context() if dialled.url.startswith("wss") else None
    transport, protocol = await loop.create_connection(
        lambda: BareCore(dialled), "127.0.0.1", port, ssl=context
    )
    protocol.left = 1
    await protocol.done
    protocol.count, protocol.left, protocol.done = 0, count, loop.create_future()
    begun = time.process_time()
    await protocol.done
    taken = time.process_time() - begun
    transport.abort()
    return taken * count / protocol.count


def url_of(row: Row, ports: tuple[int, int]) -> str:
    return f"wss://127.0.0.1:{ports[1]}/" if row.tls else f"ws://127.0.0.1:{ports[0]}/"


def speed(ports: tuple[int, int], rounds: int, messages: int) -> None:
    ways: dict[str, Callable[[DialTarget, int], Coroutine[None, None, float]]] = {
        "driver": lambda dialled, count: through_an_engine("driver", dialled, count),
        "client": lambda dialled, count: through_an_engine("client", dialled, count),
        "core": through_the_core,
    }
    _show(f"{'':8} {'µs per message':>26}   ratio to driver")
    _show(f"{'':8} {'driver':>8} {'client':>8} {'core':>8}   {'client':>6} {'core':>6}")
    for row in ROWS:
        dialled = target(
            url_of(row, ports),
            compression=Compression.DEFLATE if row.deflate else Compression.NONE,
        )
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                taken[name].append(uvloop.run(way(dialled, messages)) / messages * 1e6)
        middle = {name: statistics.median(values) for name, values in taken.items()}
        shown = " ".join(f"{value:8.2f}" for value in middle.values())
        ratios = [middle[name] / middle["driver"] for name in ("client", "core")]
        _show(f"{row.name:8} {shown}   {ratios[0]:6.1f} {ratios[1]:6.1f}")


# --- idle connections -----------------------------------------------------------------------------


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def idle(
    engine: Engine, url: str, connections: int, pipe: multiprocessing.connection.Connection
) -> None:
    async def run() -> float:
        dialer = WebSocketDialer(LOOPBACK, SystemClock(), tls=client_context(), engine=engine)

        async def one() -> object:
            socket = await dialer.dial(target(url + "idle"))
            await socket.recv()
            return socket

        kept = [await one() for _ in range(20)]
        gc.collect()
        before = resident_bytes()
        kept += [await one() for _ in range(connections)]
        gc.collect()
        return (resident_bytes() - before) / connections / 1024

    pipe.send(uvloop.run(run()))


def memory(ports: tuple[int, int], connections: int) -> None:
    _show(f"\n{'':8} KiB per idle connection ({connections})")
    for row in (ROWS[0], ROWS[2]):
        shown = []
        for engine in _ENGINES:
            ours, theirs = _FORK.Pipe()
            process = _FORK.Process(
                target=idle, args=(engine, url_of(row, ports), connections, theirs)
            )
            process.start()
            shown.append(f"{engine} {ours.recv():.1f}")
            process.join()
        _show(f"{row.name:8} {', '.join(shown)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--connections", type=int, default=1000)
    chosen = parser.parse_args()
    client_context()  # before the fork, so that both sides know one authority
    ours, theirs = _FORK.Pipe()
    sender = _FORK.Process(target=serve, args=(theirs,), daemon=True)
    sender.start()
    try:
        ports = ours.recv()
        memory(ports, chosen.connections)
        speed(ports, chosen.rounds, chosen.messages)
    finally:
        sender.terminate()
        sender.join()


if __name__ == "__main__":
    main()
