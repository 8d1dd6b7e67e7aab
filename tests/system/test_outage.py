"""The API is away for a while: no socket feels it, nothing is lost, nothing is told wrongly."""

from __future__ import annotations

import asyncio

import pytest

from tests.kit.peer import running_peer
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import running_process
from tests.system.evidence import (
    assert_causal,
    assert_in_order,
    by_connection,
    lives,
    messages,
    session_data,
)
from tests.system.feeds import Ticker
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

pytestmark = pytest.mark.usefixtures("plain_loop")


async def _outage(seconds: float, *, connections: int = 20, per_second: float = 10.0) -> None:
    ticker = Ticker(per_second)
    dropped = 5
    async with (
        running_scripted_api() as api,
        running_peer(ticker) as peer,
        running_process(api.port) as service,
    ):
        await service.wait_ready()
        for number in range(connections):
            await service.stub.Connect(
                pb.ConnectRequest(
                    url=f"{peer.url}{number}", auto_reconnect=True, topic=f"marketdata.t{number}"
                )
            )
        await api.wait_published(connections * 10)
        await api.go_away()
        victims = [one for one in peer.sessions if int(one.path[1:]) < dropped]
        await asyncio.sleep(seconds / 2)  # the outage itself
        for victim in victims:
            victim.abort()
        await peer.wait_session(connections + dropped)
        await asyncio.sleep(seconds / 2)
        assert (await service.get("/health/live")).status == 200
        # No socket was closed by anybody but the peer itself.
        assert len(peer.open_sessions) == connections
        assert len(peer.sessions) == connections + dropped
        ticker.stop.set()
        during = {one.id: one for one in (await service.list()).values()}
        await api.come_back()
        async with asyncio.timeout(30):
            await _wait_last(api, ticker)
        after = await service.list()
        assert len(peer.open_sessions) == connections
        service.terminate()
        assert await service.wait_exit() == 0

    assert {one.status for one in during.values()} == {"connected"}
    delivered = by_connection(messages(api.published))
    assert delivered.keys() == after.keys()
    for which, one in after.items():
        assert_in_order(delivered[which])
        path = one.url.rpartition("/")[2]
        counts = ticker.sent[f"/{path}"]
        assert one.session == len(counts) == (2 if int(path) < dropped else 1)
        for session, count in enumerate(counts, 1):
            data = session_data(delivered[which], session)
            assert data == [b"%d" % n for n in range(1, len(data) + 1)]
            # What was on its way when the peer dropped the connection never arrived.
            last = session == len(counts)
            assert len(data) == count if last else count - 2 <= len(data) <= count
        assert one.statistics.dropped == 0
    told = lives(api.published)
    for which, events in told.items():
        assert_causal(events)
        states = [event.state for event in events if event.state != "degraded"]
        lost = ["error", "reconnecting", "connected"]
        assert states == ["connecting", "connected"] + (lost if after[which].session == 2 else [])


async def _wait_last(api: ScriptedApi, ticker: Ticker) -> None:
    """Waits until the last message of every connection is published."""
    missing = {
        (f"marketdata.t{path[1:]}", str(len(counts)), b"%d" % counts[-1])
        for path, counts in ticker.sent.items()
    }
    read = 0
    while missing:
        published = await api.wait_published(read + 1)
        missing -= {(p.topic, p.metadata.get("ce-session", ""), p.data) for p in published[read:]}
        read = len(published)


async def test_a_short_outage_loses_nothing() -> None:
    await _outage(4.0)


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_an_outage_of_thirty_seconds_loses_nothing() -> None:
    await _outage(30.0)
