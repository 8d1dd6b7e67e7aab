"""Through the real faces: what callers wrote out is in no object once they have disconnected."""

from __future__ import annotations

import pytest

from tests.kit.alive import holders
from tests.kit.peer import PeerSession, running_peer
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import Service, running_inside
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

#: Planted in lower case: this module's own constants hold none.
CANARY = "FORGETMENOT"


async def listening(session: PeerSession) -> None:
    async for _ in session.connection:
        pass


def request(url: str, canary: str) -> pb.ConnectRequest:
    payload = pb.Payload(text=f'{{"token":"{canary}"}}')
    return pb.ConnectRequest(
        url=f"{url}feed?token={canary}".replace("://", f"://me:{canary}@"),
        topic="a.b",
        auto_reconnect=True,
        options=pb.ConnectionOptions(
            handshake=pb.HandshakeOptions(headers=[pb.Header(name="X-Key", value=canary)]),
            opening=pb.Opening(
                steps=[pb.Step(send=payload)],
                refusals=[
                    pb.RefusalRule(pattern=pb.Pattern(regex=f"^{canary}"), advice=pb.ADVICE_AGAIN)
                ],
            ),
            subscriptions=[pb.Subscription(key="all", subscribe=payload)],
        ),
    )


async def come_and_go(service: Service, canary: str) -> None:
    async with running_peer(listening) as peer:
        asked = request(peer.url, canary)
        which = (await service.stub.Connect(asked)).id
        assert holders(canary), "it is looked for where it is"
        await service.stub.Disconnect(pb.DisconnectRequest(id=which))
    # Nobody is there any more: the dial fails, and the record goes again.
    await service.refused("Connect", asked)
    asked.options.subscriptions[0].key = ""
    await service.refused("Connect", asked)
    assert await service.list() == {}


def forget_what_was_seen(api: ScriptedApi) -> None:
    api.calls.clear()


@pytest.mark.usefixtures("plain_loop")
async def test_nothing_holds_what_was_written_out() -> None:
    async with running_scripted_api() as api, running_inside(api.port) as service:
        await service.wait_ready()
        await come_and_go(service, CANARY.lower())
        forget_what_was_seen(api)
        assert await service.list() == {}
        assert holders(CANARY.lower()) == []
