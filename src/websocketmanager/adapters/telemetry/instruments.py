"""Counts facts in plain dictionaries, which OpenTelemetry reads when it collects.

The SDK's synchronous instruments cost 9 to 16 µs a measurement, a large part of the cost of
publishing one message; this costs well below one. Counters and gauges are the SDK's observable
instruments; histograms have a module of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from opentelemetry.metrics import CallbackOptions, CallbackT, Meter, Observation

from websocketmanager.adapters.telemetry.catalogue import METRICS, Metric
from websocketmanager.adapters.telemetry.histograms import Histograms
from websocketmanager.adapters.telemetry.values import (
    PREFIX,
    Labels,
    Mover,
    bounded,
    key_of,
    named,
)
from websocketmanager.domain.facts import Fact

#: What the callback of `observe` returns: pairs of a number and its labels.
Observed = Iterable[tuple[float, Mapping[str, str]]]


class Instruments:
    """All instruments of the catalogue; `move` is the facts' only way in.

    The loop's thread moves; an exporter's thread may read meanwhile, and then sees numbers
    that are one fact old.
    """

    def __init__(self, meter: Meter, histograms: Histograms) -> None:
        self._meter = meter
        self._histograms = histograms
        self._taken = {
            row.name for rows in METRICS.values() for row in rows if row.kind == "histogram"
        }
        self._numbers: dict[str, dict[Labels, float]] = {}
        self._movers: dict[type[Fact], tuple[Mover, ...]] = {
            kind: tuple(map(self._mover, rows)) for kind, rows in METRICS.items()
        }

    def move(self, fact: Fact) -> None:
        """Moves the instruments of a fact's rows."""
        for mover in self._movers.get(type(fact), ()):
            mover(fact)

    def observe(
        self,
        name: str,
        description: str,
        unit: str,
        callback: Callable[[], Observed],
        kind: Literal["gauge", "counter"] = "gauge",
    ) -> None:
        """Shows what a callback returns whenever metrics are collected.

        Args:
            name: without the prefix `websocketmanager.`.
            description: one line for people.
            unit: in UCUM, like `By`, `s` or `{message}`.
            callback: cheap, never waits, and safe to call from an exporter's thread: it takes
                a copy of what the loop changes (`list(mapping.values())`) before walking it.
            kind: a counter never falls; its callback returns totals.

        Raises:
            ValueError: the name is taken; twice the same name would spoil the whole page.
        """
        if name in self._taken:
            raise ValueError(f"there is already a metric {PREFIX}{name}")
        self._taken.add(name)

        def observations(_options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, dict(labels)) for value, labels in callback()]

        callbacks: list[CallbackT] = [observations]
        if kind == "counter":
            self._meter.create_observable_counter(PREFIX + name, callbacks, unit, description)
        else:
            self._meter.create_observable_gauge(PREFIX + name, callbacks, unit, description)

    def _mover(self, metric: Metric) -> Mover:
        """Returns the function that moves one row's instrument, made ready once."""
        if metric.kind == "histogram":
            return self._histograms.recorder(metric)
        series = self._series(metric, metric.kind)
        key, value = key_of(metric), metric.value

        def add(fact: Fact) -> None:
            labels = bounded(series, key(fact))
            series[labels] = series.get(labels, 0) + value(fact)

        def put(fact: Fact) -> None:
            series[bounded(series, key(fact))] = float(value(fact))

        return add if metric.kind == "counter" else put

    def _series(self, metric: Metric, kind: Literal["gauge", "counter"]) -> dict[Labels, float]:
        """Returns the numbers of an instrument; two facts may move the same one."""
        known = self._numbers.get(metric.name)
        if known is not None:
            return known
        # Without labels the one series shows as zero before the first fact: the rate over a
        # counter that appears with its first event misses that event.
        series: dict[Labels, float] = {} if metric.labels else {(): 0}
        self._numbers[metric.name] = series

        def read() -> Observed:
            # A list first: the loop may add a series meanwhile.
            return [(value, named(metric, labels)) for labels, value in list(series.items())]

        self.observe(metric.name, metric.description, metric.unit, read, kind)
        return series
