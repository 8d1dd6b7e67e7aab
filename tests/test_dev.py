"""The composition of `dev`, in process: what it shows, how it ends, what it says when it fails."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from websocketmanager.dev import dev_settings, run_dev, scratch_database, view_for
from websocketmanager.settings import Settings
from websocketmanager.terminal.received import Received
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
