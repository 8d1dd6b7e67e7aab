"""The driver and the library's protocol alone make the same of any stream, however it is cut.

Both get the same bytes. Compared are the messages, every byte of the replies (without their random
masks), both close frames, the fault in its words, and the state. The one rule that the library
leaves to its callers, that Text is UTF-8 (RFC 6455 §8.1), is added to it here.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from websockets.frames import BINARY, CONT, PONG, TEXT, Close, Frame
from websockets.protocol import State

from tests.kit.driven import Driven, answer_to, unmasked
from tests.kit.opening import target
from tests.kit.raw_peer import CLOSE, PING, frame
from websocketmanager.adapters.websocket.budget import ReadBudget
from websocketmanager.adapters.websocket.deflate import DeflatingProtocol
from websocketmanager.adapters.websocket.handshake import protocol_for
from websocketmanager.adapters.websocket.reading import NOT_UTF8
from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.options import Compression
from websocketmanager.ports import DialTarget

#: More with the environment's word for it, as in the system tests.
STREAMS = 100_000 if os.environ.get("WEBSOCKETMANAGER_LONG_TESTS") else 2000
BUNDLE = 500
LIMITS = (20, 300, 1000, 70_000)
AGREED = (
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; server_max_window_bits=9",
)


@dataclass
class Told:
    """All that can be seen of one reader."""

    messages: list[Message]
    replies: list[tuple[int, bytes]]
    received: Close | None
    sent: Close | None
    first: bool | None
    fault: str
    state: State
    not_utf8: bool


# --- the reference --------------------------------------------------------------------------------


class Reference:
    """The library's protocol, and the little that every caller of it must do."""

    def __init__(self, dialled: DialTarget, key: str) -> None:
        self.protocol = protocol_for(dialled)
        self.protocol.key = key
        self.written = b""
        self.messages: list[Message] = []
        self.not_utf8 = False
        self._parts: list[bytes] = []
        self._kind = Kind.TEXT
        self._recv_frame = self.protocol.recv_frame
        # Between two frames, as a caller sees a message only when more may have been parsed.
        vars(self.protocol)["recv_frame"] = self._judge

    def _judge(self, event: Frame) -> None:
        self._recv_frame(event)
        if event.opcode in (TEXT, BINARY):
            self._kind = Kind.TEXT if event.opcode is TEXT else Kind.BINARY
            self._parts = []
        elif event.opcode is not CONT:
            return
        self._parts.append(bytes(event.data))
        if not event.fin:
            return
        message = Message(self._kind, b"".join(self._parts))
        try:
            if message.kind is Kind.TEXT:
                message.data.decode()
        except UnicodeDecodeError:
            self.not_utf8 = True
            self.protocol.fail(1007, NOT_UTF8.message)
        else:
            self.messages.append(message)

    def feed(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        self._flush()

    def feed_eof(self) -> None:
        self.protocol.receive_eof()
        self._flush()

    def close(self, code: int) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.send_close(code, "")
        self._flush()

    def _flush(self) -> None:
        self.protocol.events_received()
        self.written += b"".join(self.protocol.data_to_send())

    def glance(self) -> tuple[int, int, State]:
        return len(self.messages), len(self.written), self.protocol.state

    def told(self) -> Told:
        fault = self.protocol.parser_exc
        return told_of(self.protocol, self.messages, self.written, fault, self.not_utf8)


# --- the driver -----------------------------------------------------------------------------------


class Compared(Driven):
    """The driver, seen as the reference is."""

    def glance(self) -> tuple[int, int, State]:
        return len(self.messages), len(self.transport.written), self.protocol.state

    def told(self) -> Told:
        return told_of(
            self.protocol,
            self.messages,
            self.transport.written,
            self.connection.fault,
            self.connection.refusal is NOT_UTF8,
        )


def told_of(
    protocol: DeflatingProtocol,
    messages: list[Message],
    written: bytes,
    fault: Exception | None,
    not_utf8: bool,
) -> Told:
    return Told(
        list(messages),
        list(unmasked(written)),
        protocol.close_rcvd,
        protocol.close_sent,
        protocol.close_rcvd_then_sent,
        f"{type(fault).__name__}: {fault}" if fault else "",
        protocol.state,
        not_utf8,
    )


# --- streams --------------------------------------------------------------------------------------


@dataclass
class Stream:
    """A server that says mostly right things, and now and then a wrong one."""

    dice: random.Random
    limit: int
    deflate: bool
    forgets: bool
    bits: int
    wrong: float
    packer: zlib._Compress | None = None
    parts: list[bytes] = field(default_factory=list)

    def make(self, count: int) -> bytes:
        for _ in range(count):
            if self.dice.random() < self.wrong:
                self.dice.choice(WRONG)(self)
            else:
                self.dice.choice(RIGHT)(self)
        return b"".join(self.parts)

    def payload(self, *, text: bool) -> bytes:
        edge = self.dice.choice((0, 1, 125, 126, 127, self.limit, self.limit - 1, self.limit // 2))
        size = min(edge if self.dice.random() < 0.3 else self.dice.randrange(60), self.limit)
        if text:
            letters = self.dice.choice(("abc {}", "aé€😀", "ü"))
            data = "".join(self.dice.choices(letters, k=min(size, 200))).encode()
            data = (data * (size // max(len(data), 1) + 1))[:size]
            return data.decode(errors="ignore").encode()
        return self.dice.randbytes(size) if self.dice.random() < 0.5 else bytes(size)

    def pack(self, data: bytes) -> bytes:
        if self.packer is None or self.forgets:
            self.packer = zlib.compressobj(6, wbits=-self.bits)
        return (self.packer.compress(data) + self.packer.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def whole(self) -> None:
        text = self.dice.random() < 0.7
        self.say(self.payload(text=text), TEXT if text else BINARY)

    def say(self, data: bytes, opcode: int) -> None:
        """One message in one frame, packed or not."""
        if self.deflate and self.dice.random() < 0.7:
            self.parts.append(frame(opcode, self.pack(data), rsv=4))
        else:
            self.parts.append(frame(opcode, data))

    def fragments(self) -> None:
        """One message in some frames, with control frames between."""
        text = self.dice.random() < 0.5
        data, rsv = self.payload(text=text), 0
        if self.deflate and self.dice.random() < 0.7:
            data, rsv = self.pack(data), 4
        cuts = sorted(self.dice.randrange(len(data) + 1) for _ in range(self.dice.randrange(1, 5)))
        starts, ends = [0, *cuts], [*cuts, len(data)]
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            opcode = CONT if number else TEXT if text else BINARY
            last = number == len(cuts)
            self.parts.append(frame(opcode, data[start:end], fin=last, rsv=0 if number else rsv))
            if self.dice.random() < 0.3:
                self.control()

    def control(self) -> None:
        opcode = self.dice.choice((PING, PONG))
        self.parts.append(frame(opcode, self.dice.randbytes(self.dice.choice((0, 4, 125)))))

    def long_way(self) -> None:
        """A length in more bytes than it needs, which the library takes."""
        data = self.payload(text=False)[:120]
        self.parts.append(struct.pack("!BBH", 0x82, 126, len(data)) + data)
        self.parts.append(struct.pack("!BBQ", 0x82, 127, len(data)) + data)

    def close(self) -> None:
        code = self.dice.choice((1000, 1001, 1011, 3000, 4999))
        self.parts.append(frame(CLOSE, struct.pack("!H", code) + b"bye"))

    def wrong_close(self) -> None:
        payload = self.dice.choice((b"\x03", b"\x03\xed", b"\x00\x00", b"\x03\xe8\xff", bytes(126)))
        self.parts.append(frame(CLOSE, payload))

    def wrong_text(self) -> None:
        self.say(self.dice.choice((b"\xff", b"ok\xc0\x80", b"abc\xe2\x82", b"\xed\xa0\x80")), TEXT)

    def wrong_fragments(self) -> None:
        self.parts.append(frame(TEXT, b"\xe2\x82", fin=False))
        self.parts.append(frame(CONT, self.dice.choice((b"\xac", b"\xff", b""))))

    def message_within_a_message(self) -> None:
        self.parts.append(frame(TEXT, b"be", fin=False))
        self.parts.append(frame(self.dice.choice((TEXT, BINARY)), b"whole"))

    def too_big(self) -> None:
        size = self.limit + self.dice.choice((1, 2, 100))
        self.say(self.dice.choice((bytes(size), b"a" * size)), self.dice.choice((TEXT, BINARY)))

    def too_big_in_fragments(self) -> None:
        self.parts.append(frame(BINARY, bytes(self.limit), fin=False))
        self.parts.append(frame(CONT, b"x"))

    def claim(self) -> None:
        length = self.dice.choice((self.limit + 1, 2**16, 2**40, 2**63, 2**64 - 1))
        self.parts.append(frame(BINARY, b"x" * 20, claimed_length=length))

    def wrong_frame(self) -> None:
        self.parts.append(
            frame(
                self.dice.randrange(16),
                self.dice.randbytes(self.dice.choice((0, 5, 130))),
                fin=self.dice.random() < 0.7,
                rsv=self.dice.randrange(8),
                masked=self.dice.random() < 0.3,
            )
        )

    def masked(self) -> None:
        self.parts.append(frame(TEXT, b"masked", masked=True))

    def wrong_packing(self) -> None:
        self.parts.append(frame(BINARY, self.dice.randbytes(20), rsv=4))

    def noise(self) -> None:
        self.parts.append(self.dice.randbytes(self.dice.randrange(1, 12)))


RIGHT: tuple[Callable[[Stream], None], ...] = (
    *[Stream.whole] * 10,
    *[Stream.fragments] * 2,
    Stream.control,
    Stream.long_way,
)
WRONG: tuple[Callable[[Stream], None], ...] = (
    Stream.close,
    Stream.wrong_close,
    Stream.wrong_text,
    Stream.wrong_fragments,
    Stream.message_within_a_message,
    Stream.too_big,
    Stream.too_big_in_fragments,
    Stream.claim,
    Stream.wrong_frame,
    Stream.masked,
    Stream.wrong_packing,
    Stream.noise,
)


def pieces(stream: bytes, dice: random.Random) -> Iterator[bytes]:
    """Cuts a stream as a network might."""
    most = max(dice.choice((1, 3, 20, 200, 5000, len(stream))), len(stream) // 500)
    at = 0
    while at < len(stream):
        end = at + dice.randint(1, most)
        yield stream[at:end]
        at = end


def compare(seed: int) -> Told:
    """Plays one stream to both; returns what they made of it.

    They are compared at a glance behind each piece, and in all at the end.
    """
    dice = random.Random(seed)
    deflate, limit = dice.random() < 0.5, dice.choice(LIMITS)
    extension = dice.choice(AGREED) if deflate else ""
    dialled = target(
        "ws://h/",
        max_message_bytes=limit,
        compression=Compression.DEFLATE if deflate else Compression.NONE,
    )
    # A bound that is reached often, or never.
    bounded = dice.random() < 0.5
    most = dice.choice((0, 100, 2000)) if bounded else 1 << 40
    # A receiver that takes all there is, or is soon full.
    takes = dice.choice((1, 2, 10, 1 << 62)) if bounded else 1 << 62
    driven = Compared(dialled, ReadBudget(most=1 << 40, most_each=most), most=takes)
    reference = Reference(dialled, driven.protocol.key)
    stream = Stream(
        dice,
        limit,
        deflate,
        forgets="no_context" in extension,
        bits=9 if "bits=9" in extension else 15,
        wrong=dice.choice((0.0, 0.05, 0.3)),
    ).make(dice.randrange(1, 30))
    close_at = dice.randrange(40) if dice.random() < 0.2 else -1
    for number, piece in enumerate(
        pieces(answer_to(driven.protocol.key, extension) + stream, dice)
    ):
        reference.feed(piece)
        driven.feed(piece)
        if number == close_at and driven.protocol.state is State.OPEN:
            while driven.transport.paused:
                driven.take(takes)
            reference.close(1000)
            driven.close(1000)
        if not bounded:
            driven.take()
            assert driven.glance() == reference.glance(), f"seed {seed}, piece {number}"
    reference.feed_eof()
    driven.feed_eof()
    assert driven.told() == reference.told(), f"seed {seed}"
    return reference.told()


@pytest.mark.parametrize("bundle", range(STREAMS // BUNDLE))
async def test_the_same_of_any_stream(bundle: int) -> None:
    asyncio.get_running_loop().set_debug(False)
    all_told = [compare(seed) for seed in range(bundle * BUNDLE, (bundle + 1) * BUNDLE)]
    # The streams are worth it: each kind of end comes up in every bundle.
    assert sum(len(told.messages) for told in all_told) > BUNDLE
    assert {told.sent.code for told in all_told if told.sent} >= {1000, 1002, 1007, 1009}
    assert any(told.not_utf8 for told in all_told)
    faults = {told.fault.partition(":")[0] for told in all_told}
    assert faults >= {"ProtocolError", "PayloadTooBig", "EOFError"}


FRAMES = st.builds(
    frame,
    st.sampled_from([TEXT, TEXT, BINARY, CONT, PING, PONG, CLOSE, 3]),
    st.one_of(st.binary(max_size=8), st.text(max_size=4).map(str.encode), st.just(bytes(126))),
    fin=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0, 0, 0, 0, 4]),
    masked=st.sampled_from([False, False, False, True]),
)


@hypothesis_settings(max_examples=300)
@given(
    st.lists(st.one_of(FRAMES, st.binary(max_size=4)), max_size=6).map(b"".join),
    st.lists(st.integers(0, 200)),
    st.booleans(),
)
def test_the_same_of_any_frames(stream: bytes, cuts: list[int], deflate: bool) -> None:
    async def play() -> None:
        dialled = target(
            "ws://h/",
            max_message_bytes=100,
            compression=Compression.DEFLATE if deflate else Compression.NONE,
        )
        driven = Compared(dialled, ReadBudget(most_each=0))
        reference = Reference(dialled, driven.protocol.key)
        whole = answer_to(driven.protocol.key, AGREED[0] if deflate else "") + stream
        ends = sorted({min(cut, len(whole)) for cut in cuts} | {len(whole)})
        for start, end in zip([0, *ends], ends, strict=False):
            if start < end:
                reference.feed(whole[start:end])
                driven.feed(whole[start:end])
        reference.feed_eof()
        driven.feed_eof()
        assert driven.told() == reference.told()

    asyncio.run(play())
