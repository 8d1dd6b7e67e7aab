"""A ledger at work, with nothing but the lane behind it: books, drafts, and what was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from tests.service.house import INSTANCE, House, World, data_of
from websocketmanager.domain.model import ConnectionId, ConnectionSpec, Status
from websocketmanager.domain.record import Record
from websocketmanager.service.ledger import Book, Draft


@dataclass
class Told:
    """What a book told its owner."""

    saved: list[Record] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def note_saved(self, durably: Record) -> None:
        self.saved.append(durably)

    def note_lost(self, problem: str) -> None:
        self.lost.append(problem)

    def position(self) -> int:
        return 0


class Sole(Told):
    """An owner beside whom there is none."""

    def note_lost(self, problem: str) -> None:
        raise AssertionError(f"nobody else owns it: {problem}")


@asynccontextmanager
async def office(world: World) -> AsyncIterator[House]:
    """Runs a house's lane and ledger alone."""
    house = House(world)
    tasks = [asyncio.create_task(part) for part in (house.lane.run(), house.ledger.run())]
    try:
        yield house
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert all(task.cancelled() for task in tasks)


def record_of(world: World, **given: object) -> Record:
    record = Record(
        ConnectionId("c1"),
        ConnectionSpec("wss://h/x"),
        Status.CONNECTING,
        world.clock.now(),
        INSTANCE,
        incarnation="process-1",
    )
    return replace(record, **given)  # type: ignore[arg-type] # any field


def open_book(record: Record) -> tuple[Book, Told]:
    told = Told()
    return Book(record, told), told


def draft(text: str = "x") -> Draft:
    return Draft("error", 1_700_000_000.0, {"connection_id": "c1", "text": text})


def texts(world: World) -> list[str]:
    return [data_of(event)["text"] for event in world.lifecycle()]
