"""The live view of `dev`: a table that moves on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from websocketmanager.terminal.lines import event_line, preview
from websocketmanager.terminal.received import Received
from websocketmanager.terminal.tally import Count, Tally

STATUS_COLOURS = {
    "connecting": "yellow",
    "connected": "green",
    "reconnecting": "yellow",
    "disconnected": "red",
}
EVENT_COLOURS = STATUS_COLOURS | {"error": "red", "degraded": "magenta"}
#: Events that the live view keeps in sight.
_EVENTS_SHOWN = 10


class View(Protocol):
    """What `dev` shows, in the order of the methods."""

    @property
    def interval_seconds(self) -> float:
        """How often `tick` should be called."""

    def banner(self, addresses: Mapping[str, str], example: str) -> None:
        """Shows where everything listens, and a command line to try."""

    def __enter__(self) -> Self:
        """Begins the moving part."""

    def event(self, event: Received, name: str) -> None:
        """Shows a lifecycle event or a marker of the named connection."""

    def tick(self, tally: Tally) -> None:
        """Shows the counts, whose rates were just measured."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the moving part."""

    def summary(self, tally: Tally, seconds: float) -> None:
        """Shows what was seen in all."""


class PlainView:
    """One line for each thing, for pipes, files and logs."""

    interval_seconds = 2.0

    def __init__(self, console: Console) -> None:
        self._console = console

    def banner(self, addresses: Mapping[str, str], example: str) -> None:
        """Shows where everything listens, and a command line to try."""
        for what, address in addresses.items():
            self._line(f"{what:<14}{address}")
        self._line(f"{'try':<14}{example}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def event(self, event: Received, name: str) -> None:
        """Shows a lifecycle event or a marker of the named connection."""
        self._line(event_line(event, name))

    def tick(self, tally: Tally) -> None:
        """Shows the counts, and the last message of each connection."""
        self._line("statistics    " + " · ".join(map(_rate_words, tally.counts)))
        for count in tally.counts:
            if count.sample:
                self._line(f"sample        {count.name:<12}  {_sample(count.sample)}")

    def summary(self, tally: Tally, seconds: float) -> None:
        """Shows what was seen in all."""
        for line in summary_lines(tally, seconds):
            self._line(line)

    def _line(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class LiveView:
    """A table of connections above the last events, redrawn in place."""

    interval_seconds = 0.5

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._events: deque[Text] = deque(maxlen=_EVENTS_SHOWN)

    def banner(self, addresses: Mapping[str, str], example: str) -> None:
        """Shows where everything listens, and a command line to try."""
        table = Table.grid(padding=(0, 2))
        for what, address in addresses.items():
            table.add_row(Text(what, style="bold"), Text(address, style="cyan"))
        table.add_row(Text("try", style="bold"), Text(example, overflow="fold"))
        self._console.print(Panel(table, title="websocketmanager dev", title_align="left"))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def event(self, event: Received, name: str) -> None:
        """Shows a lifecycle event or a marker of the named connection."""
        style = "dim" if event.marker else EVENT_COLOURS.get(event.state, "")
        self._events.append(Text(event_line(event, name), style=style, no_wrap=True))

    def tick(self, tally: Tally) -> None:
        """Redraws."""
        self._live.update(self._picture(tally), refresh=True)

    def summary(self, tally: Tally, seconds: float) -> None:
        """Shows what was seen in all."""
        for line in summary_lines(tally, seconds):
            self._console.print(Text(line), soft_wrap=True)

    def _picture(self, tally: Tally) -> RenderableType:
        samples = [
            Text(f"{count.name:<12}  {_sample(count.sample)}", style="dim", no_wrap=True)
            for count in tally.counts
            if count.sample
        ]
        return Group(_table(tally.counts), *self._events, Text(""), *samples)


def summary_lines(tally: Tally, seconds: float) -> Sequence[str]:
    """Returns the totals: a line for each connection, and the events by state."""
    lines = [f"summary       {seconds:.1f} s"]
    lines += [
        f"summary       {count.name:<12}  {count.messages} messages, {count.size} bytes, "
        f"{_times(count.reconnects, 'reconnect')}, {_times(count.gaps, 'gap')}, "
        f"{count.missing} missing, {count.repeated} repeated"
        for count in tally.counts
    ]
    events = ", ".join(f"{number} {state}" for state, number in tally.events.items()) or "none"
    lines.append(f"summary       lifecycle events: {events}")
    return lines


def _table(counts: Sequence[Count]) -> Table:
    table = Table(box=None, header_style="bold", expand=True)
    for title in ("connection", "status"):
        table.add_column(title, no_wrap=True)
    for title in ("session", "msg/s", "messages", "reconnects", "gaps"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("last event", ratio=1, no_wrap=True)
    for count in counts:
        last = count.last_event
        table.add_row(
            Text(count.name),
            Text(count.status, style=STATUS_COLOURS.get(count.status, "")),
            str(count.session),
            f"{count.rate:.1f}",
            str(count.messages),
            str(count.reconnects),
            str(count.gaps),
            Text(f"stream {last.marker}" if last.marker else last.state) if last else Text(""),
        )
    return table


def _rate_words(count: Count) -> str:
    return f"{count.name} {count.status}: {count.rate:.1f} msg/s, {count.messages} messages"


def _sample(event: Received) -> str:
    place = f"{event.session}/{event.sequence}"
    return f"{place:<8}  " + preview(event.data, event.text, limit=120)


def _times(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
