"""Events as the protobuf bytes of `PublishRequest`, written by hand for the hot path.

What the events of a route share is serialised once per route; an event then costs a few joins
instead of a message object with a map of twelve entries. The layout (protobuf.dev, "Encoding"):

    PublishRequest         topic = 1, data = 2, metadata = 3 (repeated entry: key = 1, value = 2)
    PublishEventsRequest   events = 1
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

from websocketmanager.domain.envelope import Event, Route

# Tags of length-delimited fields: field number << 3 | 2.
_FIELD_1 = b"\x0a"
_FIELD_2 = b"\x12"
_FIELD_3 = b"\x1a"


def varint(number: int) -> bytes:
    """Returns a non-negative number as a base-128 varint, least significant group first."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


#: Lengths up to here come from a table: nearly all of them.
_SHORT = tuple(varint(number) for number in range(4096))


def _length(number: int) -> bytes:
    return _SHORT[number] if number < len(_SHORT) else varint(number)


@lru_cache(maxsize=4096)
def _entry_head(key: str, value_bytes: int) -> bytes:
    """Returns a map entry in field 3 up to its value: few keys, and values of few lengths."""
    encoded = key.encode()
    entry = _FIELD_1 + _length(len(encoded)) + encoded + _FIELD_2 + _length(value_bytes)
    return _FIELD_3 + _length(len(entry) + value_bytes) + entry


def _entries(metadata: Iterable[tuple[str, str]]) -> list[bytes]:
    """Returns the pieces of map entries in field 3."""
    pieces: list[bytes] = []
    for key, value in metadata:
        encoded = value.encode()
        pieces += (_entry_head(key, len(encoded)), encoded)
    return pieces


class EventEncoder:
    """Serialises events; remembers the constant part of each route while the route lives."""

    def __init__(self, pubsub_name: str) -> None:
        self._constant = (("pubsubname", pubsub_name),)
        self._prefixes: WeakKeyDictionary[Route, bytes] = WeakKeyDictionary()

    def request(self, event: Event) -> bytes:
        """Returns the event as a `PublishRequest`."""
        prefix = self._prefixes.get(event.route)
        if prefix is None:
            prefix = self._prefixes[event.route] = self._prefix(event.route)
        data = event.data
        return b"".join((prefix, _FIELD_2, _length(len(data)), data, *_entries(event.variable)))

    def _prefix(self, route: Route) -> bytes:
        topic = route.topic.encode()
        entries = _entries(self._constant + route.constant)
        return b"".join((_FIELD_1, _length(len(topic)), topic, *entries))

    def requests_within(self, events: Sequence[Event], limit_bytes: int) -> list[bytes]:
        """Returns the events from the front that fit in one batch; the first always does."""
        requests: list[bytes] = []
        total = 0
        for event in events:
            request = self.request(event)
            total += len(request) + len(_length(len(request))) + len(_FIELD_1)
            if requests and total > limit_bytes:
                break
            requests.append(request)
        return requests


def batch(requests: Sequence[bytes]) -> bytes:
    """Returns serialised requests as a `PublishEventsRequest`."""
    pieces: list[bytes] = []
    for request in requests:
        pieces += (_FIELD_1, _length(len(request)), request)
    return b"".join(pieces)
