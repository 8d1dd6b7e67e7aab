"""`Rotate` and the tests of a target over a real channel: answers, errors, and who goes away."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.api.face import ID, VIEW, Face, info_of, serving
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api import translate, translate_trial
from websocketmanager.domain.facts import RpcEnded
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.trial import Outcome, Phase, TrialStep
from websocketmanager.errors import LimitReached, NotConnected, RotationFailed

RESOLVED = TrialStep(Phase.RESOLVE, Outcome.OK, 0.0015, "127.0.0.1")
REFUSED = TrialStep(Phase.TCP, Outcome.FAILED, 2.0, "", "connect_refused", "it refused")
STEPS = "virtufin.WebSocketManager/TestConnectionSteps"


async def test_rotate(face: Face) -> None:
    answer = await face.stub.Rotate(pb.RotateRequest(id=ID.upper()))
    assert answer.connection == translate.connection_message(VIEW)
    assert face.verbs.calls == [("rotate", ID)]


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (
            RotationFailed(connection_id=ID, error_type="tls_failed", problem="why"),
            grpc.StatusCode.UNAVAILABLE,
            "ROTATION_FAILED",
        ),
        (
            NotConnected(connection_id=ID, status="reconnecting", next_attempt_at=""),
            grpc.StatusCode.FAILED_PRECONDITION,
            "NOT_CONNECTED",
        ),
    ],
)
async def test_a_rotation_that_fails(
    face: Face, error: Exception, code: grpc.StatusCode, reason: str
) -> None:
    face.verbs.error = error
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await face.stub.Rotate(pb.RotateRequest(id=ID))
    assert (refused.value.code(), refused.value.details()) == (code, str(error))
    assert info_of(refused.value).reason == reason


async def test_a_target_that_fails_is_an_answer(face: Face) -> None:
    for step in (RESOLVED, REFUSED):
        face.trials.steps.push(step)
    face.trials.steps.finish()
    request = pb.TestConnectionRequest(url="wss://feed.example/s")
    answer = await face.stub.TestConnection(request)
    assert not answer.ok
    assert list(answer.steps) == [translate_trial.step_message(one) for one in (RESOLVED, REFUSED)]
    assert face.trials.tried == [translate_trial.trial_spec(request, Limits())]
    assert face.trials.left.is_set()
    assert face.verbs.calls == []


async def test_a_good_target(face: Face) -> None:
    face.trials.steps.push(RESOLVED)
    face.trials.steps.push(TrialStep(Phase.PROXY, Outcome.SKIPPED))
    face.trials.steps.finish()
    assert (await face.stub.TestConnection(pb.TestConnectionRequest(url="ws://x.example/"))).ok


async def test_steps_come_as_they_end(face: Face) -> None:
    stream = face.stub.TestConnectionSteps(pb.TestConnectionRequest(url="ws://x.example/"))
    await stream.initial_metadata()
    assert not face.trials.left.is_set()
    steps = aiter(stream)
    face.trials.steps.push(RESOLVED)
    # The second is not there yet.
    assert (await anext(steps)).step == "resolve"
    face.trials.steps.push(REFUSED)
    face.trials.steps.finish()
    assert [one.error_type async for one in steps] == ["connect_refused"]
    assert face.trials.left.is_set()
    assert face.journal.facts == [RpcEnded(method=STEPS, code="OK", seconds=0.0)]


@pytest.mark.parametrize("rpc", ["TestConnection", "TestConnectionSteps"])
async def test_a_caller_that_goes_away_ends_the_trial(rpc: str) -> None:
    async with serving() as face:
        call: Any = getattr(face.stub, rpc)(pb.TestConnectionRequest(url="ws://x.example/"))
        await face.trials.entered.wait()
        call.cancel()
        await face.trials.left.wait()
        await face.server.stop(5)
        method = f"virtufin.WebSocketManager/{rpc}"
        assert face.journal.facts == [RpcEnded(method=method, code="CANCELLED", seconds=0.0)]


@pytest.mark.parametrize("rpc", ["TestConnection", "TestConnectionSteps"])
@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.TestConnectionRequest(), "url"),
        (pb.TestConnectionRequest(url="http://x.example/"), "url"),
        (pb.TestConnectionRequest(url="ws://x.example/", profile="nonsense"), "profile"),
        (
            pb.TestConnectionRequest(url="ws://x.example/", profile_parameters={"a": "b"}),
            "profile_parameters",
        ),
        (
            pb.TestConnectionRequest(
                url="ws://x.example/", options=pb.ConnectionOptions(send_spacing_ms=-1)
            ),
            "options.send_spacing_ms",
        ),
    ],
)
async def test_malformed_requests(
    face: Face, rpc: str, request_: pb.TestConnectionRequest, field: str
) -> None:
    call: Any = getattr(face.stub, rpc)(request_)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (anext(aiter(call)) if hasattr(call, "__aiter__") else call)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(info_of(refused.value).metadata) == {"fields": field}
    assert face.trials.tried == []


@pytest.mark.parametrize("rpc", ["TestConnection", "TestConnectionSteps"])
async def test_too_many_tests(face: Face, rpc: str) -> None:
    face.trials.error = LimitReached(limit="connection tests at once", maximum=8)
    call: Any = getattr(face.stub, rpc)(pb.TestConnectionRequest(url="ws://x.example/"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await (anext(aiter(call)) if hasattr(call, "__aiter__") else call)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert info_of(refused.value).metadata["maximum"] == "8"
