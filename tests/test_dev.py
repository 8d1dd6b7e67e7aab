"""The composition of `dev`, in process: what it shows, how it ends, what it says when it fails."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.demo.feed import running_feed
from websocketmanager.dev import (
    dev_settings,
    run_dev,
    running_app_with_api,
    scratch_database,
    view_for,
)
from websocketmanager.settings import Settings
from websocketmanager.terminal.received import Received
from websocketmanager.terminal.remote import open_api, open_service
from websocketmanager.terminal.tally import Tally
from websocketmanager.terminal.view import LiveView, PlainView

SETTINGS = Settings(
    http_port=0, grpc_port=0, api_grpc_port=0, database=":memory:", log_level="error"
)


class StoppingView(PlainView):
    """Asks for the end once both connections delivered; remembers what it was told."""

    interval_seconds = 0.05

    def __init__(self, stop: asyncio.Event) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.stop = stop
        self.told: list[str] = []

    def event(self, event: Received, name: str) -> None:
        self.told.append(f"{name} {event.marker or event.state}")

    def tick(self, tally: Tally) -> None:
        if all(count.messages for count in tally.counts):
            self.stop.set()


class BrokenView(PlainView):
    """Fails at the first event."""

    def event(self, event: Received, name: str) -> None:
        raise OSError("the terminal is gone")


async def test_it_shows_both_connections_from_their_first_event_until_it_is_stopped() -> None:
    stop = asyncio.Event()
    view = StoppingView(stop)
    tally = await run_dev(SETTINGS, view, environ={}, log=io.StringIO(), stop=stop)
    for name in ("demo-ticker", "demo-binary"):
        told = [line for line in view.told if line.startswith(name)]
        assert told.index(f"{name} connecting") < told.index(f"{name} connected")
        assert f"{name} started" in told
    assert [count.status for count in tally.counts] == ["connected", "connected"]
    assert [count.missing + count.repeated for count in tally.counts] == [0, 0]


async def test_the_keys_of_the_api_are_used_by_everyone() -> None:
    stop = asyncio.Event()
    settings = Settings.model_validate(SETTINGS.model_dump() | {"api_key": "sesame"})
    tally = await run_dev(settings, StoppingView(stop), environ={}, log=io.StringIO(), stop=stop)
    assert tally.events["connected"] == 2


async def test_it_ends_when_its_time_is_over() -> None:
    view = PlainView(Console(file=(output := io.StringIO())))
    await run_dev(
        SETTINGS, view, environ={}, log=io.StringIO(), stop=asyncio.Event(), duration_seconds=0.1
    )
    assert "summary" in output.getvalue()


async def test_a_failure_of_one_part_ends_it_with_that_failure() -> None:
    view = BrokenView(Console(file=io.StringIO()))
    with pytest.raises(OSError, match="the terminal is gone"):
        await run_dev(SETTINGS, view, environ={}, log=io.StringIO(), stop=asyncio.Event())


def test_the_service_inside_reaches_its_own_api_and_the_loopback() -> None:
    given = Settings(allowed_hosts=("10.0.0.0/8",), api_host="far.example", api_route="dapr")
    inner = dev_settings(given, api_port=77)
    assert (inner.api_host, inner.api_grpc_port, inner.api_route) == ("127.0.0.1", 77, "direct")
    assert inner.allowed_hosts == ("10.0.0.0/8", "127.0.0.1")
    assert dev_settings(inner, api_port=77).allowed_hosts == inner.allowed_hosts


async def test_service_and_api_in_one_process_publish_without_a_channel() -> None:
    settings = SETTINGS.model_copy(
        update={"bind_host": "127.0.0.1", "allowed_hosts": ("127.0.0.1",), "log_level": "info"}
    )
    log = io.StringIO()
    topic = "websocketmanager.test"
    async with (
        running_app_with_api(settings, environ={}, log=log) as (app, embedded),
        running_feed(clock=SystemClock(), dice=SystemDice()) as feed,
        open_service(app.grpc_address) as service,
        open_api(embedded.address) as api,
        api.subscription(topic, wait_seconds=10) as events,
    ):
        await service.wait_serving(timeout_seconds=10)
        request = pb.ConnectRequest(url=feed.url("/ticker"), topic=topic)
        await service.connect(request, timeout_seconds=10)
        for number in range(1, 4):
            event = await anext(events)
            assert (event.is_message, event.sequence) == (True, number)
            assert event.metadata["pubsubname"] == "pubsub"

        metrics = await _get(app.http_address, "/metrics")
        assert 'websocketmanager_publish_mode{mode="direct"} 1.0' in metrics
        calls = [line for line in metrics.splitlines() if "api_call_duration" in line]
        assert not [line for line in calls if "Pubsub." in line]
        assert [line for line in calls if "State.SaveState" in line]


async def _get(address: str, path: str) -> str:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


def test_a_scratch_database_is_gone_afterwards() -> None:
    with scratch_database() as path:
        Path(path).write_bytes(b"x")
    assert not Path(path).parent.exists()


@pytest.mark.parametrize(
    ("terminal", "plain", "kind"),
    [(True, False, LiveView), (True, True, PlainView), (False, False, PlainView)],
)
def test_the_view_suits_the_console(terminal: bool, plain: bool, kind: type[object]) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    assert isinstance(view_for(console, plain=plain), kind)
