"""The EventSink port's guarantees, on every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.contracts.benches import OTHER_TOPIC, REFUSED_TOPIC, SINKS, TOPIC, SinkBench
from tests.kit.builders import event, events
from websocketmanager.domain.envelope import Event
from websocketmanager.ports import EventSink


@pytest.fixture(params=sorted(SINKS))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[SinkBench]:
    async with SINKS[request.param]() as bench:
        yield bench


async def publish_all(sink: EventSink, batch: Sequence[Event]) -> None:
    """Publishes as a caller must: what was not accepted is sent again."""
    rest = list(batch)
    while rest:
        result = await sink.publish(rest[: sink.max_batch])
        assert result.refusal is None
        assert result.accepted
        del rest[: result.accepted]


async def test_nothing_is_accepted_of_nothing(bench: SinkBench) -> None:
    result = await bench.sink.publish([])

    assert (result.accepted, result.refusal) == (0, None)


async def test_events_arrive_in_order_with_equal_bytes_and_metadata(bench: SinkBench) -> None:
    datas = [b"", b"\x00\xff", "ä😀".encode(), b"x" * 300_000, *(b"%d" % n for n in range(200))]
    sent = events(TOPIC, datas)

    await publish_all(bench.sink, sent)

    got = await bench.received(len(sent))
    assert [data for _, data, _ in got] == datas
    for event_sent, (topic, _, metadata) in zip(sent, got, strict=True):
        assert topic == TOPIC
        assert event_sent.metadata.items() <= metadata.items()


async def test_a_refused_event_stops_the_batch_there(bench: SinkBench) -> None:
    batch = [event(TOPIC, 1), event(REFUSED_TOPIC, 2), event(TOPIC, 3)]
    accepted = 0
    result = await bench.sink.publish(batch)
    while result.refusal is None:
        accepted += result.accepted
        result = await bench.sink.publish(batch[accepted:])
    accepted += result.accepted

    assert accepted == 1
    assert result.refusal.definite
    assert result.refusal.problem
    await publish_all(bench.sink, batch[2:])
    got = await bench.received(2)
    assert [metadata["ce-id"] for _, _, metadata in got] == ["1", "3"]


async def test_topics_may_differ_within_a_batch(bench: SinkBench) -> None:
    await publish_all(bench.sink, [event(OTHER_TOPIC, 1), event(TOPIC, 2), event(OTHER_TOPIC, 3)])

    [(_, _, metadata)] = await bench.received(1)
    assert metadata["ce-id"] == "2"


async def test_overlapping_calls_keep_the_order_within_each(bench: SinkBench) -> None:
    streams = [events(TOPIC, [b"%d/%d" % (n, m) for m in range(50)]) for n in range(8)]
    await publish_all(bench.sink, [event(OTHER_TOPIC)])

    await asyncio.gather(*(publish_all(bench.sink, stream) for stream in streams))

    got = [data for _, data, _ in await bench.received(8 * 50)]
    for n in range(8):
        assert [d for d in got if d.startswith(b"%d/" % n)] == [
            b"%d/%d" % (n, m) for m in range(50)
        ]


async def test_limits_are_positive_and_batch_or_parallel(bench: SinkBench) -> None:
    await publish_all(bench.sink, [event(TOPIC)])

    limits = (bench.sink.max_batch, bench.sink.max_in_flight, bench.sink.ordered)

    assert limits in {(1024, 1, False), (1024, 4, True), (1, 64, False)}
