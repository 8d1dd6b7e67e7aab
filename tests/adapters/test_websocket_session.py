"""One open session: messages both ways, pings, closing."""

from __future__ import annotations

import asyncio
import itertools
import struct

import pytest

from tests.kit.certificates import client_context, server_context
from tests.kit.clock import ManualClock
from tests.kit.opening import MIB, dialer, failure_of, opened, opened_by, target
from tests.kit.peer import PeerSession, closing, echo, numbered, running_peer, silent
from tests.kit.raw_peer import BINARY, CLOSE, PING, PONG, TEXT, RawSession, frame, running_raw_peer
from tests.kit.receiving import Basket, recv_some
from websocketmanager.adapters.websocket.dialer import Engine
from websocketmanager.domain.failure import Failure, FailureKind
from websocketmanager.domain.model import Kind, Message

pytestmark = pytest.mark.usefixtures("engine")

SIZES = [0, 1, 125, 126, 65535, 65536, MIB]
BOUNDARIES = [0x0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF]
NOT_UTF8 = {
    "overlong of two bytes": b"\xc0\x80",
    "overlong of two bytes, highest": b"\xc1\xbf",
    "overlong of three bytes": b"\xe0\x9f\xbf",
    "overlong of four bytes": b"\xf0\x8f\xbf\xbf",
    "lowest surrogate": b"\xed\xa0\x80",
    "highest surrogate": b"\xed\xbf\xbf",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "truncated": b"abc\xe2\x82",
    "truncated in the middle": b"\xf0\x9f\x98abc",
    "lone continuation": b"\x80",
    "no UTF-8 byte": b"\xff",
}


# --- messages --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_echo_of_every_size(scheme: str, kind: Kind) -> None:
    server = server_context("127.0.0.1") if scheme == "wss" else None
    async with (
        running_peer(echo, tls=server) as peer,
        opened(peer.url, tls=client_context()) as session,
    ):
        for size in SIZES:
            data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
            await session.send(data, kind)
            assert await session.recv() == Message(kind, data)
        assert [len(message.data) for message in peer.sessions[0].received] == SIZES


async def test_text_with_every_boundary_of_utf8() -> None:
    texts = [chr(point).encode() for point in BOUNDARIES]
    texts += [first + second for first, second in itertools.product(texts, repeat=2)]
    async with running_peer(echo) as peer, opened(peer.url) as session:
        for text in texts:
            await session.send(text, Kind.TEXT)
            assert await session.recv() == Message(Kind.TEXT, text)


@pytest.mark.parametrize("data", NOT_UTF8.values(), ids=NOT_UTF8.keys())
async def test_text_that_is_not_utf8_closes_with_1007(data: bytes) -> None:
    codes: asyncio.Queue[int] = asyncio.Queue()

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send_frame(BINARY, data)
        await peer.send_frame(TEXT, data)
        await peer.send_frame(TEXT, b"behind")
        codes.put_nowait(await peer.read_close())
        peer.finish()

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        # As Binary, the same bytes are right.
        assert await session.recv() == Message(Kind.BINARY, data)
        failure = await failure_of(session.recv())
        assert failure.kind is FailureKind.INVALID_UTF8
        assert await codes.get() == 1007
        assert await failure_of(session.recv()) == failure
        assert await failure_of(session.send(b"", Kind.TEXT)) == failure


async def test_invalid_text_ends_in_time_when_the_peer_ignores_the_close() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send_frame(TEXT, b"\xff")

    async with (
        running_raw_peer(script) as peer,
        opened(peer.url, close_timeout_seconds=0.05) as session,
    ):
        assert (await failure_of(session.recv())).kind is FailureKind.INVALID_UTF8


async def test_empty_messages_keep_their_kind() -> None:
    async with running_peer(echo) as peer, opened(peer.url) as session:
        for kind in (Kind.TEXT, Kind.BINARY, Kind.TEXT):
            await session.send(b"", kind)
        kinds = [(await session.recv()).kind for _ in range(3)]
        assert kinds == [Kind.TEXT, Kind.BINARY, Kind.TEXT]


async def test_a_burst_far_above_the_queue_arrives_whole_and_in_order() -> None:
    count = 20_000
    async with running_peer(numbered(count)) as peer, opened(peer.url) as session:
        for number in range(1, count + 1):
            assert await session.recv() == Message(Kind.TEXT, b"%d" % number)


async def test_cancelling_recv_loses_nothing() -> None:
    go = asyncio.Event()
    async with running_peer(numbered(500, start=go)) as peer, opened(peer.url) as session:
        numbers: list[bytes] = []
        waiting = asyncio.create_task(session.recv())
        go.set()
        while len(numbers) < 500:
            # Cancel whatever the task is doing, every other time in the turn it would return.
            if len(numbers) % 2:
                await asyncio.wait([waiting])
            waiting.cancel()
            await asyncio.wait([waiting])
            if not waiting.cancelled():
                numbers.append(waiting.result().data)
            waiting = asyncio.create_task(session.recv())
            await asyncio.wait([waiting], timeout=0)
            if waiting.done():
                numbers.append(waiting.result().data)
                waiting = asyncio.create_task(session.recv())
        waiting.cancel()
        await asyncio.wait([waiting])
        assert numbers == [b"%d" % number for number in range(1, 501)]


async def test_cancelling_recv_within_a_fragmented_message_loses_nothing() -> None:
    rest = asyncio.Event()

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send_frame(TEXT, b"he", fin=False)
        await peer.send_frame(PING, b"read up to here")
        await peer.read_frame()
        rest.set()
        await resumed.wait()
        await peer.send_frame(0, b"llo")

    resumed = asyncio.Event()
    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        waiting = asyncio.create_task(session.recv())
        await rest.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        resumed.set()
        assert await session.recv() == Message(Kind.TEXT, b"hello")


async def test_sending_and_receiving_at_once() -> None:
    async with running_peer(echo) as peer, opened(peer.url) as session:
        sent = [struct.pack("!I", number) * 5000 for number in range(50)]

        async def receive() -> list[bytes]:
            return [(await session.recv()).data for _ in sent]

        received, *_ = await asyncio.gather(
            receive(), *(session.send(data, Kind.BINARY) for data in sent)
        )
        assert received == sent


async def test_send_waits_while_the_peer_does_not_read_and_can_be_cancelled() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        peer.stop_reading()
        await peer.ended.wait()

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        sending = asyncio.create_task(session.send(bytes(20 * MIB), Kind.BINARY))
        done, _ = await asyncio.wait([sending], timeout=0.05)
        assert not done
        sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled()


# --- pings -------------------------------------------------------------------------------------


async def test_a_ping_is_one_frame_and_never_waits() -> None:
    frames: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        while True:
            frames.put_nowait(await peer.read_frame())

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        for _ in range(3):
            session.send_ping()
        await session.send(b"behind", Kind.TEXT)
        assert [await frames.get() for _ in range(4)] == [(PING, b"")] * 3 + [(TEXT, b"behind")]


async def test_pongs_that_nobody_asked_for_are_no_messages() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.read_frame()
        for payload in (b"", b"of another ping", b""):
            await peer.send_frame(PONG, payload)
        await peer.send_frame(TEXT, b"data is no pong")

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        session.send_ping()
        assert (await session.recv()).data == b"data is no pong"


async def test_no_ping_is_written_behind_our_close() -> None:
    rest: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.read_close()
        await peer.send_frame(TEXT, b"last words")
        rest.put_nowait(await peer.reader.read(100))

    async with (
        running_raw_peer(script) as peer,
        opened(peer.url, close_timeout_seconds=0.05) as session,
    ):
        closing = asyncio.create_task(session.close(1000, ""))
        await session.recv()
        session.send_ping()
        await closing
        assert await rest.get() == b""


async def test_pings_of_the_peer_are_answered_with_their_payload() -> None:
    answers: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send_frame(TEXT, b"a", fin=False)
        await peer.send_frame(PING, b"between fragments")
        answers.put_nowait(await peer.read_frame())
        await peer.send_frame(0, b"b")

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        assert await answers.get() == (PONG, b"between fragments")
        assert await session.recv() == Message(Kind.TEXT, b"ab")


# --- closing -----------------------------------------------------------------------------------


async def test_close_tells_the_peer_code_and_reason() -> None:
    async with running_peer(silent) as peer, opened(peer.url) as session:
        await session.close(1001, "going away")
        await peer.sessions[0].wait_closed()
        assert peer.sessions[0].close_code == 1001
        assert peer.sessions[0].close_reason == "going away"
        await session.close(1000, "again")  # nothing to do, and no harm


async def test_after_close_every_call_fails_alike() -> None:
    async with running_peer(silent) as peer, opened(peer.url) as session:
        receiving = asyncio.create_task(failure_of(session.recv()))
        await session.close(1000, "")
        failure = await receiving
        assert failure.kind is FailureKind.PEER_CLOSED
        assert "this side closed" in failure.message
        assert await failure_of(session.send(b"x", Kind.TEXT)) == failure
        session.send_ping()


async def test_close_is_bounded_when_the_peer_does_not_answer() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()

    async with (
        running_raw_peer(script) as peer,
        opened(peer.url, close_timeout_seconds=0.05) as session,
    ):
        await session.close(1000, "")
        failure = await failure_of(session.recv())
        assert failure.kind is FailureKind.CONNECTION_LOST
        assert "did not answer" in failure.message


async def test_close_is_bounded_when_the_peer_stopped_reading() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        peer.stop_reading()
        await peer.ended.wait()

    async with (
        running_raw_peer(script) as peer,
        opened(peer.url, close_timeout_seconds=0.05) as session,
    ):
        sending = asyncio.create_task(failure_of(session.send(bytes(20 * MIB), Kind.BINARY)))
        await asyncio.wait([sending], timeout=0.01)
        await session.close(1000, "")
        assert (await sending).kind is FailureKind.CONNECTION_LOST


async def test_close_needs_no_reader() -> None:
    # More than is read ahead: reading is paused, and the peer's answer is behind the messages.
    async def behave(peer: PeerSession) -> None:
        for number in range(100):
            await peer.send(bytes([number]) * 60_000, Kind.BINARY)

    async with running_peer(behave) as peer, opened(peer.url) as session:
        while not session._connection.reading_paused:  # noqa: ASYNC110 - a socket makes it true
            await asyncio.sleep(0)  # a pong would be behind the messages too
        async with asyncio.timeout(5):
            await session.close(1001, "stop")
        await peer.sessions[0].wait_closed()
        assert peer.sessions[0].close_code == 1001
        assert await session.recv() == Message(Kind.BINARY, bytes(60_000))


async def test_messages_on_their_way_at_close_are_received_up_to_a_bound() -> None:
    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        code = await peer.read_close()
        for number in range(40):
            await peer.send_frame(BINARY, bytes([number]) * 65536)
        await peer.send_close(code)
        peer.finish()

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        await session.close(1000, "")
        received = [(await session.recv()).data[0] for _ in range(16)]
        assert (await failure_of(session.recv())).kind is FailureKind.PEER_CLOSED
        assert received == list(range(16))


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 5000])
async def test_close_with_a_code_that_may_not_be_sent_drops_the_connection(code: int) -> None:
    async with running_peer(silent) as peer, opened(peer.url) as session:
        await session.close(code, "")
        await peer.sessions[0].wait_closed()
        assert peer.sessions[0].close_code == 1006


@pytest.mark.parametrize("reason", ["x" * 200, "ü" * 200, "\ud800"])
async def test_a_reason_is_made_to_fit(reason: str) -> None:
    async with running_peer(silent) as peer, opened(peer.url) as session:
        await session.close(4000, reason)
        await peer.sessions[0].wait_closed()
        assert peer.sessions[0].close_code == 4000
        shown = peer.sessions[0].close_reason or ""
        assert 122 <= len(shown.encode()) <= 123 or shown == "?"


async def test_close_after_the_peer_closed() -> None:
    async with running_peer(closing(4001, "enough")) as peer, opened(peer.url) as session:
        expected = Failure(
            FailureKind.PEER_CLOSED,
            "the peer closed the connection; the peer's code is 4001",
            close_code=4001,
            close_reason="enough",
        )
        assert await failure_of(session.recv()) == expected
        await session.close(1000, "")
        assert await failure_of(session.recv()) == expected


async def test_cancelling_close_drops_the_transport() -> None:
    codes: asyncio.Queue[int] = asyncio.Queue()

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        codes.put_nowait(await peer.read_close())

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        task = asyncio.create_task(session.close(1000, ""))
        await codes.get()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await peer.sessions[0].ended.wait()


async def test_abort_drops_the_transport_at_once() -> None:
    async with running_peer(silent) as peer, opened(peer.url) as session:
        session.abort()
        session.abort()
        await peer.sessions[0].wait_closed()
        assert peer.sessions[0].close_code == 1006
        assert (await failure_of(session.recv())).kind is FailureKind.CONNECTION_LOST


async def test_facts_of_a_session() -> None:
    async with running_peer(silent) as peer, opened(peer.url) as session:
        assert session.address == f"127.0.0.1:{peer.port}"
        assert session.subprotocol == ""
        assert repr(session) == f"<{type(session).__name__} 127.0.0.1:{peer.port} open>"


async def test_the_peer_sees_no_frame_that_was_not_asked_for() -> None:
    frames: list[tuple[int, bytes]] = []

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        while not frames or frames[-1][0] != CLOSE:
            frames.append(await peer.read_frame())
        peer.finish()

    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        await session.send(b"\x00", Kind.BINARY)
        await session.close(1000, "done")
        assert frames == [(BINARY, b"\x00"), (CLOSE, b"\x03\xe8done")]


# --- many at once --------------------------------------------------------------------------------


async def test_a_receiver_is_given_every_message_once_and_in_order() -> None:
    async with running_peer(numbered(5000)) as peer, opened(peer.url) as session:
        received = [await session.recv(), await session.recv()]
        while len(received) < 5000:
            received += await recv_some(session)
            if len(received) < 5000:
                received.append(await session.recv())
        assert received == [Message(Kind.TEXT, b"%d" % number) for number in range(1, 5001)]
        await session.close(1000, "")
        failure = await failure_of(session.recv_into(Basket()))
        assert failure == await failure_of(session.recv())
        assert failure.close_code == 1000


async def test_cancelling_while_a_bad_message_is_refused_loses_no_good_one(engine: Engine) -> None:
    closed = asyncio.Event()

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await peer.send(frame(TEXT, b"good") * 2 + frame(TEXT, b"\xff"))
        await peer.read_close()  # which it does not answer
        closed.set()

    basket = Basket()
    async with running_raw_peer(script) as peer, opened(peer.url) as session:
        reading = asyncio.create_task(session.recv_into(basket))
        await closed.wait()
        reading.cancel()
        await asyncio.wait([reading])
        failure = await failure_of(session.recv_into(basket))
        assert failure.kind is FailureKind.INVALID_UTF8
        assert basket.messages == [Message(Kind.TEXT, b"good")] * 2


async def test_whatever_the_peer_says_is_heard() -> None:
    asked = asyncio.Event()

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        await asked.wait()
        await peer.send_frame(PING)
        await peer.read_frame()
        await peer.send_frame(TEXT, b"done")

    clock = ManualClock()
    async with (
        running_raw_peer(script) as peer,
        opened_by(dialer(clock=clock), target(peer.url)) as session,
    ):
        opened_at = session.last_heard
        assert opened_at == clock.monotonic()
        clock.advance(7)
        assert session.last_heard == opened_at
        asked.set()
        await session.recv()
        assert session.last_heard == opened_at + 7
