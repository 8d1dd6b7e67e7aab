"""Pubsub of the virtufin-api as `ports.EventSink`: in batches where the API has them.

`PublishEvents` is ours and optional. The first publish tries it; an API that lacks it (then or
after a reconnect to another server) is served by one `PublishEvent` after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.virtufin_api.answers import TRANSIENT, CallFailed, Verdict
from websocketmanager.adapters.virtufin_api.channel import ApiChannel
from websocketmanager.adapters.virtufin_api.settings import ApiSettings
from websocketmanager.adapters.virtufin_api.wire import EventEncoder, batch
from websocketmanager.domain.envelope import Event
from websocketmanager.domain.facts import EventsPublished, PublishModeChosen
from websocketmanager.errors import ApiError, ApiUnavailable
from websocketmanager.ports import Clock, Journal, PublishResult, Refusal

#: Measured: larger batches bring no more throughput, only latency.
_MAX_BATCH_EVENTS = 1024
_MAX_BATCH_BYTES = 1024 * 1024
#: Unary calls at a time over all connections: a distant API costs latency, not throughput.
_MAX_UNARY_IN_FLIGHT = 64

Mode = Literal["unknown", "batch", "unary"]


class ApiEventSink:
    """`ports.EventSink` over `PublishEvents` or, failing that, `PublishEvent`."""

    def __init__(
        self, channel: ApiChannel, settings: ApiSettings, *, clock: Clock, journal: Journal
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._journal = journal
        self._encoder = EventEncoder(settings.pubsub_name)
        self._batch_bytes = min(_MAX_BATCH_BYTES, settings.max_message_bytes)
        self._mode: Mode = "unknown"
        self._publish_one = channel.rpc("Pubsub.PublishEvent", pb.PublishResponse)
        self._publish_many = channel.rpc(
            "Pubsub.PublishEvents", pb.PublishEventsResponse, judged=False
        )

    @property
    def max_batch(self) -> int:
        """Events in one call at most: 1 where the API has only the unary RPC."""
        return 1 if self._mode == "unary" else _MAX_BATCH_EVENTS

    @property
    def max_in_flight(self) -> int:
        """Calls at a time that make sense: 1 for the ordered batch RPC."""
        return _MAX_UNARY_IN_FLIGHT if self._mode == "unary" else 1

    async def publish(self, events: Sequence[Event]) -> PublishResult:
        """Publishes events in order, as many as fit, stopping at the first that is refused.

        Raises:
            ApiUnavailable: nothing is known of any of them; send them again later.
            ApiUnauthenticated: as above, and an operator must act.
        """
        if not events:
            return PublishResult(0)
        started = self._clock.monotonic()
        # One event needs no batch, and its unary answer says more about a refusal.
        if self._mode == "unary" or (self._mode == "batch" and len(events) == 1):
            result = await self._one_by_one(events)
        else:
            result = await self._together(events)
        if result.accepted:
            size = sum(len(event.data) for event in events[: result.accepted])
            seconds = self._clock.monotonic() - started
            self._journal.emit(EventsPublished(result.accepted, size, seconds))
        return result

    async def _together(self, events: Sequence[Event]) -> PublishResult:
        requests = self._encoder.requests_within(events[:_MAX_BATCH_EVENTS], self._batch_bytes)
        body = batch(requests)
        try:
            answer = await self._channel.call(self._publish_many, body, again=TRANSIENT)
        except CallFailed as failed:
            match failed.verdict:
                case Verdict.MISSING:
                    # Only one: the caller reads the new limits before it sends the rest.
                    self._choose("unary")
                    return await self._one_by_one(events[:1])
                case Verdict.TOO_LARGE if len(requests) > 1:
                    # The server's limit is below the one we were told.
                    self._batch_bytes = len(body) // 2
                    return await self._together(events)
                case Verdict.REFUSED | Verdict.VAGUE | Verdict.TOO_LARGE:
                    # A code for the whole batch does not say which event it is about.
                    return await self._one_by_one(events[:1])
                case _:
                    raise failed.error from failed
        self._choose("batch")
        published = min(max(answer.published, 0), len(requests))
        if published == len(requests):
            return PublishResult(published)
        return await self._stopped_at(published, events)

    async def _stopped_at(self, published: int, events: Sequence[Event]) -> PublishResult:
        """Finds out why a batch stopped: its answer has no code, that of one event has."""
        try:
            one = await self._one_by_one(events[published : published + 1])
        except ApiError:
            if not published:
                raise
            return PublishResult(published)
        return PublishResult(published + one.accepted, one.refusal)

    async def _one_by_one(self, events: Sequence[Event]) -> PublishResult:
        for index, event in enumerate(events):
            try:
                refusal = await self._one(event)
            except ApiError:
                if not index:
                    raise
                return PublishResult(index)
            if refusal is not None:
                return PublishResult(index, refusal)
        return PublishResult(len(events))

    async def _one(self, event: Event) -> Refusal | None:
        request = self._encoder.request(event)
        try:
            await self._channel.call(self._publish_one, request, again=TRANSIENT)
        except CallFailed as failed:
            match failed.verdict:
                case Verdict.REFUSED:
                    return Refusal(definite=True, problem=failed.problem)
                case Verdict.TOO_LARGE:
                    return Refusal(definite=True, problem=failed.problem, whole_topic=False)
                case Verdict.VAGUE:
                    return Refusal(definite=False, problem=failed.problem)
                case Verdict.MISSING:
                    # A fixed RPC: this is no whole virtufin-api, or not yet.
                    raise ApiUnavailable(failed.operation, failed.problem) from failed
                case _:
                    raise failed.error from failed
        return None

    def _choose(self, mode: Mode) -> None:
        if mode != self._mode:
            self._mode = mode
            self._journal.emit(PublishModeChosen(mode))
