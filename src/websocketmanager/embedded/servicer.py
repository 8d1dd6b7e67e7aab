"""The RPCs of State and Pubsub: judge, ask the store or the fanout, answer.

Published events are not rebuilt: `PublishRequest` and `PubsubSubscribeResponse` agree in their
first three fields, so a delivery is the request's bytes followed by message id and timestamp,
serialised once for all subscribers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, Literal, NoReturn, TypeAlias

import grpc

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.topics import (
    Accepted,
    NeedsScenario,
    Refused,
    judge_topic,
    scenario_is_active,
    scenario_key,
    scenario_refusal,
)
from websocketmanager.embedded.fanout import End, Fanout, Subscription
from websocketmanager.embedded.store import Store
from websocketmanager.errors import Fault, InvalidArgument
from websocketmanager.ports import Clock, Dice

TopicRules = Literal["platform", "any"]
Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]

#: Initial metadata of a subscription's stream: the id that `Unsubscribe` takes.
SUBSCRIPTION_ID: Final = "subscription-id"
#: What one message of a `SubscribeEvents` stream holds at most.
_MAX_EVENTS: Final = 1024
_MAX_BYTES: Final = 1024 * 1024
#: Service whose record of a scenario decides when several services hold one.
_SCENARIO_SERVICE: Final = "scenario"
#: Hexadecimal digits of a message's number, as `_delivery` spells it.
_ID_DIGITS: Final = 16

# Tags of length-delimited fields: number << 3 | 2.
_EVENTS_TAG: Final = b"\x0a"
_MESSAGE_ID_TAG: Final = b"\x22"
_TIMESTAMP_TAG: Final = b"\x2a"


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
    """Publishes and delivers events, by the topic rules."""

    def __init__(
        self,
        fanout: Fanout,
        scenarios: ScenarioRegistry,
        *,
        topic_rules: TopicRules,
        max_message_bytes: int,
        clock: Clock,
        dice: Dice,
    ) -> None:
        self._fanout = fanout
        self._scenarios = scenarios
        self._topic_rules = topic_rules
        self._max_message_bytes = max_message_bytes
        self._clock = clock
        self._dice = dice
        # 64 random bits for this process, then a number: unique without dice per message.
        prefix = dice.token_bytes(8).hex().encode()
        id_size = len(prefix) + _ID_DIGITS
        self._id_head = _MESSAGE_ID_TAG + _varint(id_size) + prefix
        self._number = 0

    async def publish_event(self, request: pb.PublishRequest, _: Context) -> pb.PublishResponse:
        """Queues the event for every subscriber of its topic."""
        problem = (await self._publish([request]))[1]
        if problem is not None:
            raise InvalidArgument(problem)
        return pb.PublishResponse(status=_ok())

    async def publish_events(
        self, request: pb.PublishEventsRequest, _: Context
    ) -> pb.PublishEventsResponse:
        """Publishes in order and stops at the first event that is refused."""
        published, problem = await self._publish(request.events)
        status = _ok()
        if problem is not None:
            at = Fault(f"events[{published}].{problem.path}", problem.problem)
            status = pb.StatusResponse(status="ERROR", message=f"INVALID_ARGUMENT: {at}")
        return pb.PublishEventsResponse(published=published, status=status)

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

    async def _publish(self, events: Sequence[pb.PublishRequest]) -> tuple[int, Fault | None]:
        """Publishes from the front; returns how many, and what is wrong with the next."""
        refusals = await self._refusals({event.topic for event in events})
        time = timestamp(self._clock.now()).encode()
        tail = _TIMESTAMP_TAG + _varint(len(time)) + time
        fanout, limit = self._fanout, self._max_message_bytes
        for place, event in enumerate(events):
            if place and place % _MAX_EVENTS == 0:
                await self._clock.sleep(0)  # a giant batch of tiny events lets others run
            topic = event.topic
            if refusals and topic in refusals:
                return place, Fault("topic", refusals[topic])
            if not fanout.has_subscribers(topic):
                continue
            delivery = self._delivery(event, tail)
            if len(delivery) > limit:
                # Taken all the same, it would fail at each subscriber with the same limit.
                problem = f"delivered it has {len(delivery)} bytes, above the limit of "
                return place, Fault("data", problem + str(limit))
            fanout.publish(topic, delivery)
        return len(events), None

    def _delivery(self, event: pb.PublishRequest, tail: bytes) -> bytes:
        """Returns the event as an entry of `PubsubEvents.events`, tag and length in front."""
        self._number += 1
        body = event.SerializeToString()
        end = b"%b%016x%b" % (self._id_head, self._number, tail)
        return b"".join((_EVENTS_TAG, _varint(len(body) + len(end)), body, end))

    async def _deliver(
        self, subscription: Subscription, context: Context, *, batched: bool
    ) -> None:
        """Writes a subscription's events until it ends; `batched` as PubsubEvents."""
        try:
            # Tells the caller that the subscription is in force, before the first event.
            await context.send_initial_metadata(((SUBSCRIPTION_ID, subscription.id),))
            if batched:
                while events := await subscription.take(_MAX_EVENTS, _MAX_BYTES):
                    await context.write(b"".join(events))
            else:
                while events := await subscription.take(1, _MAX_BYTES):
                    await context.write(_without_head(events[0]))
        finally:
            self._fanout.unsubscribe(subscription.id)
        match subscription.end:
            case End.TOO_SLOW:
                await _cut(subscription, context)
            case End.STOPPING:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the API is stopping")

    async def _refuse_topics(self, topics: dict[str, str]) -> None:
        refusals = await self._refusals(set(topics.values()))
        faults = [
            Fault(path, refusals[topic]) for path, topic in topics.items() if topic in refusals
        ]
        if faults:
            raise InvalidArgument(*faults)

    async def _refusals(self, topics: Iterable[str]) -> dict[str, str]:
        """Returns the broken rule of each topic that breaks one."""
        if self._topic_rules == "any":
            return {topic: "a topic is never empty" for topic in topics if not topic}
        refusals: dict[str, str] = {}
        needed: dict[str, str] = {}
        for topic in topics:
            match judge_topic(topic):
                case Refused(rule):
                    refusals[topic] = rule
                case NeedsScenario(scenario_id):
                    needed[topic] = scenario_id
                case Accepted():
                    pass
        if needed:
            active = await self._scenarios.active(set(needed.values()))
            for topic, scenario_id in needed.items():
                if scenario_id not in active:
                    refusals[topic] = scenario_refusal(topic, scenario_id).rule
        return refusals


class ScenarioRegistry:
    """Which scenarios are registered and active, by their state records."""

    def __init__(self, store: Store, services: Collection[str]) -> None:
        self._store = store
        self._services = sorted(services, key=lambda service: service != _SCENARIO_SERVICE)

    async def active(self, scenario_ids: Collection[str]) -> frozenset[str]:
        """Returns those that are.

        A record under any known service counts; of several the one of the service `scenario`
        decides, else the first in the configured order.
        """
        places = [
            (service, scenario_key(scenario_id))
            for scenario_id in scenario_ids
            for service in self._services
        ]
        found = iter(await self._store.get_each(places))
        records = {
            scenario_id: [next(found) for _ in self._services] for scenario_id in scenario_ids
        }
        return frozenset(
            scenario_id
            for scenario_id, candidates in records.items()
            if (record := next(filter(None, candidates), None)) is not None
            and scenario_is_active(record.value)
        )


async def _cut(subscription: Subscription, context: Context) -> NoReturn:
    topics = ", ".join(subscription.topics)[:200]
    await context.abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"cut because too much waited for this subscriber of {topics!a}: it reads more slowly than "
        "events come; events after the last one delivered are lost to it; subscribe again",
    )


def _ok() -> pb.StatusResponse:
    return pb.StatusResponse(success=True, status="OK")


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:  # nearly every event: without a loop
        return bytes((number & 0x7F | 0x80, number >> 7))
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _without_head(delivery: bytes) -> bytes:
    """Returns the PubsubSubscribeResponse inside an entry, without tag and length."""
    place = 1
    while delivery[place] & 0x80:
        place += 1
    return delivery[place + 1 :]
