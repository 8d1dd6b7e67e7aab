"""Nothing holds what a dial was given once its socket is gone: URLs and headers hold secrets."""

from __future__ import annotations

import pytest

from tests.kit.alive import holders
from tests.kit.opening import dialer, failure_of, opened_by, target
from tests.kit.peer import running_peer, silent
from tests.kit.quiet import wait_quiet
from tests.kit.raw_peer import refusing_port

pytestmark = pytest.mark.usefixtures("engine")

#: Planted in lower case: this module's own constants hold none.
CANARY = "FORGETMENOT"


async def visit(canary: str) -> None:
    async with running_peer(silent) as peer:
        url = f"{peer.url}feed/{canary}?token={canary}".replace("://", f"://me:{canary}@")
        dialled = target(url, headers=(("X-Key", canary),), subprotocols=())
        async with opened_by(dialer(), dialled) as session:
            await peer.wait_session()
            assert holders(canary), "it is looked for where it is"
            await session.close(1000, "")


async def test_a_socket_takes_along_what_it_was_dialled_with() -> None:
    await visit(CANARY.lower())
    assert holders(CANARY.lower()) == []


async def knock(canary: str) -> None:
    with refusing_port() as port:
        url = f"ws://me:{canary}@127.0.0.1:{port}/{canary}?token={canary}"
        await failure_of(dialer().dial(target(url, headers=(("X-Key", canary),))))


async def test_a_dial_that_fails_keeps_nothing() -> None:
    await knock(CANARY.lower())
    await wait_quiet()  # the loop knows its last callback, and that one the failure
    assert holders(CANARY.lower()) == []
