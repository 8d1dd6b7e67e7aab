"""Checks that published bytes are events, and sees their topics.

To parse an event costs most where it is always the same: the topic and the constant metadata of
a connection come first and fill more than half of it. A message is its fields one behind the
other, so one that begins with the bytes of a valid message is valid if and only if the rest is.
Beginnings are therefore remembered when they were checked, and of further events only the rests
are, all in one parse. In doubt everything is parsed in full, which also words what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import repeat
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager.domain.wire import event_heads
from websocketmanager.errors import Fault, InvalidArgument

M = TypeVar("M", bound=Message)

#: Below so many events a full parse is as quick.
_FEW: Final = 8
#: Events that begin alike, one behind the other: fewer are parsed sooner than sorted out.
_RUN: Final = 12
#: Batches parsed in full behind one of shorter runs, since the next will be like it.
_PATIENCE: Final = 16
#: Bytes of a beginning below which parsing them is as quick as skipping them.
_SHORT: Final = 128
#: Bytes of a beginning above which it is not remembered: it would push out many others.
_LONG: Final = 8 * 1024
#: Bytes of all beginnings remembered: some ten thousand connections'.
_MEMORY: Final = 8 * 1024 * 1024
#: Lengths of beginnings remembered, each of which costs a look-up.
_LENGTHS: Final = 32
# Tag of PublishRequest.data: what begins with it is a message's own.
_DATA_TAG: Final = 0x12
_WIRE_TYPE: Final = 0x07
_LENGTH_DELIMITED: Final = 2


def checked(kind: type[M], body: bytes) -> M:
    """Returns bytes as a message of the kind.

    Raises:
        InvalidArgument: they are none; gRPC itself would say INTERNAL.
    """
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise InvalidArgument(Fault("request", f"is not what it should be: {error}")) from None


class EventChecker:
    """Checks batches; remembers how events begin."""

    def __init__(self) -> None:
        #: Beginnings and the topic in each, by their length, the longest first.
        self._known: dict[int, dict[bytes, str]] = {}
        self._bytes = 0
        self._full_parses = 0

    def topics(self, body: bytes, events: Sequence[bytes]) -> list[str]:
        """Returns the topics of the events of a batch, in their order.

        Args:
            body: the batch, a `PublishBatch` or `PublishEventsRequest`.
            events: the entries of its field `events`.

        Raises:
            InvalidArgument: an event is no valid `PublishRequest`.
        """
        topics: list[str] | None = None
        if self._full_parses:
            self._full_parses -= 1
        elif len(events) >= _FEW:
            with suppress(DecodeError):  # the full parse says why
                topics = self._quickly(events)
        if topics is None:
            topics = [event.topic for event in checked(pb.CheckedBatch, body).events]
        return topics

    def _quickly(self, events: Sequence[bytes]) -> list[str] | None:
        """Returns the topics, or None when the events must be parsed in full to see them.

        Raises:
            DecodeError: an event is not valid.
        """
        topics: list[str] = []
        rests: list[bytes] = []
        count = len(events)
        runs = max(1, count // _RUN)
        start = 0
        while start < count:
            if not runs:
                self._full_parses = _PATIENCE
                return None
            runs -= 1
            first = events[start]
            found = self._find(first)
            if found is None and start + 1 < count:
                found = self._learned(first, events[start + 1])
            if found is None:
                topics.append(pb.CheckedRequest.FromString(first).topic)
                start += 1
                continue
            beginning, topic = found
            end = _alike(events, start, beginning)
            length = len(beginning)
            rests += [event[length:] for event in events[start:end]]
            topics += repeat(topic, end - start)
            start = end
        return None if _names_topics(rests) else topics

    def _find(self, event: bytes) -> tuple[bytes, str] | None:
        for length, known in self._known.items():
            beginning = event[:length]
            topic = known.get(beginning)
            if topic is not None:
                return beginning, topic
        return None

    def _learned(self, event: bytes, other: bytes) -> tuple[bytes, str] | None:
        """Remembers what two events have in common, if that is worth it.

        Raises:
            DecodeError: the event is not valid.
        """
        beginning = _common(event, other)
        if not _SHORT <= len(beginning) <= _LONG:
            return None
        topic: str = pb.CheckedRequest.FromString(beginning).topic
        new = len(beginning) not in self._known
        if self._bytes > _MEMORY or (new and len(self._known) >= _LENGTHS):
            self._known, self._bytes, new = {}, 0, True
        self._known.setdefault(len(beginning), {})[beginning] = topic
        self._bytes += len(beginning)
        if new:
            self._known = dict(sorted(self._known.items(), reverse=True))
        return beginning, topic


def _alike(events: Sequence[bytes], start: int, beginning: bytes) -> int:
    """Returns the end of the events that begin so, from start on."""
    # What lies between two in order begins as both do: nearly all batches are of one connection.
    if not start and min(events).startswith(beginning) and max(events).startswith(beginning):
        return len(events)
    end = start + 1
    while end < len(events) and events[end].startswith(beginning):
        end += 1
    return end


def _names_topics(rests: Sequence[bytes]) -> bool:
    """Checks what follows the beginnings; says whether one of them names a topic of its own.

    Raises:
        DecodeError: one of them is not valid.
    """
    pieces = [b""] * (2 * len(rests))
    pieces[0::2] = event_heads(list(map(len, rests)))
    pieces[1::2] = rests
    return bool(pb.CheckedRests.FromString(b"".join(pieces)).rests.topics)


def _common(event: bytes, other: bytes) -> bytes:
    """Returns the whole fields that two events begin with, up to the data.

    Only fields with a length, as all of `PublishRequest` are. Never fails, whatever the bytes.
    """
    end = 0
    while end + 1 < len(event):
        start, tag, size = end, event[end], event[end + 1]
        end += 2
        if size & 0x80 and end < len(event):  # two bytes of length: more are not worth it
            size, end = size & 0x7F | event[end] << 7, end + 1
        end += size
        alike = event[start:end] == other[start:end]
        if tag == _DATA_TAG or tag & _WIRE_TYPE != _LENGTH_DELIMITED or not alike:
            return event[:start]
    return event
