"""Whether somebody answers at an address: yes, no, and silence."""

from __future__ import annotations

from tests.kit.peer import refusing_port, running_raw_peer
from tests.kit.raw_peer import RawSession
from tests.kit.scripted_api import running_scripted_api
from websocketmanager.adapters.peers import GrpcPeers


async def test_a_grpc_server_answers_even_without_health() -> None:
    async with running_scripted_api() as api:
        assert await GrpcPeers().answers(f"127.0.0.1:{api.port}")


async def test_a_refusing_port_does_not_answer() -> None:
    with refusing_port() as port:
        assert not await GrpcPeers().answers(f"127.0.0.1:{port}")


async def test_no_address_does_not_answer() -> None:
    assert not await GrpcPeers().answers("")


async def test_silence_counts_as_an_answer() -> None:
    async def silent(session: RawSession) -> None:
        await session.wait_ended()

    async with running_raw_peer(silent) as peer:
        assert await GrpcPeers().answers(f"127.0.0.1:{peer.port}")
