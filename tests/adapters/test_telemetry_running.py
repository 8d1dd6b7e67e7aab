"""Twin of adapters/telemetry/running.py, with a collector on the loopback and without one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from websocketmanager.adapters.telemetry import Telemetry, running_telemetry
from websocketmanager.domain import facts


class Collector(
    trace_service_pb2_grpc.TraceServiceServicer, metrics_service_pb2_grpc.MetricsServiceServicer
):
    """An OTLP collector that keeps what it gets; it may also hold every call until released."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.resources: list[dict[str, str]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name of the RPC
        self.may_answer.wait()
        if isinstance(request, trace_service_pb2.ExportTraceServiceRequest):
            for resource in request.resource_spans:
                self._keep(resource.resource)
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            return trace_service_pb2.ExportTraceServiceResponse()
        for resource in request.resource_metrics:
            self._keep(resource.resource)
            for scope in resource.scope_metrics:
                self.metrics |= {metric.name: metric for metric in scope.metrics}
        return metrics_service_pb2.ExportMetricsServiceResponse()

    def _keep(self, resource: Any) -> None:
        self.resources.append({each.key: each.value.string_value for each in resource.attributes})


@contextmanager
def collecting() -> Iterator[tuple[Collector, str]]:
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add: Any  # generated functions without types
    for add in (
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server,
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server,
    ):
        add(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        collector.may_answer.set()
        server.stop(None).wait()


@contextmanager
def running(**environ: str) -> Iterator[Telemetry]:
    with running_telemetry(
        service_version="1.2.3", instance_id="host-7", environ=environ, flush_seconds=1.0
    ) as telemetry:
        yield telemetry


def names_of_threads() -> Sequence[str]:
    return [each.name for each in threading.enumerate() if "Otel" in each.name]


def test_metrics_name_version_and_instance() -> None:
    with running() as telemetry:
        page, content_type = telemetry.render_metrics()
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert 'service_instance_id="host-7"' in page.decode()
    assert 'service_name="websocketmanager"' in page.decode()
    assert 'websocketmanager_build_info{version="1.2.3"} 1.0' in page.decode()


def test_two_apps_in_one_process_do_not_mix() -> None:
    with running() as first, running() as second:
        first.journal.emit(facts.OwnershipLost("c-1", "epoch 4"))
        line = b"websocketmanager_ownership_lost_total 1.0"
        assert line in first.render_metrics()[0]
        assert line not in second.render_metrics()[0]
    with running() as third:
        assert line not in third.render_metrics()[0]


def test_nothing_is_global() -> None:
    before = (trace.get_tracer_provider(), metrics.get_meter_provider())
    with running():
        assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == before


def test_without_an_endpoint_nothing_is_exported_and_calls_still_have_ids() -> None:
    with running() as telemetry:
        assert not names_of_threads()
        with telemetry.tracer.span("List", headers={}):
            ((name, value),) = telemetry.tracer.inject()
    assert name == "traceparent"
    # Bit 0 of the flags: we do not tell others to record what nobody of us records.
    assert int(value.rsplit("-", 1)[1], 16) & 1 == 0


def test_without_an_endpoint_a_callers_sampling_is_passed_on() -> None:
    caller = f"00-{'a' * 32}-{'b' * 16}-01"
    with running() as telemetry, telemetry.tracer.span("List", headers={"traceparent": caller}):
        passed_on = dict(telemetry.tracer.inject())["traceparent"]
    assert passed_on.startswith(f"00-{'a' * 32}-")
    assert passed_on.endswith("-01")


def test_traces_and_metrics_are_flushed_at_the_end() -> None:
    with collecting() as (collector, endpoint):
        with running(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as telemetry:
            with telemetry.tracer.span("Connect", headers={}):
                pass
            telemetry.journal.emit(facts.SessionOpened("c-1", 1, "x:1"))
            telemetry.journal.emit(facts.RpcEnded("/x/List", "OK", 0.3))
            telemetry.journal.emit(facts.RpcEnded("/x/List", "OK", 30))
        assert [span.name for span in collector.spans] == ["Connect"]
        for resource in collector.resources:
            assert resource["service.name"] == "websocketmanager"
            assert resource["service.version"] == "1.2.3"
            assert resource["service.instance.id"] == "host-7"
        opened = collector.metrics["websocketmanager.sessions.opened"]
        assert opened.sum.is_monotonic
        assert opened.sum.data_points[0].as_int == 1
        (point,) = collector.metrics["websocketmanager.rpc.server.duration"].histogram.data_points
        assert (point.count, point.sum, point.min, point.max) == (2, 30.3, 0.3, 30)
        bins = dict(zip([*point.explicit_bounds, float("inf")], point.bucket_counts, strict=True))
        assert {bound: count for bound, count in bins.items() if count} == {0.5: 1, float("inf"): 1}
        assert {each.key: each.value.string_value for each in point.attributes} == {
            "method": "/x/List",
            "code": "OK",
        }
    assert not names_of_threads()


def test_one_signal_may_have_its_own_endpoint() -> None:
    with collecting() as (collector, endpoint):
        settings = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint}
        with running(**settings) as telemetry, telemetry.tracer.span("Connect", headers={}):
            pass
        assert (len(collector.spans), len(collector.metrics)) == (1, 0)


def test_one_signal_may_be_switched_off() -> None:
    with collecting() as (collector, endpoint):
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_TRACES_EXPORTER": "none"}
        with running(**settings) as telemetry, telemetry.tracer.span("Connect", headers={}):
            pass
        assert len(collector.spans) == 0
        assert "websocketmanager.dials" in collector.metrics


def test_an_operators_resource_attributes_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "wsm-blue")
    with running() as telemetry:
        page = telemetry.render_metrics()[0].decode()
    assert 'service_name="wsm-blue"' in page
    assert 'deployment_environment="test"' in page


def leaving_took(endpoint: str) -> float:
    """Seconds that leaving took with something to export."""
    with running(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as telemetry:
        with telemetry.tracer.span("Connect", headers={}):
            pass
        telemetry.journal.emit(facts.SessionOpened("c-1", 1, "x:1"))
        began = time.monotonic()
    return time.monotonic() - began


def test_a_collector_that_is_away_does_not_hold_the_process_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as reserved:  # bound and not listening: every connect is refused
        reserved.bind(("127.0.0.1", 0))
        assert (
            leaving_took(f"http://127.0.0.1:{reserved.getsockname()[1]}") < 5
        )  # the SDK alone takes 10 to 60
    assert "telemetry not flushed within 1 s" in caplog.text
    assert not names_of_threads()


def test_a_collector_that_hangs_does_not_hold_the_process_up() -> None:
    with collecting() as (collector, endpoint):
        collector.may_answer.clear()
        assert leaving_took(endpoint) < 5  # the SDK alone takes 10 to 60
    assert not names_of_threads()


def test_a_collector_that_is_away_does_not_spoil_the_metrics_page() -> None:
    with running(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") as telemetry:
        assert b"websocketmanager_dials_total 0.0" in telemetry.render_metrics()[0]
