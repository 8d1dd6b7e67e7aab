"""`ports.EventSink` for a service in the process of the embedded API: no channel between the two.

What it accepts went through the publisher that serves the RPCs, to the same subscribers, so an
accepted event is worth as much as an acknowledged one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final

from websocketmanager.domain.envelope import Parcel, count_events, divided
from websocketmanager.domain.facts import EventsPublished, PublishModeChosen
from websocketmanager.domain.wire import EventEncoder
from websocketmanager.embedded.publisher import Publisher
from websocketmanager.errors import ApiUnavailable
from websocketmanager.ports import Clock, Journal, PublishResult, Refusal

#: As on the wire: a longer batch keeps others waiting and saves nothing.
_MAX_BATCH: Final = 1024
MODE: Final = "direct"


class DirectEventSink:
    """Publishes by a call. Of the event loop that the embedded API runs in."""

    def __init__(
        self, publisher: Publisher, *, pubsub_name: str, clock: Clock, journal: Journal
    ) -> None:
        self._publisher = publisher
        self._encoder = EventEncoder(pubsub_name)
        self._clock = clock
        self._journal = journal
        self._told = False

    @property
    def max_batch(self) -> int:
        """Events in one call at most."""
        return _MAX_BATCH

    @property
    def max_in_flight(self) -> int:
        """Calls at a time that make sense."""
        return 1

    @property
    def ordered(self) -> bool:
        """Whether calls that overlap keep their order: asking after a scenario may wait."""
        return False

    async def publish(self, events: Sequence[Parcel]) -> PublishResult:
        """Publishes events in order, stopping at the first that is refused.

        Raises:
            ApiUnavailable: the API has stopped.
        """
        if self._publisher.stopped:
            raise ApiUnavailable("Pubsub", "the embedded API has stopped")
        if not events:
            return PublishResult(0)
        started = self._clock.monotonic()
        batch, _ = divided(events, _MAX_BATCH)
        requests = self._encoder.requests(batch)
        # What no request may be is refused where it stands, as the RPCs' limit does.
        limit = self._publisher.max_message_bytes
        large = next((n for n, request in enumerate(requests) if len(request) > limit), None)
        fitting = requests if large is None else requests[:large]
        topics = [topic for e in batch for topic in repeat(e.route.topic, e.count)]
        published = await self._publisher.publish(topics, fitting)
        count, fault = published.count, published.fault
        refusal: Refusal | None = None
        if fault is not None:
            # A topic is refused with all that goes there, data for itself alone.
            refusal = Refusal(True, str(fault), whole_topic=fault.path == "topic")
        elif large is not None:
            problem = f"{len(requests[large])} bytes exceed the API's limit of {limit}"
            refusal = Refusal(True, problem, whole_topic=False)
        self._tell(divided(batch, count)[0], self._clock.monotonic() - started)
        return PublishResult(count, refusal)

    def _tell(self, accepted: Sequence[Parcel], seconds: float) -> None:
        if not accepted:
            return
        if not self._told:
            self._told = True
            self._journal.emit(PublishModeChosen(MODE))
        size = sum([parcel.size for parcel in accepted])
        self._journal.emit(EventsPublished(count_events(accepted), size, seconds))
