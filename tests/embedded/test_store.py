"""Values and etags: what was saved is found, and conditions are judged in the transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from websocketmanager.embedded.database import MEMORY
from websocketmanager.embedded.store import Store, opened_store
from websocketmanager.errors import StateConflict
from websocketmanager.ports import Versioned


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite3"


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[Store]:
    async with opened_store(MEMORY if request.param == "memory" else str(path)) as opened:
        yield opened


async def test_keeps_any_text(store: Store) -> None:
    texts = ["", "ü\N{SNOWMAN}\U0001f600", "a\x00b", "'; DROP TABLE state; --", "x" * 3_000_000]
    for number, text in enumerate(texts):
        await store.save(text[:50], f"key {number}", text)
    for number, text in enumerate(texts):
        found = await store.get(text[:50], f"key {number}")
        assert found is not None
        assert found.value == text
    assert await store.get("a", "key 2") is None


async def test_etags_only_grow_and_survive_a_delete(store: Store) -> None:
    etags = []
    for _ in range(3):
        await store.save("s", "k", "v")
        found = await store.get("s", "k")
        assert found is not None
        etags.append(int(found.etag))
        await store.delete("s", "k")
    assert etags == sorted(set(etags))


async def test_get_each_answers_in_the_order_asked(store: Store) -> None:
    await store.save("s", "a", "1")
    await store.save("t", "b", "2")
    found = await store.get_each([("t", "b"), ("s", "b"), ("s", "a")])
    assert [entry and entry.value for entry in found] == ["2", None, "1"]
    assert await store.get_each([]) == []


@pytest.mark.parametrize("etag", ["0", "1 ", "01", "-1", "x", "9" * 30])
async def test_only_the_exact_etag_is_current(store: Store, etag: str) -> None:
    await store.save("s", "k", "v")
    assert await store.get("s", "k") == Versioned("v", "1")
    with pytest.raises(StateConflict):
        await store.save("s", "k", "w", etag=etag)
    await store.save("s", "k", "w", etag="1")


async def test_conditions_see_the_saves_of_their_own_group(path: Path) -> None:
    async with opened_store(str(path)) as store:
        await store.save("s", "k", "old")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        saves = [asyncio.ensure_future(store.save("s", "k", str(n), etag="1")) for n in range(50)]
        done, _ = await asyncio.wait(saves, timeout=0.05)
        assert not done
        other.execute("ROLLBACK")
        other.close()
        results = await asyncio.gather(*saves, return_exceptions=True)
        winners = [n for n, result in enumerate(results) if result is None]
        assert len(winners) == 1
        assert sum(isinstance(result, StateConflict) for result in results) == 49
        found = await store.get("s", "k")
        assert found is not None
        assert found.value == str(winners[0])
