"""Events as the protobuf bytes of `PublishRequest`, written by hand for the hot path.

What the messages of a session share is serialised once: topic, constant metadata, the beginning
of `ce-id`. A message then costs one join of seven pieces instead of a message object with a map of
twelve entries. The layout (protobuf.dev, "Encoding"); the order of fields and of a map's entries
is free:

    PublishRequest         topic = 1, data = 2, metadata = 3 (repeated entry: key = 1, value = 2)
    PublishEventsRequest   events = 1
    PublishBatch           events = 1, further fields behind them
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

from websocketmanager.domain.envelope import (
    SEQUENCE_DIGITS,
    Event,
    MessageEvent,
    Route,
    timestamp,
)

# Tags of length-delimited fields: field number << 3 | 2.
FIELD_1 = b"\x0a"
FIELD_2 = b"\x12"
FIELD_3 = b"\x1a"


def varint(number: int) -> bytes:
    """Returns a non-negative number as a base-128 varint, least significant group first."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:  # nearly every length: without a loop
        return bytes((number & 0x7F | 0x80, number >> 7))
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


#: Lengths up to here come from tables: those of nearly all messages.
_TABLE = 4096
_EVENT_HEADS = tuple(FIELD_1 + varint(size) for size in range(_TABLE))
_DATA_HEADS = tuple(FIELD_2 + varint(size) for size in range(_TABLE))


def framed(request: bytes) -> bytes:
    """Returns a serialised request as an entry of the repeated field 1: tag, length, itself."""
    size = len(request)
    return (_EVENT_HEADS[size] if size < _TABLE else FIELD_1 + varint(size)) + request


@lru_cache(maxsize=4096)
def _entry_head(key: str, value_bytes: int) -> bytes:
    """Returns a map entry in field 3 up to its value: few keys, and values of few lengths."""
    encoded = key.encode()
    entry = FIELD_1 + varint(len(encoded)) + encoded + FIELD_2 + varint(value_bytes)
    return FIELD_3 + varint(len(entry) + value_bytes) + entry


def _entries(metadata: Iterable[tuple[str, str]]) -> list[bytes]:
    """Returns the pieces of map entries in field 3."""
    pieces: list[bytes] = []
    for key, value in metadata:
        encoded = value.encode()
        pieces += (_entry_head(key, len(encoded)), encoded)
    return pieces


class EventEncoder:
    """Serialises events; remembers what those of a route share while the route lives."""

    def __init__(self, pubsub_name: str) -> None:
        self._constant = (("pubsubname", pubsub_name),)
        self._pieces: WeakKeyDictionary[Route, _Pieces] = WeakKeyDictionary()

    def request(self, event: Event) -> bytes:
        """Returns an event as a `PublishRequest`."""
        data = event.data
        entries = _entries(event.variable)
        size = FIELD_2 + varint(len(data))
        return b"".join((self._of(event.route).prefix, *entries, size, data))

    def requests(self, events: Iterable[Event]) -> list[bytes]:
        """Returns each event as a `PublishRequest`."""
        requests: list[bytes] = []
        join = b"".join
        route: Route | None = None
        kind, digits, at = "", 0, _NEVER
        head = middle = b""
        for event in events:
            if not isinstance(event, MessageEvent):
                requests.append(self.request(event))
                continue
            number = b"%d" % event.sequence
            if event.route is not route or len(number) != digits or event.content_type is not kind:
                route, kind, digits, at = event.route, event.content_type, len(number), _NEVER
                head = self._of(route).head(kind, digits)
            if event.received_at != at:
                at = event.received_at
                middle = _middle(at, digits)
            data = event.data
            size = len(data)
            data_head = _DATA_HEADS[size] if size < _TABLE else FIELD_2 + varint(size)
            requests.append(join((head, number, middle, number, data_head, data)))
        return requests

    def batch(
        self, events: Sequence[Event], start: int, limit_bytes: int, head: bytes = b""
    ) -> tuple[bytes, int]:
        """Returns events as the repeated field 1 of a batch, as many as fit.

        Args:
            events: in order.
            start: index of the first to take.
            limit_bytes: of the result; the first event is always taken.
            head: other fields of the batch, which come first.

        Returns:
            The bytes, and how many events they hold.
        """
        pieces: list[bytes] = [head]
        append, join = pieces.append, b"".join
        route: Route | None = None
        kind, digits, at = "", 0, _NEVER
        head = middle = b""
        fixed = count = 0
        total = len(head)
        # The loop of `requests` once more: a call per message would cost as much as its pieces.
        for event in events[start:] if start else events:
            if isinstance(event, MessageEvent):
                number = b"%d" % event.sequence
                if (
                    event.route is not route
                    or len(number) != digits
                    or event.content_type is not kind
                ):
                    route, kind, digits, at = event.route, event.content_type, len(number), _NEVER
                    head = self._of(route).head(kind, digits)
                    fixed = len(head) + _middle_size(digits) + 2 * digits
                if event.received_at != at:
                    at = event.received_at
                    middle = _middle(at, digits)
                data = event.data
                size = len(data)
                data_head = _DATA_HEADS[size] if size < _TABLE else FIELD_2 + varint(size)
                size += fixed + len(data_head)
                event_head = _EVENT_HEADS[size] if size < _TABLE else FIELD_1 + varint(size)
                total += size + len(event_head)
                if total > limit_bytes and count:
                    break
                append(join((event_head, head, number, middle, number, data_head, data)))
            else:
                one = framed(self.request(event))
                total += len(one)
                if total > limit_bytes and count:
                    break
                append(one)
            count += 1
        return join(pieces), count

    def _of(self, route: Route) -> _Pieces:
        pieces = self._pieces.get(route)
        if pieces is None:
            topic = route.topic.encode()
            entries = _entries(self._constant + route.constant)
            prefix = b"".join((FIELD_1, varint(len(topic)), topic, *entries))
            pieces = self._pieces[route] = _Pieces(prefix, route.id_prefix.encode())
        return pieces


class _Pieces:
    """What the events of one route share."""

    __slots__ = ("_content_type", "_digits", "_head", "_id_prefix", "prefix")

    def __init__(self, prefix: bytes, id_prefix: bytes) -> None:
        self.prefix = prefix
        self._id_prefix = id_prefix
        self._content_type = ""
        self._digits = 0
        self._head = b""

    def head(self, content_type: str, digits: int) -> bytes:
        """Returns all that comes before the sequence number at the end of `ce-id`."""
        if content_type != self._content_type or digits != self._digits:
            self._content_type, self._digits = content_type, digits
            kind = _entries((("ce-datacontenttype", content_type),))
            id_head = _entry_head("ce-id", len(self._id_prefix) + digits)
            self._head = b"".join((self.prefix, *kind, id_head, self._id_prefix))
        return self._head


def _middle(at: float, digits: int) -> bytes:
    """Returns time and `ce-sequence` up to where its leading zeros end."""
    return b"%b%b%b" % (_TIME_HEAD, timestamp(at).encode(), _ZEROS[digits])


def _middle_size(digits: int) -> int:
    return len(_TIME_HEAD) + _TIME_SIZE + len(_ZEROS[digits])


#: A time at which no message was received.
_NEVER = float("nan")
_TIME_SIZE = len(timestamp(0.0))
_TIME_HEAD = _entry_head("ce-time", _TIME_SIZE)
#: `ce-sequence` up to its first digit that may be other than zero, by how many those are.
_ZEROS = tuple(
    _entry_head("ce-sequence", SEQUENCE_DIGITS) + b"0" * (SEQUENCE_DIGITS - digits)
    for digits in range(SEQUENCE_DIGITS + 1)
)
