"""What the Socket port promises to a Receiver, on each engine and on the scripted twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.kit.opening import Chosen, failure_of, opened
from tests.kit.raw_peer import BINARY, CLOSE, PING, PONG, TEXT, RawSession, frame, running_raw_peer
from tests.kit.receiving import Basket, recv_some
from tests.kit.sockets import ScriptedSocket
from websocketmanager.adapters.system import SystemClock
from websocketmanager.adapters.websocket.dialer import Engine
from websocketmanager.domain.failure import FailureKind
from websocketmanager.domain.model import Kind, Message
from websocketmanager.ports import Socket


@dataclass(frozen=True)
class SocketBench:
    """An open socket, and its peer.

    Attributes:
        say: the peer sends these together; `arrived` waits until they are there.
        heard: returns when all that the peer sent has arrived.
        pinged: returns when a ping has come to the peer.
        close: the peer closes with 1001.
    """

    socket: Socket
    say: Callable[[Iterable[Message]], Awaitable[None]]
    heard: Callable[[], Awaitable[None]]
    pinged: Callable[[], Awaitable[None]]
    close: Callable[[], Awaitable[None]]

    async def arrived(self, messages: Iterable[Message]) -> None:
        """Has them sent; returns when they have arrived."""
        await self.say(messages)
        await self.heard()


@asynccontextmanager
async def scripted() -> AsyncIterator[SocketBench]:
    socket = ScriptedSocket()
    socket.clock = SystemClock()

    async def say(messages: Iterable[Message]) -> None:
        for one in messages:
            socket.push(one.data.decode() if one.kind is Kind.TEXT else one.data)

    async def heard() -> None:
        assert socket.unread

    async def pinged() -> None:
        assert socket.pings == 1

    async def close() -> None:
        socket.close_from_peer(1001)

    yield SocketBench(socket, say, heard, pinged, close)


@asynccontextmanager
async def dialled(engine: Engine) -> AsyncIterator[SocketBench]:
    pings: asyncio.Queue[bytes] = asyncio.Queue()
    pongs: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(peer: RawSession) -> None:
        await peer.upgrade()
        while True:
            opcode, payload = await peer.read_frame()
            if opcode == PING:
                await peer.send_frame(PONG, payload)
                pings.put_nowait(payload)
            elif opcode == PONG:
                pongs.put_nowait(payload)
            elif opcode == CLOSE:
                return peer.finish()

    before, Chosen.engine = Chosen.engine, engine
    try:
        async with running_raw_peer(script) as peer, opened(peer.url) as socket:
            session = await peer.wait_session()

            async def say(messages: Iterable[Message]) -> None:
                await session.send(b"".join(map(spelled, messages)))

            async def heard() -> None:
                # The answer to a ping is written when all that came before it was read.
                await session.send_frame(PING)
                await pongs.get()

            async def pinged() -> None:
                await pings.get()

            async def close() -> None:
                await session.send_close(1001)

            yield SocketBench(socket, say, heard, pinged, close)
    finally:
        Chosen.engine = before


BENCHES: dict[str, Callable[[], AbstractAsyncContextManager[SocketBench]]] = {
    "scripted": scripted,
    "driver": lambda: dialled("driver"),
    "client": lambda: dialled("client"),
}


@pytest.fixture(params=sorted(BENCHES))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[SocketBench]:
    async with BENCHES[request.param]() as bench, asyncio.timeout(20):
        yield bench


def spelled(message: Message) -> bytes:
    return frame(TEXT if message.kind is Kind.TEXT else BINARY, message.data)


def texts(*numbers: int) -> list[Message]:
    return [Message(Kind.TEXT, b"%d" % number) for number in numbers]


def binaries(*numbers: int) -> list[Message]:
    return [Message(Kind.BINARY, b"%d" % number) for number in numbers]


async def begun(awaitable: Awaitable[None]) -> asyncio.Future[None]:
    """Starts it, and returns when it waits."""
    task = asyncio.ensure_future(awaitable)
    await asyncio.wait([task], timeout=0)
    assert not task.done()
    return task


MIXED = [*texts(1, 2), *binaries(3), *texts(4), *binaries(5, 6)]


async def test_what_has_arrived_is_given_in_order_kind_by_kind(bench: SocketBench) -> None:
    await bench.arrived(MIXED)
    basket = Basket(6)
    await bench.socket.recv_into(basket)
    assert basket.messages == MIXED
    assert basket.portions == [2, 1, 1, 2]


async def test_what_arrives_is_given_until_the_receiver_is_full(bench: SocketBench) -> None:
    basket = Basket(5)
    waiting = await begun(bench.socket.recv_into(basket))
    await bench.arrived(MIXED[:1])
    assert await basket.wait_messages(1) == MIXED[:1]
    assert not waiting.done()
    await bench.arrived(MIXED[1:])
    await waiting
    assert basket.messages == MIXED[:5]
    assert await bench.socket.recv() == MIXED[5]


async def test_who_is_full_is_given_nothing_and_waits_for_nothing(bench: SocketBench) -> None:
    full = Basket(0)
    await bench.socket.recv_into(full)
    await bench.arrived(texts(1))
    await bench.socket.recv_into(full)
    assert full.messages == []
    assert await bench.socket.recv() == texts(1)[0]


async def test_who_becomes_full_while_it_waits_is_given_nothing(bench: SocketBench) -> None:
    basket = Basket(1)
    waiting = await begun(bench.socket.recv_into(basket))
    basket.most = 0  # by what else happens to it
    await bench.say(texts(1, 2))
    await waiting
    assert basket.messages == []
    basket.most = 2
    await bench.socket.recv_into(basket)
    assert basket.messages == texts(1, 2)


@pytest.mark.parametrize("most", [1, 2, 3, 5])
async def test_what_a_receiver_did_not_take_comes_first_the_next_time(
    bench: SocketBench, most: int
) -> None:
    await bench.arrived(texts(*range(10)))
    basket = Basket(most)
    while basket.most < 10:
        await bench.socket.recv_into(basket)
        assert basket.messages == texts(*range(basket.most))
        basket.most += most
    basket.most = 12
    waiting = await begun(bench.socket.recv_into(basket))
    await bench.say(texts(10, 11))
    await waiting
    assert basket.messages == texts(*range(12))


async def test_what_arrives_between_two_calls_waits_for_the_second(bench: SocketBench) -> None:
    basket = Basket(2)
    await bench.arrived(texts(1, 2, 3))
    await bench.socket.recv_into(basket)
    await bench.arrived([*texts(4), *binaries(5)])
    basket.most = 5
    await bench.socket.recv_into(basket)
    assert basket.messages == [*texts(1, 2, 3, 4), *binaries(5)]


async def test_what_came_together_with_a_received_message_is_given_first(
    bench: SocketBench,
) -> None:
    await bench.arrived(MIXED)
    assert await bench.socket.recv() == MIXED[0]
    basket = Basket(2)
    await bench.socket.recv_into(basket)
    assert await bench.socket.recv() == MIXED[3]
    await bench.arrived(texts(7))
    basket.most = 5
    await bench.socket.recv_into(basket)
    assert basket.messages == [*MIXED[1:3], *MIXED[4:], *texts(7)]


async def test_what_a_receiver_left_is_received_one_by_one_and_the_other_way_round(
    bench: SocketBench,
) -> None:
    await bench.arrived(texts(*range(10)))
    assert await bench.socket.recv() == texts(0)[0]
    basket = Basket(2)
    await bench.socket.recv_into(basket)
    assert [await bench.socket.recv(), await bench.socket.recv()] == texts(3, 4)
    await bench.socket.recv_into(Basket(0))
    basket.most = 5
    await bench.socket.recv_into(basket)
    assert basket.messages == texts(1, 2, 5, 6, 7)
    assert [await bench.socket.recv(), await bench.socket.recv()] == texts(8, 9)


async def test_one_by_one_and_together_in_turn(bench: SocketBench) -> None:
    expected = [
        Message(Kind.BINARY if number % 7 == 0 else Kind.TEXT, b"%d" % number)
        for number in range(3000)
    ]
    saying = asyncio.ensure_future(bench.say(expected))
    received: list[Message] = []
    while len(received) < len(expected):
        received.append(await bench.socket.recv())
        if len(received) < len(expected):
            received += await recv_some(bench.socket)
    assert received == expected
    await saying


async def test_what_a_receiver_raises_is_raised_and_loses_no_message(bench: SocketBench) -> None:
    basket = Basket()
    basket.error = LookupError("scripted")
    waiting = await begun(bench.socket.recv_into(basket))
    await bench.say(texts(1, 2, 3))
    with pytest.raises(LookupError, match="scripted"):
        await waiting
    with pytest.raises(LookupError, match="scripted"):
        await bench.socket.recv_into(basket)
    basket.error, basket.most = None, 3
    await bench.socket.recv_into(basket)
    assert basket.messages == texts(1, 2, 3)


async def test_cancelling_at_any_moment_loses_none_and_repeats_none(bench: SocketBench) -> None:
    basket, count = Basket(), 400
    expected = texts(*range(count))

    async def say_all() -> None:
        for at in range(0, count, 5):
            await bench.say(expected[at : at + 5])
            for _ in range(at % 4):
                await asyncio.sleep(0)

    saying = asyncio.ensure_future(say_all())
    turns = 0
    while len(basket.messages) < count:
        basket.most = len(basket.messages) + 1 + turns % 7
        reading = asyncio.ensure_future(bench.socket.recv_into(basket))
        for _ in range(turns % 3):
            await asyncio.sleep(0)  # cancelled before it begins, when it waits, when it was woken
        reading.cancel()
        await asyncio.wait([reading])
        turns += 1
    await saying
    assert basket.messages == expected


async def test_the_end_is_told_behind_the_last_message(bench: SocketBench) -> None:
    basket = Basket()
    waiting = await begun(bench.socket.recv_into(basket))
    await bench.say(MIXED)
    await bench.close()
    failure = await failure_of(waiting)
    assert (failure.kind, failure.close_code) == (FailureKind.PEER_CLOSED, 1001)
    assert basket.messages == MIXED
    assert await failure_of(bench.socket.recv_into(Basket())) == failure
    assert await failure_of(bench.socket.recv()) == failure
    await bench.socket.recv_into(Basket(0))


async def test_what_was_not_taken_before_the_end_is_still_given(bench: SocketBench) -> None:
    basket = Basket(2)
    waiting = await begun(bench.socket.recv_into(basket))
    await bench.say(MIXED)
    await bench.close()
    await waiting
    basket.most = 1 << 62
    failure = await failure_of(bench.socket.recv_into(basket))
    assert failure.close_code == 1001
    assert basket.messages == MIXED


async def test_a_ping_goes_out_at_once_and_its_answer_is_heard(bench: SocketBench) -> None:
    before = bench.socket.last_heard
    bench.socket.send_ping()
    await bench.pinged()
    while bench.socket.last_heard == before:  # noqa: ASYNC110 - a socket makes it true
        await asyncio.sleep(0)


async def test_pings_among_messages_disturb_none(bench: SocketBench) -> None:
    basket = Basket(6)
    waiting = await begun(bench.socket.recv_into(basket))
    bench.socket.send_ping()
    await bench.say(MIXED[:3])
    bench.socket.send_ping()
    await bench.say(MIXED[3:])
    await waiting
    assert basket.messages == MIXED


async def test_a_ping_on_a_socket_that_ended_does_nothing(bench: SocketBench) -> None:
    waiting = await begun(bench.socket.recv_into(Basket()))
    await bench.close()
    failure = await failure_of(waiting)
    bench.socket.send_ping()
    assert await failure_of(bench.socket.recv()) == failure
