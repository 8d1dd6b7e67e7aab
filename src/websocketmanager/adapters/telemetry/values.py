"""Reading facts: their fields by name, and the labels of their metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from websocketmanager.adapters.telemetry.catalogue import Metric
from websocketmanager.domain.facts import Fact

PREFIX = "websocketmanager."
#: Series per instrument. Every label is meant to be from a small set; should a caller be able
#: to invent values, the memory stays bounded and the rest is counted as `other`.
MAX_SERIES = 500
_OTHER = "other"

Labels = tuple[object, ...]
#: Moves one instrument by a fact of the class that its row stands for.
Mover = Callable[[Any], None]


def fields_of(fact: Fact) -> dict[str, object]:
    """Returns the fields of a fact; shallow, in the order of its class."""
    return {each.name: getattr(fact, each.name) for each in dataclasses.fields(fact)}


def key_of(metric: Metric) -> Callable[[Any], Labels]:
    """Returns the function that reads a row's labels from a fact."""
    if not metric.labels:
        return lambda _fact: ()
    get = attrgetter(*metric.labels)
    if len(metric.labels) == 1:  # a single name comes without its tuple
        return lambda fact: (get(fact),)
    several: Callable[[Any], Labels] = get
    return several


def bounded(series: Mapping[Labels, object], labels: Labels) -> Labels:
    """Returns the labels under which to count, so that the series stay few."""
    if labels in series or len(series) < MAX_SERIES:
        return labels
    return (_OTHER,) * len(labels)


def named(metric: Metric, labels: Labels) -> dict[str, str]:
    """Returns labels with their names."""
    return dict(zip(metric.labels, map(str, labels), strict=True))
