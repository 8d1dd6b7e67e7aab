"""State and Pubsub as a caller meets them: every answer and every refusal."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import grpc
import pytest

from tests.embedded.client import EOF, Client, event, read_events, running
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.system import SystemClock
from websocketmanager.domain.facts import RpcCrashed, SubscriberCut
from websocketmanager.embedded.fanout import QueueLimits

Code = grpc.StatusCode
ME = "websocketmanager"


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    """Awaits a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code(), failure.value.details() or ""


# --- State ---------------------------------------------------------------------------------


async def test_a_saved_value_comes_back_with_an_etag(client: Client) -> None:
    await client.save("k", '{"ü":1}')
    value, etag = await client.get("k")
    assert value == '{"ü":1}'
    assert etag


async def test_an_absent_key_answers_with_nothing(client: Client) -> None:
    assert await client.get("absent") == ("", "")


async def test_an_empty_value_is_a_value(client: Client) -> None:
    await client.save("k", "")
    value, etag = await client.get("k")
    assert value == ""
    assert etag


async def test_without_an_etag_the_last_write_wins(client: Client) -> None:
    await client.save("k", "1")
    await client.save("k", "2")
    assert (await client.get("k"))[0] == "2"


async def test_every_save_changes_the_etag_and_none_comes_back(client: Client) -> None:
    etags = []
    for _ in range(3):
        await client.save("k", "same")
        etags.append((await client.get("k"))[1])
        await client.state.DeleteState(pb.DeleteStateRequest(service=ME, key="k"))
    assert len(set(etags)) == 3


async def test_the_current_etag_saves_and_a_stale_one_aborts(client: Client) -> None:
    await client.save("k", "1")
    _, etag = await client.get("k")
    await client.save("k", "2", etag=etag)
    code, details = await refusal(client.save("k", "3", etag=etag))
    assert code is Code.ABORTED
    assert details == "the etag of k is not current"
    assert (await client.get("k"))[0] == "2"


async def test_an_etag_of_a_deleted_key_is_stale(client: Client) -> None:
    await client.save("k", "1")
    _, etag = await client.get("k")
    await client.state.DeleteState(pb.DeleteStateRequest(service=ME, key="k"))
    assert (await refusal(client.save("k", "2", etag=etag)))[0] is Code.ABORTED
    assert await client.get("k") == ("", "")


async def test_only_if_absent_saves_once(client: Client) -> None:
    await client.save("k", "1", only_if_absent=True)
    code, details = await refusal(client.save("k", "2", only_if_absent=True))
    assert code is Code.ABORTED
    assert "has a value already" in details
    assert (await client.get("k"))[0] == "1"


async def test_of_many_that_create_one_does(client: Client) -> None:
    calls = (client.save("k", str(n), only_if_absent=True) for n in range(20))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results.count(None) == 1
    assert (await client.get("k"))[0] == str(results.index(None))


async def test_delete_removes_and_may_be_repeated(client: Client) -> None:
    await client.save("k", "1")
    for _ in range(2):
        answer = await client.state.DeleteState(pb.DeleteStateRequest(service=ME, key="k"))
        assert answer.status.success
    assert await client.get("k") == ("", "")


async def test_all_state_is_what_was_registered(client: Client) -> None:
    for key in ("a", "b", "c"):
        await client.save(key, key.upper())
    await client.save("a", "other", service="scenario")
    answer = await client.state.RegisterKeys(
        pb.RegisterKeysRequest(service=ME, keys=["a", "b", "absent"])
    )
    assert answer.status.success
    everything = await client.state.GetAllState(pb.GetAllStateRequest(service=ME))
    assert dict(everything.values) == {"a": "A", "b": "B"}
    others = await client.state.GetAllState(pb.GetAllStateRequest(service="scenario"))
    assert dict(others.values) == {}


async def test_services_have_their_own_keys(client: Client) -> None:
    await client.save("k", "mine")
    await client.save("k", "theirs", service="workmanager")
    assert (await client.get("k"))[0] == "mine"
    assert (await client.get("k", "workmanager"))[0] == "theirs"


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("SaveState", pb.SaveStateRequest(service="unknown", key="k")),
        ("GetState", pb.GetStateRequest(service="unknown", key="k")),
        ("GetAllState", pb.GetAllStateRequest(service="unknown")),
        ("RegisterKeys", pb.RegisterKeysRequest(service="unknown", keys=["k"])),
        ("DeleteState", pb.DeleteStateRequest(service="unknown", key="k")),
        ("GetState", pb.GetStateRequest(key="k")),
    ],
)
async def test_unknown_services_are_refused(client: Client, rpc: str, request_: Any) -> None:
    code, details = await refusal(getattr(client.state, rpc)(request_))
    assert code is Code.INVALID_ARGUMENT
    assert details.startswith("service: ")
    assert "websocketmanager" in details


@pytest.mark.parametrize(
    ("rpc", "request_", "path"),
    [
        ("SaveState", pb.SaveStateRequest(service=ME, value="v"), "key: "),
        ("GetState", pb.GetStateRequest(service=ME), "key: "),
        ("RegisterKeys", pb.RegisterKeysRequest(service=ME, keys=["a", ""]), "keys[1]: "),
        ("DeleteState", pb.DeleteStateRequest(service=ME), "key: "),
        (
            "SaveState",
            pb.SaveStateRequest(service=ME, key="k", etag="1", only_if_absent=True),
            "only_if_absent: ",
        ),
    ],
)
async def test_malformed_requests_name_the_field(
    client: Client, rpc: str, request_: Any, path: str
) -> None:
    code, details = await refusal(getattr(client.state, rpc)(request_))
    assert code is Code.INVALID_ARGUMENT
    assert details.startswith(path)


async def test_a_hostile_service_name_stays_short_in_the_answer(client: Client) -> None:
    request = pb.GetStateRequest(service="\N{SNOWMAN}\r\n" * 100_000, key="k")
    code, details = await refusal(client.state.GetState(request))
    assert code is Code.INVALID_ARGUMENT
    assert details.isascii()
    assert len(details) < 500


async def test_many_faults_stay_short_in_the_answer(client: Client) -> None:
    request = pb.RegisterKeysRequest(service=ME, keys=[""] * 5000)
    code, details = await refusal(client.state.RegisterKeys(request))
    assert code is Code.INVALID_ARGUMENT
    assert details.startswith("keys[0]: is never empty; keys[1]: ")
    assert len(details) < 3000  # it travels in a header


# --- Pubsub --------------------------------------------------------------------------------


async def test_an_event_arrives_whole(client: Client) -> None:
    stream, _ = await client.subscribe("demo.ticks")
    data = bytes(range(256))
    metadata = {"ce-id": "1", "ce-websocketurl": "wss://ü/", "pubsubname": "pubsub", "empty": ""}
    await client.publish("demo.ticks", data, metadata)
    received = await stream.read()
    assert received.topic == "demo.ticks"
    assert received.data == data
    assert dict(received.metadata) == metadata
    assert received.message_id
    assert datetime.fromisoformat(received.timestamp).tzinfo is not None


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 1_048_576])
async def test_sizes_around_each_length_of_a_length_arrive(client: Client, size: int) -> None:
    single, _ = await client.subscribe("demo.ticks")
    several, _ = await client.subscribe_events("demo.ticks")
    data = b"\xff" * size
    await client.publish("demo.ticks", data)
    assert (await single.read()).data == data
    assert [e.data for e in await read_events(several, 1)] == [data]


async def test_message_ids_are_unique_and_equal_for_all_subscribers(client: Client) -> None:
    one, _ = await client.subscribe_events("demo.ticks")
    other, _ = await client.subscribe_events("demo.ticks")
    await client.publish_all([event("demo.ticks")] * 100)
    await client.publish("demo.ticks")
    ids = [e.message_id for e in await read_events(one, 101)]
    assert len(set(ids)) == 101
    assert [e.message_id for e in await read_events(other, 101)] == ids


async def test_only_the_exact_topic_is_delivered(client: Client) -> None:
    stream, _ = await client.subscribe("demo.ticks")
    for topic in ("demo.tick", "demo.ticks.btc", "Demo.ticks", "demo.ticks"):
        await client.publish(topic, topic.encode())
    assert (await stream.read()).data == b"demo.ticks"


async def test_a_batch_keeps_its_order_over_topics(client: Client) -> None:
    stream, _ = await client.subscribe_events("demo.a", "demo.b", "demo.a")
    events = [event(("demo.a", "demo.b", "demo.c")[n % 3], b"%d" % n) for n in range(3000)]
    answer = await client.publish_all(events)
    assert answer.published == 3000
    assert answer.status == pb.StatusResponse(success=True, status="OK")
    received = await read_events(stream, 2000)
    assert [(e.topic, e.data) for e in received] == [
        (e.topic, e.data) for e in events if e.topic != "demo.c"
    ]


async def test_what_waits_shares_stream_messages(client: Client) -> None:
    stream, _ = await client.subscribe_events("demo.ticks")
    await client.publish_all([event("demo.ticks", b"%d" % n) for n in range(1500)])
    first, second = await stream.read(), await stream.read()
    assert len(first.events) == 1024
    assert len(second.events) == 476


async def test_stream_messages_are_bounded_in_bytes(client: Client) -> None:
    stream, _ = await client.subscribe_events("demo.ticks")
    await client.publish_all([event("demo.ticks", b"x" * 400_000)] * 5)
    counts = [len((await stream.read()).events) for _ in range(3)]
    assert counts == [2, 2, 1]


async def test_a_giant_batch_of_tiny_events_lets_others_run() -> None:
    class CountingClock(SystemClock):
        yields = 0

        async def sleep(self, seconds: float) -> None:
            assert seconds == 0
            self.yields += 1
            await super().sleep(seconds)

    clock = CountingClock()
    async with running(clock=clock) as client:
        assert (await client.publish_all([event("demo.ticks")] * 1024)).published == 1024
        assert clock.yields == 0
        assert (await client.publish_all([event("demo.ticks")] * 50_000)).published == 50_000
        assert clock.yields == 48


async def test_an_empty_batch_is_published(client: Client) -> None:
    answer = await client.publish_all([])
    assert (answer.published, answer.status.success) == (0, True)


async def test_a_batch_stops_at_the_first_refused_event(client: Client) -> None:
    stream, _ = await client.subscribe_events("demo.ticks")
    answer = await client.publish_all(
        [event("demo.ticks", b"0"), event("demo.ticks", b"1"), event("bad"), event("demo.ticks")]
    )
    assert answer.published == 2
    assert not answer.status.success
    assert answer.status.status == "ERROR"
    assert answer.status.message.startswith("INVALID_ARGUMENT: events[2].topic: 'bad' must be ")
    await client.publish("demo.ticks", b"after")
    assert [e.data for e in await read_events(stream, 3)] == [b"0", b"1", b"after"]


@pytest.mark.parametrize(
    ("topic", "rule"),
    [
        ("", "never empty"),
        ("nodots", "must be <service>.<category>[.<sub>]"),
        ("act.market.x.y.z", "must be act.exchange.<venue>.<entity>.<event>[.<id>]"),
        ("hyp.a.b", "must be hyp.<name>.exchange.<venue>.<entity>.<event>[.<id>]"),
        ("sc.LIVE", "must be sc.<scenarioId>.<domain>.<entity>.<event>[.<id>]"),
        ("sc.S1.market.price.changed", "'S1', which is not registered and active"),
    ],
)
async def test_topics_against_the_rules_are_refused(client: Client, topic: str, rule: str) -> None:
    for call in (
        client.pubsub.PublishEvent(event(topic)),
        client.pubsub.Subscribe(pb.PubsubSubscribeRequest(topic=topic)).read(),
        client.pubsub.SubscribeEvents(pb.SubscribeEventsRequest(topics=["a.b", topic])).read(),
    ):
        code, details = await refusal(call)
        assert code is Code.INVALID_ARGUMENT
        assert details.startswith(("topic: ", "topics[1]: "))
        assert rule in details


async def test_subscribing_to_no_topic_is_refused(client: Client) -> None:
    call = client.pubsub.SubscribeEvents(pb.SubscribeEventsRequest())
    code, details = await refusal(call.read())
    assert code is Code.INVALID_ARGUMENT
    assert details.startswith("topics: ")


async def test_a_scenario_is_accepted_while_it_is_active(client: Client) -> None:
    topic = "sc.S1.market.price.changed"
    await client.save("scenario.S1", "{}", service="scenario")
    stream, _ = await client.subscribe(topic)
    await client.publish(topic, b"1")
    answer = await client.publish_all([event(topic, b"2"), event("sc.S2.market.price.changed")])
    assert answer.published == 1
    assert "'S2'" in answer.status.message
    await client.save("scenario.S1", '{"status":"paused"}', service="scenario")
    assert (await refusal(client.publish(topic)))[0] is Code.INVALID_ARGUMENT
    await client.save("scenario.S1", '{"status":"active"}', service="scenario")
    await client.publish(topic, b"3")
    await client.state.DeleteState(pb.DeleteStateRequest(service="scenario", key="scenario.S1"))
    assert (await refusal(client.publish(topic)))[0] is Code.INVALID_ARGUMENT
    assert [(await stream.read()).data for _ in range(3)] == [b"1", b"2", b"3"]


async def test_a_scenario_of_another_service_counts_but_the_scenario_service_decides(
    client: Client,
) -> None:
    topic = "sc.S1.market.price.changed"
    await client.save("scenario.S1", "{}", service="workmanager")
    await client.publish(topic)
    await client.save("scenario.S1", '{"status":"archived"}', service="scenario")
    assert (await refusal(client.publish(topic)))[0] is Code.INVALID_ARGUMENT


async def test_the_live_scenario_needs_no_record(client: Client) -> None:
    await client.publish("sc.LIVE.market.price.changed")


async def test_any_topic_is_accepted_when_the_rules_say_so() -> None:
    async with running(topic_rules="any") as client:
        stream, _ = await client.subscribe("any thing *")
        await client.publish("any thing *", b"1")
        assert (await stream.read()).data == b"1"
        for call in (
            client.publish(""),
            client.pubsub.Subscribe(pb.PubsubSubscribeRequest()).read(),
        ):
            code, details = await refusal(call)
            assert code is Code.INVALID_ARGUMENT
            assert "never empty" in details


async def test_unsubscribe_ends_the_stream_after_what_waits(client: Client) -> None:
    stream, its_id = await client.subscribe("demo.ticks")
    await client.publish("demo.ticks", b"1")
    answer = await client.pubsub.Unsubscribe(pb.UnsubscribeRequest(subscription_id=its_id))
    assert answer.status.success
    await client.publish("demo.ticks", b"2")
    assert (await stream.read()).data == b"1"
    assert await stream.read() is EOF
    assert await stream.code() is Code.OK
    again = client.pubsub.Unsubscribe(pb.UnsubscribeRequest(subscription_id=its_id))
    assert (await refusal(again))[0] is Code.NOT_FOUND


async def test_unsubscribe_needs_an_id(client: Client) -> None:
    call = client.pubsub.Unsubscribe(pb.UnsubscribeRequest())
    assert (await refusal(call))[0] is Code.INVALID_ARGUMENT


async def test_a_cancelled_stream_ends_its_subscription() -> None:
    async with running(max_message_bytes=2000) as client:
        stream, _ = await client.subscribe("demo.ticks")
        too_large = b"x" * 1970  # to deliver: refused as long as anybody is subscribed
        assert (await refusal(client.publish("demo.ticks", too_large)))[0] is Code.INVALID_ARGUMENT
        stream.cancel()
        # The server hears of it in its own time.
        async with asyncio.timeout(10):
            while True:
                answer = await client.publish_all([event("demo.ticks", too_large)])
                if answer.published:
                    break
        assert client.journal.facts == []


async def test_a_slow_subscriber_is_cut_and_harms_nobody() -> None:
    async with (
        running(queue_limits=QueueLimits(max_events=50)) as client,
        # Two connections: the slow one's window must not be the quick one's.
        grpc.aio.insecure_channel(
            client.api.address, options=(("grpc.use_local_subchannel_pool", 1),)
        ) as apart,
    ):
        slow, _ = await Client(client.api, apart, client.journal).subscribe_events("demo.ticks")
        quick, _ = await client.subscribe_events("demo.ticks")
        count = 0
        while not client.journal.facts:
            batch = [b"%09d" % (count + n) * 10_000 for n in range(10)]
            answer = await client.publish_all([event("demo.ticks", data) for data in batch])
            assert answer.published == 10
            assert [e.data for e in await read_events(quick, 10)] == batch
            count += 10
        (cut,) = client.journal.facts
        assert isinstance(cut, SubscriberCut)
        assert cut.topics == "demo.ticks"
        assert cut.waiting <= 50
        # It gets an unbroken beginning, then the reason.
        numbers, code, details = await read_to_the_end(slow)
        assert numbers == list(range(len(numbers)))
        assert 0 < len(numbers) < count
        assert code is Code.RESOURCE_EXHAUSTED
        assert "demo.ticks" in details
        await client.publish("demo.ticks", b"still here")
        assert [e.data for e in await read_events(quick, 1)] == [b"still here"]


async def read_to_the_end(stream: Any) -> tuple[list[int], grpc.StatusCode, str]:
    """Reads the numbers at the front of events until the stream fails."""
    numbers: list[int] = []
    try:
        while (message := await stream.read()) is not EOF:
            numbers += [int(e.data[:9]) for e in message.events]
    except grpc.aio.AioRpcError as error:
        return numbers, error.code(), error.details() or ""
    return numbers, Code.OK, ""


async def test_an_event_that_no_subscriber_could_receive_is_refused() -> None:
    async with running(max_message_bytes=2000) as client:
        await client.subscribe("demo.ticks")
        await client.publish("demo.ticks", b"x" * 1800)
        code, details = await refusal(client.publish("demo.ticks", b"x" * 1970))
        assert code is Code.INVALID_ARGUMENT
        assert details.startswith("data: ")


async def test_our_own_fault_is_told_to_the_journal_only() -> None:
    class BrokenClock:
        def now(self) -> float:
            raise ZeroDivisionError("secret detail")

    async with running(clock=BrokenClock()) as client:
        code, details = await refusal(client.publish("demo.ticks"))
        assert code is Code.INTERNAL
        assert details == "internal fault"
        (crash,) = client.journal.facts
        assert isinstance(crash, RpcCrashed)
        assert crash.method == "Pubsub.PublishEvent"
        assert "secret detail" in crash.error
