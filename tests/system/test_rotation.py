"""Rotation over real sockets: one market, many sessions, nothing missed between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from websockets.exceptions import ConnectionClosed

from tests.kit.peer import Peer, PeerSession, running_peer
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import ServiceInside, running_inside
from tests.system.evidence import assert_causal, lives, messages
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

ROTATIONS = 5


@dataclass
class Market:
    """Trades one after the other; each goes to every session that has subscribed.

    Attributes:
        traded: number of the last trade.
        live: sessions that had subscribed at the same time, at most.
    """

    per_second: float = 1000.0
    traded: int = 0
    live: int = 0
    silent: bool = False
    _subscribed: dict[PeerSession, None] = field(default_factory=dict)

    async def trade(self) -> None:
        """Trades until cancelled."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while True:
            self.traded += 1
            trade = json.dumps({"trade": self.traded}).encode()
            for session in list(self._subscribed):
                try:
                    await session.send(trade)
                except ConnectionClosed:
                    self._subscribed.pop(session, None)
            pause = start + self.traded / self.per_second - loop.time()
            await asyncio.sleep(max(pause, 0.0))

    async def __call__(self, session: PeerSession) -> None:
        await session.recv()
        await session.send(b'{"subscribed":true}')
        if not self.silent:
            self._subscribed[session] = None
            self.live = max(self.live, len(self._subscribed))
        try:
            while True:
                await session.recv()
        finally:
            self._subscribed.pop(session, None)


@asynccontextmanager
async def trading(market: Market) -> AsyncIterator[tuple[ScriptedApi, Peer, ServiceInside]]:
    async with (
        running_scripted_api() as api,
        running_peer(market) as peer,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()
        task = asyncio.create_task(market.trade())
        try:
            yield api, peer, service
        finally:
            task.cancel()


def request(peer: Peer, **rotation: object) -> pb.ConnectRequest:
    subscription = pb.Subscription(
        key="trades",
        subscribe=pb.Payload(text='{"subscribe":"trades"}'),
        acknowledge=pb.Pattern(pointer="/subscribed"),
    )
    options = pb.ConnectionOptions(
        subscriptions=[subscription],
        markers=True,
        rotation=pb.Rotation(**rotation),  # type: ignore[arg-type]  # what the caller chose
    )
    return pb.ConnectRequest(url=peer.url, topic="a.b", auto_reconnect=True, options=options)


@pytest.mark.parametrize(
    "rotation",
    [
        {},
        {"overlap": pb.OVERLAP_CONTENT},
        {"overlap": pb.OVERLAP_POINTER, "overlap_pointer": "/trade"},
    ],
)
async def test_no_trade_is_missed_while_sessions_are_replaced(rotation: dict[str, object]) -> None:
    market = Market()
    async with trading(market) as (api, peer, service):
        answer = await service.stub.Connect(request(peer, **rotation))
        for number in range(2, ROTATIONS + 2):
            view = await service.stub.Rotate(pb.RotateRequest(id=answer.id))
            assert view.connection.session == number
            assert view.connection.status == "connected"
            await api.wait_published(len(api.published) + 100, "a.b")
        await service.stub.Disconnect(pb.DisconnectRequest(id=answer.id))
        published = [one for one in api.published if one.topic == "a.b"]
        kinds = [one.metadata["ce-type"].rpartition(".")[2] for one in published]
        assert "gap" not in kinds
        got = [json.loads(one.data)["trade"] for one in messages(api.published, "a.b")]
        assert set(got) == set(range(min(got), max(got) + 1)), "a trade is missing"
        if rotation:
            assert got == sorted(set(got)), "a trade came twice, or too late"
        assert market.live == 2
        events = lives(api.published)[answer.id]
        assert_causal(events)
        assert [event.state for event in events] == [
            "connecting",
            *["connected"] * (ROTATIONS + 1),
            "disconnected",
        ]


async def test_a_session_that_gets_no_data_replaces_nothing() -> None:
    market = Market()
    async with trading(market) as (api, peer, service):
        answer = await service.stub.Connect(request(peer, data_timeout_ms=300))
        await api.wait_published(100, "a.b")
        market.silent = True
        refused = await service.refused("Rotate", pb.RotateRequest(id=answer.id))
        assert refused.reason == "ROTATION_FAILED"
        assert "the old session goes on" in refused.message
        await api.wait_published(len(api.published) + 500, "a.b")
        got = [json.loads(one.data)["trade"] for one in messages(api.published, "a.b")]
        assert got == list(range(got[0], got[0] + len(got)))
