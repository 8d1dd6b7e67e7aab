"""Which reads wait for which, and that none waits for long."""

from __future__ import annotations

import asyncio

from websocketmanager.adapters.websocket.gathering import Gathering

CLOSE = 0.000_1
APART = 0.01
#: Turns that come closely until the next one is asked to wait.
STREAM = 16


class Reader:
    """Counts how often it was told to read what it has put aside."""

    def __init__(self) -> None:
        self.reads = 0
        self.told = asyncio.Event()

    def read_gathered(self) -> None:
        self.reads += 1
        self.told.set()


async def turns(gathering: Gathering, *moments: float) -> list[bool]:
    """Returns what is asked of a read in each of several turns of the loop."""
    answers = []
    for moment in moments:
        answers.append(gathering.asks_to_wait(moment))
        for _ in range(2):  # what the turn left to do is done
            await asyncio.sleep(0)
    return answers


def moments(first: float, step: float, count: int) -> list[float]:
    return [first + step * number for number in range(count)]


async def test_reads_that_are_rare_never_wait() -> None:
    assert await turns(Gathering(), *moments(1.0, APART, 20)) == [False] * 20


async def test_reads_wait_once_several_turns_came_closely() -> None:
    answers = await turns(Gathering(), *moments(1.0, CLOSE, STREAM + 4))

    assert answers == [False] * STREAM + [True] * 4


async def test_short_bursts_never_wait() -> None:
    gathering = Gathering()
    for tick in range(50):
        burst = moments(1.0 + tick / 1000, CLOSE / 10, STREAM)
        assert not any(await turns(gathering, *burst))


async def test_a_stream_may_stutter() -> None:
    gathering = Gathering()
    await turns(gathering, *moments(1.0, CLOSE, STREAM + 1))

    assert await turns(gathering, 1.002_4, 1.002_5) == [True, True]


async def test_one_pause_and_reads_wait_no_longer() -> None:
    gathering = Gathering()
    await turns(gathering, *moments(1.0, CLOSE, STREAM + 1))

    assert await turns(gathering, 2.0, 2.0 + CLOSE) == [False, False]


async def test_reads_of_one_turn_are_asked_the_same() -> None:
    gathering = Gathering()
    together = [gathering.asks_to_wait(1.0 + CLOSE * number) for number in range(50)]

    assert together == [False] * 50, "many sockets that are ready at once are one wake-up"


async def test_what_waits_is_read_once_it_has_waited_its_time() -> None:
    gathering, reader = Gathering(), Reader()
    await turns(gathering, *moments(1.0, CLOSE, STREAM + 1))
    gathering.add(reader)
    gathering.add(reader)  # more of the same

    await turns(gathering, 1.001_75)
    assert reader.reads == 0

    await turns(gathering, 1.001_85)
    assert reader.reads == 1


async def test_what_waits_is_read_if_nothing_follows() -> None:
    gathering, reader = Gathering(), Reader()
    await turns(gathering, *moments(1.0, CLOSE, STREAM + 1))
    gathering.add(reader)

    async with asyncio.timeout(5):
        await reader.told.wait()

    assert reader.reads == 1


async def test_readers_read_in_the_order_in_which_they_came() -> None:
    gathering = Gathering()
    order: list[int] = []

    class Numbered(Reader):
        def __init__(self, number: int) -> None:
            super().__init__()
            self._number = number

        def read_gathered(self) -> None:
            order.append(self._number)
            super().read_gathered()

    readers = [Numbered(number) for number in range(5)]
    for reader in readers:
        gathering.add(reader)
    async with asyncio.timeout(5):
        await readers[-1].told.wait()

    assert order == [0, 1, 2, 3, 4]
