"""The StateStore port's guarantees, on every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.contracts.benches import STORES
from websocketmanager.errors import StateConflict
from websocketmanager.ports import StateStore

KEY = "websocketmanager.connection.1"


@pytest.fixture(params=sorted(STORES))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[StateStore]:
    async with STORES[request.param]() as store:
        yield store


async def etag_of(store: StateStore, key: str = KEY) -> str:
    versioned = await store.get(key)
    assert versioned is not None
    return versioned.etag


async def test_an_absent_key_is_none(store: StateStore) -> None:
    assert await store.get(KEY) is None


@pytest.mark.parametrize("value", ["{}", "ä\u0000\U0001f600", "x" * 1_000_000])
async def test_a_saved_value_comes_back_exactly(store: StateStore, value: str) -> None:
    await store.save(KEY, value)

    versioned = await store.get(KEY)

    assert versioned is not None
    assert versioned.value == value
    assert versioned.etag


async def test_without_an_etag_the_last_write_wins(store: StateStore) -> None:
    await store.save(KEY, "one")
    await store.save(KEY, "two")

    versioned = await store.get(KEY)

    assert versioned is not None
    assert versioned.value == "two"


async def test_every_write_changes_the_etag_even_of_an_equal_value(store: StateStore) -> None:
    await store.save(KEY, "same")
    first = await etag_of(store)
    await store.save(KEY, "same")

    assert await etag_of(store) != first


async def test_the_current_etag_saves(store: StateStore) -> None:
    await store.save(KEY, "one")

    await store.save(KEY, "two", etag=await etag_of(store))

    versioned = await store.get(KEY)
    assert versioned is not None
    assert versioned.value == "two"


async def test_a_stale_etag_conflicts_and_changes_nothing(store: StateStore) -> None:
    await store.save(KEY, "one")
    stale = await etag_of(store)
    await store.save(KEY, "two")

    with pytest.raises(StateConflict):
        await store.save(KEY, "three", etag=stale)

    versioned = await store.get(KEY)
    assert versioned is not None
    assert versioned.value == "two"


async def test_an_etag_of_a_deleted_key_conflicts(store: StateStore) -> None:
    await store.save(KEY, "one")
    stale = await etag_of(store)
    await store.delete(KEY)

    with pytest.raises(StateConflict):
        await store.save(KEY, "two", etag=stale)

    assert await store.get(KEY) is None


async def test_an_etag_of_before_a_deletion_does_not_fit_what_came_after(
    store: StateStore,
) -> None:
    await store.save(KEY, "one")
    stale = await etag_of(store)
    await store.delete(KEY)
    await store.save(KEY, "another life")

    with pytest.raises(StateConflict):
        await store.save(KEY, "two", etag=stale)


async def test_of_many_writers_with_one_etag_one_wins(store: StateStore) -> None:
    await store.save(KEY, "start")
    etag = await etag_of(store)

    outcomes = await asyncio.gather(
        *(store.save(KEY, f"writer {n}", etag=etag) for n in range(16)), return_exceptions=True
    )

    assert [outcome for outcome in outcomes if outcome is None] == [None]
    assert sum(isinstance(outcome, StateConflict) for outcome in outcomes) == 15
    versioned = await store.get(KEY)
    assert versioned is not None
    assert versioned.value == f"writer {outcomes.index(None)}"


async def test_delete_is_safe_to_repeat(store: StateStore) -> None:
    await store.save(KEY, "one")

    await store.delete(KEY)
    await store.delete(KEY)

    assert await store.get(KEY) is None


async def test_get_all_shows_registered_keys_that_have_a_value(store: StateStore) -> None:
    for key in ("a", "b", "gone"):
        await store.save(key, f"value of {key}")
    await store.register(["a", "gone", "never saved"])
    await store.register(["a"])
    await store.delete("gone")

    everything = await store.get_all()

    assert everything["a"] == "value of a"
    assert "gone" not in everything
    assert not everything.get("never saved")


async def test_registering_nothing_is_nothing(store: StateStore) -> None:
    await store.register([])

    assert await store.get_all() == {}
