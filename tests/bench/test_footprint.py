"""An idle connection stays small: how many objects it costs, on scripted sockets.

Objects are counted, not bytes: the count hardly differs between machines, and what grows by
mistake (a collection that is made before it is needed, a closure for each connection) are objects.
`bench_idle` measures the memory of real connections.
"""

from __future__ import annotations

import asyncio
import gc
import sys

from tests.service.house import House, World, running_house, spec_of

_CONNECTIONS = 200
#: Blocks of the allocator for one connection; a change that saves some lowers it.
_MEASURED = 127.3
_TOLERANCE = 1.05


async def blocks_each(house: House, count: int) -> float:
    """Returns how many blocks each of so many new connections costs."""
    for _ in range(20):
        await house.supervisor.connect(spec_of())  # what comes with the first does not count
    await house.settle()
    _forget_what_was_published(house)
    before = sys.getallocatedblocks()
    for _ in range(count):
        await house.supervisor.connect(spec_of())
    await house.settle()
    _forget_what_was_published(house)
    return (sys.getallocatedblocks() - before) / count


def _forget_what_was_published(house: House) -> None:
    house.world.sink.events.clear()
    house.journal.facts.clear()
    gc.collect()


async def test_an_idle_connection_costs_few_objects() -> None:
    asyncio.get_running_loop().set_debug(False)  # its tracebacks are blocks, too
    async with running_house(World()) as house:
        each = await blocks_each(house, _CONNECTIONS)
    assert each <= _MEASURED * _TOLERANCE, f"{each:.1f} blocks"
