"""The direct sink, beyond what its contract suite says: facts, limits, and the API's end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.embedded.client import Client, read_events, running
from tests.kit.builders import event, events
from tests.kit.clock import ManualClock
from tests.kit.journal import RecordingJournal
from websocketmanager.domain.facts import EventsPublished, PublishModeChosen
from websocketmanager.embedded.sink import DirectEventSink
from websocketmanager.errors import ApiUnavailable
from websocketmanager.ports import PublishResult

LIMIT = 3000


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running(max_message_bytes=LIMIT) as client:
        yield client


def sink_of(client: Client, journal: RecordingJournal | None = None) -> DirectEventSink:
    return DirectEventSink(
        client.api.publisher,
        pubsub_name="bus",
        clock=ManualClock(),
        journal=journal or RecordingJournal(),
    )


async def test_an_event_carries_the_pubsub_name(client: Client) -> None:
    subscriber, _ = await client.subscribe_events("demo.ticks")

    await sink_of(client).publish([event("demo.ticks", 7)])

    [got] = await read_events(subscriber, 1)
    assert (got.metadata["pubsubname"], got.metadata["ce-id"]) == ("bus", "7")


async def test_it_tells_of_the_way_once_and_of_every_call(client: Client) -> None:
    journal = RecordingJournal()
    sink = sink_of(client, journal)
    await sink.publish(events("no-such-prefix", [b"1"]))
    assert journal.of(EventsPublished) == []

    for _ in range(2):
        await sink.publish(events("demo.ticks", [b"12", b"345"]))

    assert journal.of(PublishModeChosen) == [PublishModeChosen("direct")]
    assert [(fact.count, fact.size) for fact in journal.of(EventsPublished)] == [(2, 5), (2, 5)]


@pytest.mark.parametrize("subscribed", [False, True])
async def test_an_event_above_the_limit_is_refused_alone(client: Client, subscribed: bool) -> None:
    if subscribed:
        await client.subscribe_events("demo.ticks")
    batch = events("demo.ticks", [b"1", b"x" * LIMIT, b"2"])

    result = await sink_of(client).publish(batch)

    assert result.accepted == 1
    assert result.refusal is not None
    assert result.refusal.definite
    assert not result.refusal.whole_topic


async def test_an_event_that_no_subscriber_could_receive_is_refused_alone(client: Client) -> None:
    await client.subscribe_events("demo.ticks")

    result = await sink_of(client).publish(events("demo.ticks", [b"1", b"x" * (LIMIT - 100)]))

    assert result.accepted == 1
    assert result.refusal is not None
    assert not result.refusal.whole_topic


async def test_a_refused_topic_is_refused_with_all_that_goes_there(client: Client) -> None:
    result = await sink_of(client).publish(events("no-such-prefix", [b"1"]))

    assert result.refusal is not None
    assert result.refusal.whole_topic


async def test_no_more_than_a_batch_is_taken(client: Client) -> None:
    result = await sink_of(client).publish(events("demo.ticks", [b""] * 1500))

    assert result == PublishResult(1024)


async def test_an_api_that_stopped_takes_nothing() -> None:
    async with running() as client:
        sink = sink_of(client)
    with pytest.raises(ApiUnavailable):
        await sink.publish([event("demo.ticks")])
