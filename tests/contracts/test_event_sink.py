"""The EventSink port's guarantees, on every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.contracts.benches import OTHER_TOPIC, REFUSED_TOPIC, SINKS, TOPIC, SinkBench
from tests.kit.builders import event, events, parcels, run
from websocketmanager.domain.envelope import Parcel, count_events, divided, each_event
from websocketmanager.ports import EventSink, Refusal


@pytest.fixture(params=sorted(SINKS))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[SinkBench]:
    async with SINKS[request.param]() as bench:
        yield bench


async def publish_all(sink: EventSink, batch: Sequence[Parcel]) -> None:
    """Publishes as a caller must: what was not accepted is sent again."""
    rest = list(batch)
    while rest:
        result = await sink.publish(divided(rest, sink.max_batch)[0])
        assert result.refusal is None
        assert 0 < result.accepted <= sink.max_batch
        _, rest = divided(rest, result.accepted)


async def until_refused(
    sink: EventSink, batch: Sequence[Parcel]
) -> tuple[int, Refusal, list[Parcel]]:
    """Publishes as far as it goes.

    Returns:
        How many events were accepted, why the next was not, and what is left behind that one.
    """
    rest, accepted = list(batch), 0
    while (result := await sink.publish(rest)).refusal is None:
        assert result.accepted
        accepted += result.accepted
        _, rest = divided(rest, result.accepted)
        assert rest, "all were accepted"
    return accepted + result.accepted, result.refusal, divided(rest, result.accepted + 1)[1]


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
    accepted, refusal, behind = await until_refused(bench.sink, batch)

    assert accepted == 1
    assert refusal.definite
    assert refusal.problem
    assert behind == batch[2:]
    await publish_all(bench.sink, behind)
    got = await bench.received(2)
    assert [metadata["ce-id"] for _, _, metadata in got] == ["1", "3"]


async def test_topics_may_differ_within_a_batch(bench: SinkBench) -> None:
    await publish_all(bench.sink, [event(OTHER_TOPIC, 1), event(TOPIC, 2), event(OTHER_TOPIC, 3)])

    [(_, _, metadata)] = await bench.received(1)
    assert metadata["ce-id"] == "2"


async def test_overlapping_calls_keep_the_order_within_each(bench: SinkBench) -> None:
    streams = [
        parcels(TOPIC, [b"%d/%d" % (n, m) for m in range(50)], together=n % 2 == 0)
        for n in range(8)
    ]
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


# --- runs ----------------------------------------------------------------------------------------


async def test_a_run_arrives_as_its_messages_would_alone(bench: SinkBench) -> None:
    datas = [b"", b"\x00\xff", "ä😀".encode(), b"x" * 300_000, *(b"%d" % n for n in range(200))]
    first = run(TOPIC, datas, first=990)  # the numbers get another digit on the way
    several: list[Parcel] = [first, event(TOPIC, 1), run(TOPIC, [b"a", b"b"], first=2)]

    await publish_all(bench.sink, several)

    sent = each_event(several)
    got = await bench.received(len(sent))
    assert [data for _, data, _ in got] == [one.data for one in sent]
    for one, (topic, _, metadata) in zip(sent, got, strict=True):
        assert topic == TOPIC
        assert one.metadata.items() <= metadata.items()


async def test_a_run_beyond_a_batch_is_accepted_in_parts(bench: SinkBench) -> None:
    rest: list[Parcel] = [run(TOPIC, [b"%d" % n for n in range(1300)]), event(TOPIC, 1301)]
    accepted = 0
    while rest:
        result = await bench.sink.publish(rest)  # more than `max_batch`: it takes what it can
        assert result.refusal is None
        assert 0 < result.accepted <= count_events(rest)
        accepted += result.accepted
        _, rest = divided(rest, result.accepted)

    assert accepted == 1301
    got = [metadata["ce-id"] for _, _, metadata in await bench.received(1301)]
    assert got == [str(number) for number in range(1, 1302)]


async def test_a_run_on_a_refused_topic_stops_the_batch_at_its_first(bench: SinkBench) -> None:
    batch: list[Parcel] = [
        run(TOPIC, [b"1", b"2", b"3"]),
        run(REFUSED_TOPIC, [b"x"] * 3, first=4),
        run(TOPIC, [b"7", b"8"], first=7),
    ]
    accepted, refusal, behind = await until_refused(bench.sink, batch)

    assert accepted == 3
    assert (refusal.definite, refusal.whole_topic) == (True, True)
    assert [one.metadata["ce-id"] for one in each_event(behind)] == ["5", "6", "7", "8"]
    await publish_all(bench.sink, divided(behind, 2)[1])
    got = await bench.received(5)
    assert [metadata["ce-id"] for _, _, metadata in got] == ["1", "2", "3", "7", "8"]


async def test_a_message_too_large_is_refused_in_the_middle_of_its_run(bench: SinkBench) -> None:
    if not bench.too_large:
        pytest.skip("it refuses no size")
    datas = [b"1", b"2", b"x" * bench.too_large, b"4"]
    accepted, refusal, behind = await until_refused(bench.sink, [run(TOPIC, datas)])

    assert accepted == 2
    assert (refusal.definite, refusal.whole_topic) == (True, False)
    await publish_all(bench.sink, behind)
    got = await bench.received(3)
    assert [metadata["ce-id"] for _, _, metadata in got] == ["1", "2", "4"]


async def test_a_run_that_is_sent_again_has_equal_ids_and_bytes(bench: SinkBench) -> None:
    """As a caller must that does not know what became of it."""
    again = run(TOPIC, [b"a", b"b", b"c"], first=998)
    for _ in range(2):
        await publish_all(bench.sink, [again])
    # Its rest alone is numbered as before.
    await publish_all(bench.sink, [again.part(1, 3)])

    got = [(data, metadata["ce-id"]) for _, data, metadata in await bench.received(8)]
    whole = [(b"a", "998"), (b"b", "999"), (b"c", "1000")]
    assert got == [*whole, *whole, *whole[1:]]
