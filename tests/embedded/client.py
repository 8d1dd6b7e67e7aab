"""A running embedded API with a channel to it, as tests talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from tests.embedded.journal import KeptFacts
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager._proto.virtufin_api import virtufin_api_pb2_grpc as pb_grpc
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.embedded.server import EmbeddedApi, running_embedded_api

#: What reading a stream gives after its end.
EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined] # the stubs miss it


@dataclass
class Client:
    """Stubs of both services; `journal` is the server's."""

    api: EmbeddedApi
    channel: grpc.aio.Channel
    journal: KeptFacts
    state: Any = field(init=False)
    pubsub: Any = field(init=False)

    def __post_init__(self) -> None:
        self.state = pb_grpc.StateStub(self.channel)
        self.pubsub = pb_grpc.PubsubStub(self.channel)

    async def save(self, key: str, value: str, **more: Any) -> None:
        service = more.pop("service", "websocketmanager")
        answer = await self.state.SaveState(
            pb.SaveStateRequest(service=service, key=key, value=value, **more)
        )
        assert answer.status == pb.StatusResponse(success=True, status="OK")

    async def get(self, key: str, service: str = "websocketmanager") -> tuple[str, str]:
        answer = await self.state.GetState(pb.GetStateRequest(service=service, key=key))
        assert answer.key == key
        return answer.value, answer.etag

    async def publish(
        self, topic: str, data: bytes = b"", metadata: Mapping[str, str] | None = None
    ) -> None:
        answer = await self.pubsub.PublishEvent(event(topic, data, metadata))
        assert answer.status == pb.StatusResponse(success=True, status="OK")

    async def publish_all(self, events: Sequence[pb.PublishRequest]) -> pb.PublishEventsResponse:
        answer: pb.PublishEventsResponse = await self.pubsub.PublishEvents(
            pb.PublishEventsRequest(events=events)
        )
        return answer

    async def subscribe(self, topic: str) -> tuple[Any, str]:
        """Returns the stream, in force, and the subscription's id."""
        stream = self.pubsub.Subscribe(pb.PubsubSubscribeRequest(topic=topic))
        return stream, await subscription_id(stream)

    async def subscribe_events(self, *topics: str) -> tuple[Any, str]:
        stream = self.pubsub.SubscribeEvents(pb.SubscribeEventsRequest(topics=topics))
        return stream, await subscription_id(stream)


async def subscription_id(stream: Any) -> str:
    metadata = dict(await stream.initial_metadata())
    return str(metadata["subscription-id"])


def event(
    topic: str, data: bytes = b"", metadata: Mapping[str, str] | None = None
) -> pb.PublishRequest:
    return pb.PublishRequest(topic=topic, data=data, metadata=metadata or {})


async def read_events(stream: Any, count: int) -> list[pb.PubsubSubscribeResponse]:
    """Reads `SubscribeEvents` messages until at least `count` events came."""
    events: list[pb.PubsubSubscribeResponse] = []
    while len(events) < count:
        message = await stream.read()
        assert message is not EOF, await stream.details()
        events.extend(message.events)
    return events


@asynccontextmanager
async def running(
    *, channel_options: Sequence[tuple[str, int]] = (), **options: Any
) -> AsyncIterator[Client]:
    journal = KeptFacts()
    chosen: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "database": ":memory:",
        "topic_rules": "platform",
        "journal": journal,
        "clock": SystemClock(),
        "dice": SystemDice(),
        **options,
    }
    async with (
        running_embedded_api(**chosen) as api,
        grpc.aio.insecure_channel(api.address, options=tuple(channel_options)) as channel,
    ):
        yield Client(api, channel, journal)
