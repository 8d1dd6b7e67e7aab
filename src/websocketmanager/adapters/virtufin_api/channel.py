"""One channel to the virtufin-api and the discipline of every call on it.

Each attempt has a deadline, our key, the Dapr app id and the trace context; transient failures
are repeated with exponential backoff and full jitter; the circuit breaker sees every attempt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message
from grpc.aio import AioRpcError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from websocketmanager.adapters.virtufin_api.answers import (
    CallFailed,
    Verdict,
    from_code,
    from_status,
)
from websocketmanager.adapters.virtufin_api.breaker import Breaker, BreakerState
from websocketmanager.adapters.virtufin_api.settings import ApiSettings
from websocketmanager.domain.facts import ApiCallEnded, ApiCallRetried
from websocketmanager.errors import ApiUnavailable
from websocketmanager.ports import Clock, Dice, Journal

#: Returns the headers of the current trace context (`ports.Tracer.inject`).
Inject = Callable[[], tuple[tuple[str, str], ...]]

Answer = TypeVar("Answer", bound=Message)
#: A bidirectional call of gRPC: write, read, done, cancel.
Dialogue = Any

_CHANNEL_OPTIONS = (
    # A proxy of the environment must never see the platform's traffic.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    # A connection of its own: another channel's backoff to the same target is not ours.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Despite its name the time that one connection attempt may take.
    ("grpc.min_reconnect_backoff_ms", 5000),
    # Also sets TCP_USER_TIMEOUT, which finds a peer that vanished without a word.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # GetAllState answers with every record in one message.
    ("grpc.max_receive_message_length", -1),
)


@dataclass(frozen=True, slots=True)
class Rpc(Generic[Answer]):
    """One unary RPC that takes serialised bytes.

    Attributes:
        operation: `Service.Rpc`, for errors and facts.
        invoke: gRPC's callable for it.
        judged: the answer's `status`, when present, decides over success.
    """

    operation: str
    invoke: Callable[..., Awaitable[Answer]]
    judged: bool


class ApiChannel:
    """Calls RPCs of one target. Must be made while an event loop runs."""

    def __init__(
        self, settings: ApiSettings, *, clock: Clock, dice: Dice, journal: Journal, inject: Inject
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._dice = dice
        self._journal = journal
        self._inject = inject
        #: Sees every attempt; who holds a dialogue asks it and tells it.
        self.breaker = Breaker(
            settings.target,
            threshold=settings.breaker_threshold,
            ttl_seconds=settings.breaker_ttl_seconds,
            clock=clock,
            journal=journal,
        )
        self._metadata = _constant_metadata(settings)
        self._channel = grpc.aio.insecure_channel(settings.target, options=_CHANNEL_OPTIONS)

    @property
    def breaker_state(self) -> BreakerState:
        """The state of the circuit breaker."""
        return self.breaker.state

    def rpc(self, operation: str, answer: type[Answer], *, judged: bool = True) -> Rpc[Answer]:
        """Returns an RPC by its `Service.Rpc` name."""
        # No request serialiser: the hot path makes its bytes itself, see `wire.py`.
        invoke = self._channel.unary_unary(
            f"/virtufin.{operation.replace('.', '/')}", None, answer.FromString
        )
        return Rpc(operation, invoke, judged)

    def dialogue(self, operation: str, answer: type[Answer]) -> Callable[[], Dialogue]:
        """Returns what opens a bidirectional stream of an RPC, which takes serialised bytes.

        Its calls have no deadline; who holds one keeps the discipline: `breaker`, `retry_seconds`.
        """
        invoke: Any = self._channel.stream_stream(
            f"/virtufin.{operation.replace('.', '/')}", None, answer.FromString
        )
        return lambda: invoke(metadata=self._metadata + self._inject())

    def retry_seconds(self, attempt: int) -> float:
        """Returns the pause after this attempt, the first being 1: exponential, full jitter."""
        settings = self._settings
        ceiling = settings.retry_base_seconds * 2.0 ** (attempt - 1)
        return self._dice.uniform() * min(settings.retry_max_seconds, ceiling)

    async def call(self, rpc: Rpc[Answer], body: bytes, *, again: AbstractSet[Verdict]) -> Answer:
        """Calls, and repeats failures whose verdict is in `again`.

        Cancelling abandons the call; whether the server acted on it is then unknown.

        Raises:
            ApiUnavailable: the last attempt failed so too, or the circuit breaker is open.
            CallFailed: with a verdict that is not in `again`.
        """
        started = self._clock.monotonic()
        outcome = "CancelledError"
        try:
            answer = await self._repeated(rpc, body, self._metadata + self._inject(), again)
            outcome = "ok"
            return answer
        except CallFailed as failed:
            if failed.verdict in again or failed.verdict is Verdict.OPEN:
                outcome = ApiUnavailable.__name__
                raise ApiUnavailable(failed.operation, failed.problem) from failed
            outcome = type(failed.error).__name__
            raise
        finally:
            seconds = self._clock.monotonic() - started
            self._journal.emit(ApiCallEnded(rpc.operation, outcome, seconds))

    async def close(self) -> None:
        """Closes the channel; nobody may be calling any more."""
        await self._channel.close(None)

    async def _repeated(
        self,
        rpc: Rpc[Answer],
        body: bytes,
        metadata: tuple[tuple[str, str], ...],
        again: AbstractSet[Verdict],
    ) -> Answer:
        try:
            return await self._attempt(rpc, body, metadata)
        except CallFailed as failed:
            failures = [failed]

        async def attempt() -> Answer:
            # The retrier comes in only here, and counts the first attempt: nearly all succeed,
            # and to find out what its callbacks are costs it as much as the call.
            if failures:
                raise failures.pop()
            return await self._attempt(rpc, body, metadata)

        answer: Answer = await self._retrying(rpc.operation, again)(attempt)
        return answer

    async def _attempt(
        self, rpc: Rpc[Answer], body: bytes, metadata: tuple[tuple[str, str], ...]
    ) -> Answer:
        if len(body) > self._settings.max_message_bytes:
            limit = self._settings.max_message_bytes
            problem = f"{len(body)} bytes exceed the API's limit of {limit}"
            raise CallFailed(rpc.operation, Verdict.TOO_LARGE, problem)
        given = self.breaker.admit()
        if given is None:
            raise CallFailed(rpc.operation, Verdict.OPEN, "its circuit breaker is open")
        try:
            answer = await rpc.invoke(
                body, timeout=self._settings.timeout_seconds, metadata=metadata
            )
        except AioRpcError as failure:
            failed = from_code(rpc.operation, failure)
            self.breaker.settle(given, failed=failed.verdict is Verdict.TRANSPORT)
            raise failed from failure
        else:
            self.breaker.settle(given, failed=False)
        finally:
            self.breaker.withdraw(given)
        if rpc.judged and answer.HasField("status"):
            unhappy = from_status(rpc.operation, _status(answer))
            if unhappy is not None:
                raise unhappy
        return answer

    def _retrying(self, operation: str, again: AbstractSet[Verdict]) -> AsyncRetrying:
        def pause_seconds(state: RetryCallState) -> float:
            return self.retry_seconds(state.attempt_number)

        def tell(state: RetryCallState) -> None:
            failure = state.outcome.exception() if state.outcome is not None else None
            self._journal.emit(ApiCallRetried(operation, str(failure), state.attempt_number))

        # A positive predicate: whatever is not listed, a cancellation above all, goes through.
        return AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(self._settings.max_attempts),
            wait=pause_seconds,
            retry=retry_if_exception(
                lambda failure: isinstance(failure, CallFailed) and failure.verdict in again
            ),
            before_sleep=tell,
            reraise=True,
        )


def _status(answer: Any) -> Any:
    return answer.status


def _constant_metadata(settings: ApiSettings) -> tuple[tuple[str, str], ...]:
    metadata: tuple[tuple[str, str], ...] = ()
    if settings.api_key:
        metadata += (("x-api-key", settings.api_key),)
    if settings.route == "dapr":
        metadata += (("dapr-app-id", settings.app_id),)
    return metadata
