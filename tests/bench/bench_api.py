"""What a message costs in the embedded API, by stage, for each size of batch.

    python -m tests.bench.bench_api [--rounds 50]

Process time, so that what else runs here disturbs little; the least of the rounds. Reading and
writing, gRPC's part, are in `bench_publish`. Microseconds are this machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from tests.bench.bench_encode import made
from tests.bench.bench_publish import Quiet
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.domain.wire import EventEncoder
from websocketmanager.embedded.checking import EventChecker
from websocketmanager.embedded.fanout import Fanout, QueueLimits
from websocketmanager.embedded.publisher import Publisher
from websocketmanager.embedded.store import opened_store
from websocketmanager.embedded.topics import ScenarioRegistry, TopicJudge

_BATCHES = (1, 10, 100, 1024)
_PLENTY = 1 << 30
#: Calls between two looks at the clock, whose steps are coarse.
_CALLS = 10


async def _least(step: Callable[[], Awaitable[object]], rounds: int, events: int) -> float:
    """Returns µs per event."""
    least = float("inf")
    for _ in range(rounds):
        began = time.process_time_ns()
        for _ in range(_CALLS):
            await step()
        least = min(least, time.process_time_ns() - began)
    return least / _CALLS / events / 1000


async def stages(count: int, rounds: int) -> dict[str, float]:
    """Returns µs per event of a batch of so many, by stage."""
    events = made(apart=1e-5)[:count]
    body, _ = EventEncoder("pubsub").batch(events, 0, _PLENTY)
    requests = pb.SerialisedBatch.FromString(body).events[:]
    checker = EventChecker()
    topics = checker.topics(body, requests)
    fanout = Fanout(QueueLimits(), Quiet())
    subscription = fanout.subscribe("1", topics)

    async with opened_store(":memory:") as store:
        publisher = Publisher(
            fanout,
            TopicJudge(ScenarioRegistry(store, ()), "platform"),
            max_message_bytes=_PLENTY,
            clock=SystemClock(),
            dice=SystemDice(),
        )

        async def split() -> object:
            return pb.SerialisedBatch.FromString(body).events[:]

        async def check() -> object:
            return checker.topics(body, requests)

        async def full_check() -> object:
            return [event.topic for event in pb.CheckedBatch.FromString(body).events]

        async def publish_and_take() -> object:
            await publisher.publish(topics, requests)
            return await subscription.take(_BATCHES[-1], _PLENTY)

        steps = (split, check, full_check, publish_and_take)
        return {step.__name__: await _least(step, rounds, count) for step in steps}


def main() -> int:
    """Prints a line per size of batch."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    for count in _BATCHES:
        found = asyncio.run(stages(count, options.rounds))
        shown = ", ".join(f"{name.replace('_', ' ')} {cost:.2f}" for name, cost in found.items())
        sys.stdout.write(f"{count:5} events, µs each: {shown}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
