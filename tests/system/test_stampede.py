"""A server drops two hundred connections at once: they come back paced and spread.

The timing of a thousand is proven in virtual time (`tests/service/test_stampede.py`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.kit.peer import PeerSession, running_peer
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import running_process
from tests.system.evidence import lives
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

COUNT = 200
SPACING_SECONDS = 0.01
BASE_SECONDS = 1.0


@dataclass
class Arrivals:
    """Notes when each session was opened, and holds it."""

    times: list[float] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __call__(self, session: PeerSession) -> None:
        async with self._changed:
            self.times.append(asyncio.get_running_loop().time())
            self.paths.append(session.path)
            self._changed.notify_all()
        while True:
            await session.recv()

    async def wait(self, count: int) -> None:
        """Waits for so many sessions."""
        async with asyncio.timeout(40), self._changed:
            await self._changed.wait_for(lambda: len(self.times) >= count)

    def assert_paced(self, times: list[float]) -> None:
        """All of them take as long as their turns, and a hundred at least half of theirs.

        A busy machine may hold some back and bring them together, but never any earlier.
        """
        assert times[-1] - times[0] > (len(times) - 1) * SPACING_SECONDS * 0.8
        windows = [after - before for before, after in zip(times, times[100:], strict=False)]
        assert min(windows) > 100 * SPACING_SECONDS * 0.5


@pytest.mark.usefixtures("plain_loop")
async def test_two_hundred_connections_lost_at_once_come_back_without_a_stampede() -> None:
    arrivals = Arrivals()
    async with (
        running_scripted_api() as api,
        running_peer(arrivals) as peer,
        running_process(
            api.port,
            host_dial_spacing_ms=(f"127.0.0.1={SPACING_SECONDS * 1000:.0f}",),
            reconnect_base_delay_ms=int(BASE_SECONDS * 1000),
            max_reconnect_delay_ms=10_000,
        ) as service,
    ):
        await service.wait_ready()
        await asyncio.gather(
            *(
                service.stub.Connect(
                    pb.ConnectRequest(url=f"{peer.url}{number}", auto_reconnect=True)
                )
                for number in range(COUNT)
            )
        )
        assert len(arrivals.times) == COUNT
        peer.abort_all()
        await arrivals.wait(2 * COUNT)
        arrivals.assert_paced(arrivals.times[:COUNT])
        arrivals.assert_paced(arrivals.times[COUNT:])
        assert sorted(arrivals.paths[COUNT:]) == sorted(arrivals.paths[:COUNT]), "each once"
        ids = set(await service.list())
        async with asyncio.timeout(20):
            while {one.status for one in (await service.list()).values()} != {"connected"}:
                pass  # each call goes through the loop and the network
        delays = [
            event.data["delay_ms"] / 1000
            for which in ids
            for event in lives(api.published)[which]
            if event.state == "reconnecting"
        ]
        assert len(delays) == COUNT
        tenths = {min(int(10 * delay / BASE_SECONDS), 9) for delay in delays}
        assert tenths == set(range(10)), "spread over the whole window"
        assert len(set(delays)) > COUNT / 2, "no lockstep"
