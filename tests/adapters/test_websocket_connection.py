"""Frames and ends: what a peer may do to an open connection, and what it is called."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest

from tests.kit.certificates import client_context, server_context
from tests.kit.opening import MIB, failure_of, opened
from tests.kit.raw_peer import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawSession,
    frame,
    running_raw_peer,
)
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.model import Kind, Message

pytestmark = pytest.mark.usefixtures("engine")

#: Sent in front of every fault: it must be delivered.
FIRST = Message(Kind.TEXT, b"before the fault")


class Faulty:
    """A peer that sends a good message and then a fault; `codes` are those we close with."""

    def __init__(self, fault: Callable[[RawSession], Awaitable[None]]) -> None:
        self.codes: asyncio.Queue[int] = asyncio.Queue()
        self._fault = fault

    async def __call__(self, peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send_frame(TEXT, FIRST.data)
        await self._fault(peer)
        self.codes.put_nowait(await peer.read_close())
        peer.finish()


async def end_of(faulty: Faulty, *, max_message_bytes: int = 2 * MIB) -> Failure:
    """Returns the failure behind the first message, the same at every call."""
    async with (
        running_raw_peer(faulty) as peer,
        opened(peer.url, max_message_bytes=max_message_bytes) as session,
    ):
        assert await session.recv() == FIRST
        failure = await failure_of(session.recv())
        assert await failure_of(session.recv()) == failure
        assert await failure_of(session.send(b"x", Kind.TEXT)) == failure
        return failure


# --- frames that are right ---------------------------------------------------------------------


async def test_one_byte_at_a_time() -> None:
    async def script(peer: RawSession) -> None:
        await peer.read_request()
        await peer.trickle(
            peer.upgrade_response()
            + frame(TEXT, "zwölf €".encode())
            + frame(PING, b"p")
            + frame(BINARY, b"\xff", fin=False)
            + frame(CONT, b"\x00")
        )

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        assert await session.recv() == Message(Kind.TEXT, "zwölf €".encode())
        assert await session.recv() == Message(Kind.BINARY, b"\xff\x00")


async def test_frames_that_come_with_the_handshakes_answer() -> None:
    async def script(peer: RawSession) -> None:
        await peer.read_request()
        burst = b"".join(frame(TEXT, b"%d" % number) for number in range(100))
        await peer.send(peer.upgrade_response() + burst)
        await peer.send_close(1000)
        peer.finish()

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        for number in range(100):
            assert await session.recv() == Message(Kind.TEXT, b"%d" % number)
        assert (await failure_of(session.recv())).close_code == 1000


async def test_fragments_split_within_a_character_with_controls_between() -> None:
    data = "a€😀".encode() * 500

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send_frame(TEXT, b"", fin=False)
        for at in range(len(data)):
            await peer.send_frame(CONT, data[at : at + 1], fin=False)
            if at % 1000 == 0:
                await peer.send_frame(PONG, b"unsolicited")
        await peer.send_frame(CONT, b"")
        await peer.send_frame(BINARY, b"next")

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        assert await session.recv() == Message(Kind.TEXT, data)
        assert await session.recv() == Message(Kind.BINARY, b"next")


async def test_a_message_of_exactly_the_limit() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send_frame(BINARY, bytes(1000))
        await peer.send_frame(BINARY, bytes(999), fin=False)
        await peer.send_frame(CONT, bytes(1))

    async with (
        running_raw_peer(script) as peer,
        opened(peer.url, max_message_bytes=1000) as session,
    ):
        assert len((await session.recv()).data) == 1000
        assert len((await session.recv()).data) == 1000


async def test_kinds_stay_right_over_a_long_mixed_stream() -> None:
    expected = [
        Message(Kind.TEXT if number % 3 else Kind.BINARY, b"%d" % number * (number % 50))
        for number in range(3000)
    ]

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        for number, message in enumerate(expected):
            opcode = TEXT if message.kind is Kind.TEXT else BINARY
            if number % 5:
                await peer.send_frame(opcode, message.data)
            else:
                await peer.send_frame(opcode, message.data[:10], fin=False)
                await peer.send_frame(CONT, message.data[10:])

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        assert [await session.recv() for _ in expected] == expected


# --- frames that are wrong ---------------------------------------------------------------------

WRONG: dict[str, list[bytes]] = {
    "reserved bit 1": [frame(TEXT, b"x", rsv=4)],
    "reserved bit 2": [frame(TEXT, b"x", rsv=2)],
    "reserved bit 3": [frame(BINARY, b"x", rsv=1)],
    "opcode 3": [frame(3, b"x")],
    "opcode 7": [frame(7, b"x")],
    "opcode 11": [frame(11, b"x")],
    "opcode 15": [frame(15, b"x")],
    "masked": [frame(TEXT, b"x", masked=True)],
    "continuation of nothing": [frame(CONT, b"x")],
    "new message within fragments": [frame(TEXT, b"a", fin=False), frame(TEXT, b"b")],
    "fragmented ping": [frame(PING, b"x", fin=False)],
    "fragmented close": [frame(CLOSE, b"\x03\xe8", fin=False)],
    "long ping": [frame(PING, bytes(126))],
    "long close": [frame(CLOSE, b"\x03\xe8" + b"x" * 124)],
    "close of one byte": [frame(CLOSE, b"\x03")],
    **{
        f"close {code}": [frame(CLOSE, struct.pack("!H", code))]
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("frames", WRONG.values(), ids=WRONG.keys())
async def test_a_broken_protocol_is_closed_with_1002(frames: list[bytes]) -> None:
    async def fault(peer: RawSession) -> None:
        await peer.send(b"".join(frames) + frame(TEXT, b"behind the fault"))

    faulty = Faulty(fault)
    assert (await end_of(faulty)).kind is FailureKind.PROTOCOL_ERROR
    assert await faulty.codes.get() == 1002


async def test_a_close_reason_that_is_not_utf8_is_closed_with_1007() -> None:
    faulty = Faulty(lambda peer: peer.send_close(1000, b"\xff"))
    assert (await end_of(faulty)).kind is FailureKind.INVALID_UTF8
    assert await faulty.codes.get() == 1007


TOO_BIG: dict[str, list[bytes]] = {
    "one byte more": [frame(BINARY, bytes(1001))],
    "a claim of 2**63 bytes": [frame(BINARY, b"x", claimed_length=2**63)],
    "a sum of fragments": [frame(TEXT, bytes(500), fin=False), frame(CONT, bytes(501))],
    "many fragments": [frame(TEXT, b"a", fin=False)] + [frame(CONT, b"a", fin=False)] * 1000,
}


@pytest.mark.parametrize("frames", TOO_BIG.values(), ids=TOO_BIG.keys())
async def test_a_message_that_is_too_big_is_closed_with_1009(frames: list[bytes]) -> None:
    async def fault(peer: RawSession) -> None:
        await peer.send(b"".join(frames))

    faulty = Faulty(fault)
    failure = await end_of(faulty, max_message_bytes=1000)
    assert failure.kind is FailureKind.MESSAGE_TOO_BIG
    assert "1000 bytes" in failure.message
    assert await faulty.codes.get() == 1009


async def test_a_message_of_too_many_fragments_is_closed_with_1009() -> None:
    async def fault(peer: RawSession) -> None:
        await peer.send(frame(TEXT, b"", fin=False) + frame(CONT, b"", fin=False) * 5000)

    faulty = Faulty(fault)
    failure = await end_of(faulty)
    assert failure.kind is FailureKind.MESSAGE_TOO_BIG
    assert await faulty.codes.get() == 1009


# --- ends --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4001, 4999],
)
async def test_a_close_frame_is_told_and_answered_alike(code: int) -> None:
    faulty = Faulty(lambda peer: peer.send_close(code, "schluß".encode()))
    failure = await end_of(faulty)
    assert failure.kind is FailureKind.PEER_CLOSED
    assert (failure.close_code, failure.close_reason) == (code, "schluß")
    assert "the peer closed" in failure.message
    assert await faulty.codes.get() == code


async def test_a_close_frame_without_code() -> None:
    faulty = Faulty(lambda peer: peer.send_close())
    failure = await end_of(faulty)
    assert (failure.kind, failure.close_code) == (FailureKind.PEER_CLOSED, 1005)
    assert await faulty.codes.get() == 1005


async def test_a_close_within_a_fragmented_message() -> None:
    async def fault(peer: RawSession) -> None:
        await peer.send_frame(TEXT, b"half", fin=False)
        await peer.send_close(1001)

    failure = await end_of(Faulty(fault))
    assert (failure.kind, failure.close_code) == (FailureKind.PEER_CLOSED, 1001)


async def test_a_close_reason_that_repeats_the_urls_secret_is_scrubbed() -> None:
    async def script(peer: RawSession) -> None:
        request = await peer.upgrade()
        await peer.send_close(1008, b"bad " + request.path.encode())
        peer.finish()

    async with (
        running_raw_peer(script) as peer,
        opened(f"{peer.url}?token=hunter2") as session,
    ):
        failure = await failure_of(session.recv())
        assert failure.close_reason == "bad /?token=***"
        assert "hunter2" not in str(failure)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("within", ["between messages", "a frame", "a fragmented message"])
async def test_a_stream_that_ends_without_a_close_frame(scheme: str, within: str) -> None:
    begun = {
        "between messages": b"",
        "a frame": frame(TEXT, b"whole")[:-1],
        "a fragmented message": frame(TEXT, b"half", fin=False),
    }[within]

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send(frame(TEXT, FIRST.data) * 100 + begun)
        peer.finish()

    server = server_context("127.0.0.1") if scheme == "wss" else None
    async with (
        running_raw_peer(script, tls=server) as peer,
        opened(peer.url, tls=client_context()) as session,
    ):
        assert [await session.recv() for _ in range(100)] == [FIRST] * 100
        failure = await failure_of(session.recv())
        assert (failure.kind, failure.close_code) == (FailureKind.CONNECTION_LOST, 0)


async def test_a_reset() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send_frame(TEXT, FIRST.data)
        await peer.read_frame()
        peer.reset()

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        assert await session.recv() == FIRST
        await session.send(b"now", Kind.TEXT)
        failure = await failure_of(session.recv())
        assert failure.kind is FailureKind.CONNECTION_LOST
        assert "reset" in failure.message


async def test_messages_that_nobody_fetched_yet_outlive_the_reset() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send(frame(TEXT, FIRST.data) * 10)
        await peer.read_frame()
        peer.reset()

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        session.send_ping()
        await session._connection.wait_closed()
        assert [await session.recv() for _ in range(10)] == [FIRST] * 10
        assert (await failure_of(session.recv())).kind is FailureKind.CONNECTION_LOST


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (frame(CLOSE, b"\x03\xe8"), FailureKind.PEER_CLOSED),
        (frame(3), FailureKind.PROTOCOL_ERROR),
        (frame(BINARY, claimed_length=2**40), FailureKind.MESSAGE_TOO_BIG),
    ],
)
async def test_a_peer_that_ends_but_keeps_the_transport_is_dropped_in_time(
    scheme: str, last: bytes, kind: FailureKind
) -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send(frame(TEXT, FIRST.data) + last)

    server = server_context("127.0.0.1") if scheme == "wss" else None
    async with (
        running_raw_peer(script, tls=server) as peer,
        opened(peer.url, close_timeout_seconds=0.05, tls=client_context()) as session,
    ):
        assert await session.recv() == FIRST
        assert (await failure_of(session.recv())).kind is kind
        await peer.sessions[0].ended.wait()


async def test_a_peer_that_ends_is_dropped_in_time_though_nobody_receives() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send_close(1000)

    async with (
        running_raw_peer(script) as peer,
        opened(peer.url, close_timeout_seconds=0.05),
    ):
        await (await peer.wait_session()).ended.wait()


async def test_a_peer_that_ends_its_stream_but_reads_no_more_is_dropped_in_time() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        peer.stop_reading()
        await full.wait()
        peer.writer.write_eof()
        await peer.ended.wait()

    full = asyncio.Event()
    async with (
        running_raw_peer(script) as peer,
        opened(peer.url, close_timeout_seconds=0.05) as session,
    ):
        sending = asyncio.create_task(failure_of(session.send(bytes(20 * MIB), Kind.BINARY)))
        await asyncio.wait([sending], timeout=0.01)
        full.set()
        assert (await failure_of(session.recv())).kind is FailureKind.CONNECTION_LOST
        assert (await sending).kind is FailureKind.CONNECTION_LOST
