"""Publishes serialised events: judges their topics and hands their deliveries to the fanout.

Events are not rebuilt: `PublishRequest` and `PubsubSubscribeResponse` agree in their first three
fields, so a delivery is the request's bytes followed by message id and timestamp, serialised once
for all subscribers, and with its neighbours of the same topic at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from websocketmanager.domain.envelope import timestamp
from websocketmanager.domain.wire import varint
from websocketmanager.embedded.chunk import MAX_CHUNK_BYTES, chunk_of
from websocketmanager.embedded.fanout import Fanout
from websocketmanager.embedded.topics import TopicJudge
from websocketmanager.errors import Fault
from websocketmanager.ports import Clock, Dice

#: Events between two chances for others to run.
_STRETCH: Final = 1024
#: Hexadecimal digits of a message's number.
_ID_DIGITS: Final = 16
#: The last of them come from a table.
_LOW: Final = 3
_LOW_DIGITS: Final = tuple(b"%0*x" % (_LOW, number) for number in range(16**_LOW))
#: Tag and length before an entry: as much as they can be, since messages are below 2 GiB.
_HEAD_BYTES: Final = 6
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
        #: Of one event delivered, and of one request.
        self.max_message_bytes = max_message_bytes
        # 64 random bits for this process, then a number: unique without dice per message.
        prefix = dice.token_bytes(8).hex().encode()
        self._id_head = _MESSAGE_ID_TAG + varint(len(prefix) + _ID_DIGITS) + prefix
        # A block of ids shares its first digits, and low counts within it.
        self._block, self._low, self._head = -1, len(_LOW_DIGITS), b""

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
            stop = _run_end(topics, start, end)
            if self._fanout.has_subscribers(topic):
                start, excess = self._run(topic, requests[start:stop], start, tail)
                if excess:
                    # Taken all the same, it would fail at each subscriber with the same limit.
                    problem = f"delivered it has {excess} bytes, above the limit of "
                    return start, Fault("data", problem + str(self.max_message_bytes))
            start = stop
        return start, None

    def _run(
        self, topic: str, requests: Sequence[bytes], start: int, tail: bytes
    ) -> tuple[int, int]:
        """Publishes events of one topic up to the first that is too large.

        Returns where it stopped, counted from start, and the size of the one that is too large;
        zero when there is none.
        """
        more = len(self._id_head) + _ID_DIGITS + len(tail)
        sizes = [len(request) + more for request in requests]
        excess = 0
        if max(sizes) + _HEAD_BYTES > self.max_message_bytes:
            for place, size in enumerate(sizes):
                delivered = 1 + len(varint(size)) + size
                if delivered > self.max_message_bytes:
                    excess, requests, sizes = delivered, requests[:place], sizes[:place]
                    break
        place = 0
        while place < len(requests):
            if self._low == len(_LOW_DIGITS):
                self._block, self._low = self._block + 1, 0
                self._head = self._id_head + b"%0*x" % (_ID_DIGITS - _LOW, self._block)
            end = place + _fitting(sizes, place, len(_LOW_DIGITS) - self._low)
            ids = _LOW_DIGITS[self._low : self._low + end - place]
            chunk = chunk_of(requests[place:end], sizes[place:end], self._head, ids, tail)
            self._low += end - place
            self._fanout.publish(topic, chunk)
            place = end
        return start + place, excess


def _run_end(topics: Sequence[str], start: int, end: int) -> int:
    """Returns where the events of the topic at start are followed by one of another topic."""
    topic = topics[start]
    stop = start + 1
    if stop < end and topics[start:end].count(topic) == end - start:  # as nearly always
        return end
    while stop < end and topics[stop] == topic:
        stop += 1
    return stop


def _fitting(sizes: Sequence[int], start: int, most: int) -> int:
    """Returns how many events from start on make a chunk."""
    ours = sizes[start : start + most]
    if sum(ours) + len(ours) * _HEAD_BYTES <= MAX_CHUNK_BYTES:
        return len(ours)
    ends = list(accumulate(size + _HEAD_BYTES for size in ours))
    return max(1, bisect_right(ends, MAX_CHUNK_BYTES))
