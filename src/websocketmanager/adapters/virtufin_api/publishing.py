"""Pubsub of the virtufin-api as `ports.EventSink`, on the best of its three RPCs.

`PublishStream` and `PublishEvents` are ours and optional. The first publish tries the stream; an
API that lacks it (then or after a reconnect to another server) is served by batches, and one that
lacks those by one `PublishEvent` after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.adapters.virtufin_api.answers import TRANSIENT, CallFailed, Verdict
from websocketmanager.adapters.virtufin_api.channel import ApiChannel
from websocketmanager.adapters.virtufin_api.settings import ApiSettings
from websocketmanager.adapters.virtufin_api.stream import WINDOW, Ending, PublishStream
from websocketmanager.domain.envelope import Event, Parcel, count_events, divided, each_event
from websocketmanager.domain.facts import EventsPublished, PublishModeChosen
from websocketmanager.domain.wire import EventEncoder
from websocketmanager.errors import ApiError, ApiUnavailable
from websocketmanager.ports import Clock, Journal, PublishResult, Refusal

#: Measured: larger batches bring no more throughput, only latency.
_MAX_BATCH_EVENTS = 1024
_MAX_BATCH_BYTES = 1024 * 1024
#: Unary calls at a time over all connections: a distant API costs latency, not throughput.
_MAX_UNARY_IN_FLIGHT = 64

Mode = Literal["unknown", "stream", "batch", "unary"]


class ApiEventSink:
    """`ports.EventSink` over `PublishStream`, `PublishEvents` or `PublishEvent`."""

    def __init__(
        self, channel: ApiChannel, settings: ApiSettings, *, clock: Clock, journal: Journal
    ) -> None:
        self._channel = channel
        self._clock = clock
        self._journal = journal
        self._encoder = EventEncoder(settings.pubsub_name)
        self._batch_bytes = min(_MAX_BATCH_BYTES, settings.max_message_bytes)
        self._mode: Mode = "unknown"
        #: A call that the stream could not end is asked about apart: none may overtake it.
        self._resolving = False
        self._stream = PublishStream(
            channel,
            settings,
            self._encoder,
            batch_bytes=self._batch_bytes,
            clock=clock,
            journal=journal,
        )
        self._publish_one = channel.rpc("Pubsub.PublishEvent", pb.PublishResponse)
        self._publish_many = channel.rpc(
            "Pubsub.PublishEvents", pb.PublishEventsResponse, judged=False
        )

    @property
    def mode(self) -> Mode:
        """The RPC that is used."""
        return self._mode

    @property
    def max_batch(self) -> int:
        """Events in one call at most: 1 where the API has only the unary RPC."""
        return 1 if self._mode == "unary" else _MAX_BATCH_EVENTS

    @property
    def max_in_flight(self) -> int:
        """Calls at a time that make sense."""
        match self._mode:
            case "unary":
                return _MAX_UNARY_IN_FLIGHT
            case "stream":
                return WINDOW
            case _:
                return 1

    @property
    def ordered(self) -> bool:
        """Whether calls that overlap keep their order: those on the stream do."""
        return self._mode == "stream"

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        """Publishes events in order, as many as fit, stopping at the first that is refused.

        Raises:
            ApiUnavailable: nothing is known of any of them; send them again later.
            ApiUnauthenticated: as above, and an operator must act.
        """
        if not events:
            return PublishResult(0)
        started = self._clock.monotonic()
        if self._mode in {"unknown", "stream"}:
            result = await self._by_stream(events)
        # One event needs no batch, and its unary answer says more about a refusal.
        elif self._mode == "unary" or count_events(events) == 1:
            result = await self._one_by_one(events)
        else:
            result = await self._together(events)
        if result.accepted:
            accepted, _ = divided(events, result.accepted)
            size = sum([parcel.size for parcel in accepted])
            seconds = self._clock.monotonic() - started
            self._journal.emit(EventsPublished(result.accepted, size, seconds))
        return result

    async def _by_stream(self, events: Sequence[Parcel]) -> PublishResult:
        if self._resolving:
            return PublishResult(0)
        ending = await self._stream.publish(divided(events, _MAX_BATCH_EVENTS)[0])
        if ending.withdrawn:
            return PublishResult(ending.accepted)
        self._resolving = True
        try:
            return await self._resolved(ending, events)
        finally:
            self._resolving = False

    async def _resolved(self, ending: Ending, events: Sequence[Parcel]) -> PublishResult:
        """Says what an ending means; asks about the event that it stopped at."""
        accepted, failed = ending.accepted, ending.failure
        if failed is None:
            self._choose("stream")
            if accepted == min(count_events(events), _MAX_BATCH_EVENTS):
                return PublishResult(accepted)
            return await self._stopped_at(accepted, events)
        if accepted:
            self._choose("stream")
            return PublishResult(accepted)  # the rest comes again, and tells why
        match failed.verdict:
            case Verdict.MISSING:
                return await self._together(events)
            case Verdict.REFUSED | Verdict.VAGUE if self._mode == "unknown":
                # Not every proxy lets streams through, or says so in the way of gRPC.
                return await self._together(events)
            case Verdict.REFUSED | Verdict.VAGUE | Verdict.TOO_LARGE:
                # A code for the whole stream does not say which event it is about.
                return await self._one_by_one(divided(events, 1)[0])
            case Verdict.UNAUTHENTICATED:
                raise failed.error from failed
            case _:
                raise ApiUnavailable(failed.operation, failed.problem) from failed

    async def _together(self, events: Sequence[Parcel]) -> PublishResult:
        events, _ = divided(events, _MAX_BATCH_EVENTS)
        body, count = self._encoder.batch(events, 0, self._batch_bytes)
        try:
            answer = await self._channel.call(self._publish_many, body, again=TRANSIENT)
        except CallFailed as failed:
            match failed.verdict:
                case Verdict.MISSING:
                    # Only one: the caller reads the new limits before it sends the rest.
                    self._choose("unary")
                    return await self._one_by_one(divided(events, 1)[0])
                case Verdict.TOO_LARGE if count > 1:
                    # The server's limit is below the one we were told.
                    self._batch_bytes = len(body) // 2
                    return await self._together(events)
                case Verdict.REFUSED | Verdict.VAGUE | Verdict.TOO_LARGE:
                    # A code for the whole batch does not say which event it is about.
                    return await self._one_by_one(divided(events, 1)[0])
                case _:
                    raise failed.error from failed
        self._choose("batch")
        published = min(max(answer.published, 0), count)
        if published == count:
            return PublishResult(published)
        return await self._stopped_at(published, events)

    async def _stopped_at(self, published: int, events: Sequence[Parcel]) -> PublishResult:
        """Finds out why a batch stopped: its answer has no code, that of one event has."""
        try:
            one = await self._one_by_one(divided(divided(events, published)[1], 1)[0])
        except ApiError:
            if not published:
                raise
            return PublishResult(published)
        return PublishResult(published + one.accepted, one.refusal)

    async def _one_by_one(self, events: Sequence[Parcel]) -> PublishResult:
        apart = each_event(events)
        for index, event in enumerate(apart):
            try:
                refusal = await self._one(event)
            except ApiError:
                if not index:
                    raise
                return PublishResult(index)
            if refusal is not None:
                return PublishResult(index, refusal)
        return PublishResult(len(apart))

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
