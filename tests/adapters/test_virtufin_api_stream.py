"""`PublishStream` as it is called: the window, breaks, stops, and calls that end too early."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import StatusCode as Code

from tests.kit.api_client import once_reachable, open_api
from tests.kit.builders import event, events, parcels, run
from tests.kit.clock import ManualClock, ScriptedDice
from tests.kit.journal import RecordingJournal
from tests.kit.quiet import wait_quiet
from tests.kit.scripted_api import ScriptedApi, Trouble, always, running_scripted_api, sprinkle
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.virtufin_api import VirtufinApi
from websocketmanager.domain.envelope import Event, Parcel, divided, each_event
from websocketmanager.domain.facts import ApiCallEnded, ApiCallRetried, PublishModeChosen
from websocketmanager.errors import ApiUnavailable
from websocketmanager.ports import PublishResult, Refusal
from websocketmanager.service.lane import Feed, Lane

TOPIC, REFUSED = "websocketmanager.test", "nowhere"
ONE, MANY, STREAM = "Pubsub.PublishEvent", "Pubsub.PublishEvents", "Pubsub.PublishStream"


class Counterpart:
    """The other end of streams: keeps what comes, and answers when the test says so.

    The empty batch that a stream begins with is acknowledged at once and not counted.

    Attributes:
        streams: the batches of each stream so far.
        breaks: whether each new stream breaks once something was written to it.
        unary: events that came by `PublishEvent`, which always succeeds unless refused here.
    """

    def __init__(self) -> None:
        self.streams: list[list[pb.PublishBatch]] = []
        self.unary: list[str] = []
        self.refuses: set[str] = set()
        self.hold_unary: asyncio.Event | None = None
        self.breaks = False
        self._answers: list[asyncio.Queue[pb.PublishAck | Code | None]] = [asyncio.Queue()]
        self._changed = asyncio.Event()

    def answer(self, *answers: pb.PublishAck | Code | None, stream: int = -1) -> None:
        """Sends acknowledgements on a stream, breaks it with a code, or ends it.

        Before there is any, they are for the first one.
        """
        for one in answers:
            self._answers[stream].put_nowait(one)

    async def batches(self, count: int, stream: int = -1) -> list[list[str]]:
        """Waits for as many batches on a stream; returns the ids in each."""
        async with asyncio.timeout(10):
            while len(self.streams) < max(stream + 1, 1) or len(self.streams[stream]) < count:
                await self._changed.wait()
        return [[e.metadata["ce-id"] for e in batch.events] for batch in self.streams[stream]]

    def carrying(self, its_id: str) -> int | None:
        """Returns the stream that an event came on, if it has come."""
        for place, batches in enumerate(self.streams):
            if any(its_id == e.metadata["ce-id"] for batch in batches for e in batch.events):
                return place
        return None

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def serve(self, _: object, context: Any) -> None:
        self.streams.append([])
        mine = self.streams[-1]
        if len(self.streams) > 1:
            self._answers.append(asyncio.Queue())
        answers = self._answers[-1]

        async def listen() -> None:
            while isinstance(batch := await context.read(), pb.PublishBatch):
                batch.number -= 1
                mine.append(batch)
                self._tell()
                if self.breaks:
                    answers.put_nowait(Code.UNAVAILABLE)

        greeting = await context.read()
        if not isinstance(greeting, pb.PublishBatch):
            return  # given up at once
        assert (greeting.number, len(greeting.events)) == (1, 0)
        await context.write(pb.PublishAck(number=1))
        listening = asyncio.create_task(listen())
        try:
            while (answer := await answers.get()) is not None:
                if isinstance(answer, Code):
                    await context.abort(answer, "scripted")
                    return
                await context.write(
                    pb.PublishAck(number=answer.number + 1, published=answer.published)
                )
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def publish_event(self, request: pb.PublishRequest, context: Any) -> pb.PublishResponse:
        its_id = request.metadata["ce-id"]
        self.unary.append(its_id)
        self._tell()
        if self.hold_unary is not None:
            await self.hold_unary.wait()
        if its_id in self.refuses:
            await context.abort(Code.INVALID_ARGUMENT, "scripted")
        return pb.PublishResponse(status=pb.StatusResponse(success=True))


@asynccontextmanager
async def counterpart(**settings: Any) -> AsyncIterator[tuple[Counterpart, VirtufinApi]]:
    """Opens the adapter on a counterpart, the stream chosen by one event with the id 0."""
    other = Counterpart()
    server = grpc.aio.server()
    handlers: dict[str, Any] = {
        "PublishStream": grpc.stream_stream_rpc_method_handler(
            other.serve,
            request_deserializer=pb.PublishBatch.FromString,
            response_serializer=pb.PublishAck.SerializeToString,
        ),
        "PublishEvent": grpc.unary_unary_rpc_method_handler(
            other.publish_event,
            request_deserializer=pb.PublishRequest.FromString,
            response_serializer=pb.PublishResponse.SerializeToString,
        ),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("virtufin.Pubsub", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_api(port, **settings) as api:
            other.answer(ack(1, 1))
            assert await api.publish([event(number=0)]) == PublishResult(1)
            yield other, api
    finally:
        await server.stop(None)


def ack(number: int, published: int) -> pb.PublishAck:
    return pb.PublishAck(number=number, published=published)


def pairs(count: int, *, first: int = 1, together: bool = False) -> list[list[Parcel]]:
    """Returns calls of two events each, numbered through."""
    numbers = range(first, first + 2 * count, 2)
    return [parcels(TOPIC, [b"x"] * 2, first=n, together=together) for n in numbers]


def begin(api: VirtufinApi, calls: Sequence[Sequence[Parcel]]) -> list[asyncio.Task[PublishResult]]:
    return [asyncio.create_task(api.publish(call)) for call in calls]


async def test_the_stream_is_preferred() -> None:
    journal = RecordingJournal()
    async with (
        running_scripted_api(batches=True, streams=True) as server,
        open_api(server.port, journal=journal) as api,
    ):
        assert (api.max_batch, api.max_in_flight, api.ordered) == (1024, 1, False)
        for _ in range(2):
            await api.publish(events(TOPIC, [b"a", b"b"]))

        assert server.operations() == [STREAM] * 3  # the first is empty
        assert (api.max_batch, api.max_in_flight, api.ordered) == (1024, 4, True)
        assert api.publish_mode == "stream"
    assert journal.of(PublishModeChosen) == [PublishModeChosen("stream")]
    ended = [(fact.operation, fact.outcome) for fact in journal.of(ApiCallEnded)]
    assert ended == [(STREAM, "ok"), (STREAM, "ok")]


@pytest.mark.parametrize(
    "code", [None, Code.INTERNAL, Code.UNKNOWN, Code.FAILED_PRECONDITION], ids=str
)
async def test_where_there_is_no_stream_there_are_batches(code: Code | None) -> None:
    async with (
        running_scripted_api(batches=True, streams=code is not None) as server,
        open_api(server.port) as api,
    ):
        if code is not None:  # as a proxy may that knows no streams
            server.script = always(Trouble(code), operations={STREAM})
        assert await api.publish(events(TOPIC, [b"a", b"b"])) == PublishResult(2)
        assert (api.publish_mode, api.max_in_flight, api.ordered) == ("batch", 1, False)


async def test_another_server_without_the_stream_is_noticed() -> None:
    async with (
        running_scripted_api(batches=True, streams=True) as server,
        open_api(server.port, breaker_threshold=1000) as api,
    ):
        await api.publish([event(number=0)])
        await server.go_away()
        server.streams = server.batches = False
        await server.come_back()
        result = await once_reachable(lambda: api.publish(events(TOPIC, [b"a", b"b"])))

        assert result == PublishResult(1)
        assert (api.publish_mode, api.max_in_flight, api.ordered) == ("unary", 64, False)


async def test_at_most_four_batches_are_unacknowledged() -> None:
    async with counterpart() as (other, api):
        tasks = begin(api, pairs(6))
        await other.batches(5)
        await wait_quiet()
        assert len(other.streams[0]) == 1 + 4

        other.answer(ack(2, 2))
        await other.batches(6)
        await wait_quiet()
        assert len(other.streams[0]) == 1 + 5

        other.answer(*(ack(number, 2) for number in range(3, 8)))
        assert await asyncio.gather(*tasks) == [PublishResult(2)] * 6
        assert await other.batches(7) == [
            ["0"],
            *([str(2 * n - 1), str(2 * n)] for n in range(1, 7)),
        ]
        assert [batch.number for batch in other.streams[0]] == list(range(1, 8))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("break_by", [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, None], ids=str)
async def test_after_a_break_all_that_is_unacknowledged_goes_again_in_order(
    break_by: Code | None, together: bool
) -> None:
    journal = RecordingJournal()
    async with counterpart(journal=journal) as (other, api):
        tasks = begin(api, pairs(4, together=together))
        await other.batches(5)
        other.answer(ack(2, 2), break_by)

        again = await other.batches(3, stream=1)

        assert again == [["3", "4"], ["5", "6"], ["7", "8"]]
        assert [batch.number for batch in other.streams[1]] == [1, 2, 3]
        other.answer(*(ack(number, 2) for number in (1, 2, 3)))
        assert await asyncio.gather(*tasks) == [PublishResult(2)] * 4
        assert len(journal.of(ApiCallRetried)) == 1


async def test_a_run_that_is_cut_into_batches_goes_again_from_the_first_not_acknowledged() -> None:
    async with counterpart() as (other, api):
        sent: list[Parcel] = [run(TOPIC, [b"x" * 400_000] * 5), event(TOPIC, 6)]
        [task] = begin(api, [sent])
        assert await other.batches(4) == [["0"], ["1", "2"], ["3", "4"], ["5", "6"]]
        other.answer(ack(2, 2), Code.UNAVAILABLE)

        assert await other.batches(2, stream=1) == [["3", "4"], ["5", "6"]]
        again, before = other.streams[1][0].events, other.streams[0][2].events
        assert list(again) == list(before), "equal ids, and all else"
        other.answer(ack(1, 2), ack(2, 2))
        assert await task == PublishResult(6)


async def test_more_than_a_batch_is_left_to_the_next_call() -> None:
    async with running_scripted_api(streams=True) as server, open_api(server.port) as api:
        sent = [run(TOPIC, [b"x"] * 1500), run(TOPIC, [b"x"] * 10, first=1501)]
        assert await api.publish(sent) == PublishResult(1024)
        assert await api.publish(divided(sent, 1024)[1]) == PublishResult(486)
        ids = [int(one.metadata["ce-id"]) for one in server.published]
        assert ids == list(range(1, 1511))


async def test_an_acknowledgement_that_is_not_due_is_a_break() -> None:
    async with counterpart() as (other, api):
        [task] = begin(api, pairs(1))
        await other.batches(2)
        other.answer(ack(7, 2))
        assert await other.batches(1, stream=1) == [["1", "2"]]
        other.answer(ack(1, 2))
        assert await task == PublishResult(2)


async def test_no_acknowledgement_in_time_is_a_break() -> None:
    clock = ManualClock(skip_sleeps=True)
    async with counterpart(clock=clock, timeout_seconds=3.0) as (other, api):
        tasks = begin(api, pairs(2))
        await other.batches(3)
        await clock.wait_for_timeout()
        clock.advance(3.1)
        assert await other.batches(2, stream=1) == [["1", "2"], ["3", "4"]]
        other.answer(ack(1, 2), ack(2, 2))
        assert await asyncio.gather(*tasks) == [PublishResult(2)] * 2


async def test_a_break_again_and_again_is_an_outage_for_all_calls_and_opens_the_breaker() -> None:
    async with counterpart(breaker_threshold=4) as (other, api):
        other.breaks = True
        tasks = begin(api, pairs(3))
        done = await asyncio.gather(*tasks, return_exceptions=True)

        assert isinstance(done[0], ApiUnavailable)
        assert done[1:] == [PublishResult(0)] * 2
        assert api.breaker_state == "open"
        streams = len(other.streams)
        with pytest.raises(ApiUnavailable):
            await api.publish([event()])
        assert len(other.streams) == streams


async def test_a_probe_goes_alone() -> None:
    clock = ManualClock(skip_sleeps=True)
    async with counterpart(clock=clock, breaker_threshold=1, max_attempts=1) as (other, api):
        [task] = begin(api, pairs(1))
        other.answer(Code.UNAVAILABLE)
        with pytest.raises(ApiUnavailable):
            await task
        clock.advance(2.0)

        tasks = begin(api, pairs(3))
        await other.batches(1, stream=1)
        await wait_quiet()
        assert len(other.streams[1]) == 1
        other.answer(ack(1, 2))
        await other.batches(3, stream=1)
        other.answer(ack(2, 2), ack(3, 2))

        assert await asyncio.gather(*tasks) == [PublishResult(2)] * 3
        assert api.breaker_state == "closed"


async def test_a_stream_that_ended_while_idle_is_no_failure() -> None:
    journal = RecordingJournal()
    async with counterpart(journal=journal, breaker_threshold=1) as (other, api):
        other.answer(Code.UNAVAILABLE)
        dialogue = api._events._stream._dialogue
        assert dialogue is not None
        await dialogue.code()

        [task] = begin(api, pairs(1))
        assert await other.batches(1, stream=1) == [["1", "2"]]
        other.answer(ack(1, 2))

        assert await task == PublishResult(2)
        assert api.breaker_state == "closed"
        assert journal.of(ApiCallRetried) == []


async def test_nothing_overtakes_a_refused_event() -> None:
    async with counterpart() as (other, api):
        other.refuses.add("2")
        other.hold_unary = asyncio.Event()
        tasks = begin(api, pairs(3))
        await other.batches(4)
        other.answer(ack(2, 1), ack(3, 0), ack(4, 0))
        while not other.unary:
            await other._changed.wait()

        # Why it stopped is asked apart; meanwhile nothing is sent.
        assert await api.publish(pairs(1, first=90)[0]) == PublishResult(0)
        assert len(other.streams[0]) == 4
        other.hold_unary.set()
        first, *behind = await asyncio.gather(*tasks)

        assert first.accepted == 1
        assert first.refusal == Refusal(True, "INVALID_ARGUMENT: scripted")
        assert behind == [PublishResult(0)] * 2
        assert other.unary == ["2"]
        [again] = begin(api, pairs(1, first=3))
        await other.batches(5)
        assert (other.streams[0][-1].number, other.streams[0][-1].stops) == (5, 1)
        other.answer(ack(5, 2))
        assert await again == PublishResult(2)
        assert len(other.streams) == 1


@pytest.mark.parametrize("together", [False, True])
async def test_a_call_of_several_batches_ends_where_one_of_them_stops(together: bool) -> None:
    async with counterpart() as (other, api):
        other.refuses.add("3")
        [task] = begin(api, [parcels(TOPIC, [b"x" * 600_000] * 4, together=together)])
        assert await other.batches(5) == [["0"], ["1"], ["2"], ["3"], ["4"]]
        other.answer(ack(2, 1), ack(3, 1), ack(4, 0), ack(5, 0))

        result = await task

        assert result.accepted == 2
        assert result.refusal is not None
        assert other.unary == ["3"]


@pytest.mark.parametrize("together", [False, True])
async def test_an_event_above_the_limit_withdraws_the_calls_behind(together: bool) -> None:
    async with counterpart(max_message_bytes=50_000) as (other, api):
        mixed = parcels(TOPIC, [b"a", b"x" * 60_000, b"b"], together=together)
        tasks = begin(api, [mixed, *pairs(1, first=10)])
        await other.batches(2)
        await wait_quiet()
        assert await other.batches(2) == [["0"], ["1"]]
        other.answer(ack(2, 1))

        assert await asyncio.gather(*tasks) == [PublishResult(1), PublishResult(0)]
        result = await api.publish(divided(mixed, 1)[1])
        assert result.accepted == 0
        assert result.refusal is not None
        assert not result.refusal.whole_topic


@pytest.mark.parametrize("together", [False, True])
async def test_a_limit_of_the_api_below_ours_is_learnt(together: bool) -> None:
    async with (
        running_scripted_api(streams=True, max_message_bytes=50_000) as server,
        open_api(server.port) as api,
    ):
        rest = parcels(TOPIC, [b"x" * 10_000] * 20, together=together)
        while rest:
            result = await api.publish(rest)
            assert result.refusal is None
            _, rest = divided(rest, result.accepted)
        assert [int(one.metadata["ce-id"]) for one in server.published] == list(range(1, 21))
        assert api.publish_mode == "stream"


@pytest.mark.parametrize("which", [0, 1, 2])
async def test_a_cancelled_call_withdraws_those_behind_it(which: int) -> None:
    async with counterpart() as (other, api):
        tasks = begin(api, pairs(3))
        await other.batches(4)
        tasks[which].cancel()
        await asyncio.wait([tasks[which]])
        assert tasks[which].cancelled()
        assert await asyncio.gather(*tasks[which + 1 :]) == [PublishResult(0)] * (2 - which)

        # Those before it go on, and so does what comes later, on whichever stream there is.
        later = begin(api, pairs(1, first=50))
        async with asyncio.timeout(10):
            while (stream := other.carrying("50")) is None:
                await other._changed.wait()
        for batch in other.streams[stream]:
            if stream or batch.number > 1:
                other.answer(ack(batch.number, 2), stream=stream)
        assert await asyncio.gather(*tasks[:which], *later) == [PublishResult(2)] * (which + 1)


# --- with the lane ------------------------------------------------------------------------------


class Keeper:
    """Whose events a feed carries; keeps what became of them, by number."""

    def __init__(self) -> None:
        self.accepted_ids: list[int] = []
        self.refused_ids: list[int] = []

    def accepted(self, events: Sequence[Parcel]) -> None:
        self.accepted_ids += [int(one.metadata["ce-id"]) for one in each_event(events)]

    def refused(self, event: Event, refusal: Refusal) -> bool:
        self.refused_ids.append(int(event.metadata["ce-id"]))
        return False

    def discarded(self, events: Sequence[Parcel]) -> None:
        raise AssertionError


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_goes_wrong_every_feed_arrives_in_order(seed: int) -> None:
    troubles = [
        Trouble(),
        Trouble(after=True),
        Trouble(Code.UNAVAILABLE),
        Trouble(Code.UNAVAILABLE, after=True),
        Trouble(Code.RESOURCE_EXHAUSTED, after=True),
        Trouble(Code.INTERNAL, after=True),
        Trouble(Code.INTERNAL),
    ]
    async with running_scripted_api(batches=True, streams=True) as server:
        server.refused_topics.add(REFUSED)
        server.script = sprinkle(seed=seed, rate=0.15, troubles=troubles)
        async with open_api(server.port, breaker_threshold=1000) as api:
            clock = ManualClock(skip_sleeps=True)
            lane = Lane(api, clock, ScriptedDice(), RecordingJournal())
            keepers = [Keeper() for _ in range(3)]
            feeds = [Feed(lane, keeper) for keeper in keepers]
            running = asyncio.create_task(lane.run())
            waiting = deque(range(1, 301))
            while waiting or lane.pending:
                for _ in range(min(11, len(waiting))):
                    number = waiting.popleft()
                    for which, feed in enumerate(feeds):
                        bad = number % 97 == 0 and which == 1
                        [one] = events(REFUSED if bad else f"a.f{which}", [b"x"], first=number)
                        # The third has runs of ten in place of the first of ten single ones.
                        if which < 2:
                            feed.push(one)
                        elif number % 10 == 1:
                            feed.push(run("a.f2", [b"x"] * 10, first=number))
                clock.advance(0.5)
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running])

        refused = [97, 194, 291]
        assert keepers[1].refused_ids == refused
        _check(server, keepers, refused)


def _check(server: ScriptedApi, keepers: Sequence[Keeper], refused: Sequence[int]) -> None:
    for which, keeper in enumerate(keepers):
        wanted = [n for n in range(1, 301) if which != 1 or n not in refused]
        assert keeper.accepted_ids == wanted
        arrived = [
            int(one.metadata["ce-id"]) for one in server.published if one.topic == f"a.f{which}"
        ]
        assert list(dict.fromkeys(arrived)) == wanted
