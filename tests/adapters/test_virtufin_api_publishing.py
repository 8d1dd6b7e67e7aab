"""Publishing: the choice of the RPC, batches, and what a refusal means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from grpc import StatusCode

from tests.kit.api_client import once_reachable, open_api
from tests.kit.builders import event, events, parcels, run
from tests.kit.journal import RecordingJournal
from tests.kit.scripted_api import (
    ScriptedApi,
    Trouble,
    always,
    running_scripted_api,
    sequence,
    sprinkle,
)
from websocketmanager.adapters.virtufin_api import VirtufinApi
from websocketmanager.domain.envelope import divided
from websocketmanager.domain.facts import EventsPublished, PublishModeChosen
from websocketmanager.errors import ApiUnauthenticated, ApiUnavailable
from websocketmanager.ports import PublishResult

TOPIC = "websocketmanager.test"
REFUSED = "nowhere"
ONE, MANY = "Pubsub.PublishEvent", "Pubsub.PublishEvents"
DEFINITE = [
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.PERMISSION_DENIED,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.OUT_OF_RANGE,
]
VAGUE = [
    Trouble(),
    Trouble(StatusCode.INTERNAL),
    Trouble(StatusCode.UNKNOWN),
    Trouble(StatusCode.DATA_LOSS),
]


@pytest.fixture(params=["unary", "batching", "streaming"])
async def either(request: pytest.FixtureRequest) -> AsyncIterator[ScriptedApi]:
    streams = request.param == "streaming"
    batches = streams or request.param == "batching"
    async with running_scripted_api(batches=batches, streams=streams) as server:
        server.refused_topics.add(REFUSED)
        yield server


@pytest.fixture
async def unary() -> AsyncIterator[ScriptedApi]:
    async with running_scripted_api() as server:
        server.refused_topics.add(REFUSED)
        yield server


@pytest.fixture
async def batching() -> AsyncIterator[ScriptedApi]:
    async with running_scripted_api(batches=True) as server:
        server.refused_topics.add(REFUSED)
        yield server


async def chosen(api: VirtufinApi) -> None:
    """Publishes once, so that the mode is known."""
    assert (await api.publish([event(number=0)])).accepted == 1


def ids(server: ScriptedApi) -> list[str]:
    return [published.metadata["ce-id"] for published in server.published]


async def test_every_event_carries_the_pubsub_name(unary: ScriptedApi) -> None:
    async with open_api(unary.port, pubsub_name="bus") as api:
        await api.publish([event()])

    [published] = unary.published
    assert published.topic == TOPIC
    assert published.metadata["pubsubname"] == "bus"


@pytest.mark.parametrize("together", [False, True])
async def test_a_batch_api_gets_batches(batching: ScriptedApi, together: bool) -> None:
    journal = RecordingJournal()
    async with open_api(batching.port, journal=journal) as api:
        assert (api.max_batch, api.max_in_flight) == (1024, 1)
        datas = [b"%d" % n for n in range(1024)]
        result = await api.publish(parcels(TOPIC, datas, together=together))

        assert result == PublishResult(1024)
        assert batching.operations() == [MANY]
        assert (api.max_batch, api.max_in_flight) == (1024, 1)
    assert journal.of(PublishModeChosen) == [PublishModeChosen("batch")]
    [published] = journal.of(EventsPublished)
    assert published.count == 1024
    assert published.size == sum(len(b"%d" % n) for n in range(1024))


@pytest.mark.parametrize("together", [False, True])
async def test_an_api_without_batches_gets_ordered_unary_calls(
    unary: ScriptedApi, together: bool
) -> None:
    journal = RecordingJournal()
    async with open_api(unary.port, journal=journal) as api:
        batch = parcels(TOPIC, [b"a", b"b", b"c"], together=together)
        assert await api.publish(batch) == PublishResult(1)  # limits changed: read them again
        assert (api.max_batch, api.max_in_flight) == (1, 64)
        assert await api.publish(divided(batch, 1)[1]) == PublishResult(2)

    assert [published.data for published in unary.published] == [b"a", b"b", b"c"]
    assert unary.operations() == [ONE, ONE, ONE]
    assert journal.of(PublishModeChosen) == [PublishModeChosen("unary")]


async def test_another_server_without_batches_is_noticed(batching: ScriptedApi) -> None:
    journal = RecordingJournal()
    async with open_api(batching.port, journal=journal, breaker_threshold=1000) as api:
        await chosen(api)
        await batching.go_away()
        batching.batches = False
        await batching.come_back()
        result = await once_reachable(lambda: api.publish(events(TOPIC, [b"a", b"b"])))

        assert result == PublishResult(1)
        assert (api.max_batch, api.max_in_flight) == (1, 64)
    assert ids(batching) == ["0", "1"]
    assert [fact.mode for fact in journal.of(PublishModeChosen)] == ["batch", "unary"]


async def test_one_event_is_published_by_the_unary_rpc_of_a_batch_api(
    batching: ScriptedApi,
) -> None:
    async with open_api(batching.port) as api:
        await chosen(api)
        await api.publish([event(number=1)])

    assert batching.operations() == [MANY, ONE]


@pytest.mark.parametrize("together", [False, True])
async def test_a_batch_is_bounded_by_its_bytes(batching: ScriptedApi, together: bool) -> None:
    async with open_api(batching.port) as api:
        batch = parcels(TOPIC, [b"x" * 300_000] * 5, together=together)

        result = await api.publish(batch)

        assert result == PublishResult(3)
        assert batching.calls[0].request.ByteSize() <= 1024 * 1024


async def test_a_single_large_event_goes_alone(batching: ScriptedApi) -> None:
    async with open_api(batching.port) as api:
        await chosen(api)
        result = await api.publish(events(TOPIC, [b"x" * 3_000_000, b"y"]))

        assert result == PublishResult(1)
        assert len(batching.published[-1].data) == 3_000_000


@pytest.mark.parametrize("known", [False, True])
async def test_an_event_above_the_limit_is_refused_for_good(
    batching: ScriptedApi, known: bool
) -> None:
    async with open_api(batching.port) as api:
        if known:
            await chosen(api)
        large, small = events(TOPIC, [b"x" * 5_000_000, b"y"])

        result = await api.publish([large, small])

        assert result.accepted == 0
        assert result.refusal is not None
        assert result.refusal.definite
        assert not result.refusal.whole_topic
        assert api.breaker_state == "closed"
        assert (await api.publish([small])).accepted == 1


@pytest.mark.parametrize("together", [False, True])
async def test_a_limit_of_the_api_below_ours_is_learnt(together: bool) -> None:
    async with (
        running_scripted_api(batches=True, max_message_bytes=50_000) as server,
        open_api(server.port) as api,
    ):
        datas = [b"x" * 10_000] * 20 + [b"x" * 60_000, b"end"]
        rest = parcels(TOPIC, datas, together=together)
        results = []
        while rest:
            result = await api.publish(rest)
            results.append(result)
            _, rest = divided(rest, result.accepted + (result.refusal is not None))

        refusals = [result.refusal for result in results if result.refusal is not None]
        assert [refusal.definite for refusal in refusals] == [True]
        assert len(server.published) == 21
        assert [int(number) for number in ids(server)] == [*range(1, 21), 22]


@pytest.mark.parametrize("code", DEFINITE, ids=lambda code: code.name)
async def test_a_refusal_is_definite(either: ScriptedApi, code: StatusCode) -> None:
    async with open_api(either.port) as api:
        await chosen(api)
        either.script = always(Trouble(code, message="the rule"))

        for batch in ([event()], events(TOPIC, [b"a", b"b"]), [run(TOPIC, [b"a", b"b"])]):
            result = await api.publish(batch)

            assert result.accepted == 0
            assert result.refusal is not None
            assert result.refusal.definite
            assert "the rule" in result.refusal.problem


@pytest.mark.parametrize("trouble", VAGUE, ids=lambda trouble: str(trouble.code))
async def test_a_failure_without_reason_may_be_tried_again(
    either: ScriptedApi, trouble: Trouble
) -> None:
    async with open_api(either.port) as api:
        await chosen(api)
        either.script = always(trouble)

        result = await api.publish([event(number=1)])

        assert result.accepted == 0
        assert result.refusal is not None
        assert not result.refusal.definite
        assert either.operations().count(ONE) <= 2  # the caller paces what follows
        either.script = None
        assert await api.publish([event(number=1)]) == PublishResult(1)


@pytest.mark.parametrize("trouble", VAGUE, ids=lambda trouble: str(trouble.code))
async def test_a_failure_of_a_whole_batch_is_pinned_to_one_event(
    batching: ScriptedApi, trouble: Trouble
) -> None:
    async with open_api(batching.port) as api:
        await chosen(api)
        batching.script = sequence(trouble, operations={MANY})

        assert await api.publish(events(TOPIC, [b"a", b"b"])) == PublishResult(1)
        assert batching.operations() == [MANY, MANY, ONE]


async def test_a_batch_that_stopped_says_why(batching: ScriptedApi) -> None:
    async with open_api(batching.port) as api:
        batch = [event(number=1), event(number=2), event(REFUSED, 3), event(number=4)]

        result = await api.publish(batch)

        assert result.accepted == 2
        assert result.refusal is not None
        assert result.refusal.definite
        assert ids(batching) == ["1", "2"]


async def test_a_run_that_stopped_in_its_middle_says_why(either: ScriptedApi) -> None:
    either.refused_data.add(b"c")
    async with open_api(either.port) as api:
        await chosen(api)
        rest = parcels(TOPIC, [b"a", b"b", b"c", b"d"], together=True)
        result = await api.publish(rest)

        assert result.accepted == 2
        assert result.refusal is not None
        assert result.refusal.definite
        assert "refused" in result.refusal.problem
        assert ids(either) == ["0", "1", "2"]
        assert await api.publish(divided(rest, 3)[1]) == PublishResult(1)
        assert ids(either) == ["0", "1", "2", "4"]


async def test_what_is_told_of_a_part_of_a_run_is_that_part(batching: ScriptedApi) -> None:
    journal = RecordingJournal()
    async with open_api(batching.port, journal=journal) as api:
        assert await api.publish([run(TOPIC, [b"x" * 400_000] * 3)]) == PublishResult(2)
    [published] = journal.of(EventsPublished)
    assert (published.count, published.size) == (2, 800_000)


async def test_a_run_of_one_is_published_by_the_unary_rpc(batching: ScriptedApi) -> None:
    async with open_api(batching.port) as api:
        await chosen(api)
        assert await api.publish([run(TOPIC, [b"x"])]) == PublishResult(1)
        assert await api.publish([run(TOPIC, [b"x", b"y"])]) == PublishResult(2)
    assert batching.operations() == [MANY, ONE, MANY]


async def test_of_a_run_beyond_a_batch_the_first_part_is_taken(batching: ScriptedApi) -> None:
    async with open_api(batching.port) as api:
        assert await api.publish([run(TOPIC, [b"x"] * 1500)]) == PublishResult(1024)


async def test_what_was_accepted_counts_when_the_reason_is_out_of_reach(
    batching: ScriptedApi,
) -> None:
    async with open_api(batching.port) as api:
        await chosen(api)
        batching.script = always(Trouble(StatusCode.UNAVAILABLE), operations={ONE})

        result = await api.publish([event(number=1), event(REFUSED, 2)])
        assert result == PublishResult(1)

        with pytest.raises(ApiUnavailable):
            await api.publish([event(REFUSED, 2), event(number=3)])


@pytest.mark.parametrize("together", [False, True])
async def test_what_was_accepted_counts_when_unary_calls_break_off(
    unary: ScriptedApi, together: bool
) -> None:
    async with open_api(unary.port) as api:
        await chosen(api)
        unary.script = lambda call: (
            Trouble(StatusCode.UNAVAILABLE) if call.request.data == b"c" else None
        )

        datas = [b"a", b"b", b"c", b"d"]
        result = await api.publish(parcels(TOPIC, datas, together=together))

        assert result == PublishResult(2)
        with pytest.raises(ApiUnavailable):
            await api.publish(events(TOPIC, [b"c", b"d"]))
    assert [published.data for published in unary.published[1:]] == [b"a", b"b"]


@pytest.mark.parametrize(
    "code",
    [
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
    ],
    ids=lambda code: code.name,
)
async def test_transient_failures_are_repeated_then_unavailable(
    either: ScriptedApi, code: StatusCode
) -> None:
    async with open_api(either.port) as api:
        await chosen(api)
        either.script = sequence(*[Trouble(code)] * 3)
        assert (await api.publish(events(TOPIC, [b"a", b"b"]))).accepted == 2

        either.script = always(Trouble(code))
        with pytest.raises(ApiUnavailable):
            await api.publish(events(TOPIC, [b"c", b"d"]))

    assert [published.data for published in either.published[1:]] == [b"a", b"b"]


async def test_an_event_published_before_its_answer_was_lost_repeats_its_id(
    unary: ScriptedApi,
) -> None:
    async with open_api(unary.port) as api:
        await chosen(api)
        unary.script = sequence(Trouble(StatusCode.UNAVAILABLE, after=True))

        assert await api.publish([event(number=7)]) == PublishResult(1)

    assert ids(unary) == ["0", "7", "7"]


async def test_a_refused_key_needs_an_operator(either: ScriptedApi) -> None:
    async with open_api(either.port) as api:
        await chosen(api)
        either.required_key = "another"

        with pytest.raises(ApiUnauthenticated):
            await api.publish(events(TOPIC, [b"a", b"b"]))


async def test_an_api_without_any_publish_rpc_is_unavailable(unary: ScriptedApi) -> None:
    async with open_api(unary.port) as api:
        unary.script = always(Trouble(StatusCode.UNIMPLEMENTED))

        with pytest.raises(ApiUnavailable):
            await api.publish([event()])


async def test_an_answer_without_status_is_a_success(batching: ScriptedApi) -> None:
    batching.omit_status = True
    async with open_api(batching.port) as api:
        assert await api.publish(events(TOPIC, [b"a", b"b"])) == PublishResult(2)
        assert await api.publish([event()]) == PublishResult(1)


async def test_unary_calls_run_in_parallel_across_callers(unary: ScriptedApi) -> None:
    async with open_api(unary.port) as api:
        await chosen(api)
        holds = [unary.hold(ONE) for _ in range(64)]
        tasks = [asyncio.create_task(api.publish([event(number=n)])) for n in range(64)]
        async with asyncio.timeout(10):
            await asyncio.gather(*(hold.arrived.wait() for hold in holds))
        for hold in holds:
            hold.release()

        results = await asyncio.gather(*tasks)

        assert results == [PublishResult(1)] * 64


async def test_cancelling_a_publish_ends_it(batching: ScriptedApi) -> None:
    async with open_api(batching.port) as api:
        await chosen(api)
        hold = batching.hold(MANY)
        task = asyncio.create_task(api.publish(events(TOPIC, [b"a", b"b"])))
        await hold.arrived.wait()
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert await api.publish(events(TOPIC, [b"a", b"b"])) == PublishResult(2)


@pytest.mark.parametrize("together", [False, True])
async def test_sprinkled_failures_lose_nothing_and_keep_the_order(
    either: ScriptedApi, together: bool
) -> None:
    troubles = [
        Trouble(),
        Trouble(after=True),
        Trouble(StatusCode.UNAVAILABLE),
        Trouble(StatusCode.UNAVAILABLE, after=True),
        Trouble(StatusCode.DEADLINE_EXCEEDED, after=True),
        Trouble(StatusCode.RESOURCE_EXHAUSTED),
        Trouble(StatusCode.INTERNAL, after=True),
    ]
    datas = [b"%d" % number for number in range(300)]
    rest = parcels(TOPIC, datas, together=together)
    async with open_api(either.port, breaker_threshold=1000) as api:
        either.script = sprinkle(seed=11, rate=0.3, troubles=troubles)
        while rest:
            try:
                result = await api.publish(divided(rest, min(api.max_batch, 7))[0])
            except ApiUnavailable:
                continue
            assert result.refusal is None or not result.refusal.definite
            _, rest = divided(rest, result.accepted)

    assert list(dict.fromkeys(published.data for published in either.published)) == datas
    assert [int(its_id) for its_id in dict.fromkeys(ids(either))] == list(range(1, 301))
    assert len(either.published) > len(datas)
