"""The adapter as a whole: both ports on one channel, named truthfully."""

from __future__ import annotations

from tests.kit.api_client import open_api
from tests.kit.scripted_api import running_scripted_api
from websocketmanager.adapters.virtufin_api import VirtufinApi
from websocketmanager.ports import EventSink, StateStore


def ports_of(api: VirtufinApi) -> tuple[StateStore, EventSink]:
    return api, api


async def test_it_is_both_ports_and_says_where_it_calls() -> None:
    async with running_scripted_api() as server, open_api(server.port, api_key="secret") as api:
        assert ports_of(api) == (api, api)
        assert repr(api) == f"VirtufinApi(127.0.0.1:{server.port}, breaker closed)"


async def test_making_it_needs_no_api() -> None:
    async with open_api(1) as api:
        assert api.breaker_state == "closed"
