"""How much a session reads: no more than the buffer takes, before it has its number as well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.kit.quiet import let_time_pass, wait_quiet
from tests.kit.sockets import ScriptedSocket
from tests.service.house import DOWN, House, World, running_house, spec_of
from tests.service.sessions import advance, degradations, entered, errors
from websocketmanager.domain.limits import MIN_BUFFER_BYTES
from websocketmanager.domain.model import BufferOptions, FirstDial, Kind
from websocketmanager.domain.options import Liveness, Match, Overflow, Pattern
from websocketmanager.service.entry import Entry

FEW = BufferOptions(max_messages=5)


def numbered(first: int, last: int) -> list[str]:
    """Returns messages of one key."""
    return [f'{{"s":1,"n":{number}}}' for number in range(first, last + 1)]


def waiting(entry: Entry) -> int:
    return entry.pump.statistics().buffered_messages


# --- before it has its number ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("buffer", "size", "read"),
    [(FEW, 10, 5), (BufferOptions(max_bytes=MIN_BUFFER_BYTES), MIN_BUFFER_BYTES // 3, 4)],
    ids=["messages", "bytes"],
)
async def test_what_is_held_before_the_number_is_as_much_as_the_buffer_takes(
    buffer: BufferOptions, size: int, read: int
) -> None:
    world = World()
    async with running_house(world) as house:
        dial = house.dialer.hang()
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, buffer=buffer))
        world.sink_faults.break_all(DOWN)
        sent = [f"{number}".ljust(size).encode() for number in range(12)]
        dial.socket.push(*sent)  # all are there when it opens
        dial.succeed()
        await wait_quiet()
        assert (waiting(entry), dial.socket.unread) == (read, 12 - read)
        world.sink_faults.heal()
        await house.settle()
        await let_time_pass(house.clock, lambda: len(world.messages()) == 12, step=0.5)
        assert world.messages() == sent
        assert entry.pump.statistics().buffered_messages == 0


async def test_a_whole_read_is_taken_as_far_as_the_buffer_has_room() -> None:
    world = World()
    async with running_house(world) as house:
        entry = await entered(house, spec_of(first_dial=FirstDial.RETRY, buffer=FEW))
        await house.settle()
        world.sink_faults.break_all(DOWN)
        socket = house.dialer.sockets[0]
        socket.push("0", "1", "2")
        await wait_quiet()
        socket.push(*map(str, range(3, 12)))
        await wait_quiet()
        assert (waiting(entry), socket.unread) == (5, 7)
        world.sink_faults.heal()
        await let_time_pass(house.clock, lambda: len(world.messages()) == 12, step=0.5)
        assert world.messages() == [b"%d" % number for number in range(12)]


async def test_who_looks_at_each_message_stops_at_the_same_one() -> None:
    """Then they are not taken as one run."""
    world = World()
    looks = Liveness(data=Pattern(Match.REGEX, regex="[0-9]"))
    async with running_house(world) as house:
        spec = spec_of(first_dial=FirstDial.RETRY, buffer=FEW, liveness=looks)
        entry = await entered(house, spec)
        await house.settle()
        world.sink_faults.break_all(DOWN)
        socket = house.dialer.sockets[0]
        socket.push(*map(str, range(12)))
        await wait_quiet()
        assert (waiting(entry), socket.unread) == (5, 7)
        world.sink_faults.heal()
        await let_time_pass(house.clock, lambda: len(world.messages()) == 12, step=0.5)
        assert world.messages() == [b"%d" % number for number in range(12)]


# --- a buffer that is full once it has its number -------------------------------------------------


@asynccontextmanager
async def behind(
    overflow: Overflow, *, fill: int
) -> AsyncIterator[tuple[World, House, Entry, ScriptedSocket]]:
    """A second session begins while most of the buffer is what the first one brought.

    Nothing more comes on its socket, whose reader waits for it.
    """
    world = World()
    pointer = "/s" if overflow is Overflow.CONFLATE else ""
    buffer = replace(FEW, overflow=overflow, conflate_pointer=pointer)
    async with running_house(world) as house:
        spec = spec_of(first_dial=FirstDial.RETRY, buffer=buffer)
        entry = await entered(house, spec)
        await house.settle()
        world.sink_faults.break_all(DOWN)
        house.dialer.sockets[0].push(*numbered(1, 3))
        await wait_quiet()
        dial = house.dialer.hang()
        house.dialer.sockets[0].lose()
        await let_time_pass(house.clock, lambda: len(house.dialer.targets) == 2, step=0.5)
        dial.socket.push(*numbered(4, 3 + fill))
        dial.succeed()
        await wait_quiet()
        yield world, house, entry, dial.socket


async def test_a_buffer_with_room_is_left_alone() -> None:
    async with behind(Overflow.CLOSE, fill=1) as (_, _, entry, socket):
        assert (waiting(entry), socket.unread, socket.aborted) == (4, 0, False)


async def test_a_session_that_fills_the_buffer_as_it_begins_ends_if_it_must() -> None:
    async with behind(Overflow.CLOSE, fill=2) as (world, house, _, socket):
        assert socket.aborted, "without a further message"
        world.sink_faults.heal()
        await house.settle()
        assert [kind for kind, _ in errors(world)][-1] == "buffer_overflow"
        assert world.messages() == [text.encode() for text in numbered(1, 5)]


async def test_a_session_that_fills_the_buffer_as_it_begins_conflates_if_it_may() -> None:
    async with behind(Overflow.CONFLATE, fill=2) as (world, house, entry, socket):
        # The first is in a call, and of the others the latest is kept.
        assert waiting(entry) < 5, "without a further message"
        assert not socket.aborted
        world.sink_faults.heal()
        await house.settle()
        assert world.messages()[-1] == numbered(5, 5)[0].encode()
        assert ("conflating", True) in degradations(world)
        assert ("publishing_behind", True) not in degradations(world)


async def test_a_session_that_fills_the_buffer_as_it_begins_says_that_it_waits() -> None:
    async with behind(Overflow.BLOCK, fill=2) as (world, house, entry, socket):
        assert waiting(entry) == 5
        socket.push(*numbered(6, 8))
        await wait_quiet()
        assert socket.unread == 3
        world.sink_faults.heal()
        await let_time_pass(house.clock, lambda: len(world.messages()) == 8, step=0.5)
        await advance(house, 6.0, step=0.5)  # until it is calm
        await house.settle()
        assert world.messages() == [text.encode() for text in numbered(1, 8)]
        assert degradations(world) == [("publishing_behind", True), ("publishing_behind", False)]


async def test_a_binary_message_keeps_its_kind_in_a_run() -> None:
    world = World()
    async with running_house(world) as house:
        _, socket = await house.connected(spec_of())
        socket.push(b"1", b"2", "3", "4", b"5")
        await house.settle()
        kinds = [
            event.metadata["ce-datacontenttype"]
            for event in world.sink.events
            if event.route.is_message
        ]
        binary, text = Kind.BINARY.value, Kind.TEXT.value
        assert kinds == [binary, binary, text, text, binary]
