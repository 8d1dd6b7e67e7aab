"""The gRPC face on a free port, over a service that follows the test's script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from tests.kit.clock import ManualClock
from websocketmanager._proto.websocketmanager.websocketmanager_pb2_grpc import WebSocketManagerStub
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.api.server import ApiServer
from websocketmanager.domain.change import ConnectionChange
from websocketmanager.domain.facts import Fact
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import (
    BufferOptions,
    Cause,
    ConnectionDetail,
    ConnectionId,
    ConnectionOptions,
    ConnectionSpec,
    ConnectionView,
    FirstDial,
    Format,
    InstanceId,
    Kind,
    LifecycleNotice,
    LiveStatistics,
    ReconnectOptions,
    Statistics,
    Status,
    TailedMessage,
    Topic,
)
from websocketmanager.domain.trial import TrialStep
from websocketmanager.service.mailbox import Mailbox

ID = ConnectionId("0189f7ea-7b2c-4d3e-8f10-00000000000a")

VIEW = ConnectionView(
    id=ID,
    url="wss://feed.example/stream",
    status=Status.CONNECTED,
    topic=Topic("mymodule.ticks"),
    instance_id=InstanceId("one"),
    content_type="text/plain",
    tags={"venue": "kraken"},
    name="feed",
    session=3,
    owner_epoch=2,
    created_at=1_700_000_000.0,
    connected_at=1_700_000_001.5,
    auto_reconnect=True,
    options=ConnectionOptions(
        reconnect=ReconnectOptions(FirstDial.RETRY, 10, 20, 30, 40),
        format=Format.ENVELOPE,
        markers=True,
        max_message_bytes=1000,
        buffer=BufferOptions(50, 2048),
    ),
    statistics=Statistics(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1_700_000_002.25),
    cause=Cause("peer_closed", "the server closed", 1001, "bye"),
    next_attempt_at=1_700_000_003.0,
    degraded=("topic_rejected",),
    profile="kraken",
)


@dataclass
class ScriptedVerbs:
    """Remembers every call; answers with what the test gave, or raises `error`."""

    view: ConnectionView = VIEW
    views: tuple[ConnectionView, ...] = (VIEW,)
    reply: bytes = b""
    tags: Mapping[str, str] = field(default_factory=dict)
    detail: ConnectionDetail = field(
        default_factory=lambda: ConnectionDetail(VIEW, LiveStatistics())
    )
    notices: Mailbox[LifecycleNotice] = field(default_factory=Mailbox)
    seen: Mailbox[TailedMessage] = field(default_factory=Mailbox)
    error: BaseException | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    async def connect(self, spec: ConnectionSpec) -> ConnectionView:
        self._called("connect", spec)
        return self.view

    def list_connections(self, filters: Sequence[tuple[str, str]]) -> tuple[ConnectionView, ...]:
        self._called("list", filters)
        return self.views

    async def disconnect(self, connection_id: ConnectionId) -> None:
        self._called("disconnect", connection_id)

    async def start_publish(self, connection_id: ConnectionId, topic: Topic) -> None:
        self._called("start_publish", connection_id, topic)

    async def stop_publish(self, connection_id: ConnectionId) -> None:
        self._called("stop_publish", connection_id)

    async def send(
        self, connection_id: ConnectionId, data: bytes, kind: Kind, timeout_seconds: float | None
    ) -> bytes:
        self._called("send", connection_id, data, kind, timeout_seconds)
        return self.reply

    async def send_raw(self, connection_id: ConnectionId, data: bytes, kind: Kind) -> None:
        self._called("send_raw", connection_id, data, kind)

    async def set_tag(self, connection_id: ConnectionId, key: str, value: str) -> None:
        self._called("set_tag", connection_id, key, value)

    def get_tag(self, connection_id: ConnectionId, key: str) -> str:
        self._called("get_tag", connection_id, key)
        return self.tags[key]

    async def set_tags(self, connection_id: ConnectionId, tags: Mapping[str, str]) -> None:
        self._called("set_tags", connection_id, tags)

    def get_tags(self, connection_id: ConnectionId) -> Mapping[str, str]:
        self._called("get_tags", connection_id)
        return self.tags

    def get(self, connection_id: ConnectionId) -> ConnectionDetail:
        self._called("get", connection_id)
        return self.detail

    async def update(self, change: ConnectionChange) -> ConnectionView:
        self._called("update", change)
        return self.view

    async def rotate(self, connection_id: ConnectionId) -> ConnectionView:
        self._called("rotate", connection_id)
        return self.view

    def watch(
        self,
        connection_id: ConnectionId | None,
        filters: Sequence[tuple[str, str]],
        after_event: int | None,
    ) -> Mailbox[LifecycleNotice]:
        self._called("watch", connection_id, filters, after_event)
        return self.notices

    def tail(self, connection_id: ConnectionId, max_message_bytes: int) -> Mailbox[TailedMessage]:
        self._called("tail", connection_id, max_message_bytes)
        return self.seen


@dataclass
class ScriptedTrials:
    """Remembers every target; gives the test's steps, or raises `error`.

    Attributes:
        entered: set once a block was entered; `left` once one was left.
    """

    steps: Mailbox[TrialStep] = field(default_factory=Mailbox)
    error: Exception | None = None
    tried: list[ConnectionSpec] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self, spec: ConnectionSpec) -> AsyncIterator[Mailbox[TrialStep]]:
        self.tried.append(spec)
        if self.error is not None:
            raise self.error
        self.entered.set()
        try:
            yield self.steps
        finally:
            self.left.set()


class FactList:
    """A Journal that keeps what it is told."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def emit(self, fact: Fact) -> None:
        self.facts.append(fact)


@dataclass
class Span:
    name: str
    headers: Mapping[str, str]
    attributes: Mapping[str, str]
    failure: BaseException | None = None
    ended: bool = False


class SpanList:
    """A Tracer that keeps its spans."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    @contextmanager
    def span(
        self,
        name: str,
        *,
        headers: Mapping[str, str] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Iterator[None]:
        span = Span(name, headers or {}, attributes or {})
        self.spans.append(span)
        try:
            yield
        except BaseException as error:
            span.failure = error
            raise
        finally:
            span.ended = True

    def inject(self) -> tuple[tuple[str, str], ...]:
        return ()


@dataclass
class Face:
    """A running server and a client of it."""

    server: ApiServer
    verbs: ScriptedVerbs
    trials: ScriptedTrials
    clock: ManualClock
    journal: FactList
    tracer: SpanList
    port: int
    channel: grpc.aio.Channel
    stub: WebSocketManagerStub


def new_server(
    verbs: Any = None, *, host: str = "127.0.0.1", port: int = 0, limits: Limits | None = None
) -> ApiServer:
    """Returns a server that is not started."""
    return ApiServer(
        verbs or ScriptedVerbs(),
        ScriptedTrials(),
        host=host,
        port=port,
        limits=limits or Limits(),
        compile_regex=compile_regex,
        clock=ManualClock(),
        journal=FactList(),
        tracer=SpanList(),
    )


@asynccontextmanager
async def serving(verbs: Any = None) -> AsyncIterator[Face]:
    """Starts a server on a free port and a client; stops both."""
    verbs = verbs or ScriptedVerbs()
    clock, journal, tracer = ManualClock(), FactList(), SpanList()
    trials = ScriptedTrials()
    server = ApiServer(
        verbs,
        trials,
        host="127.0.0.1",
        port=0,
        limits=Limits(),
        compile_regex=compile_regex,
        clock=clock,
        journal=journal,
        tracer=tracer,
    )
    port = await server.start()
    try:
        options = (("grpc.max_receive_message_length", -1),)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            stub = WebSocketManagerStub(channel)
            yield Face(server, verbs, trials, clock, journal, tracer, port, channel, stub)
    finally:
        await server.stop(0)


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Returns the google.rpc.Status in an error's trailers; empty when there is none."""
    trailers: Any = error.trailing_metadata()
    for key, value in trailers:
        if key == "grpc-status-details-bin":
            return status_pb2.Status.FromString(value)
    return status_pb2.Status()


def info_of(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """Returns the ErrorInfo in an error's trailers."""
    return detail(status_of(error), error_details_pb2.ErrorInfo())


M = TypeVar("M", bound=Message)


def detail(status: status_pb2.Status, wanted: M) -> M:
    """Returns the status's one detail of a kind, unpacked into `wanted`."""
    (found,) = [packed for packed in status.details if packed.Is(wanted.DESCRIPTOR)]
    assert found.Unpack(wanted)
    return wanted
