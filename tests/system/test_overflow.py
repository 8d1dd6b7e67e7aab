"""A slow API (100 messages per second) and each policy: as chosen, in order, pings answered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.kit.peer import PeerSession, running_peer, silent
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import running_inside
from tests.system.evidence import lives, messages, unique
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

pytestmark = pytest.mark.usefixtures("plain_loop")

TOPIC = "marketdata.ticks"
COUNT = 2_000
KEYS = 10


class Burst:
    """Sends many messages at once, keeps the session alive with pings, and one more at the end."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()
        self.more = asyncio.Event()
        self.pongs = 0

    async def __call__(self, session: PeerSession) -> None:
        for number in range(1, COUNT + 1):
            await session.send(json.dumps({"s": number % KEYS, "n": number}).encode())
        self.sent.set()
        while not self.more.is_set():
            async with asyncio.timeout(5):
                await (await session.connection.ping())
            self.pongs += 1
        await session.send(b'{"s":"last","n":0}')
        await silent(session)


def _gaps(api: ScriptedApi) -> list[dict[str, object]]:
    return [
        json.loads(event.data)
        for event in unique(api.published)
        if event.metadata.get("ce-type", "").endswith("stream.gap")
    ]


@pytest.mark.parametrize(
    ("buffer", "cause"),
    [
        (pb.BufferOptions(overflow=pb.OVERFLOW_DROP_OLDEST), "drop_oldest"),
        (pb.BufferOptions(overflow=pb.OVERFLOW_DROP_NEWEST), "drop_newest"),
        (pb.BufferOptions(overflow=pb.OVERFLOW_CONFLATE, conflate_pointer="/s"), "conflate"),
        (pb.BufferOptions(overflow=pb.OVERFLOW_SPILL), ""),
    ],
    ids=["drop_oldest", "drop_newest", "conflate", "spill"],
)
async def test_a_slow_api(buffer: pb.BufferOptions, cause: str, tmp_path: Path) -> None:
    buffer.max_messages = 100
    said = {"": "publishing_behind", "conflate": "conflating"}.get(cause, "dropping")
    burst = Burst()
    async with (
        running_scripted_api() as api,
        running_peer(burst) as peer,
        running_inside(
            api.port,
            message_log_folder=str(tmp_path),
            ping_interval_ms=200,
            ping_timeout_ms=1000,
            api_timeout_ms=20_000,
        ) as service,
    ):
        await service.wait_ready()
        api.delay_seconds = 0.01
        request = pb.ConnectRequest(
            url=peer.url,
            topic=TOPIC,
            options=pb.ConnectionOptions(buffer=buffer, markers=True),
        )
        which = (await service.stub.Connect(request)).id
        async with asyncio.timeout(20):
            await burst.sent.wait()
        one = await service.wait_listed(
            which, lambda c: c.statistics.messages_received == COUNT and burst.pongs > 0
        )
        counts = one.statistics
        assert one.status == "connected"
        assert one.session == 1
        # The bound and markers; what is on its way to the disk has as much once more.
        assert counts.buffered_messages <= (110 if cause else 210)
        assert counts.messages_received == (
            counts.messages_published + counts.dropped + counts.spilled_messages + _buffered(counts)
        )
        assert list(one.degraded) == [said]
        api.delay_seconds = 0.0  # it recovers
        await service.wait_listed(
            which, lambda c: not (c.statistics.buffered_messages or c.statistics.spilled_messages)
        )
        burst.more.set()
        await service.wait_listed(which, lambda c: c.statistics.messages_received > COUNT)
        one = await service.wait_listed(which, lambda c: not c.degraded)
        async with asyncio.timeout(20):
            while (
                not (delivered := messages(api.published, TOPIC))
                or b"last" not in delivered[-1].data
            ):
                await api.wait_published(len(api.published) + 1)
    numbers = [message.sequence for message in delivered]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == COUNT + 1, "the first new message came, behind all others"
    missing = COUNT + 1 - len(numbers)
    assert missing == one.statistics.dropped
    gaps = [gap for gap in _gaps(api) if gap["cause"] == cause]
    assert sum(int(str(gap["lost"])) for gap in gaps) == missing
    assert (missing == 0) == (cause == "")
    if cause == "conflate":
        latest = {json.loads(message.data)["s"]: message.sequence for message in delivered}
        assert [latest[key] for key in range(1, KEYS)] == list(range(COUNT - KEYS + 1, COUNT))
    told = [event.data for event in lives(api.published)[which] if "cause" in event.data]
    assert told[0]["cause"] == said


def _buffered(counts: pb.ConnectionStatistics) -> int:
    """Counts in between may be markers: they are buffered, and no messages."""
    rest = counts.messages_received - (
        counts.messages_published + counts.dropped + counts.spilled_messages
    )
    assert 0 <= counts.buffered_messages - rest <= 10
    return rest


async def test_a_full_buffer_ends_the_session_with_its_own_error() -> None:
    burst = Burst()
    async with (
        running_scripted_api() as api,
        running_peer(burst) as peer,
        running_inside(api.port, max_reconnect_delay_ms=200) as service,
    ):
        await service.wait_ready()
        buffer = pb.BufferOptions(max_messages=100, overflow=pb.OVERFLOW_CLOSE)
        request = pb.ConnectRequest(
            url=peer.url,
            topic=TOPIC,
            auto_reconnect=True,
            options=pb.ConnectionOptions(buffer=buffer, markers=True),
        )
        api.delay_seconds = 0.01
        which = (await service.stub.Connect(request)).id
        await peer.wait_session(2)
        one = await service.wait_listed(which, lambda c: c.session >= 2)
        assert one.cause.error_type in {"", "buffer_overflow"}
        api.delay_seconds = 0.0
        async with asyncio.timeout(20):
            while not (events := [e for e in lives(api.published)[which] if e.state == "error"]):
                await api.wait_published(len(api.published) + 1)
        assert events[0].data["error_type"] == "buffer_overflow"
