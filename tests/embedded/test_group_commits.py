"""Many callers, one commit: none is answered before it, and kill -9 takes nothing back."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from websocketmanager.embedded.store import opened_store
from websocketmanager.errors import ApiUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite3"


"""The store: group commit, conditions within the transaction, kill -9, and what goes wrong."""


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
