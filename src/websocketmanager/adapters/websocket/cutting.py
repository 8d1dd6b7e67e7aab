"""Cuts whole plain messages out of a stream of frames (RFC 6455 §5.2). Pure.

Plain is what nearly every frame of a feed is: unmasked, final, Text or Binary, below 64 KiB. What
is anything else stops the cutting, and the library's protocol judges it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from websocketmanager.domain.model import Burst, Kind

#: What a message takes beside its payload: an object and a place in a list.
MESSAGE_OVERHEAD_BYTES: Final = 64

_TEXT, _BINARY = Kind.TEXT, Kind.BINARY
#: First bytes: FIN with the opcode. RSV1 marks a packed message (RFC 7692 §6).
_PLAIN_HEADS: Final = {0x81: _TEXT, 0x82: _BINARY}
_PACKED_HEADS: Final = {0xC1: _TEXT, 0xC2: _BINARY}

#: Unpacks the payload of a whole message, given also how many bytes it may have.
Unpack = Callable[[bytes, int], bytes]


def cut_plain(data: bytes, at: int, *, stop: int, limit: int, into: list[Burst]) -> tuple[int, int]:
    """Cuts plain messages that begin before `stop`.

    Args:
        data: of the stream; a frame begins at `at`.
        at: where to begin.
        stop: no frame behind it is cut, so that a caller can bound what is cut at once.
        limit: of a payload, bytes.
        into: takes the messages.

    Returns:
        Where the first frame begins that was not cut: behind `stop`, not plain, or not whole; and
        how many messages were cut.

    Raises:
        UnicodeDecodeError: a Text message is not UTF-8; the ones before it are in `into`.
    """
    # Everything in one loop and local names: this is the hottest path of the service.
    size = len(data)
    last = min(stop, size - 1)
    payloads: list[bytes] = []
    filled, count = -1, 0  # no first byte of a frame
    while at < last:
        head, length = data[at], data[at + 1]
        begin = at + 2
        if length > 125:
            if length > 126 or at + 4 > size:
                break
            length = data[begin] << 8 | data[at + 3]
            begin = at + 4
        end = begin + length
        if end > size or length > limit:
            break
        if head != filled and head not in _PLAIN_HEADS:
            break
        payload = data[begin:end]
        # Most text is ASCII, which is seen without building a string.
        if head == 0x81 and not payload.isascii():
            payload.decode()
        if head != filled:
            count += len(payloads)
            payloads = payloads_of(_PLAIN_HEADS[head], into)
            count -= len(payloads)
            filled = head
        payloads.append(payload)
        at = end
    return at, count + len(payloads)


def cut_packed(
    data: bytes, at: int, *, room: int, limit: int, into: list[Burst], unpack: Unpack
) -> tuple[int, int]:
    """Cuts plain messages, and those that are packed, until they have `room` bytes together.

    Args:
        data: of the stream; a frame begins at `at`.
        at: where to begin.
        room: for messages with all they take; the one that goes beyond it is the last.
        limit: of an unpacked payload, bytes.
        into: takes the messages.
        unpack: raises whatever is to be raised for a payload that cannot be unpacked.

    Returns:
        Where the first frame begins that was not cut, and the room that is left.

    Raises:
        UnicodeDecodeError: as `cut_plain` does.
    """
    size = len(data)
    while at < size - 1 and room >= 0:
        head, length = data[at], data[at + 1]
        begin = at + 2
        if length > 125:
            if length > 126 or at + 4 > size:
                break
            length = data[begin] << 8 | data[at + 3]
            begin = at + 4
        end = begin + length
        # More packed bytes than that are the library's to refuse, by its own rule.
        if end > size or length > limit:
            break
        payload = data[begin:end]
        if (kind := _PACKED_HEADS.get(head)) is not None:
            payload = unpack(payload, limit)
        elif (kind := _PLAIN_HEADS.get(head)) is None:
            break
        if kind is _TEXT and not payload.isascii():
            payload.decode()
        room -= len(payload) + MESSAGE_OVERHEAD_BYTES
        payloads_of(kind, into).append(payload)
        at = end
    return at, room


def payloads_of(kind: Kind, bursts: list[Burst]) -> list[bytes]:
    """Returns where the next message of this kind belongs; the caller must add one."""
    if not bursts or bursts[-1].kind is not kind:
        bursts.append(Burst(kind, []))
    return bursts[-1].payloads


def frame_length(head: bytes) -> int | None:
    """Returns how long a frame is in all, or None while its header is not whole enough to say.

    Args:
        head: from the frame's first byte on, as far as it is there; ten bytes always say.
    """
    if len(head) < 2:
        return None
    length = head[1] & 0x7F
    if length < 126:
        return 2 + length
    begin = 4 if length == 126 else 10
    if len(head) < begin:
        return None
    return begin + int.from_bytes(head[2:begin], "big")


def is_utf8(data: bytes) -> bool:
    """Returns whether these bytes are UTF-8 (RFC 3629)."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
