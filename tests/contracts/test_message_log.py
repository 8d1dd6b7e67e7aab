"""The MessageLog port's guarantees, on every implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contracts.benches import LOGS, LogBench
from tests.kit.log_listener import Listening, entry_of, run_of
from websocketmanager.domain.overflow import Gap, own_gap
from websocketmanager.ports import LogExtent, MessageLog


@pytest.fixture(params=sorted(LOGS))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[LogBench]:
    async with LOGS[request.param]() as bench:
        yield bench


@pytest.fixture
def log(bench: LogBench) -> MessageLog:
    return bench.log


async def test_what_is_stored_is_read_in_order_and_exactly(log: MessageLog) -> None:
    one = Listening(log)
    runs = [
        run_of(1, datas=[bytes(range(256)), b""]),
        run_of(0, marker="gap"),
    ]
    for run in runs:
        log.append(one.stream, run)
    entries = [entry for run in runs for entry in run.entries()]
    await one.wait_stored(3)
    found, complete = await one.read()
    assert [entry for _, entry in found] == entries
    assert [position for position, _ in found] == one.positions == sorted(set(one.positions))
    assert complete
    assert one.extents == [LogExtent()]


async def test_a_read_is_bounded_and_says_whether_there_is_more(log: MessageLog) -> None:
    one = Listening(log)
    one.append(1, 2, 3, data=b"12345678")
    await one.wait_stored(3)
    found, complete = await one.read(max_entries=2)
    assert ([entry.sequence for _, entry in found], complete) == ([1, 2], False)
    found, complete = await one.read(found[-1][0], max_entries=1)
    assert ([entry.sequence for _, entry in found], complete) == ([3], True)
    found, complete = await one.read(max_bytes=1)
    assert ([entry.sequence for _, entry in found], complete) == ([1], False), "one at least"
    assert await one.read(one.positions[-1]) == ([], True)


async def test_streams_do_not_mix(log: MessageLog) -> None:
    one, other = Listening(log), Listening(log, "other/1")
    for number in range(1, 6):
        one.append(number)
        other.append(number, data=b"other")
    await one.wait_stored(5)
    await other.wait_stored(5)
    assert {entry.data for _, entry in (await one.read())[0]} == {b"x"}
    log.acknowledge(one.stream, one.positions[-1])
    assert await one.sequences() == []
    assert await other.sequences() == [1, 2, 3, 4, 5]


async def test_what_is_acknowledged_does_not_come_back(bench: LogBench) -> None:
    one = Listening(bench.log)
    one.append(1, 2, 3)
    await one.wait_stored(3)
    bench.log.acknowledge(one.stream, one.positions[1])
    await one.read()
    async with bench.again() as later:
        again = Listening(later)
        await again.wait(lambda: bool(again.extents))
        assert await again.sequences() == [3]
        assert again.extents == [LogExtent(1, entry_of(3).size)]
        assert later.extents == {one.stream: LogExtent(1, entry_of(3).size, (1, 3))}
        again.append(4)
        await again.wait_stored(1)
        assert again.positions[0] > one.positions[-1], "positions only grow"
        later.acknowledge(again.stream, again.positions[0])
        await again.read()
        async with bench.again() as last:
            assert last.extents == {one.stream: LogExtent()}


async def test_a_crash_loses_nothing_that_was_stored(bench: LogBench) -> None:
    one = Listening(bench.log)
    one.append(*range(1, 51), session=7)
    await one.wait_stored(50)
    async with bench.again() as later:
        again = Listening(later)
        assert await again.sequences() == list(range(1, 51))
        assert later.extents[one.stream].last == (7, 50)


async def test_what_is_trimmed_leaves_a_gap(log: MessageLog) -> None:
    one = Listening(log)
    one.append(*range(1, 101), data=b"x" * 100)
    await one.wait_stored(100)
    keep = one.positions[9]
    trim = await one.trim(keep, 1000)
    found = [entry for _, entry in (await one.read())[0]]
    gap = own_gap(found[10], "spill")
    assert gap is not None
    assert gap == Gap((1, 11), (1, 10 + trim.lost), trim.lost, "spill")
    assert (trim.entries, trim.size >= 1000) == (trim.lost - 1, True)
    assert [entry.sequence for entry in found[:10]] == list(range(1, 11))
    assert found[11].sequence == gap.last[1] + 1
    again = await one.trim(keep, 1000)
    found = [entry for _, entry in (await one.read())[0]]
    whole = own_gap(found[10], "spill")
    assert whole == Gap((1, 11), (1, 10 + trim.lost + again.lost), trim.lost + again.lost, "spill")
    assert found[11].marker == ""


async def test_trimming_without_a_marker_leaves_nothing(log: MessageLog) -> None:
    one = Listening(log)
    one.append(*range(1, 11))
    await one.wait_stored(10)
    trim = await one.trim(0, 1_000_000, cause="")
    assert (trim.entries, trim.size, trim.lost) == (10, 10 * entry_of(1).size, 10)
    assert await one.sequences() == []
    assert (await one.trim(0, 10)).entries == 0


async def test_answers_come_in_the_order_of_what_was_asked(log: MessageLog) -> None:
    one = Listening(log)
    one.append(1)
    log.read(one.stream, 0, max_entries=9, max_bytes=9)
    one.append(2)
    log.trim(one.stream, 0, size=1, cause="", at=1.0)
    log.read(one.stream, 0, max_entries=9, max_bytes=9)
    await one.wait(lambda: len(one.reads) == 2)
    assert [[e.sequence for _, e in found] for found, _ in one.reads] == [[1], [2]]


async def test_entries_that_come_together_have_positions_that_follow_one_another(
    bench: LogBench,
) -> None:
    one = Listening(bench.log)
    one.append(1)
    bench.log.append(one.stream, run_of(4, datas=[b"4", b"", b"66"]), room=2)
    one.append(7)
    await one.wait_stored(5)
    first = one.positions[0]
    assert one.positions == [first, *range(first + 3, first + 7)]
    bench.log.insert(one.stream, first, [entry_of(2), entry_of(3)])
    await one.wait(lambda: len(one.inserts) == 2)
    assert await one.sequences() == [1, 2, 3, 4, 5, 6, 7]
    found, _ = await one.read()
    assert [entry for _, entry in found][3:6] == run_of(4, datas=[b"4", b"", b"66"]).entries()
    bench.log.acknowledge(one.stream, first + 4)
    assert await one.sequences() == [6, 7]
    async with bench.again() as later:
        assert later.extents[one.stream].entries == 2
        assert later.extents[one.stream].size == run_of(6, datas=[b"66", b"x"]).size


async def test_what_is_inserted_stands_where_room_was_left(bench: LogBench) -> None:
    one = Listening(bench.log)
    one.append(1, 2)
    await one.wait_stored(2)
    bench.log.append(one.stream, run_of(6), room=3)
    one.append(7)
    bench.log.insert(one.stream, one.positions[1], [entry_of(3), entry_of(4)])
    await one.wait(lambda: len(one.inserts) == 2)
    bench.log.insert(one.stream, one.positions[-1], [entry_of(8), entry_of(9)])
    one.append(10)
    await one.wait_stored(5)
    assert await one.sequences() == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    async with bench.again() as later:
        assert later.extents[one.stream].last == (1, 10)
        assert await Listening(later).sequences() == [1, 2, 3, 4, 6, 7, 8, 9, 10]


async def test_what_is_inserted_is_behind_what_an_earlier_process_is_done_with(
    bench: LogBench,
) -> None:
    one = Listening(bench.log)
    one.append(1, 2)
    await one.wait_stored(2)
    bench.log.acknowledge(one.stream, one.positions[-1])
    await one.read()
    async with bench.again() as later:
        again = Listening(later)
        later.append(again.stream, run_of(5), room=2)
        later.insert(again.stream, 0, [entry_of(3), entry_of(4)])
        await again.wait(lambda: len(again.inserts) == 2)
        assert await again.sequences() == [3, 4, 5]


async def test_a_removed_stream_is_gone_and_answers_no_more(bench: LogBench) -> None:
    one = Listening(bench.log)
    one.append(1)
    await one.wait_stored(1)
    bench.log.remove(one.stream)
    one.append(2)
    again = Listening(bench.log)
    await again.wait(lambda: bool(again.extents))
    assert again.extents == [LogExtent()]
    assert await again.sequences() == []
    assert len(one.positions) == 1
