"""The log on SQLite: torn files, failing disks, threads. What every log does is in the contract."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.kit.journal import RecordingJournal
from tests.kit.log_listener import Listening
from websocketmanager.adapters.message_log import SqliteMessageLog
from websocketmanager.domain.facts import MessageLogFailing, MessageLogWorking


@asynccontextmanager
async def running(
    path: Path, journal: RecordingJournal | None = None, *, hold_seconds: float = 0.02
) -> AsyncIterator[SqliteMessageLog]:
    log = SqliteMessageLog(path, journal or RecordingJournal(), hold_seconds=hold_seconds)
    await log.start()
    try:
        yield log
    finally:
        await log.close()


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


async def test_a_log_cut_at_any_byte_holds_a_beginning_of_what_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with sqlite3.connect(path) as small:
        small.execute("PRAGMA page_size = 512")  # fewer bytes to cut at
        small.execute("VACUUM")
    small.close()
    async with running(path) as log:
        one = Listening(log)
        ends = [0]
        for number in range(1, 5):
            one.append(number, data=b"%d" % number * 50)
            await one.wait_stored(number)  # a commit each
            ends.append(wal_of(path).stat().st_size)
        database, wal = path.read_bytes(), wal_of(path).read_bytes()
    torn = tmp_path / "torn.sqlite3"
    # Every byte of the last commit, and some of what is before.
    for cut in [*range(0, ends[3], 131), *range(ends[3], len(wal) + 1)]:
        torn.write_bytes(database)
        wal_of(torn).write_bytes(wal[:cut])
        opened = sqlite3.connect(torn)
        (tables,) = opened.execute("SELECT count(*) FROM sqlite_master").fetchone()
        query = "SELECT sequence FROM entries ORDER BY position"
        sequences = [number for (number,) in opened.execute(query)] if tables else []
        opened.close()
        whole = sum(end <= cut for end in ends[1:])
        assert sequences == list(range(1, whole + 1)), f"cut at {cut}"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
async def test_a_torn_log_is_opened_and_goes_on(tmp_path: Path, share: float) -> None:
    path, torn = tmp_path / "log.sqlite3", tmp_path / "torn.sqlite3"
    async with running(path) as log:
        one = Listening(log)
        for number in range(1, 6):
            one.append(number)
            await one.wait_stored(number)
        shutil.copy(path, torn)
        wal = wal_of(path).read_bytes()
    wal_of(torn).write_bytes(wal[: int(len(wal) * share)])
    async with running(torn) as log:
        one = Listening(log)
        there = await one.sequences()
        assert there == list(range(1, len(there) + 1))
        one.append(99)
        assert await one.sequences() == [*there, 99]


async def test_a_garbled_tail_is_not_taken_for_messages(tmp_path: Path) -> None:
    path, torn = tmp_path / "log.sqlite3", tmp_path / "torn.sqlite3"
    async with running(path) as log:
        one = Listening(log)
        one.append(1)
        await one.wait_stored(1)
        good = len(wal_of(path).read_bytes())
        one.append(2)
        await one.wait_stored(2)
        shutil.copy(path, torn)
        wal = bytearray(wal_of(path).read_bytes())
    wal[good + 100] ^= 0xFF
    wal_of(torn).write_bytes(wal)
    async with running(torn) as log:
        assert await Listening(log).sequences() == [1]


async def test_a_file_is_for_its_owner_and_for_one_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "log.sqlite3"
    journal = RecordingJournal()
    async with running(path) as log:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        one = Listening(log)
        one.append(1)
        await one.wait_stored(1)
        async with running(path, journal) as second:
            assert [type(fact) for fact in journal.facts] == [MessageLogFailing]
            two = Listening(second)
            two.append(2)
            await two.wait(lambda: bool(two.problems))
            assert "locked" in two.problems[0]
            assert two.positions == []


async def test_a_disk_that_fails_is_tried_until_it_works(tmp_path: Path) -> None:
    path, journal = tmp_path / "folder" / "log.sqlite3", RecordingJournal()
    path.parent.write_text("in the way")  # also for a superuser, whom permissions do not stop
    async with running(path, journal) as log:
        assert log.extents == {}
        one = Listening(log)
        one.append(1, 2)
        await one.wait(lambda: bool(one.problems))
        path.parent.unlink()
        await one.wait_stored(2)
        assert await one.sequences() == [1, 2]
    assert [type(fact) for fact in journal.facts] == [MessageLogFailing, MessageLogWorking]


async def test_a_file_system_that_is_full_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path, journal = tmp_path / "log.sqlite3", RecordingJournal()
    async with running(path, journal) as log:
        one = Listening(log)
        one.append(1)
        await one.wait_stored(1)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        # A write beyond it fails as on a full disk; the signal beside it is ignored by Python.
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
        try:
            one.append(2, data=b"x" * 300_000)
            one.append(3)
            await one.wait(lambda: bool(one.problems))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert one.positions == [1]
        await one.wait_stored(3)
        assert await one.sequences() == [1, 2, 3]
    assert [type(fact) for fact in journal.facts] == [MessageLogFailing, MessageLogWorking]


async def test_a_newer_file_is_left_untouched(tmp_path: Path) -> None:
    path, journal = tmp_path / "log.sqlite3", RecordingJournal()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    async with running(path, journal) as log:
        one = Listening(log)
        one.append(1)
        await one.wait(lambda: bool(one.problems))
        assert "99" in one.problems[0]
        assert one.positions == []


async def test_closing_completes_what_was_asked_and_ends_the_thread(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    async with running(path) as log:
        one = Listening(log)
        one.append(*range(1, 5001))
        await log.close()
        await log.close()
        assert len(one.positions) == 5000
        assert not any(thread.name == "message-log" for thread in threading.enumerate())
    async with running(path) as log:
        one = Listening(log)
        found, complete = await one.read(max_entries=10_000)
        assert (len(found), complete) == (5000, True)
    assert not wal_of(path).exists(), "a clean end leaves one file"


async def test_a_log_that_was_never_started_can_be_closed(tmp_path: Path) -> None:
    await SqliteMessageLog(tmp_path / "log.sqlite3", RecordingJournal()).close()


async def test_numbers_are_not_given_twice_when_all_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    async with running(path) as log:
        one = Listening(log)
        one.append(1, 2, 3)
        await one.wait_stored(3)
        log.acknowledge(one.stream, one.positions[-1])
        last = one.positions[-1]
    async with running(path) as log:
        one = Listening(log)
        one.append(4)
        await one.wait_stored(1)
        assert one.positions[0] > last
        assert await one.sequences() == [4]


def acknowledged(path: Path, scratch: Path) -> int:
    """Returns up to where a process that dies now would have forgotten its only stream."""
    shutil.copy(path, scratch)
    shutil.copy(wal_of(path), wal_of(scratch))
    looked = sqlite3.connect(scratch)
    (position,) = looked.execute("SELECT acknowledged FROM streams").fetchone()
    looked.close()
    return int(position)


async def test_an_acknowledgement_delays_no_commit_and_is_not_forgotten(tmp_path: Path) -> None:
    path, scratch = tmp_path / "log.sqlite3", tmp_path / "scratch.sqlite3"
    async with running(path, hold_seconds=1.0) as log:
        one = Listening(log)
        one.append(1, 2)
        await one.wait_stored(2)
        log.acknowledge(one.stream, one.positions[0])
        one.append(3)
        await one.wait_stored(3)
        assert acknowledged(path, scratch) == 0, "the commit was of the message alone"
        log.acknowledge(one.stream, one.positions[1])
        async with asyncio.timeout(20):
            while acknowledged(path, scratch) == 0:
                one.append(9)  # the next commits, until it is its turn
                await one.wait_stored(len(one.positions) + 1)
        assert acknowledged(path, scratch) == one.positions[1]


async def test_a_busy_loop_lets_the_log_have_the_interpreter_within_a_millisecond(
    tmp_path: Path,
) -> None:
    async with running(tmp_path / "log.sqlite3"):
        assert sys.getswitchinterval() <= 0.001


async def test_many_wait_for_one_commit(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    async with running(path) as log:
        one = Listening(log)
        one.append(*range(1, 20_001), data=b"x" * 200)
        await one.wait_stored(20_000)
        log.acknowledge(one.stream, one.positions[9_999])
        assert len((await one.read(max_entries=20_000, max_bytes=1 << 30))[0]) == 10_000
