"""Messages on the local disk outlive kill -9: published first, in order, under their own ids."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.kit.peer import numbered, running_peer
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import running_process
from tests.system.evidence import Delivered, messages
from tests.system.feeds import Flood
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

pytestmark = pytest.mark.usefixtures("plain_loop")

TOPIC = "marketdata.ticks"
DURABLE = pb.BufferOptions(durable=True)
SPILL = pb.BufferOptions(overflow=pb.OVERFLOW_SPILL)


def _stored(folder: Path, scratch: Path) -> dict[tuple[int, int], bytes]:
    """Returns the messages that the log of a process that is gone holds, by their places."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, scratch)  # looking at it would change it
    database = sqlite3.connect(scratch / "one.sqlite3")
    rows = database.execute("SELECT session, sequence, data FROM entries WHERE marker = ''")
    found = {(session, sequence): data for session, sequence, data in rows}
    database.close()
    return found


async def _connect(service: object, url: str, buffer: pb.BufferOptions) -> None:
    request = pb.ConnectRequest(
        url=url,
        name="feed",
        auto_reconnect=True,
        topic=TOPIC,
        options=pb.ConnectionOptions(buffer=buffer, markers=True),
    )
    await service.stub.Connect(request)  # type: ignore[attr-defined]  # a ServiceProcess


def _delivered(api: ScriptedApi) -> list[Delivered]:
    """Returns the messages by their first coming; fails when one id has two contents."""
    return messages(api.published, TOPIC)


async def _kill_under_load(rounds: int, per_second: int, seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    flood = Flood(per_second)
    folder, scratch = tmp_path / "log", tmp_path / "scratch"
    stored: dict[tuple[int, int], bytes] = {}
    async with running_scripted_api(batches=True) as api, running_peer(flood) as peer:
        for number in range(rounds):
            async with running_process(api.port, message_log_folder=str(folder)) as service:
                await service.wait_ready()
                if number == 0:
                    await _connect(service, peer.url, DURABLE)
                await peer.wait_session(number + 1)
                before = len(api.published)
                await api.wait_published(before + dice.randint(per_second // 20, per_second))
                if number % 3 == 2:
                    # With the API away nothing but the log has what comes now.
                    await api.go_away()
                    # A real process fills a real disk meanwhile: no event tells of it.
                    await asyncio.sleep(0.2 + 0.3 * dice.random())
                service.kill()
                await service.wait_exit()
                found = _stored(folder, scratch)
                stored |= found
                if number % 3 == 2:
                    assert len(found) > per_second // 20
                    await api.come_back()
        async with running_process(api.port, message_log_folder=str(folder)) as service:
            await service.wait_ready()
            await peer.wait_session(rounds + 1)
            flood.stop.set()
            which = next(iter(await service.list()))

            def is_settled(one: pb.WebSocketConnection) -> bool:
                counts = one.statistics
                return (
                    counts.messages_received == flood.counts[-1]
                    and not counts.buffered_messages
                    and not counts.spilled_messages
                )

            one = await service.wait_listed(which, is_settled, 60.0)
            assert one.statistics.dropped == 0
            service.terminate()
            assert await service.wait_exit() == 0
        assert _stored(folder, scratch) == {}, "what the API has is not kept"
    delivered = _delivered(api)
    places = [(one.session, one.sequence) for one in delivered]
    assert places == sorted(places), "order holds over every crash"
    by_place = {(one.session, one.sequence): one.data for one in delivered}
    for place, data in stored.items():
        assert by_place[place] == data, f"{place} was stored and is lost"
    assert len(stored) > 0
    last: dict[int, int] = {}
    for session, sequence in places:
        assert sequence == last.get(session, 0) + 1, f"hole before {session}/{sequence}"
        last[session] = sequence
        assert int(by_place[session, sequence]) == sequence
    # A session may have been killed before its first message, or was the last and had none.
    assert len(last) >= rounds * 3 // 4


async def test_durable_survives_kills_under_load(tmp_path: Path) -> None:
    await _kill_under_load(3, 2_000, 7, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_durable_survives_twenty_kills_at_full_load(tmp_path: Path) -> None:
    await _kill_under_load(20, 20_000, 8, tmp_path)


async def test_what_was_spilled_is_published_first_after_a_kill(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "log", tmp_path / "scratch"
    start = asyncio.Event()
    async with (
        running_scripted_api(batches=True) as api,
        running_peer(numbered(500, start=start)) as peer,
    ):
        async with running_process(api.port, message_log_folder=str(folder)) as service:
            await service.wait_ready()
            buffer = pb.BufferOptions(max_messages=20, overflow=pb.OVERFLOW_SPILL)
            await _connect(service, peer.url, buffer)
            which = next(iter(await service.list()))
            await api.wait_published(1, TOPIC)  # the session's number is in the store
            await api.go_away()
            start.set()
            one = await service.wait_listed(
                which,
                lambda c: (
                    c.statistics.buffered_messages + c.statistics.spilled_messages >= 500
                    and c.statistics.messages_received == 500
                ),
            )
            assert one.status == "connected"
            assert "publishing_behind" in one.degraded
            service.kill()
            await service.wait_exit()
        stored = _stored(folder, scratch)
        assert len(stored) > 400, "all but what memory had"
        await api.come_back()
        async with running_process(api.port, message_log_folder=str(folder)) as service:
            await service.wait_ready()
            await api.wait_published(len(stored) + 500, TOPIC)
            delivered = _delivered(api)
    places = [(one.session, one.sequence) for one in delivered]
    assert places == sorted(places)
    assert {place for place in places if place[0] == 1} == stored.keys()


async def test_a_stop_without_the_api_writes_down_what_only_memory_has(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "log", tmp_path / "scratch"
    start = asyncio.Event()
    async with (
        running_scripted_api(batches=True) as api,
        running_peer(numbered(500, start=start)) as peer,
    ):
        async with running_process(
            api.port, message_log_folder=str(folder), shutdown_grace_seconds=2
        ) as service:
            await service.wait_ready()
            buffer = pb.BufferOptions(max_messages=50, overflow=pb.OVERFLOW_SPILL)
            await _connect(service, peer.url, buffer)
            which = next(iter(await service.list()))
            await api.wait_published(1, TOPIC)  # the session's number is in the store
            await api.go_away()
            start.set()
            await service.wait_listed(which, lambda c: c.statistics.messages_received == 500)
            service.terminate()
            await service.wait_exit(4.0)
            (stopped,) = service.facts("ServiceStopped")
            assert stopped["dropped"] < 10, "lifecycle events, and no message"
            assert {session.close_code for session in peer.sessions} == {1001}
        stored = _stored(folder, scratch)
        assert sorted(stored) == [(1, number) for number in range(1, 501)]
        assert all(int(data) == number for (_, number), data in stored.items())
        await api.come_back()
        async with running_process(api.port, message_log_folder=str(folder)) as service:
            await service.wait_ready()
            await api.wait_published(1001, TOPIC)
            delivered = _delivered(api)
    places = [(one.session, one.sequence) for one in delivered]
    assert places[:500] == [(1, number) for number in range(1, 501)]
    assert places[500:] == [(2, number) for number in range(1, len(places) - 499)]


async def test_spill_and_durable_are_refused_without_a_folder() -> None:
    async with running_scripted_api() as api, running_process(api.port) as service:
        await service.wait_ready()
        for buffer in (DURABLE, SPILL):
            request = pb.ConnectRequest(
                url="ws://127.0.0.1:1/", options=pb.ConnectionOptions(buffer=buffer)
            )
            refused = await service.refused("Connect", request)
            assert refused.code.name == "INVALID_ARGUMENT"
            assert "MessageLogFolder" in refused.message


async def test_a_folder_that_cannot_be_used_degrades_and_loses_nothing(tmp_path: Path) -> None:
    in_the_way = tmp_path / "log"
    in_the_way.write_text("a file")
    async with (
        running_scripted_api(batches=True) as api,
        running_peer(numbered(50)) as peer,
        running_process(api.port, message_log_folder=str(in_the_way)) as service,
    ):
        await service.wait_ready()
        await _connect(service, peer.url, DURABLE)
        which = next(iter(await service.list()))
        await service.wait_listed(which, lambda c: "log_unavailable" in c.degraded)
        assert _delivered(api) == []
        in_the_way.unlink()
        async with asyncio.timeout(20):
            await api.wait_published(51, TOPIC)
        assert [one.sequence for one in _delivered(api)] == list(range(1, 51))
        await service.wait_listed(which, lambda c: not c.degraded)
        assert service.facts("MessageLogFailing")
        assert service.facts("MessageLogWorking")


async def test_disconnect_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "log", tmp_path / "scratch"
    async with running_scripted_api(batches=True) as api, running_peer(numbered(50)) as peer:
        async with running_process(api.port, message_log_folder=str(folder)) as service:
            await service.wait_ready()
            await _connect(service, peer.url, DURABLE)
            which = next(iter(await service.list()))
            await api.wait_published(51, TOPIC)
            await service.stub.Disconnect(pb.DisconnectRequest(id=which))
            service.terminate()
            assert await service.wait_exit() == 0
        assert _stored(folder, scratch) == {}
