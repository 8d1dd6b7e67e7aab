"""Events as the protobuf bytes of `PublishRequest`, written by hand for the hot path.

What the messages of a session share is serialised once: topic, constant metadata, the beginning
of `ce-id`. A message then costs six pieces of one join instead of a message object with a map of
twelve entries. The layout (protobuf.dev, "Encoding"); the order of fields and of a map's entries
is free:

    PublishRequest         topic = 1, data = 2, metadata = 3 (repeated entry: key = 1, value = 2)
    PublishEventsRequest   events = 1
    PublishBatch           events = 1, further fields behind them
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

from websocketmanager.domain.envelope import (
    SEQUENCE_DIGITS,
    Event,
    MessageEvent,
    MessageRun,
    Parcel,
    Route,
    divided,
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


#: Numbers are written a thousand at a time: the last three digits come from a table.
_BLOCK_DIGITS = 3
_BLOCK = 10**_BLOCK_DIGITS
_LAST_DIGITS = tuple(b"%03d" % number for number in range(_BLOCK))


def event_heads(sizes: Sequence[int]) -> list[bytes]:
    """Returns tag and length of entries of the repeated field 1, by the bytes in each."""
    if max(sizes, default=0) < _TABLE:
        return [_EVENT_HEADS[size] for size in sizes]
    return [_EVENT_HEADS[size] if size < _TABLE else FIELD_1 + varint(size) for size in sizes]


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

    def requests(self, parcels: Iterable[Parcel]) -> list[bytes]:
        """Returns each event as a `PublishRequest`."""
        requests: list[bytes] = []
        for parcel in _gathered(parcels):
            if isinstance(parcel, MessageRun):
                requests += self._run_requests(parcel)
            else:
                requests.append(self.request(parcel))
        return requests

    def batch(
        self, parcels: Sequence[Parcel], start: int, limit_bytes: int, head: bytes = b""
    ) -> tuple[bytes, int]:
        """Returns events as the repeated field 1 of a batch, as many as fit.

        Args:
            parcels: in order.
            start: index of the first event to take.
            limit_bytes: of the result; the first event is always taken.
            head: other fields of the batch, which come first.

        Returns:
            The bytes, and how many events they hold.
        """
        pieces: list[bytes] = [head]
        count, room = 0, limit_bytes - len(head)
        for parcel in _gathered(divided(parcels, start)[1] if start else parcels):
            if isinstance(parcel, MessageRun):
                taken, size = self._add_run(parcel, room, into=pieces, count=count)
                count += taken
                room -= size
                if taken < parcel.count:
                    break
                continue
            one = framed(self.request(parcel))
            room -= len(one)
            if room < 0 and count:
                break
            pieces.append(one)
            count += 1
        return b"".join(pieces), count

    def _run_requests(self, run: MessageRun) -> list[bytes]:
        if run.count == 1:
            return [b"".join(self._one_of_run(run))]
        requests: list[bytes] = []
        join, data_heads = b"".join, _DATA_HEADS
        for block, (head, middle) in self._blocks(run):
            for number, data in block:
                size = len(data)
                data_head = data_heads[size] if size < _TABLE else FIELD_2 + varint(size)
                requests.append(join((head, number, middle, number, data_head, data)))
        return requests

    def _add_run(
        self, run: MessageRun, room: int, *, into: list[bytes], count: int
    ) -> tuple[int, int]:
        """Adds the events of a run that fit, and one if there is none yet.

        Returns:
            How many it added, and their size with all that belongs to them.
        """
        if run.count == 1:
            parts = self._one_of_run(run)
            request = sum(map(len, parts))
            tag = _EVENT_HEADS[request] if request < _TABLE else FIELD_1 + varint(request)
            size = len(tag) + request
            if size > room and count:
                return 0, 0
            into += (tag, *parts)
            return 1, size
        data_heads, event_heads = _DATA_HEADS, _EVENT_HEADS
        taken = total = 0
        for block, (head, middle) in self._blocks(run):
            fixed = len(head) + len(middle)
            #: What stands before the number, by the size of the data: few sizes are many messages.
            fronts: dict[int, tuple[bytes, bytes, int]] = {}
            for number, data in block:
                size = len(data)
                front = fronts.get(size)
                if front is None:
                    data_head = data_heads[size] if size < _TABLE else FIELD_2 + varint(size)
                    request = fixed + 2 * len(number) + len(data_head) + size
                    tag = event_heads[request] if request < _TABLE else FIELD_1 + varint(request)
                    front = fronts[size] = tag + head, data_head, len(tag) + request
                total += front[2]
                if total > room and (taken or count):
                    return taken, total - front[2]
                # One join over all pieces of a batch: a join for each event would copy it twice.
                into += (front[0], number, middle, number, front[1], data)
                taken += 1
        return taken, total

    def _one_of_run(self, run: MessageRun) -> tuple[bytes, ...]:
        """Returns the pieces of a run that is one message: no block is worth its price."""
        number, (data,) = b"%d" % run.first, run.payloads
        digits, size = len(number), len(data)
        head = self._of(run.route).head(run.content_type, digits)
        data_head = _DATA_HEADS[size] if size < _TABLE else FIELD_2 + varint(size)
        return head, number, _middle(run.received_at, digits), number, data_head, data

    def _blocks(
        self, run: MessageRun
    ) -> Iterator[tuple[Iterable[tuple[bytes, bytes]], tuple[bytes, bytes]]]:
        """Cuts a run where the upper digits of its numbers change, at each thousand.

        Yields:
            The last digits with the data of each message; what stands before them, and what
            between them, in all messages of the block.
        """
        pieces = self._of(run.route)
        begin, end = 0, run.count
        while begin < end:
            upper, last = divmod(run.first + begin, _BLOCK)
            if upper:
                stop = min(end, begin + _BLOCK - last)
                digits = len(str(upper)) + _BLOCK_DIGITS
                numbers: Sequence[bytes] = _LAST_DIGITS[last : last + stop - begin]
                upper_digits = b"%d" % upper
            else:
                # As many digits as the first has: shorter numbers have no leading zeros.
                digits = len(str(last))
                stop = min(end, begin + 10**digits - last)
                numbers = [b"%d" % number for number in range(last, last + stop - begin)]
                upper_digits = b""
            head = pieces.head(run.content_type, digits) + upper_digits
            middle = _middle(run.received_at, digits) + upper_digits
            yield zip(numbers, run.payloads[begin:stop], strict=True), (head, middle)
            begin = stop

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


def _gathered(parcels: Iterable[Parcel]) -> Iterator[Parcel]:
    """Yields parcels, and messages that came apart as runs where they continue one another."""
    several: list[MessageEvent] = []
    for parcel in parcels:
        if isinstance(parcel, MessageEvent):
            if several and not _continues(several[-1], parcel):
                yield _run_of(several)
                several = []
            several.append(parcel)
            continue
        if several:
            yield _run_of(several)
            several = []
        yield parcel
    if several:
        yield _run_of(several)


def _continues(one: MessageEvent, other: MessageEvent) -> bool:
    return (
        other.route is one.route
        and other.sequence == one.sequence + 1
        and other.received_at == one.received_at
        and other.content_type == one.content_type
    )


def _run_of(several: Sequence[MessageEvent]) -> MessageRun:
    one, payloads = several[0], [event.data for event in several]
    size = sum(map(len, payloads))
    kind, at = one.content_type, one.received_at
    return MessageRun(one.route, payloads, kind, one.tag, one.sequence, at, size)


def _middle(at: float, digits: int) -> bytes:
    """Returns time and `ce-sequence` up to where its leading zeros end."""
    return b"%b%b%b" % (_TIME_HEAD, timestamp(at).encode(), _ZEROS[digits])


_TIME_SIZE = len(timestamp(0.0))
_TIME_HEAD = _entry_head("ce-time", _TIME_SIZE)
#: `ce-sequence` up to its first digit that may be other than zero, by how many those are.
_ZEROS = tuple(
    _entry_head("ce-sequence", SEQUENCE_DIGITS) + b"0" * (SEQUENCE_DIGITS - digits)
    for digits in range(SEQUENCE_DIGITS + 1)
)
