"""Builds the providers, and ends them within a time limit.

Nothing is made global: two apps in one process have their own metrics and traces.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest

from websocketmanager.adapters.telemetry.histograms import Histograms
from websocketmanager.adapters.telemetry.instruments import Instruments, Observed
from websocketmanager.adapters.telemetry.journal import OpenTelemetryJournal
from websocketmanager.adapters.telemetry.logs import OURS
from websocketmanager.adapters.telemetry.tracing import OpenTelemetryTracer

_SERVICE = "websocketmanager"
#: After the flush was given up: cancelled exports need a moment to come back.
_ABORT_SECONDS = 1.0


class Telemetry:
    """What the rest of a process sees of its telemetry."""

    def __init__(
        self, instruments: Instruments, tracer: OpenTelemetryTracer, registry: CollectorRegistry
    ) -> None:
        self.journal = OpenTelemetryJournal(instruments)
        self.tracer = tracer
        self._instruments = instruments
        self._registry = registry

    def render_metrics(self) -> tuple[bytes, str]:
        """Returns all metrics in Prometheus' text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def observe(
        self,
        name: str,
        description: str,
        unit: str,
        callback: Callable[[], Observed],
        kind: Literal["gauge", "counter"] = "gauge",
    ) -> None:
        """Shows what a callback returns whenever metrics are collected; see Instruments."""
        self._instruments.observe(name, description, unit, callback, kind)


@contextmanager
def running_telemetry(
    *,
    service_version: str,
    instance_id: str,
    environ: Mapping[str, str],
    flush_seconds: float = 2.0,
) -> Iterator[Telemetry]:
    """Runs telemetry for a block.

    Metrics can always be rendered. Traces and metrics are exported by OTLP over gRPC only when
    the environment names an endpoint (OTEL_EXPORTER_OTLP_ENDPOINT, or the variable of one
    signal); the exporters read their other OTEL_ settings themselves.

    Args:
        service_version: resource attribute `service.version`.
        instance_id: resource attribute `service.instance.id`.
        environ: where the endpoints are looked up.
        flush_seconds: how long leaving the block may wait for a collector. It then gives up
            what is not exported, within one second more.
    """
    resource = Resource.create(
        {
            "service.name": _SERVICE,
            "service.version": service_version,
            "service.instance.id": instance_id,
        }
    ).merge(OTELResourceDetector().detect())  # what the operator says wins
    registry = CollectorRegistry()
    exporters: list[OTLPMetricExporter | OTLPSpanExporter] = []
    histograms = Histograms()
    readers: list[MetricReader] = [_PrometheusReader(histograms, registry)]
    if endpoint := _endpoint(environ, "METRICS"):
        metric_exporter = OTLPMetricExporter(endpoint=endpoint)
        exporters.append(metric_exporter)
        readers.append(_PushingReader(histograms, metric_exporter))
    meters = MeterProvider(readers, resource, AlwaysOffExemplarFilter(), shutdown_on_exit=False)
    instruments = Instruments(meters.get_meter(_SERVICE, service_version), histograms)
    instruments.observe(
        "build.info",
        "The running version; always 1",
        "",
        lambda: [(1, {"version": service_version})],
    )
    tracers = _tracer_provider(environ, resource, meters, exporters)
    telemetry = Telemetry(
        instruments, OpenTelemetryTracer(tracers.get_tracer(_SERVICE, service_version)), registry
    )
    try:
        yield telemetry
    finally:
        _shut_down(tracers, meters, exporters, flush_seconds)


class _PrometheusReader(PrometheusMetricReader):
    """Adds the histograms to what Prometheus gets."""

    def __init__(self, histograms: Histograms, registry: CollectorRegistry) -> None:
        self._histograms = histograms
        super().__init__(scope_info_enabled=False, registry=registry)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        merged = self._histograms.joined_with(metrics_data)
        super()._receive_metrics(merged, timeout_millis, **kwargs)


class _PushingReader(PeriodicExportingMetricReader):
    """Adds the histograms to what a collector gets."""

    def __init__(self, histograms: Histograms, exporter: OTLPMetricExporter) -> None:
        self._histograms = histograms
        super().__init__(exporter)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        merged = self._histograms.joined_with(metrics_data)
        super()._receive_metrics(merged, timeout_millis, **kwargs)


def _endpoint(environ: Mapping[str, str], signal: Literal["TRACES", "METRICS"]) -> str:
    """Returns where to export a signal, or the empty string."""
    if environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none":
        return ""
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "").strip()
    return own or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()


def _tracer_provider(
    environ: Mapping[str, str],
    resource: Resource,
    meters: MeterProvider,
    exporters: list[OTLPMetricExporter | OTLPSpanExporter],
) -> TracerProvider:
    endpoint = _endpoint(environ, "TRACES")
    # Without an exporter nobody sees our spans: none is recorded, and yet every call has ids
    # for the logs, and a caller's decision to sample is passed on.
    sampler = None if endpoint else ParentBased(ALWAYS_OFF)
    tracers = TracerProvider(sampler, resource, shutdown_on_exit=False, meter_provider=meters)
    if endpoint:
        exporter = OTLPSpanExporter(endpoint=endpoint)
        exporters.append(exporter)
        tracers.add_span_processor(BatchSpanProcessor(exporter, meter_provider=meters))
    return tracers


def _shut_down(
    tracers: TracerProvider,
    meters: MeterProvider,
    exporters: list[OTLPMetricExporter | OTLPSpanExporter],
    flush_seconds: float,
) -> None:
    """Flushes and ends both providers; gives up when the time is over.

    The SDK's own limits are 30 s each, and an exporter in its retry pause ends only when it is
    shut down itself.
    """

    def flush() -> None:
        try:
            tracers.shutdown()
            meters.shutdown(timeout_millis=flush_seconds * 1000)
        except Exception:
            # The process is at its end and has nothing else to do about it.
            logging.getLogger(OURS).exception("telemetry could not be flushed")

    flusher = threading.Thread(target=flush, name="telemetry-flush", daemon=True)
    flusher.start()
    flusher.join(flush_seconds)
    if flusher.is_alive():
        logging.getLogger(OURS).warning(
            "telemetry not flushed within %g s: the collector does not answer", flush_seconds
        )
        for exporter in exporters:
            exporter.shutdown()
        flusher.join(_ABORT_SECONDS)
