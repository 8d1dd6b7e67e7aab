"""A virtufin-api with only the fixed RPCs, in memory, that misbehaves by script.

    async with running_scripted_api() as api:
        ... point the code under test at 127.0.0.1:{api.port} ...
        await api.wait_published(3)
        assert [event.data for event in api.published] == [...]

Trouble, decided per call by `api.script` (a function, None for none):

    api.script = sprinkle(seed=7, rate=0.1, troubles=[Trouble(StatusCode.UNAVAILABLE),
                                                      Trouble(), Trouble(after=True)])
    api.script = sequence(Trouble(StatusCode.INTERNAL), None, operations={"Pubsub.PublishEvent"})
    api.refused_topics.add("act.exchange.bad")        # INVALID_ARGUMENT, as the platform's rules do
    api.delay_seconds = 0.05                          # a distant API
    hold = api.hold("State.SaveState"); await hold.arrived.wait(); hold.release()
    await api.go_away(); await api.come_back()        # same port, same data, keys unregistered
    running_scripted_api(batches=True, streams=True)  # and the additive RPCs, if wanted

Operations are spelled `Service.Rpc`. A retried call that had its effect shows twice.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc import StatusCode

from tests.kit.hold import Hold
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb

#: gRPC's own default, which the platform keeps.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_SERVICE = "websocketmanager"
_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True)
class Call:
    """One call as it arrived."""

    operation: str
    request: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Trouble:
    """How one call goes wrong.

    Attributes:
        code: the gRPC code; None answers OK with `success = false`, or INTERNAL where the
            answer has no status message.
        status: of the status message then.
        message: the details or the status message's text.
        after: fail only after the effect was applied.
    """

    code: StatusCode | None = None
    status: str = "ERROR"
    message: str = "scripted trouble"
    after: bool = False


@dataclass(frozen=True)
class Published:
    """One event as it was accepted."""

    topic: str
    data: bytes
    metadata: Mapping[str, str]


Script = Callable[[Call], Trouble | None]


def sequence(*troubles: Trouble | None, operations: Collection[str] | None = None) -> Script:
    """Returns a script for the next calls (of the operations, else of all), then no trouble."""
    left = list(troubles)

    def script(call: Call) -> Trouble | None:
        if left and (operations is None or call.operation in operations):
            return left.pop(0)
        return None

    return script


def always(trouble: Trouble, operations: Collection[str] | None = None) -> Script:
    """Returns a script that fails every call of the operations, else every call."""
    return lambda call: trouble if operations is None or call.operation in operations else None


def sprinkle(
    *,
    seed: int,
    rate: float,
    troubles: Sequence[Trouble],
    operations: Collection[str] | None = None,
) -> Script:
    """Returns a script that fails this share of the calls, each in a way drawn by the seed."""
    dice = random.Random(seed)

    def script(call: Call) -> Trouble | None:
        if operations is not None and call.operation not in operations:
            return None
        return dice.choice(troubles) if dice.random() < rate else None

    return script


class ScriptedApi:
    """The server's data, script and records. Made by `running_scripted_api`.

    Attributes:
        port: on 127.0.0.1; kept over `go_away` and `come_back`.
        values: key to (value, etag).
        published: every accepted event in order of acceptance.
        calls: every call that arrived, also those that then failed.
        refused_topics, refused_data: what is refused for good of whatever comes.
        required_key: answers UNAUTHENTICATED to calls without this `x-api-key`.
        conflict_as_status: a stale etag answers OK with status CONFLICT instead of ABORTED.
        omit_status: success is told by an answer without status message.
        batches: serve `Pubsub.PublishEvents` too; read when the server starts.
        streams: likewise `Pubsub.PublishStream`, of which every batch counts as a call.
    """

    def __init__(self, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.port = 0
        self.values: dict[str, tuple[str, str]] = {}
        self.registered: set[str] = set()
        self.published: list[Published] = []
        self.calls: list[Call] = []
        self.script: Script | None = None
        self.refused_topics: set[str] = set()
        self.refused_data: set[bytes] = set()
        self.delay_seconds = 0.0
        self.required_key: str | None = None
        self.conflict_as_status = False
        self.omit_status = False
        self.batches = False
        self.streams = False
        self._max_message_bytes = max_message_bytes
        self._holds: dict[str, list[Hold]] = {}
        self._subscribers: dict[str, list[asyncio.Queue[pb.PubsubSubscribeResponse]]] = {}
        self._changed = asyncio.Event()
        self._counts: Counter[str] = Counter()
        self._etags = 0
        self._server: grpc.aio.Server | None = None

    # --- for the test --------------------------------------------------------------------

    def hold(self, operation: str) -> Hold:
        """Makes the next call of the operation wait, before its effect, until released."""
        hold = Hold()
        self._holds.setdefault(operation, []).append(hold)
        return hold

    def operations(self) -> list[str]:
        """Returns the operations called so far, in order."""
        return [call.operation for call in self.calls]

    async def wait_published(self, count: int, topic: str | None = None) -> list[Published]:
        """Waits until `count` events (of the topic) were accepted; returns all of them."""
        # Counted beside the list: going through ten thousand events for each would be slow.
        while (self._counts.total() if topic is None else self._counts[topic]) < count:
            await self._changed.wait()
        return [event for event in self.published if topic in {None, event.topic}]

    async def wait_calls(self, count: int, operation: str) -> None:
        """Waits until the operation was called `count` times."""
        while self.operations().count(operation) < count:
            await self._changed.wait()

    async def wait_subscribed(self, topic: str) -> None:
        """Waits until somebody subscribes to the topic."""
        while not self._subscribers.get(topic):
            await self._changed.wait()

    async def come_back(self) -> None:
        """Starts serving, on the former port if there was one."""
        self.registered.clear()
        server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", self._max_message_bytes),
            ]
        )
        server.add_generic_rpc_handlers(self._handlers())
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server

    async def go_away(self) -> None:
        """Stops serving at once, as a crash does: calls in flight are broken off."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(None)

    # --- the RPCs --------------------------------------------------------------------------

    def _publish(self, request: pb.PublishRequest) -> None:
        self.published.append(Published(request.topic, request.data, dict(request.metadata)))
        self._counts[request.topic] += 1
        for queue in self._subscribers.get(request.topic, ()):
            queue.put_nowait(
                pb.PubsubSubscribeResponse(
                    topic=request.topic,
                    data=request.data,
                    metadata=request.metadata,
                    message_id=str(len(self.published)),
                )
            )
        self._tell()

    def _refuses(self, request: pb.PublishRequest) -> bool:
        return request.topic in self.refused_topics or request.data in self.refused_data

    async def _publish_event(self, request: pb.PublishRequest, context: _Context) -> Any:
        if self._refuses(request):
            await context.abort(StatusCode.INVALID_ARGUMENT, f"topic {request.topic} is refused")
        self._publish(request)
        return pb.PublishResponse(status=self._ok())

    async def _publish_events(self, request: Any, context: _Context) -> Any:
        for index, event in enumerate(request.events):
            if self._refuses(event):
                status = pb.StatusResponse(success=False, status="ERROR", message="topic refused")
                return pb.PublishEventsResponse(published=index, status=status)
            self._publish(event)
        return pb.PublishEventsResponse(published=len(request.events), status=self._ok())

    async def _publish_stream(self, _: object, context: _Context) -> None:
        stops = 0
        while isinstance(batch := await context.read(), pb.PublishBatch):
            trouble = await self._admit("Pubsub.PublishStream", batch, context)
            ack = pb.PublishAck(number=batch.number)
            if batch.stops != stops:
                ack.status.CopyFrom(pb.StatusResponse(status="SKIPPED"))
            elif trouble is None or trouble.after:
                answer = await self._publish_events(batch, context)
                ack.published = answer.published
                if answer.HasField("status"):
                    ack.status.CopyFrom(answer.status)
            if trouble is not None:
                if trouble.code is not None:
                    await context.abort(trouble.code, trouble.message)
                ack.published = 0
                ack.status.CopyFrom(pb.StatusResponse(status=trouble.status))
            stops += ack.published < len(batch.events) and batch.stops == stops
            await context.write(ack)

    async def _save_state(self, request: pb.SaveStateRequest, context: _Context) -> Any:
        if request.etag and self.values.get(request.key, ("", ""))[1] != request.etag:
            if self.conflict_as_status:
                status = pb.StatusResponse(success=False, status="CONFLICT", message="stale etag")
                return pb.SaveStateResponse(status=status)
            await context.abort(StatusCode.ABORTED, "possible etag mismatch")
        self._etags += 1
        self.values[request.key] = (request.value, str(self._etags))
        return pb.SaveStateResponse(status=self._ok())

    async def _get_state(self, request: pb.GetStateRequest, context: _Context) -> Any:
        value, etag = self.values.get(request.key, ("", ""))
        return pb.GetStateResponse(key=request.key, value=value, etag=etag)

    async def _get_all_state(self, request: pb.GetAllStateRequest, context: _Context) -> Any:
        return pb.GetAllStateResponse(
            values={key: kept[0] for key, kept in self.values.items() if key in self.registered}
        )

    async def _register_keys(self, request: pb.RegisterKeysRequest, context: _Context) -> Any:
        self.registered.update(request.keys)
        return pb.RegisterKeysResponse(status=self._ok())

    async def _delete_state(self, request: pb.DeleteStateRequest, context: _Context) -> Any:
        self.values.pop(request.key, None)
        return pb.DeleteStateResponse(status=self._ok())

    async def _unsubscribe(self, request: pb.UnsubscribeRequest, context: _Context) -> Any:
        return pb.UnsubscribeResponse(status=self._ok())

    async def _subscribe(
        self, request: pb.PubsubSubscribeRequest, context: _Context
    ) -> AsyncIterator[pb.PubsubSubscribeResponse]:
        await self._admit("Pubsub.Subscribe", request, context)
        queue: asyncio.Queue[pb.PubsubSubscribeResponse] = asyncio.Queue()
        queues = self._subscribers.setdefault(request.topic, [])
        queues.append(queue)
        try:
            await context.send_initial_metadata(())
            self._tell()
            while True:
                yield await queue.get()
        finally:
            queues.remove(queue)

    # --- around each call ------------------------------------------------------------------

    def _ok(self) -> pb.StatusResponse | None:
        return None if self.omit_status else pb.StatusResponse(success=True, status="OK")

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _admit(self, operation: str, request: Any, context: _Context) -> Trouble | None:
        headers = {key: str(value) for key, value in context.invocation_metadata() or ()}
        call = Call(operation, request, headers)
        self.calls.append(call)
        self._tell()
        if self._holds.get(operation):
            await self._holds[operation].pop(0).pass_through()
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.required_key is not None and headers.get("x-api-key") != self.required_key:
            await context.abort(StatusCode.UNAUTHENTICATED, "x-api-key is missing or wrong")
        if getattr(request, "service", _SERVICE) != _SERVICE:
            await context.abort(StatusCode.INVALID_ARGUMENT, "unknown service")
        return self.script(call) if self.script is not None else None

    def _unary(
        self,
        operation: str,
        act: Callable[[Any, _Context], Any],
        request: type[Any],
        answer: type[Any],
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(request: Any, context: _Context) -> Any:
            trouble = await self._admit(operation, request, context)
            if trouble is None:
                return await act(request, context)
            if trouble.after:
                await act(request, context)
            code = trouble.code
            if code is None and "status" in answer.DESCRIPTOR.fields_by_name:
                status = pb.StatusResponse(
                    success=False, status=trouble.status, message=trouble.message
                )
                return answer(status=status)
            return await context.abort(code or StatusCode.INTERNAL, trouble.message)

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _handlers(self) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
        pubsub: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            "Subscribe": grpc.unary_stream_rpc_method_handler(
                self._subscribe,
                request_deserializer=pb.PubsubSubscribeRequest.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            ),
            "PublishEvent": self._unary(
                "Pubsub.PublishEvent", self._publish_event, pb.PublishRequest, pb.PublishResponse
            ),
            "Unsubscribe": self._unary(
                "Pubsub.Unsubscribe",
                self._unsubscribe,
                pb.UnsubscribeRequest,
                pb.UnsubscribeResponse,
            ),
        }
        if self.batches:
            pubsub["PublishEvents"] = self._unary(
                "Pubsub.PublishEvents",
                self._publish_events,
                pb.PublishEventsRequest,
                pb.PublishEventsResponse,
            )
        if self.streams:
            pubsub["PublishStream"] = grpc.stream_stream_rpc_method_handler(
                self._publish_stream,
                request_deserializer=pb.PublishBatch.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        acts: dict[str, Callable[[Any, _Context], Any]] = {
            "SaveState": self._save_state,
            "GetState": self._get_state,
            "GetAllState": self._get_all_state,
            "RegisterKeys": self._register_keys,
            "DeleteState": self._delete_state,
        }
        state = {
            name: self._unary(
                f"State.{name}", act, getattr(pb, f"{name}Request"), getattr(pb, f"{name}Response")
            )
            for name, act in acts.items()
        }
        return (
            grpc.method_handlers_generic_handler("virtufin.Pubsub", pubsub),
            grpc.method_handlers_generic_handler("virtufin.State", state),
        )


@asynccontextmanager
async def running_scripted_api(
    *,
    port: int = 0,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    batches: bool = False,
    streams: bool = False,
) -> AsyncIterator[ScriptedApi]:
    """Serves a scripted API on 127.0.0.1 for the length of a block; port 0: any free one."""
    api = ScriptedApi(max_message_bytes=max_message_bytes)
    api.batches, api.streams = batches, streams
    api.port = port
    await api.come_back()
    try:
        yield api
    finally:
        await api.go_away()
