"""What making and serialising one message's event costs: ours beside message objects and a dict.

    python -m tests.bench.bench_encode [--rounds 9]

Ratios mean something; microseconds are this machine's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.domain.envelope import (
    Event,
    MessageEvent,
    MessageRun,
    StreamIdentity,
    message_event,
    message_route,
)
from websocketmanager.domain.model import Format, Kind, Message, Topic
from websocketmanager.domain.wire import EventEncoder

_COUNT = 1024
_PLENTY = 1 << 30
_IDENTITY = StreamIdentity(
    connection_id="0b5a0a4e-7c9e-4d1c-8b6a-000000000001",
    created_at=1_700_000_000.0,
    url="wss://stream.venue.test/ws/btcusdt@trade",
    session=3,
    owner_epoch=2,
)
_ROUTE = message_route(_IDENTITY, Topic("websocketmanager.bench"))
_MESSAGE = Message(Kind.TEXT, b'{"e":"trade","s":"BTCUSDT","n":' + b"7" * 168 + b"}")


def made(*, apart: float = 0.0) -> list[MessageEvent]:
    """Returns events as the pump makes them, received so many seconds apart."""
    return [
        MessageEvent(
            _ROUTE, _MESSAGE.data, _MESSAGE.kind, 3, number, 1_700_000_100.25 + place * apart
        )
        for place, number in enumerate(range(1_000_000, 1_000_000 + _COUNT))
    ]


def made_as_run() -> list[MessageRun]:
    """Returns the same as the pump makes of what arrived together."""
    payloads = [_MESSAGE.data] * _COUNT
    size = sum(map(len, payloads))
    return [MessageRun(_ROUTE, payloads, _MESSAGE.kind, 3, 1_000_000, 1_700_000_100.25, size)]


def made_by_function() -> list[Event]:
    return [
        message_event(
            _ROUTE, _IDENTITY, _MESSAGE, sequence=number, received_at=1.5, format=Format.RAW
        )
        for number in range(1_000_000, 1_000_000 + _COUNT)
    ]


def as_objects(events: Sequence[Event]) -> bytes:
    """The reference: a dict and a message object per event."""
    requests = [
        pb.PublishRequest(
            topic=event.route.topic,
            data=event.data,
            metadata={"pubsubname": "pubsub", **event.metadata},
        )
        for event in events
    ]
    return pb.PublishEventsRequest(events=requests).SerializeToString()


def contenders() -> Mapping[str, Callable[[], object]]:
    encoder = EventEncoder("pubsub")
    together, apart = made(), made(apart=0.000_1)
    ours, _ = encoder.batch(together, 0, _PLENTY)
    same = pb.PublishEventsRequest.FromString
    assert same(ours) == same(as_objects(together)), "the bytes are not those of the classes"
    run = made_as_run()
    assert encoder.batch(run, 0, _PLENTY)[0] == ours, "a run is its events"
    return {
        "run": lambda: encoder.batch(run, 0, _PLENTY),
        "requests of a run": lambda: encoder.requests(run),
        "making a run": made_as_run,
        "objects": lambda: as_objects(together),
        "batch": lambda: encoder.batch(together, 0, _PLENTY),
        "batch, a time each": lambda: encoder.batch(apart, 0, _PLENTY),
        "requests": lambda: encoder.requests(together),
        "event": made,
        "event by function": made_by_function,
    }


def main() -> int:
    """Measures in turns and prints medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    several = contenders()
    taken: dict[str, list[float]] = {name: [] for name in several}
    for _ in range(rounds):
        for name, run in several.items():
            run()
            began = time.process_time()
            for _ in range(10):
                run()
            taken[name].append((time.process_time() - began) / 10 / _COUNT * 1e6)
    reference = statistics.median(taken["objects"])
    sys.stdout.write(f"{'one message of 200 bytes':28}{'µs':>8}{'of objects':>12}\n")
    for name, values in taken.items():
        median = statistics.median(values)
        sys.stdout.write(f"{name:28}{median:8.2f}{median / reference:12.3f}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
