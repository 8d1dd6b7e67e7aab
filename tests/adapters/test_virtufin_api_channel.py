"""The discipline of each call: metadata, deadline, retries, breaker, cancellation."""

from __future__ import annotations

import asyncio

import pytest
from grpc import StatusCode

from tests.kit.api_client import once_reachable, open_api
from tests.kit.clock import ManualClock
from tests.kit.journal import RecordingJournal
from tests.kit.scripted_api import Trouble, always, running_scripted_api, sequence
from websocketmanager.adapters.system import SystemClock
from websocketmanager.adapters.virtufin_api import ApiSettings, VirtufinApi
from websocketmanager.domain.facts import ApiCallEnded, ApiCallRetried, BreakerChanged
from websocketmanager.errors import ApiRefused, ApiUnauthenticated, ApiUnavailable

TRANSIENT = [
    Trouble(StatusCode.UNAVAILABLE),
    Trouble(StatusCode.DEADLINE_EXCEEDED),
    Trouble(StatusCode.RESOURCE_EXHAUSTED),
    Trouble(StatusCode.ABORTED),
]


def state_of(api: VirtufinApi) -> str:
    return api.breaker_state


async def test_direct_calls_carry_key_and_trace_but_no_app_id() -> None:
    headers = (("traceparent", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"), ("baggage", "k=v"))
    async with (
        running_scripted_api() as server,
        open_api(server.port, api_key="secret", headers=headers) as api,
    ):
        server.required_key = "secret"
        await api.get("key")

        received = server.calls[0].headers
        assert received["x-api-key"] == "secret"
        assert received["traceparent"] == headers[0][1]
        assert received["baggage"] == "k=v"
        assert "dapr-app-id" not in received


async def test_the_dapr_route_names_the_app() -> None:
    async with (
        running_scripted_api() as server,
        open_api(server.port, route="dapr", app_id="the-api") as api,
    ):
        await api.get("key")

        assert server.calls[0].headers["dapr-app-id"] == "the-api"
        assert "x-api-key" not in server.calls[0].headers


def test_the_key_never_shows() -> None:
    assert "secret" not in repr(ApiSettings(target="a:1", api_key="secret"))


async def test_a_refused_key_is_not_tried_again() -> None:
    async with running_scripted_api() as server, open_api(server.port, api_key="bad") as api:
        server.required_key = "good"

        with pytest.raises(ApiUnauthenticated):
            await api.get("key")

        assert len(server.calls) == 1


@pytest.mark.parametrize("trouble", TRANSIENT, ids=lambda trouble: trouble.code.name)
async def test_transient_failures_are_repeated_three_times(trouble: Trouble) -> None:
    clock, journal = ManualClock(skip_sleeps=True), RecordingJournal()
    async with (
        running_scripted_api() as server,
        open_api(
            server.port, clock=clock, journal=journal, retry_base_seconds=1.0, retry_max_seconds=3.0
        ) as api,
    ):
        server.script = sequence(trouble, trouble, trouble)
        assert await api.get("key") is None
        assert len(server.calls) == 4

        server.script = always(trouble)
        with pytest.raises(ApiUnavailable):
            await api.get("key")
        assert len(server.calls) == 8

    # Full jitter: the dice say one half of each ceiling, which doubles up to its bound.
    assert clock.slept == [0.5, 1.0, 1.5] * 2
    retried = journal.of(ApiCallRetried)
    assert [fact.attempt for fact in retried] == [1, 2, 3] * 2
    assert retried[0].operation == "State.GetState"
    assert [fact.outcome for fact in journal.of(ApiCallEnded)] == ["ok", "ApiUnavailable"]


async def test_a_definite_failure_is_not_repeated() -> None:
    async with running_scripted_api() as server, open_api(server.port) as api:
        server.script = always(Trouble(StatusCode.INVALID_ARGUMENT, message="bad key"))

        with pytest.raises(ApiRefused, match="bad key"):
            await api.get("key")

        assert len(server.calls) == 1


async def test_every_attempt_has_a_deadline() -> None:
    async with (
        running_scripted_api() as server,
        open_api(server.port, timeout_seconds=0.05, max_attempts=2) as api,
    ):
        holds = [server.hold("State.GetState") for _ in range(2)]

        with pytest.raises(ApiUnavailable, match="DEADLINE_EXCEEDED"):
            await api.get("key")

        assert all(hold.arrived.is_set() for hold in holds)


async def test_an_api_that_is_not_there_fails_at_once_and_then_fast() -> None:
    journal = RecordingJournal()
    async with running_scripted_api() as server:
        port = server.port
    async with open_api(port, journal=journal, breaker_threshold=3) as api:
        with pytest.raises(ApiUnavailable, match="circuit breaker is open"):
            await api.get("key")

        assert state_of(api) == "open"
        assert [fact.state for fact in journal.of(BreakerChanged)] == ["open"]


async def test_an_open_breaker_asks_nobody_and_one_probe_closes_it() -> None:
    clock = ManualClock(skip_sleeps=True)
    async with (
        running_scripted_api() as server,
        open_api(
            server.port,
            clock=clock,
            breaker_threshold=4,
            breaker_ttl_seconds=60.0,
            retry_max_seconds=0.0,
        ) as api,
    ):
        server.script = always(Trouble(StatusCode.UNAVAILABLE))
        with pytest.raises(ApiUnavailable):
            await api.get("key")
        assert state_of(api) == "open"
        asked = len(server.calls)
        server.script = None
        with pytest.raises(ApiUnavailable, match="open"):
            await api.get("key")
        assert len(server.calls) == asked

        clock.advance(60.0)
        probe_at_server = server.hold("State.GetState")
        probe = asyncio.create_task(api.get("key"))
        await probe_at_server.arrived.wait()
        assert state_of(api) == "half-open"
        with pytest.raises(ApiUnavailable, match="open"):
            await api.get("another")
        probe_at_server.release()
        await probe

        assert state_of(api) == "closed"


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(StatusCode.INVALID_ARGUMENT),
        Trouble(StatusCode.ABORTED),
        Trouble(StatusCode.INTERNAL),
        Trouble(StatusCode.RESOURCE_EXHAUSTED),
        Trouble(),
    ],
    ids=str,
)
async def test_an_answer_of_any_kind_is_a_success_of_the_channel(trouble: Trouble) -> None:
    async with (
        running_scripted_api() as server,
        open_api(server.port, breaker_threshold=2) as api,
    ):
        server.script = always(trouble)
        for _ in range(3):
            with pytest.raises((ApiRefused, ApiUnavailable)):
                await api.save("key", "value")

        assert state_of(api) == "closed"


async def test_cancelling_in_flight_ends_the_call_and_counts_for_nothing() -> None:
    journal = RecordingJournal()
    async with (
        running_scripted_api() as server,
        open_api(server.port, journal=journal, breaker_threshold=1) as api,
    ):
        hold = server.hold("State.GetState")
        task = asyncio.create_task(api.get("key"))
        await hold.arrived.wait()
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert len(server.calls) == 1
        assert state_of(api) == "closed"
        assert [fact.outcome for fact in journal.of(ApiCallEnded)] == ["CancelledError"]
        await api.get("key")


async def test_cancelling_during_the_pause_ends_the_call() -> None:
    clock = ManualClock()
    async with running_scripted_api() as server, open_api(server.port, clock=clock) as api:
        server.script = always(Trouble(StatusCode.UNAVAILABLE))
        task = asyncio.create_task(api.get("key"))
        await clock.wait_for_sleeper()
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert len(server.calls) == 1
        assert clock.sleepers == 0


async def test_a_cancelled_probe_does_not_keep_the_breaker_open() -> None:
    clock = ManualClock(skip_sleeps=True)
    async with (
        running_scripted_api() as server,
        open_api(server.port, clock=clock, breaker_threshold=1, breaker_ttl_seconds=9.0) as api,
    ):
        server.script = sequence(Trouble(StatusCode.UNAVAILABLE))
        with pytest.raises(ApiUnavailable):
            await api.get("key")
        clock.advance(9.0)
        hold = server.hold("State.GetState")
        probe = asyncio.create_task(api.get("key"))
        await hold.arrived.wait()
        probe.cancel()
        await asyncio.wait([probe])

        await api.get("key")

        assert state_of(api) == "closed"


async def test_it_comes_back_with_the_api_on_the_same_channel() -> None:
    async with (
        running_scripted_api() as server,
        open_api(server.port, clock=SystemClock(), breaker_ttl_seconds=0.05) as api,
    ):
        await api.save("key", "before")
        await server.go_away()
        with pytest.raises(ApiUnavailable):
            await api.get("key")
        await server.come_back()

        versioned = await once_reachable(lambda: api.get("key"))

        assert versioned is not None
        assert versioned.value == "before"
        assert state_of(api) == "closed"


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with running_scripted_api() as server, open_api(server.port) as api:
        assert await api.get("key") is None
