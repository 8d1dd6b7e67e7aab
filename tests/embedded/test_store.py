"""The store: group commit, conditions within the transaction, kill -9, and what goes wrong."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from websocketmanager.embedded.store import MEMORY, Store, open_database, opened_store
from websocketmanager.errors import ApiUnavailable, StateConflict
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


async def test_many_savers_share_a_commit_and_none_is_answered_before(path: Path) -> None:
    async with opened_store(str(path)) as store:
        other = sqlite3.connect(path, isolation_level=None)
        # While another process writes, the store's transaction waits: all of these gather.
        other.execute("BEGIN IMMEDIATE")
        saves = [asyncio.ensure_future(store.save("s", f"k{n}", "v")) for n in range(500)]
        done, _ = await asyncio.wait(saves, timeout=0.05)
        assert not done
        other.execute("COMMIT")
        await asyncio.gather(*saves)
        assert other.execute("SELECT count(*) FROM state").fetchone() == (500,)
        other.close()
        assert store.statistics().saves == 500
        assert store.statistics().commits <= 2


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


async def test_a_cancelled_caller_keeps_nobody_else_from_an_answer(path: Path) -> None:
    async with opened_store(str(path)) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        saves = [asyncio.ensure_future(store.save("s", f"k{n}", "v")) for n in range(50)]
        await asyncio.wait(saves, timeout=0.05)
        for save in saves[::2]:
            save.cancel()
        other.execute("ROLLBACK")
        other.close()
        async with asyncio.timeout(10):
            results = await asyncio.gather(*saves, return_exceptions=True)
        assert results[1::2] == [None] * 25
        assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])


async def test_closing_completes_what_was_asked(path: Path) -> None:
    async with opened_store(str(path)) as store:
        saves = [asyncio.ensure_future(store.save("s", f"k{n}", "v")) for n in range(100)]
        await asyncio.wait(saves, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*saves)
    with pytest.raises(ApiUnavailable):
        await store.get("s", "k0")
    async with opened_store(str(path)) as store:
        assert all(await store.get_each([("s", f"k{n}") for n in range(100)]))


async def test_a_database_that_fails_tells_every_caller_and_recovers(path: Path) -> None:
    async with opened_store(str(path)) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON state WHEN NEW.key = 'bad' "
            "BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
        with pytest.raises(ApiUnavailable, match="disk is full"):
            await store.save("s", "bad", "v")
        await store.save("s", "good", "v")
        assert await store.get("s", "bad") is None
        other.close()


def test_commits_reach_the_disk_before_they_return(path: Path) -> None:
    database = open_database(str(path))
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert database.execute("PRAGMA fullfsync").fetchone() == (1,)
    database.close()


def test_a_new_file_is_for_its_owner_only(path: Path) -> None:
    database = open_database(str(path))
    database.execute("INSERT INTO state (service, key, value) VALUES ('s', 'k', 'v')")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}
    database.close()


def test_what_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    text = "precious notes\n" * 100
    path.write_text(text)
    with pytest.raises(OSError, match=path.name):
        open_database(str(path))
    assert path.read_text() == text


async def test_a_newer_version_is_refused(path: Path) -> None:
    database = open_database(str(path))
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(OSError, match="its version is 2, known is 1"):
        async with opened_store(str(path)):
            pass


_WRITER = """
import asyncio, itertools, sys
from websocketmanager.embedded.store import opened_store

async def save(store, lane):
    for number in itertools.count():
        await store.save("s", f"{lane}/{number}", f"value {lane}/{number}")
        sys.stdout.write(f"{lane}/{number}\\n")
        sys.stdout.flush()

async def main():
    async with opened_store(sys.argv[1]) as store:
        await asyncio.gather(*(save(store, lane) for lane in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged_before", [1, 100, 1000])
async def test_what_was_acknowledged_survives_kill_9(path: Path, acknowledged_before: int) -> None:
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WRITER, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert writer.stdout is not None
    lines = [await writer.stdout.readline() for _ in range(acknowledged_before)]
    writer.send_signal(signal.SIGKILL)
    lines += (await writer.stdout.read()).splitlines(keepends=True)
    assert await writer.wait() == -signal.SIGKILL
    keys = [line.decode().strip() for line in lines if line.endswith(b"\n")]
    assert len(keys) >= acknowledged_before
    async with opened_store(str(path)) as store:
        found = await store.get_each([("s", key) for key in keys])
        assert [entry and entry.value for entry in found] == [f"value {key}" for key in keys]
        await store.save("s", "after", "v")


_FULL_DISK = """
import asyncio, resource, sys
from websocketmanager.embedded.store import opened_store
from websocketmanager.errors import ApiUnavailable

async def outcome(store, key, value):
    try:
        await store.save("s", key, value)
    except ApiUnavailable:
        return "failed"
    return "saved"

async def main():
    async with opened_store(sys.argv[1]) as store:
        print(await outcome(store, "before", "v"))
        # The value fits the database's cache: only its commit needs the disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        print(*await asyncio.gather(*(outcome(store, f"large {n}", "x" * 300_000) for n in "123")))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(await outcome(store, "after", "v"))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
async def test_a_commit_that_finds_no_room_is_never_acknowledged(path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _FULL_DISK, str(path), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.decode().split() == ["saved", "failed", "failed", "failed", "saved"]
    async with opened_store(str(path)) as store:
        keys = ["before", "large 1", "large 2", "large 3", "after"]
        found = await store.get_each([("s", key) for key in keys])
        assert [entry is not None for entry in found] == [True, False, False, False, True]
