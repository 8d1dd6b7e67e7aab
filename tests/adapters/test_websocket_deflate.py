"""permessage-deflate: messages stay exact, and the limit counts what is unpacked."""

from __future__ import annotations

import itertools
import random
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from tests.kit.opening import MIB, dialer, failure_of, opened_by, target
from tests.kit.peer import PeerSession, echo, running_peer
from tests.kit.raw_peer import BINARY, CONT, PING, TEXT, RawSession, frame, running_raw_peer
from websocketmanager.adapters.websocket.deflate import ExactDeflate, packing_room
from websocketmanager.adapters.websocket.dialer import Session
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.options import Compression
from websocketmanager.ports import DialTarget

pytestmark = pytest.mark.usefixtures("engine")

AGREED = "Sec-WebSocket-Extensions: permessage-deflate"
LIMIT = 100_000


def compressed(url: str, *, max_message_bytes: int = LIMIT) -> DialTarget:
    return target(
        url,
        # A raw peer does not end the connection that we close.
        close_timeout_seconds=0.05,
        compression=Compression.DEFLATE,
        max_message_bytes=max_message_bytes,
    )


def pack(data: bytes, level: int = 9) -> bytes:
    """Returns the payload of a message that is one deflate stream of its own."""
    packer = zlib.compressobj(level, wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


def pack_zeros(count: int) -> bytes:
    """Returns the same for so many zero bytes, which never are in memory at once."""
    packer = zlib.compressobj(9, wbits=-15)
    packed = b"".join(packer.compress(bytes(MIB)) for _ in range(count // MIB))
    return (packed + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


BOMB = pack_zeros(200 * MIB)


def noise(count: int) -> bytes:
    return random.Random(1).randbytes(count)


@asynccontextmanager
async def told(*frames: bytes, extension: str = AGREED) -> AsyncIterator[Session]:
    """Opens a session with a peer that sends these frames behind its handshake at once."""

    async def script(peer: RawSession) -> None:
        await peer.read_request()
        lines = (extension,) if extension else ()
        await peer.send(peer.upgrade_response(*lines) + b"".join(frames))

    async with (
        running_raw_peer(script) as peer,
        opened_by(dialer(), compressed(peer.url)) as session,
    ):
        yield session


# --- the offer -----------------------------------------------------------------------------------


async def test_the_offer_is_the_one_that_every_server_knows() -> None:
    async with (
        running_peer(echo, compression="deflate") as peer,
        opened_by(dialer(), compressed(peer.url)),
    ):
        asked = await peer.wait_session()
        offer = asked.headers["sec-websocket-extensions"]
        assert offer == "permessage-deflate; client_max_window_bits"


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits=9",
        "permessage-deflate; client_max_window_bits=15; server_max_window_bits=9",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    ],
)
async def test_whatever_a_server_agrees_to_is_spoken(answer: str) -> None:
    """The answer's window and memory of earlier messages are kept to in both directions."""
    bits = 9 if "client_max_window_bits=9" in answer else 15
    sent = [noise(5000) * 4, b"", b"a" * 50_000, noise(5000) * 4]
    received: list[bytes] = []

    async def script(peer: RawSession) -> None:
        await peer.upgrade(f"Sec-WebSocket-Extensions: {answer}")
        forgetful = "client_no_context_takeover" in answer
        unpacker = zlib.decompressobj(wbits=-bits)
        for _ in sent:
            if forgetful:
                unpacker = zlib.decompressobj(wbits=-bits)
            _, payload = await peer.read_frame()
            received.append(unpacker.decompress(payload + b"\0\0\xff\xff"))
        packer = zlib.compressobj(wbits=-9)
        for data in received:
            if "server_no" in answer:
                packer = zlib.compressobj(wbits=-9)
            packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
            await peer.send_frame(BINARY, packed[:-4], rsv=4)

    async with (
        running_raw_peer(script) as peer,
        opened_by(dialer(), compressed(peer.url)) as session,
    ):
        for data in sent:
            await session.send(data, Kind.BINARY)
        assert [(await session.recv()).data for _ in sent] == sent
    assert received == sent


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; unknown",
        "permessage-deflate, permessage-deflate",
        "x-webkit-deflate-frame",
    ],
)
async def test_an_answer_that_does_not_fit_the_offer_is_refused(answer: str) -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade(f"Sec-WebSocket-Extensions: {answer}")

    async with running_raw_peer(script) as peer:
        failure = await failure_of(dialer().dial(compressed(peer.url)))
    assert failure.kind is FailureKind.HANDSHAKE_INVALID


# --- exact messages ------------------------------------------------------------------------------


async def test_messages_come_back_as_they_were() -> None:
    messages = [
        Message(Kind.TEXT, '{"e":"zwölf €"}'.encode() * 100),
        Message(Kind.BINARY, noise(LIMIT)),
        Message(Kind.BINARY, b""),
        Message(Kind.TEXT, b""),
        Message(Kind.BINARY, bytes(LIMIT)),
        *(Message(Kind.TEXT, b'{"n":%d}' % number) for number in range(500)),
    ]
    async with (
        running_peer(echo, compression="deflate") as peer,
        opened_by(dialer(), compressed(peer.url)) as session,
    ):
        for message in messages:
            await session.send(message.data, message.kind)
            assert await session.recv() == message


async def test_fragments_and_messages_that_are_not_packed() -> None:
    data = b'{"price":"1.5"}' * 1000
    packed = pack(data)
    third = len(packed) // 3
    async with told(
        frame(TEXT, packed[:third], fin=False, rsv=4),
        frame(CONT, packed[third : 2 * third], fin=False),
        frame(PING, b"between"),
        frame(CONT, b"", fin=False),
        frame(CONT, packed[2 * third :]),
        frame(TEXT, b"plain"),
        frame(BINARY, b"pl", fin=False),
        frame(CONT, b"ain"),
        frame(TEXT, pack(b"packed"), rsv=4),
    ) as session:
        assert await session.recv() == Message(Kind.TEXT, data)
        assert await session.recv() == Message(Kind.TEXT, b"plain")
        assert await session.recv() == Message(Kind.BINARY, b"plain")
        assert await session.recv() == Message(Kind.TEXT, b"packed")


async def test_a_peer_may_fragment_as_it_likes() -> None:
    pieces = [noise(700), b"", b"x" * 9000, noise(3000)]

    async def behave(session: PeerSession) -> None:
        await session.connection.send(pieces)
        await session.recv()

    async with (
        running_peer(behave, compression="deflate") as peer,
        opened_by(dialer(), compressed(peer.url)) as session,
    ):
        assert await session.recv() == Message(Kind.BINARY, b"".join(pieces))


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        ([frame(TEXT, b"\xff\xff\xff", rsv=4)], FailureKind.PROTOCOL_ERROR),
        ([frame(TEXT, pack(b"a"), fin=False, rsv=4), frame(CONT, b"", rsv=4)], None),
        ([frame(PING, b"x", rsv=4)], FailureKind.PROTOCOL_ERROR),
        ([frame(TEXT, pack(b"\xff"), rsv=4)], FailureKind.INVALID_UTF8),
    ],
)
async def test_what_is_not_packed_right_is_refused(
    frames: list[bytes], kind: FailureKind | None
) -> None:
    async with told(*frames) as session:
        failure = await failure_of(session.recv())
        assert failure.kind is (kind or FailureKind.PROTOCOL_ERROR)


# --- the limit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", [bytes, noise, lambda count: b"ab" * (count // 2)])
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("pieces", [1, 2, 7])
async def test_a_message_of_exactly_the_limit(
    fill: Callable[[int], bytes], level: int, pieces: int
) -> None:
    data = fill(LIMIT)
    async with told(*cut(pack(data, level), pieces), *cut(pack(data, level), pieces)) as session:
        assert (await session.recv()).data == data
        assert (await session.recv()).data == data


@pytest.mark.parametrize("fill", [bytes, noise])
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("pieces", [1, 2, 7])
async def test_one_byte_more(fill: Callable[[int], bytes], level: int, pieces: int) -> None:
    async with told(*cut(pack(fill(LIMIT + 1), level), pieces)) as session:
        failure = await failure_of(session.recv())
        assert failure.kind is FailureKind.MESSAGE_TOO_BIG
        assert failure.message == f"a message has more than {LIMIT} bytes"


@pytest.mark.parametrize(
    "frames",
    [
        [frame(BINARY, bytes(LIMIT + 1))],
        [frame(BINARY, bytes(LIMIT), fin=False), frame(CONT, b"x")],
        [frame(BINARY, claimed_length=2**40, rsv=4)],
    ],
    ids=["whole", "fragments", "a claim"],
)
@pytest.mark.parametrize("extension", [AGREED, ""])
async def test_what_is_not_packed_has_no_more_room(frames: list[bytes], extension: str) -> None:
    async with told(*frames, extension=extension) as session:
        failure = await failure_of(session.recv())
        assert failure.kind is FailureKind.MESSAGE_TOO_BIG
        assert str(LIMIT) in failure.message


def outcome(unpack: Callable[[], bytes]) -> bytes | str:
    try:
        return unpack()
    except (PayloadTooBig, ProtocolError) as error:
        return f"{type(error).__name__}: {error}"


def bare_block(data: bytes) -> bytes:
    """Returns a stored block with nothing behind it (RFC 1951 §3.2.4), where a flush must be."""
    return struct.pack("<BHH", 0, len(data), len(data) ^ 0xFFFF) + data


def decoded(extension: ExactDeflate, given: Frame, room: int) -> bytes:
    return bytes(extension.decode(given, max_size=room).data)


@pytest.mark.parametrize("forgetful", [False, True])
def test_unpacking_at_once_is_what_decoding_frames_is(forgetful: bool) -> None:
    """In its bytes and in the words of its refusals, on both sides of the limit."""
    sizes = (0, 1, 100, *range(2020, 2050), 40_000)
    for size, more, level in itertools.product(sizes, (-1, 0, 1, 1000), (0, 1, 9)):
        limit = max(size + more, 1)
        room = packing_room(limit)
        agreed = PerMessageDeflate(forgetful, True, 15, 15)
        first, second = ExactDeflate(agreed, room), ExactDeflate(agreed, room)
        right = [pack(data, level) for data in (noise(size), bytes(size), b"")]
        for packed in (*right, bare_block(noise(size)), b"\xff\xff"):
            given = Frame(Opcode.BINARY, packed, rsv1=True)
            expected = outcome(partial(decoded, first, given, limit + room))
            assert outcome(partial(second.unpack, packed, limit)) == expected
            if isinstance(expected, str):  # a connection ends there
                first, second = ExactDeflate(agreed, room), ExactDeflate(agreed, room)


async def bomb(peer: RawSession) -> None:
    await peer.send_frame(BINARY, BOMB, rsv=4)


async def bomb_behind_a_full_message(peer: RawSession) -> None:
    """Nothing is left of the limit, and "zero" must not be read as "none"."""
    await peer.send_frame(BINARY, pack(bytes(LIMIT)) + b"\0\0\xff\xff", fin=False, rsv=4)
    # As much as passes for packed bytes: about 14 MiB.
    await peer.send_frame(CONT, BOMB[: packing_room(LIMIT)])


async def bomb_in_pieces(peer: RawSession) -> None:
    for piece in cut(BOMB, 100):
        await peer.send(piece)


@pytest.mark.parametrize("script", [bomb, bomb_behind_a_full_message, bomb_in_pieces])
async def test_a_bomb_is_closed_with_1009_and_never_unpacked(
    script: Callable[[RawSession], Awaitable[None]],
) -> None:
    codes: list[int] = []

    async def play(peer: RawSession) -> None:
        await peer.upgrade(AGREED)
        await script(peer)
        codes.append(await peer.read_close())
        peer.finish()

    tracemalloc.start()
    try:
        async with (
            running_raw_peer(play) as peer,
            opened_by(dialer(), compressed(peer.url)) as session,
        ):
            failure = await failure_of(session.recv())
            assert failure.kind is FailureKind.MESSAGE_TOO_BIG
            await peer.sessions[0].ended.wait()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert codes == [1009]
    assert most < 10 * MIB


def cut(packed: bytes, pieces: int) -> list[bytes]:
    """Returns the frames of one packed message in about so many pieces."""
    step = -(-len(packed) // pieces)
    parts = [packed[at : at + step] for at in range(0, len(packed), step)]
    return [
        frame(
            CONT if number else BINARY,
            part,
            fin=number == len(parts) - 1,
            rsv=0 if number else 4,
        )
        for number, part in enumerate(parts)
    ]
