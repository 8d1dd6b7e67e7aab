"""What a caller wrote out in its options is gone from the process with the last connection."""

from __future__ import annotations

import json

import pytest

from tests.kit.alive import holders
from tests.service.house import House, World, running_house
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.api.translate import connection_spec
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import ConnectionId
from websocketmanager.errors import InvalidArgument

#: Planted in lower case: this module's own constants hold none.
CANARY = "FORGETMENOT"


def request(canary: str) -> pb.ConnectRequest:
    """Returns a request with the canary in every text of its options that may hold one."""
    here = pb.Pattern(pointer=f"/{canary}", value=json.dumps(canary))
    searched = pb.Pattern(regex=f"^{canary}")
    payload = pb.Payload(text=f'{{"token":"{canary}"}}')
    options = pb.ConnectionOptions(
        handshake=pb.HandshakeOptions(
            headers=[pb.Header(name="X-Key", value=f"{canary}-header")],
            subprotocols=[f"{canary}-protocol"],
            proxy=f"http://me:{canary}@proxy.test:8080",
            tls=pb.TlsOptions(server_name=f"{canary}.test"),
        ),
        opening=pb.Opening(
            steps=[pb.Step(send=payload), pb.Step(send=pb.Payload(binary=canary.encode() * 2))],
            refusals=[pb.RefusalRule(pattern=searched, advice=pb.ADVICE_AGAIN, name="no")],
        ),
        subscriptions=[pb.Subscription(key=f"{canary}.key", subscribe=payload)],
        liveness=pb.Liveness(
            data=here, heartbeat=pb.ApplicationHeartbeat(send=payload, interval_ms=60_000)
        ),
        correlation=pb.Correlation(request_pointer=f"/{canary}/id"),
        exclusive=f"{canary}.credential",
        rotation=pb.Rotation(notices=[searched]),
    )
    return pb.ConnectRequest(
        url=f"wss://feed.test/?token={canary}",
        topic="websocketmanager.ticks",
        auto_reconnect=True,
        tags={"who": canary},
        options=options,
    )


async def connected(house: House, canary: str, *, exclusive: bool = True) -> ConnectionId:
    asked = request(canary)
    if not exclusive:
        asked.options.exclusive = ""
    spec = connection_spec(asked, Limits(), compile_regex)
    which, _ = await house.connected(spec)
    return which


def forget_what_was_seen(house: House) -> None:
    """The doubles remember what the world would see."""
    house.dialer.targets.clear()
    house.dialer.judged.clear()
    house.dialer.sockets.clear()


async def disconnect(house: House, which: ConnectionId) -> None:
    await house.supervisor.disconnect(which)
    await house.settle()
    forget_what_was_seen(house)


async def test_nothing_holds_what_was_written_out_once_the_connection_is_gone() -> None:
    assert holders(CANARY.lower()) == []
    async with running_house(World()) as house:
        which = await connected(house, CANARY.lower())
        assert holders(CANARY.lower()), "it is looked for where it is"
        await disconnect(house, which)
        assert holders(CANARY.lower()) == []


async def test_the_last_of_several_connections_takes_it_along() -> None:
    async with running_house(World()) as house:
        first, second = [await connected(house, CANARY.lower(), exclusive=False) for _ in range(2)]
        await disconnect(house, first)
        third = await connected(house, CANARY.lower(), exclusive=False)
        records = [house.registry.entries[which].record for which in (second, third)]
        assert records[0].spec.options is records[1].spec.options, "still one object"
        del records
        await disconnect(house, second)
        assert house.registry.entries[third].record.spec.options.opening.steps
        await disconnect(house, third)
        assert holders(CANARY.lower()) == []


async def test_a_recovered_connection_takes_it_along() -> None:
    world = World()
    async with running_house(world) as house:
        which = await connected(house, CANARY.lower())
        await house.settle()
    async with running_house(world, recover=True) as house:
        await house.settle()
        await disconnect(house, which)
        assert holders(CANARY.lower()) == []


async def test_a_refused_request_leaves_nothing() -> None:
    wrong = request(CANARY.lower())
    wrong.options.subscriptions.append(wrong.options.subscriptions[0])  # the key again
    with pytest.raises(InvalidArgument, match="subscriptions"):
        connection_spec(wrong, Limits(), compile_regex)
    del wrong
    assert holders(CANARY.lower()) == []
