"""How failures of State become errors, whichever way the API tells them."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from tests.kit.api_client import open_api
from tests.kit.scripted_api import Trouble, always, running_scripted_api, sequence, sprinkle
from websocketmanager.errors import ApiError, ApiRefused, ApiUnavailable, StateConflict

REFUSALS = [
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.PERMISSION_DENIED,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.OUT_OF_RANGE,
    StatusCode.UNIMPLEMENTED,
]
VAGUE = [
    Trouble(),
    Trouble(StatusCode.INTERNAL),
    Trouble(StatusCode.UNKNOWN),
    Trouble(StatusCode.DATA_LOSS),
    Trouble(StatusCode.CANCELLED),
]


async def test_every_call_names_our_service_exactly() -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        await api.save("key", "value")
        await api.get("key")
        await api.register(["key"])
        await api.get_all()
        await api.delete("key")

        assert {call.request.service for call in server.calls} == {"websocketmanager"}
        assert len(server.calls) == 5


async def test_an_answer_without_status_is_a_success() -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        server.omit_status = True

        await api.save("key", "value")
        await api.register(["key"])
        await api.delete("key")

        assert len(server.calls) == 3


@pytest.mark.parametrize("as_status", [False, True], ids=["ABORTED", "CONFLICT"])
async def test_a_stale_etag_is_a_conflict_at_once(as_status: bool) -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        server.conflict_as_status = as_status
        await api.save("key", "value")

        with pytest.raises(StateConflict):
            await api.save("key", "other", etag="stale")

        assert server.operations() == ["State.SaveState"] * 2


@pytest.mark.parametrize("trouble", [Trouble(StatusCode.ABORTED), Trouble(status="CONFLICT")])
async def test_a_conflict_without_etag_is_repeated_then_unavailable(trouble: Trouble) -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        server.script = sequence(trouble)
        await api.save("key", "value")
        assert server.values["key"][0] == "value"

        server.script = always(trouble)
        with pytest.raises(ApiUnavailable):
            await api.save("key", "value")
        assert len(server.calls) == 2 + 4


async def test_a_repeated_save_that_had_been_done_may_read_as_conflict() -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        await api.save("key", "one")
        current = await api.get("key")
        assert current is not None
        server.script = sequence(Trouble(StatusCode.UNAVAILABLE, after=True))

        with pytest.raises(StateConflict):
            await api.save("key", "two", etag=current.etag)

        assert server.values["key"][0] == "two"


@pytest.mark.parametrize("code", REFUSALS, ids=lambda code: code.name)
async def test_a_refusal_is_definite(code: StatusCode) -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        server.script = always(Trouble(code))

        with pytest.raises(ApiRefused):
            await api.save("key", "value")

        assert len(server.calls) == 1


@pytest.mark.parametrize("trouble", VAGUE, ids=lambda trouble: str(trouble.code))
async def test_a_failure_without_reason_is_repeated_then_unavailable(trouble: Trouble) -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        server.script = sequence(trouble, trouble)
        await api.save("key", "value", etag=None)
        server.script = always(trouble)
        with pytest.raises(ApiUnavailable):
            await api.save("key", "value")

        assert len(server.calls) == 3 + 4


async def test_a_value_above_the_limit_is_refused_unsent() -> None:
    async with (
        running_scripted_api() as server,
        open_api(server.port, max_message_bytes=1000) as api,
    ):
        with pytest.raises(ApiRefused, match="1000"):
            await api.save("key", "x" * 1000)

        assert server.calls == []


async def test_get_all_may_be_larger_than_one_message_of_ours() -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        for number in range(6):
            await api.save(f"key{number}", "x" * 1_000_000)
        await api.register([f"key{number}" for number in range(6)])

        assert len(await api.get_all()) == 6


async def test_sprinkled_failures_break_nothing() -> None:
    troubles = [
        Trouble(),
        Trouble(after=True),
        Trouble(StatusCode.UNAVAILABLE),
        Trouble(StatusCode.UNAVAILABLE, after=True),
        Trouble(StatusCode.RESOURCE_EXHAUSTED),
        Trouble(StatusCode.INTERNAL),
    ]
    async with (
        running_scripted_api() as server,
        open_api(server.port, max_attempts=30, breaker_threshold=30) as api,
    ):
        server.script = sprinkle(seed=3, rate=0.4, troubles=troubles)
        for number in range(100):
            await api.save(f"key{number % 7}", str(number))
            versioned = await api.get(f"key{number % 7}")
            assert versioned is not None
            assert versioned.value == str(number)
        await api.delete("key0")
        assert await api.get("key0") is None
        assert len(server.calls) > 250


async def test_every_error_is_of_our_tree_and_names_the_operation() -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        for code in StatusCode:
            if code is StatusCode.OK:
                continue
            server.script = always(Trouble(code))
            with pytest.raises(ApiError, match=r"State\.GetState") as caught:
                await api.get("key")
            assert caught.value.operation == "State.GetState"
