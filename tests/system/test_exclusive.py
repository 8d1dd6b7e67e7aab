"""Connections that share a credential at a venue which lets it in once: they take turns."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import ServiceInside, running_inside
from tests.kit.venues.alpaca import Alpaca
from tests.kit.venues.base import VenueSession, running_venue
from tests.system.evidence import lives
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

RETRY = pb.ReconnectOptions(first_dial=pb.FIRST_DIAL_RETRY)
#: Data messages of a venue's session: by then the other connection is in the queue again.
A_WHILE = 8


def secrets_in(folder: Path) -> str:
    for name, value in ("ALPACA_KEY_ID", "key"), ("ALPACA_SECRET_KEY", "secret"):
        (folder / name).write_text(value)
    return str(folder)


async def connect(service: ServiceInside, venue: Alpaca, symbol: str) -> str:
    request = pb.ConnectRequest(
        url=venue.url,
        auto_reconnect=True,
        topic="a.b",
        profile="alpaca",
        profile_parameters={"symbol": symbol},
        options=pb.ConnectionOptions(reconnect=RETRY),
    )
    return str((await service.stub.Connect(request)).id)


async def session_of(venue: Alpaca, symbol: str, number: int) -> VenueSession:
    """Waits until the session of this number has data of the symbol; returns it."""
    wanted = {f"trades {symbol}"}
    session = await venue.wait_subscribed(wanted, after=number - 1)
    assert venue.sessions.index(session) == number - 1
    assert set(session.subscribed) == wanted
    await venue.wait_data(session, A_WHILE)
    return session


def logins(venue: Alpaca) -> int:
    """How often somebody tried to log in, over all sessions."""
    requests = [json.loads(text) for session in venue.sessions for text in session.requests]
    return sum(request["action"] == "auth" for request in requests)


async def test_two_connections_take_turns_and_the_venue_never_refuses_one(tmp_path: Path) -> None:
    async with (
        running_scripted_api() as api,
        running_venue(Alpaca({"key": "secret"})) as venue,
        running_inside(api.port, secrets_folder=secrets_in(tmp_path)) as service,
    ):
        await service.wait_ready()
        one = await connect(service, venue, "ONE")
        await service.wait_listed(one, lambda now: now.status == "connected")
        two = await connect(service, venue, "TWO")
        session = await session_of(venue, "ONE", 1)
        assert (await service.list())[two].status == "connecting"

        # Whoever loses its session goes behind the one that waits.
        for number, symbol in enumerate(("TWO", "ONE", "TWO", "ONE"), 2):
            await session.close(1012, "maintenance")
            session = await session_of(venue, symbol, number)
        assert (await service.list())[one].status == "connected"
        assert (await service.list())[two].status == "reconnecting"
        assert (len(venue.sessions), logins(venue)) == (5, 5), "a login for each turn, no more"

        # A connection that is gone for good leaves its turn to the other.
        await service.stub.Disconnect(pb.DisconnectRequest(id=one))
        await session_of(venue, "TWO", 6)
        await service.wait_listed(two, lambda now: now.status == "connected")
        assert (len(venue.sessions), logins(venue)) == (6, 6)
        assert venue.violations == []
        errors = [
            event.data["error_type"]
            for which in (one, two)
            for event in lives(api.published)[which]
            if event.state == "error"
        ]
        assert set(errors) == {"peer_closed"}


async def test_one_that_waits_can_be_disconnected_and_leaves_no_turn_behind(
    tmp_path: Path,
) -> None:
    async with (
        running_scripted_api() as api,
        running_venue(Alpaca({"key": "secret"})) as venue,
        running_inside(api.port, secrets_folder=secrets_in(tmp_path)) as service,
    ):
        await service.wait_ready()
        one = await connect(service, venue, "ONE")
        await session_of(venue, "ONE", 1)
        waiting = await connect(service, venue, "GONE")
        await connect(service, venue, "TWO")
        await service.stub.Disconnect(pb.DisconnectRequest(id=waiting))
        await service.stub.Disconnect(pb.DisconnectRequest(id=one))
        await session_of(venue, "TWO", 2)
        assert venue.violations == []
