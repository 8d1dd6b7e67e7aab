"""The tracer: spans with the W3C trace context in gRPC metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


class OpenTelemetryTracer:
    """Implements ports.Tracer.

    A span that is given headers is a call that we serve; one without is a call that we make.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(
        self,
        name: str,
        *,
        headers: Mapping[str, str] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Iterator[None]:
        """Opens a span as the current one; keys of `headers` are lower case.

        Unusable headers are ignored, as the recommendation asks (W3C Trace Context §4.3). An
        exception that leaves the block marks the span as failed; being cancelled does not.
        """
        serving = headers is not None
        # A served call never continues a trace of ours that happens to be current.
        token = (
            context.attach(_PROPAGATOR.extract(headers, context.Context()))
            if headers is not None
            else None
        )
        try:
            with self._tracer.start_as_current_span(
                name,
                kind=SpanKind.SERVER if serving else SpanKind.CLIENT,
                attributes=dict(attributes) if attributes else None,
            ):
                yield
        finally:
            if token is not None:
                context.detach(token)

    def inject(self) -> tuple[tuple[str, str], ...]:
        """Returns the headers that pass the current context on; empty outside a span."""
        if not trace.get_current_span().get_span_context().is_valid:
            return ()
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return tuple(carrier.items())
