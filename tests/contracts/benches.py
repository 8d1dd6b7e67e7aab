"""What a port is tried on: the twin, the adapter on either API, and a look at the effects."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.kit.api_client import open_api
from tests.kit.clock import ManualClock, ScriptedDice
from tests.kit.journal import RecordingJournal
from tests.kit.scripted_api import running_scripted_api
from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.memory import (
    MemoryEventSink,
    MemoryMessageLog,
    MemoryStateStore,
)
from websocketmanager.adapters.message_log import SqliteMessageLog
from websocketmanager.embedded.server import EmbeddedApi, running_embedded_api
from websocketmanager.embedded.sink import DirectEventSink
from websocketmanager.ports import EventSink, MessageLog, StateStore

#: Within the platform's rules, and outside of them.
TOPIC = "websocketmanager.contract"
OTHER_TOPIC = "act.exchange.nowhere.trade.created"
REFUSED_TOPIC = "no-such-prefix"

Received = tuple[str, bytes, Mapping[str, str]]


@dataclass(frozen=True)
class SinkBench:
    """A sink, and `received(count)`: what then arrived on TOPIC, in order.

    Attributes:
        too_large: bytes of data that it refuses; 0 where it refuses none.
    """

    sink: EventSink
    received: Callable[[int], Awaitable[list[Received]]]
    too_large: int = 5_000_000


def embedded_api() -> AbstractAsyncContextManager[EmbeddedApi]:
    return running_embedded_api(
        host="127.0.0.1",
        port=0,
        database=":memory:",
        topic_rules="platform",
        journal=RecordingJournal(),
        clock=ManualClock(),
        dice=ScriptedDice(),
    )


@asynccontextmanager
async def memory_store() -> AsyncIterator[StateStore]:
    yield MemoryStateStore()


@asynccontextmanager
async def scripted_store() -> AsyncIterator[StateStore]:
    async with running_scripted_api() as server, open_api(server.port) as api:
        yield api


@asynccontextmanager
async def embedded_store() -> AsyncIterator[StateStore]:
    async with embedded_api() as server, open_api(server.port) as api:
        yield api


@asynccontextmanager
async def memory_sink() -> AsyncIterator[SinkBench]:
    sink = MemoryEventSink(refused_topics={REFUSED_TOPIC})

    async def received(count: int) -> list[Received]:
        events = [event for event in sink.events if event.route.topic == TOPIC][:count]
        return [(event.route.topic, event.data, event.metadata) for event in events]

    yield SinkBench(sink, received, too_large=0)


@asynccontextmanager
async def scripted_sink(
    *, batches: bool = False, streams: bool = False
) -> AsyncIterator[SinkBench]:
    async with running_scripted_api(batches=batches, streams=streams) as server:
        server.refused_topics.add(REFUSED_TOPIC)
        async with subscribed(server.port) as bench:
            yield bench


@asynccontextmanager
async def embedded_sink() -> AsyncIterator[SinkBench]:
    async with embedded_api() as server, subscribed(server.port) as bench:
        yield bench


@asynccontextmanager
async def direct_sink() -> AsyncIterator[SinkBench]:
    async with embedded_api() as server:
        sink = DirectEventSink(
            server.publisher, pubsub_name="pubsub", clock=ManualClock(), journal=RecordingJournal()
        )
        async with subscribed(server.port, sink) as bench:
            yield bench


@asynccontextmanager
async def subscribed(port: int, sink: EventSink | None = None) -> AsyncIterator[SinkBench]:
    """Publishes through the adapter or the sink; reads TOPIC back as any subscriber would."""
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        open_api(port) as api,
    ):
        stream = channel.unary_stream(
            "/virtufin.Pubsub/Subscribe",
            lambda request: request.SerializeToString(),
            pb.PubsubSubscribeResponse.FromString,
        )(pb.PubsubSubscribeRequest(topic=TOPIC))
        # The server answers the stream's headers once the subscription stands.
        await stream.initial_metadata()

        async def received(count: int) -> list[Received]:
            got: list[Received] = []
            async with asyncio.timeout(10):
                while len(got) < count:
                    message = await stream.read()
                    assert isinstance(message, pb.PubsubSubscribeResponse)
                    got.append((message.topic, message.data, dict(message.metadata)))
            return got

        try:
            yield SinkBench(sink or api, received)
        finally:
            stream.cancel()


@dataclass(frozen=True)
class LogBench:
    """A message log, and `again()`: what the next process finds after a kill -9."""

    log: MessageLog
    again: Callable[[], AbstractAsyncContextManager[MessageLog]]


@asynccontextmanager
async def memory_log() -> AsyncIterator[LogBench]:
    log = MemoryMessageLog()
    latest = [log]

    @asynccontextmanager
    async def again() -> AsyncIterator[MessageLog]:
        latest.append(MemoryMessageLog({**latest[-1].kept}))
        yield latest[-1]

    yield LogBench(log, again)


@asynccontextmanager
async def sqlite_log() -> AsyncIterator[LogBench]:
    with tempfile.TemporaryDirectory() as name:
        path, copies = Path(name) / "log.sqlite3", itertools.count()

        @asynccontextmanager
        async def again() -> AsyncIterator[MessageLog]:
            # What a kill leaves: the files as they are, of the latest process.
            files = [path, path.with_name(path.name + "-wal")]
            if latest := next(copies):
                files = [one.with_name(f"{latest - 1}-{one.name}") for one in files]
            later = path.with_name(f"{latest}-{path.name}")
            for one, new in zip(files, (later, later.with_name(later.name + "-wal")), strict=True):
                if one.exists():
                    shutil.copy(one, new)
            async with opened_log(later) as log:
                yield log

        async with opened_log(path) as log:
            yield LogBench(log, again)


@asynccontextmanager
async def opened_log(path: Path) -> AsyncIterator[SqliteMessageLog]:
    log = SqliteMessageLog(path, RecordingJournal())
    await log.start()
    try:
        yield log
    finally:
        await log.close()


LOGS: dict[str, Callable[[], AbstractAsyncContextManager[LogBench]]] = {
    "memory": memory_log,
    "sqlite": sqlite_log,
}
STORES: dict[str, Callable[[], AbstractAsyncContextManager[StateStore]]] = {
    "memory": memory_store,
    "scripted": scripted_store,
    "embedded": embedded_store,
}
SINKS: dict[str, Callable[[], AbstractAsyncContextManager[SinkBench]]] = {
    "memory": memory_sink,
    "unary": scripted_sink,
    "batch": lambda: scripted_sink(batches=True),
    "stream": lambda: scripted_sink(batches=True, streams=True),
    "embedded": embedded_sink,
    "direct": direct_sink,
}
