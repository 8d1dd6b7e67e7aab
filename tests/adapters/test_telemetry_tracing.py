"""Twin of adapters/telemetry/tracing.py."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_trace_id

from websocketmanager.adapters.telemetry.tracing import OpenTelemetryTracer

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
HEADERS = {
    "traceparent": f"00-{TRACE_ID}-{CALLER}-01",
    "tracestate": "vendor=opaque",
    "baggage": "tenant=blue,key=a%20b",
}


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> Iterator[OpenTelemetryTracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    yield OpenTelemetryTracer(provider.get_tracer("tests"))
    provider.shutdown()


def test_a_served_call_continues_the_callers_trace(
    tracer: OpenTelemetryTracer, spans: InMemorySpanExporter
) -> None:
    with tracer.span("Connect", headers=HEADERS, attributes={"connection.id": "c-1"}):
        pass
    (span,) = spans.get_finished_spans()
    assert span.context is not None
    assert span.parent is not None
    assert format_trace_id(span.context.trace_id) == TRACE_ID
    assert f"{span.parent.span_id:016x}" == CALLER
    assert span.kind is SpanKind.SERVER
    assert span.attributes == {"connection.id": "c-1"}


def test_the_context_is_passed_on_with_our_span_as_the_parent(tracer: OpenTelemetryTracer) -> None:
    with tracer.span("Connect", headers=HEADERS):
        outer = dict(tracer.inject())
        with tracer.span("State.SaveState"):
            inner = dict(tracer.inject())
    for headers in (outer, inner):
        version, trace_id, span_id, flags = headers["traceparent"].split("-")
        assert (version, trace_id, flags) == ("00", TRACE_ID, "01")
        assert span_id != CALLER
        assert headers["tracestate"] == "vendor=opaque"
        assert headers["baggage"] == "tenant=blue,key=a+b"
    assert outer["traceparent"] != inner["traceparent"]


def test_a_call_that_we_make_is_a_child_of_the_one_we_serve(
    tracer: OpenTelemetryTracer, spans: InMemorySpanExporter
) -> None:
    with tracer.span("Connect", headers=HEADERS), tracer.span("State.SaveState"):
        pass
    inner, outer = spans.get_finished_spans()
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert inner.kind is SpanKind.CLIENT


def test_a_served_call_does_not_inherit_a_span_that_is_current(tracer: OpenTelemetryTracer) -> None:
    with tracer.span("recovery"):
        ours = dict(tracer.inject())["traceparent"].split("-")[1]
        with tracer.span("List", headers={}):
            theirs = dict(tracer.inject())
        assert dict(tracer.inject())["traceparent"].split("-")[1] == ours
    assert theirs["traceparent"].split("-")[1] != ours


def test_nothing_is_injected_outside_a_span(tracer: OpenTelemetryTracer) -> None:
    assert tracer.inject() == ()
    with tracer.span("Connect", headers=HEADERS):
        pass
    assert tracer.inject() == ()


def test_an_exception_marks_the_span(
    tracer: OpenTelemetryTracer, spans: InMemorySpanExporter
) -> None:
    with pytest.raises(KeyError), tracer.span("Connect", headers={}):
        raise KeyError("x")
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert tracer.inject() == ()


async def test_being_cancelled_ends_the_span_and_is_no_fault(
    tracer: OpenTelemetryTracer, spans: InMemorySpanExporter
) -> None:
    entered = asyncio.Event()

    async def call() -> None:
        with tracer.span("Send", headers=HEADERS):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.UNSET


async def test_concurrent_calls_do_not_mix(tracer: OpenTelemetryTracer) -> None:
    entered = asyncio.Barrier(2)

    async def call(trace_id: str) -> str:
        with tracer.span("Send", headers={"traceparent": f"00-{trace_id}-{CALLER}-01"}):
            await entered.wait()
            return dict(tracer.inject())["traceparent"].split("-")[1]

    ids = ["a" * 32, "b" * 32]
    assert list(await asyncio.gather(*map(call, ids))) == ids


@pytest.mark.parametrize(
    "traceparent",
    ["", "nonsense", f"00-{'0' * 32}-{CALLER}-01", f"ff-{TRACE_ID}-{CALLER}-01", "0" * 9999],
)
def test_an_unusable_traceparent_starts_a_new_trace(
    traceparent: str, tracer: OpenTelemetryTracer
) -> None:
    with tracer.span("List", headers={"traceparent": traceparent}):
        ((_, passed_on),) = tracer.inject()
    assert TRACE_ID not in passed_on


@given(st.fixed_dictionaries({name: st.text(max_size=300) for name in HEADERS}))
def test_no_header_raises(headers: dict[str, str]) -> None:
    tracer = OpenTelemetryTracer(TracerProvider(shutdown_on_exit=False).get_tracer("tests"))
    with tracer.span("List", headers=headers):
        for name, value in tracer.inject():
            assert name.islower()
            assert value.isascii(), "gRPC metadata is ASCII"
