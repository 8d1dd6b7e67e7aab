"""SIGTERM under load: everything received is published, peers are told, the exit code is 0."""

from __future__ import annotations

import pytest

from tests.kit.peer import running_peer
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import ServiceProcess, running_process
from tests.system.evidence import assert_causal, assert_in_order, lives, messages
from tests.system.feeds import Ticker
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

pytestmark = pytest.mark.usefixtures("plain_loop")


async def _connect(service: ServiceProcess, url: str, count: int) -> None:
    for number in range(count):
        await service.stub.Connect(
            pb.ConnectRequest(
                url=f"{url}{number}", auto_reconnect=True, topic=f"marketdata.t{number}"
            )
        )


async def test_a_stop_under_load_flushes_and_says_going_away() -> None:
    ticker = Ticker(100.0)
    grace = 10.0
    async with (
        running_scripted_api() as api,
        running_peer(ticker) as peer,
        running_process(api.port, shutdown_grace_seconds=int(grace)) as service,
    ):
        await service.wait_ready()
        await _connect(service, peer.url, 10)
        api.delay_seconds = 0.03  # slower than the feed: much waits for the API
        await api.wait_published(300)
        waiting = sum(one.statistics.buffered_messages for one in (await service.list()).values())
        assert waiting > 50
        service.terminate()
        assert await service.wait_exit(grace + 2) == 0
        for session in peer.sessions:
            await session.wait_closed()
        assert {session.close_code for session in peer.sessions} == {1001}
        (stopped,) = service.facts("ServiceStopped")
        assert stopped["dropped"] == 0
        published = list(api.published)
    for session in peer.sessions:
        (count,) = ticker.sent[session.path]
        mine = messages(published, f"marketdata.t{session.path[1:]}")
        assert_in_order(mine)
        # What was sent behind the close was never received.
        assert count - 5 <= len(mine) <= count
        assert [one.data for one in mine] == [b"%d" % n for n in range(1, len(mine) + 1)]
    for events in lives(published).values():
        assert_causal(events)
        # It is not over: the next process goes on with it.
        assert [event.state for event in events] == ["connecting", "connected"]


async def test_after_a_stop_the_next_process_is_ready_at_once_with_the_same_connections() -> None:
    ticker = Ticker(20.0)
    async with running_scripted_api() as api, running_peer(ticker) as peer:
        async with running_process(api.port) as service:
            await service.wait_ready()
            await _connect(service, peer.url, 5)
            before = await service.list()
            service.terminate()
            assert await service.wait_exit() == 0
        async with running_process(api.port) as service:
            await service.wait_ready()
            after = await service.list()
            assert after.keys() == before.keys()
            assert {one.session for one in after.values()} == {2}
            assert {one.status for one in after.values()} == {"connected"}


async def test_a_second_signal_ends_at_once_what_waits_for_the_api() -> None:
    ticker = Ticker(100.0)
    async with (
        running_scripted_api() as api,
        running_peer(ticker) as peer,
        running_process(api.port, shutdown_grace_seconds=25) as service,
    ):
        await service.wait_ready()
        await _connect(service, peer.url, 2)
        await api.wait_published(20)
        await api.go_away()
        await ticker.wait_total(ticker.total + 50)
        service.terminate()
        await peer.sessions[0].wait_closed()  # the stop is under way
        service.terminate()
        assert await service.wait_exit(2.0) not in {0, None}
        assert any("second signal" in line for line in service.said)


async def test_a_stop_without_the_api_ends_within_its_grace_and_says_what_is_lost() -> None:
    ticker = Ticker(100.0)
    async with (
        running_scripted_api() as api,
        running_peer(ticker) as peer,
        running_process(api.port, shutdown_grace_seconds=2) as service,
    ):
        await service.wait_ready()
        await _connect(service, peer.url, 2)
        await api.wait_published(20)
        await api.go_away()
        await ticker.wait_total(ticker.total + 50)
        service.terminate()
        assert await service.wait_exit(4.0) == 1
        (stopped,) = service.facts("ServiceStopped")
        assert stopped["dropped"] >= 50
        assert {session.close_code for session in peer.sessions} == {1001}
