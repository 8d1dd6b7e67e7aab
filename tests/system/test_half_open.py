"""Half-open links: nothing arrives, every write succeeds, and no error ever comes by itself.

Such a connection is found dead by reading, within 1.25 times the detector's limit, and comes back
with the link. Once with packets that are dropped between two network namespaces, where the
machine allows it, and once with a proxy that takes everything and says nothing.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from typing import Any

import pytest

from tests.kit.far_peer import tick
from tests.kit.link import running_silent_proxy
from tests.kit.peer import running_peer
from tests.system.half_open import CANNOT, DETECTORS, LIMIT_SECONDS, Verdict, play


def assert_noticed_by_reading(verdict: Verdict, detector: str) -> None:
    assert verdict.error_type == detector
    # The last data came a little before the link failed, and a ping was perhaps on its way.
    earliest = 0.85 if detector == "read_idle" else 0.45
    assert earliest * LIMIT_SECONDS <= verdict.seconds <= 1.25 * LIMIT_SECONDS
    assert verdict.writes == 5, "writing told nothing"
    assert set(verdict.failed_dials) == {"open_timeout"}
    assert (verdict.session, verdict.status) == (2, "connected")


@pytest.mark.usefixtures("plain_loop")
@pytest.mark.parametrize("detector", DETECTORS)
async def test_behind_a_silent_proxy(detector: str) -> None:
    async with running_peer(tick) as peer, running_silent_proxy(peer.port) as link:
        verdict = await play(link, detector)
    assert_noticed_by_reading(verdict, detector)


@pytest.mark.parametrize("detector", DETECTORS)
async def test_with_packets_dropped_between_two_network_namespaces(detector: str) -> None:
    tools = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if tools:
        pytest.skip(f"this machine has no {', '.join(tools)}; the silent proxy proves the same")
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "--map-root-user", "--kill-child", "--fork"),
        *(sys.executable, "-m", "tests.system.half_open", detector),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    words = said.decode().strip()
    if process.returncode == CANNOT or (not words and b"unshare" in errors):
        pytest.skip(f"no network namespaces here: {words or errors.decode().strip()}")
    assert process.returncode == 0, errors.decode()
    facts: dict[str, Any] = json.loads(words)
    facts["failed_dials"] = tuple(facts["failed_dials"])
    assert_noticed_by_reading(Verdict(**facts), detector)
