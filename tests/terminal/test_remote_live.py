"""`Get`, `Update` and the streams, as the command line calls them."""

from __future__ import annotations

import pytest

from tests.api.face import ID, VIEW, Face, serving
from tests.api.test_servicer_live import NOTICE, SEEN
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.domain.trial import Outcome, Phase, TrialStep
from websocketmanager.errors import ServiceUnavailable
from websocketmanager.terminal.remote import CallFailed, Service, open_service


def address(face: Face) -> str:
    return f"127.0.0.1:{face.port}"


async def test_get_and_update() -> None:
    async with serving() as face, open_service(address(face)) as service:
        answer = await service.get(ID, timeout_seconds=10)
        assert answer.connection.id == ID
        request = pb.UpdateRequest(id=ID, topic="a.b")
        assert (await service.update(request, timeout_seconds=10)).id == ID
        with pytest.raises(CallFailed) as failed:
            await service.get("?", timeout_seconds=10)
        assert failed.value.code == "INVALID_ARGUMENT"


async def test_rotate() -> None:
    async with serving() as face, open_service(address(face)) as service:
        assert (await service.rotate(ID, timeout_seconds=10)).session == VIEW.session
        with pytest.raises(CallFailed) as failed:
            await service.rotate("?", timeout_seconds=10)
        assert failed.value.code == "INVALID_ARGUMENT"


async def test_the_steps_of_a_test() -> None:
    request = pb.TestConnectionRequest(url="ws://x.example/")
    async with (
        serving() as face,
        open_service(address(face)) as service,
        service.test_steps(request, timeout_seconds=None) as steps,
    ):
        assert not face.trials.left.is_set()
        face.trials.steps.push(TrialStep(Phase.POLICY, Outcome.OK))
        assert (await anext(steps)).step == "policy"
        face.trials.steps.finish()
        assert [one async for one in steps] == []


async def test_steps_that_do_not_come_in_time() -> None:
    request = pb.TestConnectionRequest(url="ws://x.example/")
    async with serving() as face, open_service(address(face)) as service:
        with pytest.raises(CallFailed) as failed:
            async with service.test_steps(request, timeout_seconds=0.001) as steps:
                await anext(steps)
        assert failed.value.code == "DEADLINE_EXCEEDED"


async def test_a_stream_is_in_force_inside_the_block() -> None:
    async with serving() as face, open_service(address(face)) as service:
        async with service.watch(pb.WatchRequest(id=ID)) as notices:
            assert face.verbs.calls == [("watch", ID, (), None)]
            face.verbs.notices.push(NOTICE)
            assert (await anext(notices)).event == NOTICE.number
        async with service.tail(pb.TailRequest(id=ID)) as messages:
            face.verbs.seen.push(SEEN)
            face.verbs.seen.finish()
            assert [one.sequence async for one in messages] == [SEEN.sequence]


async def _first(service: Service) -> None:
    async with service.watch(pb.WatchRequest()) as notices:
        await anext(notices)


async def test_a_stream_that_fails_says_why() -> None:
    async with serving() as face, open_service(address(face)) as service:
        face.verbs.notices.finish(ServiceUnavailable("stopping"))
        with pytest.raises(CallFailed) as failed:
            await _first(service)
        assert (failed.value.code, failed.value.reason) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
    async with open_service("127.0.0.1:1") as service:
        with pytest.raises(CallFailed) as failed:
            await _first(service)
        assert failed.value.code == "UNAVAILABLE"
