"""The RPCs of `virtufin.WebSocketManager`: translate, call, translate.

May import the domain, our generated messages and `translate`; errors pass through to the
interceptor.
"""
# ruff: noqa: N802 - RPC names are the contract's

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from typing import Any, Protocol, TypeVar

import grpc

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager._proto.websocketmanager.websocketmanager_pb2_grpc import (
    WebSocketManagerServicer,
)
from websocketmanager.api import translate, translate_live, translate_trial
from websocketmanager.domain.change import ConnectionChange
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import (
    ConnectionDetail,
    ConnectionId,
    ConnectionSpec,
    ConnectionView,
    Kind,
    LifecycleNotice,
    TailedMessage,
    Topic,
)
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.profiles import Profile
from websocketmanager.domain.trial import TrialStep
from websocketmanager.ports import Clock

Context = grpc.aio.ServicerContext[Any, Any]
#: Connections that `List` translates before others get their turn: about two milliseconds.
_LIST_STRIDE = 64
T_co = TypeVar("T_co", covariant=True)


class Stream(Protocol[T_co]):
    """What comes to one reader, from the moment it was asked for until it is closed."""

    def __aiter__(self) -> Stream[T_co]:
        """It iterates over itself."""

    async def __anext__(self) -> T_co:
        """Waits for the next."""

    def close(self) -> None:
        """Its reader leaves."""


class Verbs(Protocol):
    """What the service can do. Its errors are those of `errors.py`; times in seconds."""

    async def connect(self, spec: ConnectionSpec) -> ConnectionView:
        """Opens a connection."""

    def list_connections(self, filters: Sequence[tuple[str, str]]) -> tuple[ConnectionView, ...]:
        """Returns the connections that carry all these tags."""

    async def disconnect(self, connection_id: ConnectionId) -> None:
        """Closes and removes a connection."""

    async def start_publish(self, connection_id: ConnectionId, topic: Topic) -> None:
        """Publishes from the next message on."""

    async def stop_publish(self, connection_id: ConnectionId) -> None:
        """Publishes no more."""

    async def send(
        self, connection_id: ConnectionId, data: bytes, kind: Kind, timeout_seconds: float | None
    ) -> bytes:
        """Sends and returns the correlated reply; None waits the default time."""

    async def send_raw(self, connection_id: ConnectionId, data: bytes, kind: Kind) -> None:
        """Sends."""

    async def set_tag(self, connection_id: ConnectionId, key: str, value: str) -> None:
        """Sets one tag."""

    def get_tag(self, connection_id: ConnectionId, key: str) -> str:
        """Returns one tag."""

    async def set_tags(self, connection_id: ConnectionId, tags: Mapping[str, str]) -> None:
        """Replaces all tags."""

    def get_tags(self, connection_id: ConnectionId) -> Mapping[str, str]:
        """Returns all tags."""

    def get(self, connection_id: ConnectionId) -> ConnectionDetail:
        """Returns all that is known of a connection."""

    async def update(self, change: ConnectionChange) -> ConnectionView:
        """Changes a connection, all of it or nothing."""

    async def rotate(self, connection_id: ConnectionId) -> ConnectionView:
        """Replaces the session of a connection; returns once the new one has taken over."""

    def watch(
        self,
        connection_id: ConnectionId | None,
        filters: Sequence[tuple[str, str]],
        after_event: int | None,
    ) -> Stream[LifecycleNotice]:
        """Returns lifecycle events from now on."""

    def tail(self, connection_id: ConnectionId, max_message_bytes: int) -> Stream[TailedMessage]:
        """Returns messages from now on; 0 bytes: whole ones."""


class Trials(Protocol):
    """Tests of targets."""

    def running(
        self, spec: ConnectionSpec
    ) -> AbstractAsyncContextManager[AsyncIterator[TrialStep]]:
        """Tries a target inside the block; gives the steps as they end."""


class Servicer(WebSocketManagerServicer):
    """One short method per RPC."""

    def __init__(
        self,
        verbs: Verbs,
        trials: Trials,
        *,
        limits: Limits,
        clock: Clock,
        compile_regex: CompileRegex,
        profiles: Mapping[str, Profile] = translate.NO_PROFILES,
    ) -> None:
        self._verbs = verbs
        self._trials = trials
        self._limits = limits
        self._clock = clock
        self._compile_regex = compile_regex
        self._profiles = profiles

    async def Connect(self, request: pb.ConnectRequest, _: Context) -> pb.ConnectResponse:
        """Opens a connection."""
        view = await self._verbs.connect(
            translate.connection_spec(request, self._limits, self._compile_regex, self._profiles)
        )
        return pb.ConnectResponse(id=view.id, status=view.status.value)

    async def List(self, request: pb.ListRequest, _: Context) -> pb.ListResponse:
        """Lists connections; with many, other work goes on in between."""
        views = self._verbs.list_connections(translate.filters(request))
        response = pb.ListResponse()
        for start in range(0, len(views), _LIST_STRIDE):
            if start:
                await self._clock.sleep(0)
            part = views[start : start + _LIST_STRIDE]
            response.connections.extend(map(translate.connection_message, part))
        return response

    async def Disconnect(self, request: pb.DisconnectRequest, _: Context) -> pb.DisconnectResponse:
        """Closes and removes a connection."""
        await self._verbs.disconnect(translate.connection_id(request.id))
        return pb.DisconnectResponse()

    async def StartPublish(
        self, request: pb.StartPublishRequest, _: Context
    ) -> pb.StartPublishResponse:
        """Publishes from the next message on."""
        await self._verbs.start_publish(*translate.start_publish(request))
        return pb.StartPublishResponse()

    async def StopPublish(
        self, request: pb.StopPublishRequest, _: Context
    ) -> pb.StopPublishResponse:
        """Publishes no more."""
        await self._verbs.stop_publish(translate.connection_id(request.id))
        return pb.StopPublishResponse()

    async def Send(self, request: pb.SendRequest, _: Context) -> pb.SendResponse:
        """Sends and answers with the correlated reply."""
        return pb.SendResponse(response=await self._verbs.send(*translate.send(request)))

    async def SendRaw(self, request: pb.SendRawRequest, _: Context) -> pb.SendRawResponse:
        """Sends."""
        await self._verbs.send_raw(*translate.send_raw(request))
        return pb.SendRawResponse()

    async def SetTag(self, request: pb.SetTagRequest, _: Context) -> pb.SetTagResponse:
        """Sets one tag."""
        await self._verbs.set_tag(*translate.tag(request))
        return pb.SetTagResponse()

    async def GetTag(self, request: pb.GetTagRequest, _: Context) -> pb.GetTagResponse:
        """Answers with one tag."""
        return pb.GetTagResponse(value=self._verbs.get_tag(*translate.tag_key(request)))

    async def SetTags(self, request: pb.SetTagsRequest, _: Context) -> pb.SetTagsResponse:
        """Replaces all tags."""
        await self._verbs.set_tags(*translate.tags(request))
        return pb.SetTagsResponse()

    async def GetTags(self, request: pb.GetTagsRequest, _: Context) -> pb.GetTagsResponse:
        """Answers with all tags."""
        return pb.GetTagsResponse(tags=self._verbs.get_tags(translate.connection_id(request.id)))

    async def Get(self, request: pb.GetRequest, _: Context) -> pb.GetResponse:
        """Answers with all that is known of a connection."""
        detail = self._verbs.get(translate.connection_id(request.id))
        return translate_live.detail_message(detail)

    async def Update(self, request: pb.UpdateRequest, _: Context) -> pb.UpdateResponse:
        """Changes a connection."""
        change = translate_live.change(request, self._compile_regex)
        return translate_live.updated_message(await self._verbs.update(change))

    async def Watch(
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncGenerator[pb.WatchResponse, None]:
        """Streams lifecycle events."""
        with closing(self._verbs.watch(*translate_live.watch(request))) as notices:
            # Tells the caller that the stream is in force, before its first event.
            await context.send_initial_metadata(())
            async for notice in notices:
                yield translate_live.notice_message(notice)

    async def Tail(
        self, request: pb.TailRequest, context: Context
    ) -> AsyncGenerator[pb.TailResponse, None]:
        """Streams messages."""
        with closing(self._verbs.tail(*translate_live.tail(request))) as messages:
            await context.send_initial_metadata(())  # as for Watch
            async for seen in messages:
                yield translate_live.tailed_message(seen)

    async def Rotate(self, request: pb.RotateRequest, _: Context) -> pb.RotateResponse:
        """Replaces a session."""
        view = await self._verbs.rotate(translate.connection_id(request.id))
        return translate_trial.rotated_message(view)

    async def TestConnection(
        self, request: pb.TestConnectionRequest, _: Context
    ) -> pb.TestConnectionResponse:
        """Tries a target."""
        async with self._trials.running(self._trial_spec(request)) as steps:
            return translate_trial.trial_message([step async for step in steps])

    async def TestConnectionSteps(
        self, request: pb.TestConnectionRequest, context: Context
    ) -> AsyncGenerator[pb.TestStep, None]:
        """Tries a target and streams the steps."""
        async with self._trials.running(self._trial_spec(request)) as steps:
            await context.send_initial_metadata(())  # as for Watch
            async for step in steps:
                yield translate_trial.step_message(step)

    def _trial_spec(self, request: pb.TestConnectionRequest) -> ConnectionSpec:
        return translate_trial.trial_spec(
            request, self._limits, self._compile_regex, self._profiles
        )
