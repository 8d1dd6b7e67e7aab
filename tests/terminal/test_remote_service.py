"""Who is at the other end: nobody, somebody else, or a service that is ready."""

from __future__ import annotations

import pytest

from websocketmanager.terminal.remote import CallFailed, open_service


async def test_what_is_not_there_is_unavailable() -> None:
    async with open_service("127.0.0.1:1") as service:
        with pytest.raises(CallFailed) as failed:
            await service.list({}, timeout_seconds=10)
        assert failed.value.code == "UNAVAILABLE"
        with pytest.raises(CallFailed):
            await service.wait_serving(timeout_seconds=10)


async def test_another_service_at_the_address_is_told(address: str) -> None:
    async with open_service(address) as service:
        with pytest.raises(CallFailed) as failed:
            await service.disconnect("x", timeout_seconds=10)
    assert failed.value.code == "UNIMPLEMENTED"


async def test_a_ready_peer_is_waited_for_by_health(address: str) -> None:
    async with open_service(address) as service:
        await service.wait_serving(timeout_seconds=10)
