"""permessage-deflate (RFC 7692) whose size limit is exact, and counts what is unpacked.

The library's own limits the packed and the unpacked bytes of a frame by the same number: a message
just below it that does not pack well would be refused, and so would one of exactly the limit.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

from websockets.datastructures import Headers
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.base import Extension
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.frames import BINARY, CTRL_OPCODES, Frame
from websockets.typing import ExtensionParameter

from websocketmanager.adapters.websocket.lean import LeanProtocol

#: A window of 4 KiB and small tables: 32 KiB for the few messages that are sent.
_SENDING_WINDOW_BITS: Final = 12
_SENDING_SETTINGS: Final = {"memLevel": 5}
#: RFC 7692 §7.2.2: what a sender leaves out at the end of a message.
_SYNC_FLUSH: Final = b"\x00\x00\xff\xff"
#: From here on the library hands it to zlib apart, which tells the limit's edge in another way.
_MIN_BYTES_TO_FLUSH_APART: Final = 2044


def packing_room(max_message_bytes: int) -> int:
    """Returns how many bytes more than the message its packed form may have.

    zlib's own bound (`deflateBound`) is below an eighth and a sixty-fourth.
    """
    return max_message_bytes // 7 + 1024


class ExactDeflate(PerMessageDeflate):
    """The extension of one connection.

    Args:
        negotiated: what client and server agreed on.
        room: by how much the limit that `decode` is given exceeds the real one.
    """

    def __init__(self, negotiated: PerMessageDeflate, room: int) -> None:
        super().__init__(
            negotiated.remote_no_context_takeover,
            negotiated.local_no_context_takeover,
            negotiated.remote_max_window_bits,
            # A smaller window than was agreed on is always understood.
            min(negotiated.local_max_window_bits, _SENDING_WINDOW_BITS),
            _SENDING_SETTINGS,
        )
        self._room = room

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Unpacks one frame.

        Raises:
            PayloadTooBig: the message has more bytes than are allowed.
        """
        if max_size is None or frame.opcode in CTRL_OPCODES:
            return super().decode(frame, max_size=max_size)
        left = max_size - self._room
        # One byte more than is allowed tells "exactly" from "too many".
        unpacked = super().decode(frame, max_size=left + 1)
        if len(unpacked.data) > left:
            raise PayloadTooBig(None, left)
        return unpacked

    def unpack(self, packed: bytes, limit: int) -> bytes:
        """Unpacks a whole message that came in one frame: what `decode` does, without its frames.

        Args:
            packed: the frame's payload.
            limit: of the unpacked message, bytes.

        Raises:
            PayloadTooBig, ProtocolError: as `decode` raises them, in the same words.
        """
        if len(packed) >= _MIN_BYTES_TO_FLUSH_APART:
            frame = Frame(BINARY, packed, rsv1=True)
            return bytes(self.decode(frame, max_size=limit + self._room).data)
        if self.remote_no_context_takeover:
            self.decoder = zlib.decompressobj(wbits=-self.remote_max_window_bits)
        try:
            data = self.decoder.decompress(packed + _SYNC_FLUSH, limit + 1)
        except zlib.error as error:
            raise ProtocolError("decompression failed") from error
        if self.decoder.unconsumed_tail:
            raise PayloadTooBig(None, limit + 1)
        if len(data) > limit:
            raise PayloadTooBig(None, limit)
        return data


class ExactDeflateFactory(ClientPerMessageDeflateFactory):
    """Offers what browsers offer, so that every server knows it."""

    def __init__(self, room: int) -> None:
        super().__init__(client_max_window_bits=True)
        self._room = room

    def process_response_params(
        self,
        params: Sequence[ExtensionParameter],
        accepted_extensions: Sequence[Extension],
    ) -> ExactDeflate:
        """Makes the extension from the server's answer.

        Raises:
            NegotiationError: the answer does not fit the offer.
        """
        negotiated = super().process_response_params(params, accepted_extensions)
        return ExactDeflate(negotiated, self._room)


class DeflatingProtocol(LeanProtocol):
    """The library's protocol, with room for packed messages once the server agreed to them."""

    def process_extensions(self, headers: Headers) -> list[Extension]:
        """Reads the server's answer to the offer, as the library documents for overriding."""
        extensions = super().process_extensions(headers)
        if extensions and self.max_message_size is not None:
            self.max_message_size += packing_room(self.max_message_size)
        return extensions
