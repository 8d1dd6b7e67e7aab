"""The life of one connection over a link that becomes half open, told as a `Verdict`.

`python -m tests.system.half_open DETECTOR`, alone in a fresh network namespace, plays it over a
link whose packets are dropped and prints the verdict; exit code 77 says that it cannot.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass

from tests.kit.far_peer import NETWORK, NoNamespaces, running_far_peer, say
from tests.kit.link import Link
from tests.kit.scripted_api import ScriptedApi, running_scripted_api
from tests.kit.service import running_inside
from tests.system.evidence import Life, lives, messages
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

CANNOT = 77
TOPIC = "a.b"
LIMIT_SECONDS = 1.0
#: By the error that it leads to. A ping's limit is the interval and the wait for its pong.
DETECTORS = {
    "read_idle": pb.Liveness(read_idle_ms=1000),
    "ping_timeout": pb.Liveness(ping_interval_ms=500, ping_timeout_ms=500),
}
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Verdict:
    """What became of it.

    Attributes:
        error_type: how the connection was found dead.
        seconds: from the last byte that passed to that.
        writes: that were accepted without an error in between.
        failed_dials: kinds of failures of the attempts while the link was dead.
        session: number of the session that delivered after it.
        status: at the end.
    """

    error_type: str
    seconds: float
    writes: int
    failed_dials: tuple[str, ...]
    session: int
    status: str


async def play(link: Link, detector: str) -> Verdict:
    """Connects, lets the link fail and come back."""
    loop = asyncio.get_running_loop()
    async with (
        running_scripted_api() as api,
        running_inside(api.port, allowed_hosts=("127.0.0.1", NETWORK)) as service,
    ):
        await service.wait_ready()
        options = pb.ConnectionOptions(
            liveness=DETECTORS[detector], handshake=pb.HandshakeOptions(open_timeout_ms=400)
        )
        request = pb.ConnectRequest(url=link.url, topic=TOPIC, auto_reconnect=True, options=options)
        which = (await service.stub.Connect(request)).id
        await api.wait_published(10, TOPIC)
        await link.drop()
        dropped_at = loop.time()
        for number in range(5):
            await service.stub.SendRaw(pb.SendRawRequest(id=which, message=b"%d" % number))
        written = (await service.list())[which].statistics.messages_sent
        [error, *_] = await _wait_errors(api, which, 1)
        seconds = loop.time() - dropped_at
        _, *later = await _wait_errors(api, which, 3)
        await link.heal()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while (last := messages(api.published, TOPIC)[-1]).session < 2:
                await _wait_more(api)
        listed = (await service.list())[which]
        return Verdict(
            error_type=error.data["error_type"],
            seconds=seconds,
            writes=written,
            failed_dials=tuple(one.data["error_type"] for one in later),
            session=last.session,
            status=listed.status,
        )


async def _wait_errors(api: ScriptedApi, which: str, count: int) -> list[Life]:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            errors = [one for one in lives(api.published)[which] if one.state == "error"]
            if len(errors) >= count:
                return errors[:count]
            await _wait_more(api)


async def _wait_more(api: ScriptedApi) -> None:
    await api.wait_published(len(api.published) + 1)


async def main(detector: str) -> int:
    """Plays it in this namespace; returns the exit code."""
    try:
        async with running_far_peer() as link:
            say(json.dumps(asdict(await play(link, detector))))
    except NoNamespaces as problem:
        say(str(problem))
        return CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
