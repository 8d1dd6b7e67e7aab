"""The RPCs of State and Pubsub: judge, ask the store, the publisher or the fanout, answer.

What is published comes in as bytes and is read twice: once as a list of bytes that go on as they
are, once to check those and to see their topics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final, NoReturn, TypeAlias

import grpc

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.embedded.checking import EventChecker, checked
from websocketmanager.embedded.chunk import MAX_CHUNK_BYTES, without_head
from websocketmanager.embedded.fanout import End, Fanout, Subscription
from websocketmanager.embedded.publisher import Published, Publisher
from websocketmanager.embedded.store import Store
from websocketmanager.embedded.topics import TopicJudge
from websocketmanager.errors import Fault, InvalidArgument
from websocketmanager.ports import Dice

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

#: Initial metadata of a subscription's stream: the id that `Unsubscribe` takes.
SUBSCRIPTION_ID: Final = "subscription-id"
#: What one message of a `SubscribeEvents` stream holds at most.
_MAX_EVENTS: Final = 1024


class StateServicer:
    """Values of known services."""

    def __init__(self, store: Store, services: Collection[str]) -> None:
        self._store = store
        self._services = tuple(services)

    async def save_state(self, request: pb.SaveStateRequest, _: Context) -> pb.SaveStateResponse:
        """Saves; answers once the value is on disk."""
        self._judge(request.service, ("key", request.key))
        if request.etag and request.only_if_absent:
            raise InvalidArgument(Fault("only_if_absent", "cannot be combined with an etag"))
        await self._store.save(
            request.service,
            request.key,
            request.value,
            etag=request.etag or None,
            only_if_absent=request.only_if_absent,
        )
        return pb.SaveStateResponse(status=_ok())

    async def get_state(self, request: pb.GetStateRequest, _: Context) -> pb.GetStateResponse:
        """Answers with empty value and etag when the key is absent."""
        self._judge(request.service, ("key", request.key))
        found = await self._store.get(request.service, request.key)
        if found is None:
            return pb.GetStateResponse(key=request.key)
        return pb.GetStateResponse(key=request.key, value=found.value, etag=found.etag)

    async def get_all_state(
        self, request: pb.GetAllStateRequest, _: Context
    ) -> pb.GetAllStateResponse:
        """Answers with the keys registered since the start that have a value."""
        self._judge(request.service)
        return pb.GetAllStateResponse(values=await self._store.get_all(request.service))

    async def register_keys(
        self, request: pb.RegisterKeysRequest, _: Context
    ) -> pb.RegisterKeysResponse:
        """Makes keys visible to `GetAllState`, also before they have a value."""
        self._judge(
            request.service, *((f"keys[{place}]", key) for place, key in enumerate(request.keys))
        )
        self._store.register(request.service, request.keys)
        return pb.RegisterKeysResponse(status=_ok())

    async def delete_state(
        self, request: pb.DeleteStateRequest, _: Context
    ) -> pb.DeleteStateResponse:
        """Removes the key; an absent key is no error."""
        self._judge(request.service, ("key", request.key))
        await self._store.delete(request.service, request.key)
        return pb.DeleteStateResponse(status=_ok())

    def _judge(self, service: str, *keys: tuple[str, str]) -> None:
        faults = [Fault(path, "is never empty") for path, key in keys if not key]
        if service not in self._services:
            known = ", ".join(self._services)
            faults.insert(0, Fault("service", f"{service[:60]!a} is none of the known: {known}"))
        if faults:
            raise InvalidArgument(*faults)


class PubsubServicer:
    """Publishes and delivers events."""

    def __init__(
        self, publisher: Publisher, fanout: Fanout, judge: TopicJudge, *, dice: Dice
    ) -> None:
        self._publisher = publisher
        self._fanout = fanout
        self._judge = judge
        self._dice = dice
        self._checker = EventChecker()
        #: Publishing streams that wait for their next batch.
        self._listening: set[asyncio.Timeout] = set()

    def stop(self) -> None:
        """Ends publishing streams, each when its batch is acknowledged."""
        for scope in self._listening:
            scope.reschedule(asyncio.get_running_loop().time())

    async def publish_event(self, body: bytes, _: Context) -> pb.PublishResponse:
        """Queues the event for every subscriber of its topic."""
        topic = checked(pb.CheckedRequest, body).topic
        published = await self._publisher.publish([topic], [body])
        if published.fault is not None:
            raise InvalidArgument(published.fault)
        return pb.PublishResponse(status=_ok())

    async def publish_events(self, body: bytes, _: Context) -> pb.PublishEventsResponse:
        """Publishes in order and stops at the first event that is refused."""
        published = await self._publish(body, checked(pb.SerialisedBatch, body))
        status = _stopped(published)
        return pb.PublishEventsResponse(published=published.count, status=status)

    async def publish_stream(self, _: object, context: Context) -> None:
        """Publishes batches in order and acknowledges each; see `PublishBatch`."""
        try:
            # One scope for the whole stream: entering it for each batch costs more than reading.
            async with asyncio.timeout(None) as listening:
                if await self._published_all(context, listening):
                    return
        except TimeoutError:
            if not listening.expired():
                raise
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the API is stopping")

    async def _published_all(self, context: Context, listening: asyncio.Timeout) -> bool:
        """Publishes batches until the caller has no more; False when the API stops before that."""
        last = stops = 0
        while not self._publisher.stopped:
            self._listening.add(listening)
            try:
                body = await context.read()
            finally:
                self._listening.discard(listening)
            if not isinstance(body, bytes):
                return True
            if listening.when() is not None:
                return False  # `stop` was called as it came, and would break in now
            batch = checked(pb.SerialisedBatch, body)
            last += 1
            if batch.number != last:
                problem = f"{last} is due, and {batch.number} came"
                raise InvalidArgument(Fault("number", problem))
            if batch.stops != stops:
                checked(pb.CheckedBatch, body)
                status = pb.StatusResponse(status="SKIPPED", message="behind one that stopped")
                await context.write(pb.PublishAck(number=last, status=status))
                continue
            published = await self._publish(body, batch)
            stops += published.fault is not None
            await context.write(
                pb.PublishAck(number=last, published=published.count, status=_stopped(published))
            )
        return False

    async def _publish(self, body: bytes, batch: pb.SerialisedBatch) -> Published:
        """Publishes the events of a batch."""
        events = batch.events[:]
        return await self._publisher.publish(self._checker.topics(body, events), events)

    async def subscribe(self, request: pb.PubsubSubscribeRequest, context: Context) -> None:
        """Delivers one event to a stream message."""
        await self._refuse_topics({"topic": request.topic})
        subscription = self._fanout.subscribe(self._dice.uuid(), [request.topic])
        await self._deliver(subscription, context, batched=False)

    async def subscribe_events(self, request: pb.SubscribeEventsRequest, context: Context) -> None:
        """Delivers to a stream message whatever waits, up to 1024 events or 1 MiB."""
        if not request.topics:
            raise InvalidArgument(Fault("topics", "at least one is needed"))
        await self._refuse_topics({f"topics[{n}]": topic for n, topic in enumerate(request.topics)})
        subscription = self._fanout.subscribe(self._dice.uuid(), request.topics)
        await self._deliver(subscription, context, batched=True)

    async def unsubscribe(
        self, request: pb.UnsubscribeRequest, context: Context
    ) -> pb.UnsubscribeResponse:
        """Ends a subscription, whose stream then ends with OK."""
        if not request.subscription_id:
            raise InvalidArgument(Fault("subscription_id", "is never empty"))
        if not self._fanout.unsubscribe(request.subscription_id):
            shown = f"{request.subscription_id[:60]!a}"
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no subscription has the id {shown}")
        return pb.UnsubscribeResponse(status=_ok())

    async def _deliver(
        self, subscription: Subscription, context: Context, *, batched: bool
    ) -> None:
        """Writes a subscription's events until it ends; `batched` as PubsubEvents."""
        try:
            # Tells the caller that the subscription is in force, before the first event.
            await context.send_initial_metadata(((SUBSCRIPTION_ID, subscription.id),))
            if batched:
                while events := await subscription.take(_MAX_EVENTS, MAX_CHUNK_BYTES):
                    await context.write(events)
            else:
                while event := await subscription.take(1, MAX_CHUNK_BYTES):
                    await context.write(without_head(event))
        finally:
            self._fanout.unsubscribe(subscription.id)
        match subscription.end:
            case End.TOO_SLOW:
                await _cut(subscription, context)
            case End.STOPPING:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the API is stopping")

    async def _refuse_topics(self, topics: dict[str, str]) -> None:
        refusals = await self._judge.refusals(dict.fromkeys(topics.values()))
        faults = [
            Fault(path, refusals[topic]) for path, topic in topics.items() if topic in refusals
        ]
        if faults:
            raise InvalidArgument(*faults)


async def _cut(subscription: Subscription, context: Context) -> NoReturn:
    topics = ", ".join(subscription.topics)[:200]
    await context.abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"cut because too much waited for this subscriber of {topics!a}: it reads more slowly than "
        "events come; events after the last one delivered are lost to it; subscribe again",
    )


def _ok() -> pb.StatusResponse:
    return pb.StatusResponse(success=True, status="OK")


def _stopped(published: Published) -> pb.StatusResponse:
    """Returns the status of a batch: OK, or why it stopped."""
    fault = published.fault
    if fault is None:
        return _ok()
    at = Fault(f"events[{published.count}].{fault.path}", fault.problem)
    return pb.StatusResponse(status="ERROR", message=f"INVALID_ARGUMENT: {at}")
