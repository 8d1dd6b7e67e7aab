"""Sending for callers: bounded, in time, with correlated replies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.kit.quiet import wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import House, World, running_house, spec_of
from tests.service.sessions import entered
from websocketmanager.domain.correlation import PREFIX_BYTES
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import FirstDial, Kind
from websocketmanager.domain.options import Match, Opening, Pattern, RefusalRule, Rotation
from websocketmanager.domain.retry import Advice
from websocketmanager.errors import (
    ConnectionEnded,
    LimitReached,
    NotConnected,
    ReplyTimeout,
    WriteTimeout,
)

RETRY = spec_of(first_dial=FirstDial.RETRY)


def socket_of(house: House) -> ScriptedSocket:
    return house.dialer.sockets[-1]


async def test_messages_are_sent_as_they_are() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, RETRY)
        await entry.runner.sender.send(b"a", Kind.TEXT, timeout_seconds=1.0)
        await entry.runner.sender.send(b"\x00", Kind.BINARY, timeout_seconds=1.0)
        sent = [(message.kind, message.data) for message in socket_of(house).sent]
        assert sent == [(Kind.TEXT, b"a"), (Kind.BINARY, b"\x00")]
        assert (entry.runner.sender.sent, entry.runner.sender.sent_bytes) == (2, 2)


async def test_nothing_is_sent_without_an_open_session() -> None:
    world = World()
    world.dialer.break_down()
    async with running_house(world) as house:
        entry = await entered(house, RETRY)
        for verb in (entry.runner.sender.send, entry.runner.sender.request):
            with pytest.raises(NotConnected) as caught:
                await verb(b"a", Kind.TEXT, timeout_seconds=1.0)
            assert caught.value.status == "reconnecting"
            assert caught.value.next_attempt_at.startswith("2023-11-14T22:13:2")


async def test_a_peer_that_does_not_read_times_the_writer_out() -> None:
    world = World()
    async with running_house(world, limits=Limits(max_pending_sends=1)) as house:
        entry = await entered(house, RETRY)
        socket_of(house).takes_messages = False
        sending = asyncio.create_task(
            entry.runner.sender.send(b"a", Kind.TEXT, timeout_seconds=3.0)
        )
        await wait_quiet()
        with pytest.raises(LimitReached):
            await entry.runner.sender.send(b"b", Kind.TEXT, timeout_seconds=3.0)
        house.clock.advance(3.0)
        with pytest.raises(WriteTimeout):
            await sending
        socket_of(house).takes_messages = True
        await entry.runner.sender.send(b"c", Kind.TEXT, timeout_seconds=3.0)


async def test_a_session_that_ends_fails_the_writer() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, RETRY)
        socket_of(house).takes_messages = False
        sending = asyncio.create_task(
            entry.runner.sender.send(b"a", Kind.TEXT, timeout_seconds=3.0)
        )
        await wait_quiet()
        socket_of(house).lose()
        with pytest.raises(ConnectionEnded):
            await sending


async def test_the_first_reply_with_the_prefix_answers_and_is_not_published() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, RETRY)
        socket = socket_of(house)
        asking = asyncio.create_task(
            entry.runner.sender.request(b"q", Kind.TEXT, timeout_seconds=3.0)
        )
        await wait_quiet()
        prefix = socket.sent[0].data[:PREFIX_BYTES]
        assert socket.sent[0].data[PREFIX_BYTES:] == b"q"
        socket.push(b"other", prefix + b"answer", prefix + b"again")
        assert await asking == b"answer"
        await house.settle()
        assert world.messages() == [b"other", prefix + b"again"]


@pytest.mark.parametrize(
    "looks",
    [
        {},
        {
            "opening": Opening(
                refusals=(RefusalRule(Pattern(Match.REGEX, regex="no"), Advice.NEVER),)
            )
        },
        {"rotation": Rotation(notices=(Pattern(Match.REGEX, regex="bye"),))},
    ],
    ids=["nothing", "refusals", "notices"],
)
async def test_a_reply_amid_a_run_is_for_its_caller_whatever_else_is_looked_for(
    looks: dict[str, Any],
) -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, **looks))
        await house.settle()
        socket = socket_of(house)
        sender = entry.runner.sender
        asking = [
            asyncio.create_task(sender.request(data, Kind.TEXT, timeout_seconds=3.0))
            for data in (b"p", b"q")
        ]
        await wait_quiet()
        first, second = (sent.data[:PREFIX_BYTES] for sent in socket.sent)
        socket.push(b"1", second + b"to q", b"2", first + b"to p", second + b"again", b"3")
        await wait_quiet()
        assert [one.done() and one.result() for one in asking] == [b"to p", b"to q"]
        socket.push(b"4")
        await house.settle()
        assert world.messages() == [b"1", b"2", second + b"again", b"3", b"4"]
        view = entry.runner.pump.statistics()
        assert (view.messages_received, entry.runner.pump.sequence) == (5, 5)


async def test_a_reply_that_does_not_come() -> None:
    world = World()
    async with running_house(world, limits=Limits(max_pending_sends=1)) as house:
        entry = await entered(house, RETRY)
        asking = asyncio.create_task(
            entry.runner.sender.request(b"q", Kind.TEXT, timeout_seconds=3.0)
        )
        await wait_quiet()
        with pytest.raises(LimitReached):
            await entry.runner.sender.request(b"q", Kind.TEXT, timeout_seconds=3.0)
        house.clock.advance(3.0)
        with pytest.raises(ReplyTimeout):
            await asking
        second = asyncio.create_task(
            entry.runner.sender.request(b"q", Kind.TEXT, timeout_seconds=3.0)
        )
        await wait_quiet()
        socket_of(house).lose()
        with pytest.raises(ConnectionEnded):
            await second
