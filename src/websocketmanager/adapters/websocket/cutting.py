"""Cuts whole plain messages out of a stream of frames (RFC 6455 §5.2). Pure.

Plain is what nearly every frame of a feed is: unmasked, final, Text or Binary, below 64 KiB. What
is anything else stops the cutting, and the library's protocol judges it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from websocketmanager.domain.model import Kind, Message

#: What a message takes beside its payload: two objects and a place in a list.
MESSAGE_OVERHEAD_BYTES: Final = 128

_TEXT, _BINARY = Kind.TEXT, Kind.BINARY
#: First bytes: FIN with the opcode. RSV1 marks a packed message (RFC 7692 §6).
_PLAIN_HEADS: Final = {0x81: _TEXT, 0x82: _BINARY}
_PACKED_HEADS: Final = {0xC1: _TEXT, 0xC2: _BINARY}

# `Message(kind, data)` takes twice as long, as the constructor of a frozen class sets each field
# by name. These are the same fields of the same class, set before anybody sees the message.
_new: Final[Callable[[type[Message]], Message]] = object.__new__
_set_kind: Final[Callable[[Message, Kind], None]] = Message.__dict__["kind"].__set__
_set_data: Final[Callable[[Message, bytes], None]] = Message.__dict__["data"].__set__

#: Unpacks the payload of a whole message, given also how many bytes it may have.
Unpack = Callable[[bytes, int], bytes]


def cut_plain(data: bytes, at: int, *, stop: int, limit: int, into: list[Message]) -> int:
    """Cuts plain messages that begin before `stop`.

    Args:
        data: of the stream; a frame begins at `at`.
        at: where to begin.
        stop: no frame behind it is cut, so that a caller can bound what is cut at once.
        limit: of a payload, bytes.
        into: takes the messages.

    Returns:
        Where the first frame begins that was not cut: behind `stop`, not plain, or not whole.

    Raises:
        UnicodeDecodeError: a Text message is not UTF-8; the ones before it are in `into`.
    """
    # Everything in one loop and local names: this is the hottest path of the service.
    new, set_kind, set_data, append = _new, _set_kind, _set_data, into.append
    message, text, binary = Message, _TEXT, _BINARY
    size = len(data)
    last = min(stop, size - 1)
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
        payload = data[begin:end]
        cut = new(message)
        if head == 0x81:
            # Most text is ASCII, which is seen without building a string.
            if not payload.isascii():
                payload.decode()
            set_kind(cut, text)
        elif head == 0x82:
            set_kind(cut, binary)
        else:
            break
        set_data(cut, payload)
        append(cut)
        at = end
    return at


def cut_packed(
    data: bytes, at: int, *, room: int, limit: int, into: list[Message], unpack: Unpack
) -> int:
    """Cuts plain messages, and those that are packed, until they have `room` bytes together.

    Args:
        data: of the stream; a frame begins at `at`.
        at: where to begin.
        room: for messages with all they take; the one that goes beyond it is the last.
        limit: of an unpacked payload, bytes.
        into: takes the messages.
        unpack: raises whatever is to be raised for a payload that cannot be unpacked.

    Returns:
        Where the first frame begins that was not cut.

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
        into.append(Message(kind, payload))
        at = end
    return at


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
