"""Histograms that cost little to record, shown to OpenTelemetry when it collects.

The SDK has no histogram by callback, so these join the collected data in the readers.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from time import time_ns

from opentelemetry.sdk.metrics import export

from websocketmanager.adapters.telemetry.catalogue import Metric
from websocketmanager.adapters.telemetry.values import (
    PREFIX,
    Labels,
    Mover,
    bounded,
    key_of,
    named,
)
from websocketmanager.domain.facts import Fact


class _Bins:
    """One series. `counts` has one bin more than there are bounds."""

    __slots__ = ("counts", "highest", "lowest", "total")

    def __init__(self, size: int) -> None:
        self.counts = [0] * size
        self.total = 0.0
        self.lowest = float("inf")
        self.highest = float("-inf")


class Histograms:
    """All histograms of the catalogue.

    The loop's thread records; an exporter's thread may read meanwhile, and then sees numbers
    that are one fact old.
    """

    def __init__(self) -> None:
        self._all: dict[str, tuple[Metric, dict[Labels, _Bins]]] = {}
        self._since = time_ns()

    def recorder(self, metric: Metric) -> Mover:
        """Returns the function that records one row's facts."""
        _, series = self._all.setdefault(metric.name, (metric, {}))
        key, value, bounds = key_of(metric), metric.value, metric.bounds

        def record(fact: Fact) -> None:
            labels = bounded(series, key(fact))
            bins = series.get(labels)
            if bins is None:
                bins = series[labels] = _Bins(len(bounds) + 1)
            number = value(fact)
            # A bucket holds what is at most its bound, in OpenTelemetry and in Prometheus.
            bins.counts[bisect_left(bounds, number)] += 1
            bins.total += number
            bins.lowest = min(bins.lowest, number)
            bins.highest = max(bins.highest, number)

        return record

    def joined_with(self, collected: export.MetricsData) -> export.MetricsData:
        """Returns collected data with all histograms, in its first scope."""
        histograms = self._collect()
        if not histograms or not collected.resource_metrics:
            return collected
        resource, *resources = collected.resource_metrics
        scope, *scopes = resource.scope_metrics
        scope = dataclasses.replace(scope, metrics=[*scope.metrics, *histograms])
        resource = dataclasses.replace(resource, scope_metrics=[scope, *scopes])
        return export.MetricsData(resource_metrics=[resource, *resources])

    def _collect(self) -> list[export.Metric]:
        now = time_ns()
        return [
            export.Metric(
                name=PREFIX + metric.name,
                description=metric.description,
                unit=metric.unit,
                data=export.Histogram(
                    # A list first: the loop may add a series meanwhile.
                    data_points=[
                        self._point(metric, labels, bins, now)
                        for labels, bins in list(series.items())
                    ],
                    aggregation_temporality=export.AggregationTemporality.CUMULATIVE,
                ),
            )
            for metric, series in self._all.values()
            if series
        ]

    def _point(
        self, metric: Metric, labels: Labels, bins: _Bins, now: int
    ) -> export.HistogramDataPoint:
        counts = tuple(bins.counts)
        return export.HistogramDataPoint(
            attributes=named(metric, labels),
            start_time_unix_nano=self._since,
            time_unix_nano=now,
            count=sum(counts),
            sum=bins.total,
            bucket_counts=counts,
            explicit_bounds=metric.bounds,
            min=bins.lowest,
            max=bins.highest,
        )
