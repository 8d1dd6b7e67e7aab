"""The driver's own promises: messages in the turn that brings them, pausing by bytes, masks."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable

import pytest
from websockets.exceptions import InvalidMessage
from websockets.protocol import State

from tests.kit.clock import ManualClock
from tests.kit.driven import Driven, Transport, answer_to, driver_connection, unmasked
from tests.kit.opening import failure_of, target
from tests.kit.raw_peer import BINARY, CLOSE, PING, PONG, TEXT, frame
from tests.kit.receiving import Basket, recv_some
from websocketmanager.adapters.websocket.budget import MAX_UNREAD_BYTES, ReadBudget
from websocketmanager.adapters.websocket.driver import DriverSession
from websocketmanager.adapters.websocket.reading import NOT_UTF8
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.model import Kind, Message
from websocketmanager.domain.options import Compression

TARGET = target("ws://h/", close_timeout_seconds=0.05)


def texts(*numbers: int) -> list[Message]:
    return [Message(Kind.TEXT, b"%d" % number) for number in numbers]


def spelled(*numbers: int) -> bytes:
    return b"".join(frame(TEXT, b"%d" % number) for number in numbers)


def opened(
    budget: ReadBudget | None = None, clock: ManualClock | None = None
) -> tuple[Driven, DriverSession]:
    driven = Driven(TARGET, budget, clock)
    driven.open()
    session = DriverSession(
        driven.connection, target=TARGET, address="h:80", clock=clock or ManualClock()
    )
    return driven, session


async def begun(awaitable: Awaitable[object]) -> asyncio.Future[object]:
    """Starts it, and returns when it waits."""
    task = asyncio.ensure_future(awaitable)
    await asyncio.wait([task], timeout=0)
    assert not task.done()
    return task


# --- receiving -----------------------------------------------------------------------------------


async def test_all_that_came_is_taken_at_once_and_by_one_in_turn() -> None:
    driven, session = opened()
    driven.feed(spelled(1, 2) + frame(PING, b"") + spelled(3))
    assert await recv_some(session) == texts(1, 2, 3)
    driven.feed(spelled(4, 5, 6))
    assert [await session.recv()] == texts(4)
    driven.feed(spelled(7))
    basket = Basket(3)
    await session.recv_into(basket)
    assert basket.messages == texts(5, 6, 7)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
async def test_the_second_part_of_a_header_is_not_taken_for_a_frame(cut: int) -> None:
    """From its third byte on this one reads like a Text of one letter, and so on."""
    driven, session = opened()
    message = Message(Kind.BINARY, b"x\x81\x01y" * (0x8101 // 4) + b"z")
    data = frame(BINARY, message.data)
    assert data[2:5] == b"\x81\x01x"
    driven.feed(data[:cut])
    driven.feed(data[cut:] + spelled(1))
    assert [await session.recv(), await session.recv()] == [message, *texts(1)]


async def test_who_waits_is_woken_by_a_message_and_by_nothing_less() -> None:
    driven, session = opened()
    waiting = await begun(recv_some(session))
    data = spelled(1)
    driven.feed(frame(PONG, b"") + data[:2])
    await asyncio.wait([waiting], timeout=0)
    assert not waiting.done()
    driven.feed(data[2:] + spelled(2))
    assert await waiting == texts(1, 2)


@pytest.mark.parametrize("cancelled_first", [False, True])
async def test_cancelling_in_the_turn_that_brings_messages_loses_none(
    cancelled_first: bool,
) -> None:
    driven, session = opened()
    basket = Basket()
    waiting = await begun(session.recv_into(basket))
    if cancelled_first:
        waiting.cancel()  # the task does not know yet
    driven.feed(spelled(1, 2))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert basket.messages == ([] if cancelled_first else texts(1, 2))
    driven.feed(spelled(3))
    basket.most = 3
    await session.recv_into(basket)
    assert basket.messages == texts(1, 2, 3)


@pytest.mark.parametrize("cancelled_first", [False, True])
async def test_cancelling_recv_in_the_turn_that_brings_messages_loses_none(
    cancelled_first: bool,
) -> None:
    driven, session = opened()
    waiting = await begun(session.recv())
    if cancelled_first:
        waiting.cancel()
    driven.feed(spelled(1, 2))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert [await session.recv(), *await recv_some(session)] == texts(1, 2)


async def test_messages_are_given_in_the_very_turn_that_brings_them() -> None:
    driven, session = opened()
    basket = Basket(4)
    waiting = await begun(session.recv_into(basket))
    driven.feed(spelled(1) + frame(BINARY, b"b") + frame(PING, b""))
    assert basket.messages == [*texts(1), Message(Kind.BINARY, b"b")]
    driven.feed(spelled(2, 3, 4))
    assert basket.messages == [*texts(1), Message(Kind.BINARY, b"b"), *texts(2, 3)]
    await waiting
    assert await session.recv() == texts(4)[0]


async def test_what_comes_while_a_full_receiver_s_caller_has_not_run_yet_stays() -> None:
    driven, session = opened()
    basket = Basket(1)
    waiting = await begun(session.recv_into(basket))
    driven.feed(spelled(1))
    driven.feed(spelled(2, 3))  # the caller of the first has not been woken
    assert basket.messages == texts(1)
    await waiting
    assert [await session.recv(), await session.recv()] == texts(2, 3)


async def test_what_a_receiver_raises_is_raised_and_takes_no_message_along() -> None:
    driven, session = opened()
    basket = Basket()
    basket.error = LookupError("scripted")
    waiting = await begun(session.recv_into(basket))
    driven.feed(spelled(1, 2))
    with pytest.raises(LookupError, match="scripted"):
        await waiting
    with pytest.raises(LookupError, match="scripted"):
        await session.recv_into(basket)
    driven.feed(spelled(3))
    basket.error, basket.most = None, 3
    await session.recv_into(basket)
    assert basket.messages == texts(1, 2, 3)


async def test_what_a_receiver_raises_once_its_caller_is_cancelled_bothers_nobody() -> None:
    driven, session = opened()
    basket = Basket()
    basket.error = LookupError("scripted")
    waiting = await begun(session.recv_into(basket))
    driven.feed(spelled(1))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert await session.recv() == texts(1)[0]


async def test_the_end_is_told_behind_the_last_message_and_to_whoever_waits() -> None:
    driven, session = opened()
    waiting = await begun(driven.connection.wait_closed())
    driven.feed(spelled(1) + frame(CLOSE, b"\x03\xe9"))
    driven.connection.connection_lost(None)
    assert await recv_some(session) == texts(1)
    failure = await failure_of(session.recv_into(Basket()))
    assert (failure.kind, failure.close_code) == (FailureKind.PEER_CLOSED, 1001)
    await waiting
    assert await failure_of(session.recv()) == failure


async def test_any_bytes_are_heard() -> None:
    clock = ManualClock()
    driven, session = opened(clock=clock)
    for data in (frame(PING, b"x"), frame(PONG), spelled(1)[:1]):
        clock.advance(5)
        driven.feed(data)
        assert session.last_heard == clock.monotonic()
    clock.advance(5)
    assert session.last_heard == clock.monotonic() - 5


# --- pausing -------------------------------------------------------------------------------------


async def test_reading_pauses_when_nobody_takes_and_goes_on_when_somebody_does() -> None:
    driven, session = opened()
    data = frame(BINARY, bytes(60_000))
    for _ in range(100):
        if driven.paused():
            break
        driven.feed(data)
    assert MAX_UNREAD_BYTES < len(await recv_some(session)) * 60_200 < MAX_UNREAD_BYTES + 120_000
    assert driven.paused(), "who took them is full"
    waiting = await begun(session.recv_into(Basket()))
    assert not driven.paused()
    waiting.cancel()


async def test_a_full_receiver_leaves_the_peer_held_back() -> None:
    driven, session = opened(ReadBudget(most_each=0))
    basket = Basket(2)
    reading = asyncio.ensure_future(session.recv_into(basket))
    await asyncio.wait([reading], timeout=0)
    driven.feed(spelled(1, 2, 3))
    assert driven.paused()
    await reading
    await session.recv_into(basket)
    assert (basket.messages, driven.paused()) == (texts(1, 2), True)
    basket.most = 3
    await session.recv_into(basket)
    assert basket.messages == texts(1, 2, 3)
    waiting = await begun(session.recv_into(Basket()))
    assert not driven.paused()
    waiting.cancel()


@pytest.mark.parametrize("waits", [False, True])
async def test_a_read_beyond_the_bound_is_handed_over_in_portions(waits: bool) -> None:
    driven, session = opened(ReadBudget(most_each=50_000))
    numbers = range(20_000)
    basket = Basket(20_000)
    reading = asyncio.ensure_future(session.recv_into(basket))
    if waits:
        await asyncio.wait([reading], timeout=0)
    driven.feed(spelled(*numbers))
    await reading
    assert basket.messages == texts(*numbers)
    assert max(basket.portions) < 6000


async def test_what_still_comes_while_reading_is_paused_stays_in_order() -> None:
    driven, _ = opened(ReadBudget(most_each=0))
    driven.feed(spelled(*range(20_000)) + spelled(1)[:2])
    assert driven.paused()
    driven.connection.data_received(spelled(1)[2:] + spelled(2))
    driven.feed_eof()
    assert driven.messages == texts(*range(20_000), 1, 2)


async def test_small_packed_frames_do_not_become_a_flood() -> None:
    dialled = target("ws://h/", compression=Compression.DEFLATE)
    driven = Driven(dialled)
    driven.open("permessage-deflate; server_no_context_takeover")
    packer = zlib.compressobj(wbits=-15)
    packed = (packer.compress(bytes(500_000)) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    driven.feed(frame(BINARY, packed, rsv=4) * 100)
    while driven.paused():
        driven.take()
    assert len(driven.messages) == sum(driven.portions) == 100
    assert max(driven.portions) <= 3


async def test_connections_share_a_budget() -> None:
    budget = ReadBudget(most=10_000)
    first, second = opened(budget)[0], opened(budget)[0]
    second.feed(spelled(1))
    assert not second.paused()
    first.feed(frame(BINARY, bytes(20_000)))
    second.feed(spelled(2))
    assert second.paused()
    assert first.take()
    second.take()
    assert not second.paused()
    second.feed(spelled(3))
    assert not second.paused()


async def test_the_budget_forgets_what_an_ended_connection_held() -> None:
    budget = ReadBudget()
    driven, session = opened(budget)
    driven.feed(spelled(1, 2))
    assert budget.used > 0
    driven.connection.connection_lost(None)
    assert budget.used == 0
    assert await recv_some(session) == texts(1, 2)
    assert budget.used == 0


async def test_a_close_of_ours_reads_on_whatever_is_unread() -> None:
    driven, session = opened(ReadBudget(most_each=0))
    driven.feed(spelled(*range(20_000)) + frame(CLOSE, b"\x03\xe8"))
    assert driven.paused()
    closing = await begun(session.close(1000, ""))
    assert not driven.paused()
    assert driven.protocol.close_rcvd is not None
    driven.connection.connection_lost(None)
    await closing
    assert await recv_some(session) == texts(*range(20_000))


async def test_a_fault_reads_on_as_well() -> None:
    driven, _ = opened(ReadBudget(most_each=0))
    driven.feed(spelled(1) + frame(TEXT, b"\xff"))
    while driven.paused():
        driven.take()
    assert driven.protocol.state is State.CLOSING
    assert not driven.paused()


# --- writing -------------------------------------------------------------------------------------


async def test_send_waits_for_the_transport() -> None:
    driven, session = opened()
    driven.connection.pause_writing()
    first = await begun(session.send(b"1", Kind.TEXT))
    second = await begun(session.send(b"2", Kind.BINARY))
    second.cancel()
    await asyncio.wait([second])
    driven.connection.resume_writing()
    await first
    await session.send(b"3", Kind.TEXT)
    assert list(unmasked(driven.transport.written)) == [(0x81, b"1"), (0x82, b"2"), (0x81, b"3")]


async def test_send_that_waits_fails_when_the_transport_is_lost() -> None:
    driven, session = opened()
    driven.connection.pause_writing()
    sending = await begun(failure_of(session.send(b"1", Kind.TEXT)))
    driven.connection.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
    failure = await sending
    assert "Connection reset by peer" in getattr(failure, "message", "")


async def test_every_frame_has_a_mask_of_its_own() -> None:
    driven, session = opened()
    for _ in range(100):
        await session.send(b"", Kind.BINARY)
    written = driven.transport.written
    assert len({written[at + 2 : at + 6] for at in range(0, len(written), 6)}) == 100


async def test_pings_are_written_at_once_while_the_connection_is_open() -> None:
    driven, session = opened()
    for _ in range(3):
        session.send_ping()
    assert list(unmasked(driven.transport.written)) == [(0x89, b"")] * 3
    driven.feed(frame(PONG, b"unsolicited") + frame(PONG) + spelled(1))
    assert driven.take() == texts(1)
    driven.close(1000)
    session.send_ping()
    assert [opcode for opcode, _ in unmasked(driven.transport.written)][3:] == [0x88]


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [frame(CLOSE, b"\x03\xe8"), frame(3), frame(TEXT, b"\xff")])
async def test_whoever_ends_but_keeps_the_transport_is_dropped(first: bytes) -> None:
    driven, _ = opened()
    driven.feed(first)
    aborted = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, aborted.set)
    assert not driven.transport.aborted
    await aborted.wait()
    assert driven.transport.aborted


async def test_nothing_behind_a_refused_message_counts_though_this_side_closed() -> None:
    driven, _ = opened()
    driven.close(1000)
    driven.feed(spelled(1) + frame(TEXT, b"\xff") + frame(PING, b"x") + frame(3) + spelled(2))
    assert driven.take() == texts(1)
    assert list(unmasked(driven.transport.written)) == [(0x88, b"\x03\xe8")]
    assert driven.connection.refusal is NOT_UTF8
    assert driven.connection.fault is None


async def test_nothing_is_left_in_the_loop_behind_an_end() -> None:
    driven, _ = opened()
    driven.feed(frame(CLOSE, b"\x03\xe8"))
    driven.connection.connection_lost(None)
    assert driven.connection._linger is None
    assert driven.connection.is_closed


# --- opening -------------------------------------------------------------------------------------


async def test_a_peer_that_speaks_before_it_is_asked() -> None:
    connection = driver_connection(TARGET)
    connection.connection_made(Transport())
    connection.data_received(b"SSH-2.0-OpenSSH_9.6\r\n")
    async with asyncio.timeout(5):
        with pytest.raises(InvalidMessage):
            await connection.open("test")
    assert not connection.cut_off


async def test_a_peer_that_is_gone_before_it_is_asked() -> None:
    connection = driver_connection(TARGET)
    connection.connection_made(Transport())
    connection.connection_lost(None)
    async with asyncio.timeout(5):
        with pytest.raises(InvalidMessage):
            await connection.open("test")
    assert connection.cut_off


async def test_an_answer_with_frames_and_the_end_behind_it_opens() -> None:
    driven = Driven(TARGET)
    opening = await begun(driven.connection.open("test"))
    driven.feed(answer_to(driven.protocol.key) + spelled(1) + frame(CLOSE, b"\x03\xe8"))
    async with asyncio.timeout(5):
        await opening
    assert driven.take() == texts(1)
    assert driven.protocol.state is State.CLOSING
