"""Composes the service and its API in one process: `serve --embedded-api`, and `dev`.

`dev` adds a demo exchange and a live view. A composition root like `app`, above it: wiring and
order, no product rule. What it shows it learns as any consumer would, by gRPC from the service and
from the API; what the service publishes goes to the API by a call.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console

from websocketmanager import __version__
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.adapters.telemetry import configure_logging, running_telemetry
from websocketmanager.app import App, SinkMaker, running_app
from websocketmanager.demo.feed import Feed, running_feed
from websocketmanager.domain.envelope import LIFECYCLE_TOPIC
from websocketmanager.domain.identity import connection_id_of_name
from websocketmanager.embedded.server import EmbeddedApi, running_embedded_api
from websocketmanager.embedded.sink import DirectEventSink
from websocketmanager.ports import Clock
from websocketmanager.settings import Settings
from websocketmanager.terminal.remote import Api, CallFailed, Service, open_api, open_service
from websocketmanager.terminal.tally import Tally
from websocketmanager.terminal.view import LiveView, PlainView, View

LOOPBACK = "127.0.0.1"
#: How long the service may take to be ready, and a connection to open.
_PATIENCE_SECONDS = 30.0
_SUBSCRIBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Demo:
    """One demonstrated connection: its name, the exchange's path, its topic."""

    name: str
    path: str
    topic: str


DEMOS = (
    Demo("demo-ticker", "/ticker", "websocketmanager.demo.ticker"),
    Demo("demo-binary", "/binary", "websocketmanager.demo.binary"),
)


def dev_settings(settings: Settings, *, api_port: int) -> Settings:
    """Returns the settings of the service inside `dev`: its own API, and the loopback allowed."""
    return settings.model_copy(
        update={
            "api_host": LOOPBACK,
            "api_grpc_port": api_port,
            "api_route": "direct",
            "allowed_hosts": tuple(dict.fromkeys((*settings.allowed_hosts, LOOPBACK))),
        }
    )


def view_for(console: Console, *, plain: bool) -> View:
    """Returns the view that suits the console: moving on a terminal, lines elsewhere."""
    return LiveView(console) if console.is_terminal and not plain else PlainView(console)


@contextmanager
def scratch_database() -> Iterator[str]:
    """Gives a database path that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="websocketmanager-dev-") as folder:
        yield str(Path(folder) / "dev.sqlite3")


@asynccontextmanager
async def running_api(
    settings: Settings, *, environ: Mapping[str, str], log: TextIO
) -> AsyncIterator[EmbeddedApi]:
    """Serves the embedded API of the settings, with its own log and telemetry.

    Raises:
        OSError: the port cannot be bound, or the database not be opened.
    """
    configure_logging(settings.log_level, settings.log_format, log)
    with running_telemetry(
        service_version=__version__, instance_id=settings.instance_id, environ=environ
    ) as telemetry:
        async with running_embedded_api(
            host=settings.bind_host,
            port=settings.api_grpc_port,
            database=settings.database,
            topic_rules=settings.topic_rules,
            journal=telemetry.journal,
            clock=SystemClock(),
            dice=SystemDice(),
            api_key=_key(settings),
            max_message_bytes=settings.api_max_message_bytes,
        ) as running:
            yield running


def direct_to(embedded: EmbeddedApi, settings: Settings) -> SinkMaker:
    """Returns what publishes to an embedded API of this process without a channel between."""
    return lambda clock, journal: DirectEventSink(
        embedded.publisher, pubsub_name=settings.pubsub_name, clock=clock, journal=journal
    )


@asynccontextmanager
async def running_app_with_api(
    settings: Settings, *, environ: Mapping[str, str], log: TextIO
) -> AsyncIterator[tuple[App, EmbeddedApi]]:
    """Runs the service and the embedded API, both of the settings, in one process.

    Raises:
        OSError: a port cannot be bound, or the database not be opened.
    """
    async with running_api(settings, environ=environ, log=log) as embedded:
        local = settings.bind_host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
        inner = settings.model_copy(
            update={
                "api_host": LOOPBACK if local else settings.bind_host,
                "api_grpc_port": embedded.port,
                "api_route": "direct",
            }
        )
        async with running_app(inner, environ=environ, direct=direct_to(embedded, inner)) as app:
            yield app, embedded


async def run_dev(
    settings: Settings,
    view: View,
    *,
    environ: Mapping[str, str],
    log: TextIO,
    stop: asyncio.Event,
    duration_seconds: float | None = None,
) -> Tally:
    """Runs everything until `stop` is set or the duration is over, and returns what was seen.

    Args:
        settings: of service and API; `scratch_database` has a database for a single run.
        view: what shows it.
        environ: where telemetry finds its endpoints.
        log: takes the log of the embedded API.
        stop: asks for the end.
        duration_seconds: from the moment that everything listens.

    Raises:
        OSError: a port cannot be bound, or the database not be opened.
        CallFailed: the service or the API did not do what `dev` needs of them.
    """
    clock = SystemClock()
    tally = Tally({connection_id_of_name(demo.name): demo.name for demo in DEMOS})
    began = clock.monotonic()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        beneath = settings.model_copy(update={"bind_host": LOOPBACK})
        embedded = await enter(running_api(beneath, environ=environ, log=log))
        feed = await enter(running_feed(clock=clock, dice=SystemDice()))
        inner = dev_settings(settings, api_port=embedded.port)
        direct = direct_to(embedded, inner)
        app = await enter(running_app(inner, environ=environ, direct=direct))
        service = await enter(open_service(app.grpc_address))
        api = await enter(open_api(embedded.address, key=_key(settings)))
        view.banner(*_banner(settings, app, embedded, feed))
        stack.enter_context(view)
        show = _Show(service, api, feed, view, tally, clock)
        await _until_over(show, stop, duration_seconds)
    view.summary(tally, clock.monotonic() - began)
    return tally


@dataclass(frozen=True, slots=True)
class _Show:
    """What a run looks at and where it shows it."""

    service: Service
    api: Api
    feed: Feed
    view: View
    tally: Tally
    clock: Clock


async def _until_over(show: _Show, stop: asyncio.Event, duration_seconds: float | None) -> None:
    """Runs the show until it is told to stop, its time is over or a part of it fails."""
    topics = (LIFECYCLE_TOPIC, *(demo.topic for demo in DEMOS))
    subscribed = {topic: asyncio.Event() for topic in topics}
    try:
        # Here, and not in the service, as nothing of these tasks outlives the block.
        async with asyncio.TaskGroup() as group:  # noqa: TID251 - dev is a composition root
            group.create_task(_wait_over(stop, show.clock, duration_seconds))
            for topic, event in subscribed.items():
                group.create_task(_follow(show, topic, event))
            group.create_task(_connect_and_tick(show, subscribed.values()))
    except BaseExceptionGroup as ended:
        _, failures = ended.split(_Over)
        if failures is not None:
            raise failures.exceptions[0] from None


class _Over(Exception):
    """Ends the task group in good order."""


async def _wait_over(stop: asyncio.Event, clock: Clock, duration_seconds: float | None) -> None:
    try:
        async with clock.timeout(duration_seconds):
            await stop.wait()
    except TimeoutError:
        pass  # the duration is over
    raise _Over


async def _follow(show: _Show, topic: str, subscribed: asyncio.Event) -> None:
    async with show.api.subscription(topic, wait_seconds=_SUBSCRIBE_SECONDS) as events:
        subscribed.set()
        async for event in events:
            if show.tally.observe(event):
                show.view.event(event, show.tally.name_of(event))


async def _connect_and_tick(show: _Show, subscribed: Iterable[asyncio.Event]) -> None:
    # In this order, so that the first event is seen.
    for event in subscribed:
        await event.wait()
    await show.service.wait_serving(timeout_seconds=_PATIENCE_SECONDS)
    for demo in DEMOS:
        await connect_demo(show.service, demo, show.feed.url(demo.path))
    before = show.clock.monotonic()
    while True:
        await show.clock.sleep(show.view.interval_seconds)
        now = show.clock.monotonic()
        show.tally.measure(now - before)
        show.view.tick(show.tally)
        before = now


async def connect_demo(service: Service, demo: Demo, url: str) -> None:
    """Opens a demo connection; one of an earlier run, at another port, makes room for it.

    Raises:
        CallFailed: the service did not open it.
    """
    request = pb.ConnectRequest(
        url=url,
        name=demo.name,
        topic=demo.topic,
        auto_reconnect=True,
        tags={"demo": "true"},
        options=pb.ConnectionOptions(markers=True),
    )
    try:
        await service.connect(request, timeout_seconds=_PATIENCE_SECONDS)
    except CallFailed as failed:
        if failed.code != "ALREADY_EXISTS":
            raise
        await service.disconnect(
            connection_id_of_name(demo.name), timeout_seconds=_PATIENCE_SECONDS
        )
        await service.connect(request, timeout_seconds=_PATIENCE_SECONDS)


def _banner(
    settings: Settings, app: App, embedded: EmbeddedApi, feed: Feed
) -> tuple[Mapping[str, str], str]:
    addresses = {
        "service": f"gRPC {app.grpc_address}, HTTP http://{app.http_address}/health",
        "metrics": f"http://{app.http_address}/metrics",
        "API": f"gRPC {embedded.address} (embedded, {settings.database})",
        "demo feed": ", ".join(feed.url(demo.path) for demo in DEMOS),
    }
    return addresses, f"grpcurl -plaintext {app.grpc_address} virtufin.WebSocketManager/List"


def _key(settings: Settings) -> str | None:
    return settings.api_key.get_secret_value() if settings.api_key else None
