"""The live view: lines for pipes, a table for terminals, and one summary for both."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.terminal.events import lifecycle, marker, message
from websocketmanager.terminal.tally import Tally
from websocketmanager.terminal.view import LiveView, PlainView, View, summary_lines


def seen() -> Tally:
    tally = Tally({"c1": "demo-ticker", "c2": "demo-binary"})
    for event in (
        lifecycle("connecting", 1),
        lifecycle("connected", 2, session=1),
        message(1, data=b"[red]tick[/red]\x1b[2J"),
        lifecycle("reconnecting", 3),
        lifecycle("connected", 4, session=2),
        marker("gap", session=2),
        message(1, session=2, connection_id="c2", data=b"\x00", content_type="x/y"),
    ):
        tally.observe(event)
    tally.measure(2.0)
    return tally


def shown(view: View, output: io.StringIO) -> str:
    tally = seen()
    view.banner({"service": "gRPC 127.0.0.1:1"}, "grpcurl -plaintext 127.0.0.1:1 List")
    with view:
        view.event(lifecycle("connected", 2, address="127.0.0.1:9"), "demo-ticker")
        view.tick(tally)
    view.summary(tally, 10.0)
    return output.getvalue()


def test_lines_are_plain_and_whole() -> None:
    output = io.StringIO()
    text = shown(PlainView(Console(file=output, width=40)), output)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].split() == ["service", "gRPC", "127.0.0.1:1"]
    assert lines[1].endswith("grpcurl -plaintext 127.0.0.1:1 List"), "no line is wrapped"
    assert lines[2].endswith("connected       address=127.0.0.1:9")
    assert "demo-ticker connected: 0.5 msg/s, 1 messages" in lines[3]
    assert "[red]tick[/red]\\x1b[2J" in lines[4], "neither markup nor escapes act"
    assert "00 (1 bytes)" in lines[5]


def test_a_terminal_gets_a_table_with_counts_and_events() -> None:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True, color_system=None)
    text = shown(LiveView(console), output)
    row = next(line for line in text.splitlines() if line.strip().startswith("demo-ticker"))
    assert row.split()[:7] == ["demo-ticker", "connected", "2", "0.5", "1", "1", "1"]
    assert row.split()[7:] == ["stream", "gap"]
    assert "address=127.0.0.1:9" in text
    assert "\x1b[2J" not in text


def test_a_narrow_terminal_is_no_reason_to_fail() -> None:
    output = io.StringIO()
    console = Console(file=output, width=20, height=5, force_terminal=True)
    assert "demo-ticker" in shown(LiveView(console), output)


def test_the_summary_holds_the_totals() -> None:
    assert summary_lines(seen(), 10.0) == [
        "summary       10.0 s",
        "summary       demo-ticker   1 messages, 19 bytes, 1 reconnect, 1 gap, 0 missing, "
        "0 repeated",
        "summary       demo-binary   1 messages, 1 bytes, 0 reconnects, 0 gaps, 0 missing, "
        "0 repeated",
        "summary       lifecycle events: 1 connecting, 2 connected, 1 reconnecting",
    ]


def test_a_summary_of_nothing_says_so() -> None:
    assert summary_lines(Tally({}), 0.0)[-1] == "summary       lifecycle events: none"


@pytest.mark.parametrize("kind", [PlainView, LiveView])
def test_a_view_is_left_by_an_error_too(kind: type[PlainView] | type[LiveView]) -> None:
    view = kind(Console(file=io.StringIO(), force_terminal=True))
    with pytest.raises(RuntimeError, match="boom"), view:
        raise RuntimeError("boom")
