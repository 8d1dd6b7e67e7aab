"""Turns the bytes of one connection into messages, on the library's protocol. Sans-I/O.

Plain frames are cut here; every other byte goes unchanged and in order to the protocol, which
judges it. So that both agree where a frame begins, the lengths of the protocol's frames are
followed as well.
"""

from __future__ import annotations

from typing import Final

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import BINARY, CONT, TEXT, CloseCode, Frame
from websockets.protocol import Event, State

from websocketmanager.adapters.websocket.cutting import (
    MESSAGE_OVERHEAD_BYTES,
    Unpack,
    cut_packed,
    cut_plain,
    frame_length,
    is_utf8,
    payloads_of,
)
from websocketmanager.adapters.websocket.deflate import DeflatingProtocol, ExactDeflate
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.model import Burst, Kind
from websocketmanager.ports import Receiver

#: Bytes of messages that may still come when this side closes.
MAX_BYTES_AFTER_CLOSE: Final = 1_048_576
#: Frames of one message; as many as the library's own client takes.
MAX_FRAGMENTS: Final = 4096

NOT_UTF8: Final = Failure(FailureKind.INVALID_UTF8, "a Text message is not UTF-8")
TOO_MANY_FRAGMENTS: Final = Failure(
    FailureKind.MESSAGE_TOO_BIG, "a message came in too many fragments"
)

#: Bytes of the stream that are cut before the messages they gave are weighed.
_STRIDE_BYTES: Final = 32_768
_LONGEST_HEAD: Final = 10
_KINDS: Final = {TEXT: Kind.TEXT, BINARY: Kind.BINARY}
_END_OF_HEAD: Final = b"\r\n\r\n"
#: What our pings bring back. That it came is all that it says, so the protocol need not have it:
#: ten thousand idle connections bring five hundred a second.
_BARE_PONG: Final = b"\x8a\x00"


class MessageReader:
    """Reads one connection from the handshake's answer to the end of its stream.

    Attributes:
        bursts: messages that were read and nobody took yet, in order.
        unread_bytes: what these messages take, estimated.
        refusal: why a message was refused by a rule of ours, if one was.
        fault: what the stream did wrong by the library's rules, if anything.
        stirred: whether the protocol was given bytes, so that it may have something to say.
    """

    __slots__ = (
        "_begun",
        "_fault",
        "_fragments",
        "_head",
        "_left_after_close",
        "_max_message_bytes",
        "_owed",
        "_unpack",
        "bursts",
        "protocol",
        "refusal",
        "stirred",
        "unread_bytes",
    )

    def __init__(self, protocol: DeflatingProtocol, max_message_bytes: int) -> None:
        self.protocol = protocol
        self.bursts: list[Burst] = []
        self.unread_bytes = 0
        self.refusal: Failure | None = None
        self.stirred = False
        self._fault: Exception | None = None
        self._max_message_bytes = max_message_bytes
        self._unpack: Unpack | None = None
        #: The last bytes of what came of the answer's head; None behind it.
        self._begun: bytes | None = b""
        #: How many bytes the protocol's present frame still lacks.
        self._owed = 0
        #: The beginning of a frame, which the protocol has and which does not say its length yet.
        self._head = b""
        self._fragments: tuple[Kind, list[bytes]] | None = None
        self._left_after_close = MAX_BYTES_AFTER_CLOSE

    @property
    def fault(self) -> Exception | None:
        """What the stream did wrong by the library's rules, if anything."""
        return self._fault or self.protocol.parser_exc

    @property
    def is_over(self) -> bool:
        """Whether nothing that the peer still sends can count."""
        return (
            self.protocol.close_rcvd is not None
            or self.fault is not None
            or self.refusal is not None
        )

    def give(self, receiver: Receiver) -> None:
        """Gives a receiver what was read, as far as it takes it."""
        bursts = self.bursts
        given = 0
        try:
            while given < len(bursts) and not receiver.full:
                burst = bursts[given]
                payloads = burst.payloads
                count = receiver.take(burst.kind, payloads)
                if count < len(payloads):
                    bursts[given] = Burst(burst.kind, payloads[count:])
                    break
                given += 1
        finally:
            if given == len(bursts):
                bursts.clear()
                self.unread_bytes = 0
            else:
                del bursts[:given]
                self.unread_bytes = sum(map(_size, bursts))

    def feed(self, data: bytes, most: int) -> int:
        """Reads bytes until nobody may be given more.

        Args:
            data: what follows in the stream.
            most: `unread_bytes` above which reading stops. It goes beyond this by one message or
                by what `_STRIDE_BYTES` hold. Once a close was sent everything is read.

        Returns:
            How many of the bytes were read; the rest must be fed again, before any others.
        """
        protocol, at, size = self.protocol, 0, len(data)
        if self._begun is not None:
            at = self._read_answer(data)
        while at < size:
            if protocol.state is State.OPEN:
                if self.unread_bytes > most:
                    return at
                if not self._owed and not self._head and self._fragments is None:
                    begun = at
                    at = self._cut(data, at, most)
                    if at != begun:
                        continue
                    if data.startswith(_BARE_PONG, at):
                        at += len(_BARE_PONG)
                        continue
            elif self.is_over or protocol.state is not State.CLOSING:
                # The rest of an answer that is none, or what the protocol drops.
                self._pass(data[at:])
                return size
            at = self._pass_frame(data, at)
        return at

    def feed_eof(self) -> None:
        """Reads the end of the stream; again does nothing."""
        self.stirred = True
        self.protocol.receive_eof()
        self._hear()

    # --- the handshake ---

    def _read_answer(self, data: bytes) -> int:
        """Gives the protocol the answer's head, and no byte of the frames behind it."""
        assert self._begun is not None  # noqa: S101 - the caller's condition
        seen = len(self._begun)
        joined = self._begun + data
        found = joined.find(_END_OF_HEAD)
        if found < 0:
            self._begun = joined[-(len(_END_OF_HEAD) - 1) :]
            self._pass(data)
            return len(data)
        end = found + len(_END_OF_HEAD) - seen
        self._begun = None
        self._pass(data[:end])
        for extension in self.protocol.extensions:
            if isinstance(extension, ExactDeflate):
                self._unpack = extension.unpack
        return end

    # --- frames ---

    def _cut(self, data: bytes, at: int, most: int) -> int:
        """Cuts what is plain from a frame's beginning on; returns where that ends."""
        bursts, limit = self.bursts, self._max_message_bytes
        try:
            if self._unpack is None:
                end, count = cut_plain(data, at, stop=at + _STRIDE_BYTES, limit=limit, into=bursts)
                self.unread_bytes += end - at + MESSAGE_OVERHEAD_BYTES * count
                return end
            room = most - self.unread_bytes
            end, left = cut_packed(
                data, at, room=room, limit=limit, into=bursts, unpack=self._unpack
            )
        except UnicodeDecodeError:
            self._refuse(NOT_UTF8, CloseCode.INVALID_DATA)
        except ProtocolError as error:
            self._fail(CloseCode.PROTOCOL_ERROR, error)
        except PayloadTooBig as error:
            self._fail(CloseCode.MESSAGE_TOO_BIG, error)
        else:
            self.unread_bytes += room - left
            return end
        return len(data)

    def _pass_frame(self, data: bytes, at: int) -> int:
        """Gives the protocol the frame that begins or goes on here, as far as it is there."""
        if not self._owed:
            head = self._head + data[at : at + _LONGEST_HEAD]
            length = frame_length(head)
            if length is None:
                self._head = head
                self._pass(data[at:])
                return len(data)
            self._owed = length - len(self._head)
            self._head = b""
        end = min(at + self._owed, len(data))
        self._owed -= end - at
        self._pass(data[at:end])
        return end

    def _pass(self, data: bytes) -> None:
        self.stirred = True
        self.protocol.receive_data(data)
        self._hear()

    def _hear(self) -> None:
        """Takes what the protocol made of the bytes."""
        for event in self.protocol.events_received():
            if self.refusal is None:
                self._take_event(event)

    def _take_event(self, event: Event) -> None:
        if not isinstance(event, Frame):
            return  # the handshake's answer
        opcode = event.opcode
        if opcode is CONT:
            self._go_on(event)
        elif opcode in _KINDS:
            kind, data = _KINDS[opcode], bytes(event.data)
            if event.fin:
                self._accept(kind, data)
            else:
                self._fragments = kind, [data]

    def _go_on(self, event: Frame) -> None:
        assert self._fragments is not None  # noqa: S101 - the protocol refuses others
        kind, parts = self._fragments
        if len(parts) >= MAX_FRAGMENTS:
            self._refuse(TOO_MANY_FRAGMENTS, CloseCode.MESSAGE_TOO_BIG)
            return
        parts.append(bytes(event.data))
        if event.fin:
            self._fragments = None
            self._accept(kind, b"".join(parts))

    def _accept(self, kind: Kind, data: bytes) -> None:
        """Adds a message that the protocol read."""
        if kind is Kind.TEXT and not is_utf8(data):
            self._refuse(NOT_UTF8, CloseCode.INVALID_DATA)
            return
        if self.protocol.close_sent is not None:
            # Who closes wants no more than what was on its way, and does not pause for it.
            self._left_after_close -= len(data)
            if self._left_after_close < 0:
                return
        payloads_of(kind, self.bursts).append(data)
        self.unread_bytes += len(data) + MESSAGE_OVERHEAD_BYTES

    # --- faults: nothing behind one counts (RFC 6455 §7.1.7) ---

    def _refuse(self, refusal: Failure, code: CloseCode) -> None:
        self.refusal = refusal
        self.stirred = True
        self.protocol.fail(code, refusal.message)

    def _fail(self, code: CloseCode, fault: Exception) -> None:
        self._fault = fault
        self.stirred = True
        self.protocol.fail(code, str(fault))


def _size(burst: Burst) -> int:
    """Returns what a burst takes, estimated."""
    payloads = burst.payloads
    return sum(map(len, payloads)) + MESSAGE_OVERHEAD_BYTES * len(payloads)
