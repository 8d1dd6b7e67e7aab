"""Events on their way to subscribers, many in one run of bytes.

A run is made once for all its subscribers and written as it is: bytes of `PubsubEvents`, whose
entries are `PubsubSubscribeResponse`. Nobody touches single events, unless a run must be cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Final, NamedTuple

from websocketmanager.domain.wire import event_heads

#: Bytes of a chunk at most, unless its only event is larger: what a stream message holds at most.
MAX_CHUNK_BYTES: Final = 1024 * 1024


class Chunk(NamedTuple):
    """Events in the order of their publication.

    Attributes:
        body: entries of `PubsubEvents.events`, one behind the other.
        events: how many; at least one.
    """

    body: bytes
    events: int


def chunk_of(
    requests: Sequence[bytes], sizes: Sequence[int], head: bytes, ids: Sequence[bytes], tail: bytes
) -> Chunk:
    """Returns events as a chunk.

    Args:
        requests: the events as bytes of `PublishRequest`.
        sizes: bytes of each entry behind its tag and length.
        head: what follows each request, up to where its id differs from others.
        ids: what follows there, for each.
        tail: what ends each entry.
    """
    count = len(requests)
    heads = event_heads(sizes)
    if count == 1:
        return Chunk(b"".join((heads[0], requests[0], head, ids[0], tail)), 1)
    pieces = [head] * (5 * count)
    # Every fifth place at a time, in C: a join for each event would cost twice as much.
    pieces[0::5] = heads
    pieces[1::5] = requests
    pieces[3::5] = ids
    pieces[4::5] = repeat(tail, count)
    return Chunk(b"".join(pieces), count)


def entry_end(body: bytes, place: int) -> int:
    """Returns where the entry that begins at a place of a chunk's body ends."""
    start, size = _inside(body, place)
    return start + size


def without_head(entry: bytes) -> bytes:
    """Returns the `PubsubSubscribeResponse` in an entry, without tag and length."""
    return entry[_inside(entry, 0)[0] :]


def _inside(body: bytes, place: int) -> tuple[int, int]:
    """Returns where the message in an entry begins, and its size."""
    place += 1  # the tag
    size = shift = 0
    while (group := body[place]) & 0x80:
        size |= (group & 0x7F) << shift
        shift += 7
        place += 1
    return place + 1, size | group << shift
