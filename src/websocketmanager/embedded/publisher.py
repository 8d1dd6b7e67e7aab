"""Publishes serialised events: judges their topics and hands their deliveries to the fanout.

Events are not rebuilt: `PublishRequest` and `PubsubSubscribeResponse` agree in their first three
fields, so a delivery is the request's bytes followed by message id and timestamp, serialised once
for all subscribers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.wire import FIELD_1, varint
from websocketmanager.embedded.fanout import Fanout
from websocketmanager.embedded.topics import TopicJudge
from websocketmanager.errors import Fault
from websocketmanager.ports import Clock, Dice

#: Events between two chances for others to run.
_STRETCH: Final = 1024
#: Hexadecimal digits of a message's number.
_ID_DIGITS: Final = 16
# Tags of length-delimited fields: number << 3 | 2.
_MESSAGE_ID_TAG: Final = b"\x22"
_TIMESTAMP_TAG: Final = b"\x2a"


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a batch.

    Attributes:
        count: how many events from the front went to the subscribers.
        fault: what is wrong with the next one, the path within it; None: there is none.
    """

    count: int
    fault: Fault | None = None


class Publisher:
    """Publishes for everyone: the RPCs, and who lives in the same process."""

    def __init__(
        self, fanout: Fanout, judge: TopicJudge, *, max_message_bytes: int, clock: Clock, dice: Dice
    ) -> None:
        self._fanout = fanout
        self._judge = judge
        self._clock = clock
        self._number = 0
        #: Of one event delivered, and of one request.
        self.max_message_bytes = max_message_bytes
        # 64 random bits for this process, then a number: unique without dice per message.
        prefix = dice.token_bytes(8).hex().encode()
        self._id_head = _MESSAGE_ID_TAG + varint(len(prefix) + _ID_DIGITS) + prefix

    @property
    def stopped(self) -> bool:
        """Whether nothing is delivered any more."""
        return self._fanout.stopped

    async def publish(self, topics: Sequence[str], requests: Sequence[bytes]) -> Published:
        """Publishes in order and stops at the first event that is refused.

        Args:
            topics: of the events, in their order; more than there are requests is no fault.
            requests: the events, each a valid `PublishRequest`.
        """
        refusals = await self._judge.refusals(dict.fromkeys(topics))
        fault: Fault | None = None
        start = 0
        while start < len(requests) and fault is None:
            if start:
                await self._clock.sleep(0)  # a giant batch of tiny events lets others run
            end = min(start + _STRETCH, len(requests))
            start, fault = self._stretch(topics, requests, start, end, refusals)
        return Published(start, fault)

    def _stretch(
        self,
        topics: Sequence[str],
        requests: Sequence[bytes],
        start: int,
        end: int,
        refusals: dict[str, str],
    ) -> tuple[int, Fault | None]:
        """Publishes events from start to end; returns where it stopped, and why."""
        time = timestamp(self._clock.now()).encode()
        tail = _TIMESTAMP_TAG + varint(len(time)) + time
        while start < end:
            topic = topics[start]
            if topic in refusals:
                return start, Fault("topic", refusals[topic])
            stop = start + 1
            while stop < end and topics[stop] == topic:
                stop += 1
            if self._fanout.has_subscribers(topic):
                deliveries, excess = self._deliveries(requests[start:stop], tail)
                self._fanout.publish(topic, deliveries)
                if excess:
                    # Taken all the same, it would fail at each subscriber with the same limit.
                    problem = f"delivered it has {excess} bytes, above the limit of "
                    fault = Fault("data", problem + str(self.max_message_bytes))
                    return start + len(deliveries), fault
            start = stop
        return start, None

    def _deliveries(self, requests: Sequence[bytes], tail: bytes) -> tuple[list[bytes], int]:
        """Returns events as entries of `PubsubEvents.events`, up to the first that is too large.

        Its size comes second, and zero when there is none.
        """
        deliveries: list[bytes] = []
        append, join = deliveries.append, b"".join
        limit, head, number = self.max_message_bytes, self._id_head, self._number
        more = len(head) + _ID_DIGITS + len(tail)
        excess = 0
        for request in requests:
            number += 1
            size = varint(len(request) + more)
            delivery = join((FIELD_1, size, request, head, b"%016x" % number, tail))
            if len(delivery) > limit:
                excess = len(delivery)
                break
            append(delivery)
        self._number = number
        return deliveries, excess
