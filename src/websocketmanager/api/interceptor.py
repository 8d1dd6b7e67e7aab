"""What surrounds each call of our service: trace span, timing, and errors made answers.

May import ports, facts and gRPC. Leaves health and reflection, which are not ours, alone.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from websocketmanager.api import status
from websocketmanager.api.status import Answer
from websocketmanager.domain.facts import RpcCrashed, RpcEnded
from websocketmanager.errors import Fault, InvalidArgument
from websocketmanager.ports import Clock, Journal, Tracer

Context = grpc.aio.ServicerContext[Any, Any]
#: An RpcMethodHandler; the stubs know only those of synchronous servers.
Handler = Any


class CallBoundary(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in stubs only
    """Wraps the calls of one gRPC service: unary ones, and those answered with a stream."""

    def __init__(self, service: str, *, clock: Clock, journal: Journal, tracer: Tracer) -> None:
        self._prefix = f"/{service}/"
        self._clock = clock
        self._journal = journal
        self._tracer = tracer

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Returns the wrapped handler; one that is not ours, or none, as it is."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(self._prefix):
            return handler
        return self._wrapped(handler, method.removeprefix("/"))

    def _wrapped(self, handler: Handler, method: str) -> Handler:
        streams = handler.unary_stream is not None

        async def call(data: bytes, context: Context) -> Any:
            started = self._clock.monotonic()
            # Stays when the caller goes away and this call is cancelled.
            code = grpc.StatusCode.CANCELLED
            try:
                result = await self._outcome(handler, method, data, context)
                code = result.code if isinstance(result, Answer) else grpc.StatusCode.OK
            finally:
                seconds = self._clock.monotonic() - started
                self._journal.emit(RpcEnded(method=method, code=code.name, seconds=seconds))
            if isinstance(result, Answer):
                await context.abort(result.code, result.message, result.trailers)
            return result

        # The request stays bytes until here, so that malformed ones are answered like any other.
        # A stream is written by a coroutine, not a generator: that may be left where it stands,
        # and its span with it.
        wrap = (
            grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        )
        return wrap(call, None, handler.response_serializer)

    async def _outcome(self, handler: Handler, method: str, data: bytes, context: Context) -> Any:
        """Returns the response, None after a stream, or the answer that stands for the error."""
        service, _, name = method.partition("/")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        headers = _text_headers(context)
        try:
            with self._tracer.span(method, headers=headers, attributes=attributes):
                request = _parsed(handler, data)
                if handler.unary_stream is None:
                    return await handler.unary_unary(request, context)
                await _stream(handler, request, context)
                return None
        except Exception as error:  # noqa: BLE001 - the border: each becomes an answer, ours a fact
            answer = status.answer(error)
            if answer is status.INTERNAL:
                fact = RpcCrashed(method=method, error=repr(error), trace=traceback.format_exc())
                self._journal.emit(fact)
            return answer


async def _stream(handler: Handler, request: Any, context: Context) -> None:
    async with aclosing(handler.unary_stream(request, context)) as responses:
        async for response in responses:
            await context.write(response)


def _parsed(handler: Handler, data: bytes) -> Any:
    try:
        return handler.request_deserializer(data)
    except DecodeError as error:
        fault = Fault("request", "is not a protobuf message of this RPC")
        raise InvalidArgument(fault) from error


def _text_headers(context: Context) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key: value for key, value in pairs if isinstance(value, str)}
