"""Binds the embedded API's port and opens and closes what stands behind it."""

from __future__ import annotations

import errno
import hmac
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from websocketmanager._proto.virtufin_api import virtufin_api_pb2 as pb
from websocketmanager._proto.virtufin_api._pool import POOL
from websocketmanager.domain.facts import RpcCrashed
from websocketmanager.embedded.fanout import Fanout, QueueLimits
from websocketmanager.embedded.publisher import Publisher
from websocketmanager.embedded.servicer import Context, PubsubServicer, StateServicer
from websocketmanager.embedded.store import opened_store
from websocketmanager.embedded.topics import ScenarioRegistry, TopicJudge, TopicRules
from websocketmanager.errors import (
    ApiError,
    ApiUnavailable,
    InvalidArgument,
    StateConflict,
)
from websocketmanager.ports import Clock, Dice, Journal

#: Characters of a status message.
_MAX_DETAILS: Final = 2000
#: Services whose state the API keeps, unless told otherwise.
KNOWN_SERVICES: Final = ("websocketmanager", "workmanager", "scenario")
API_KEY_HEADER: Final = "x-api-key"
#: Of the buffers that memory is kept for, in relation to a message: its copies come and go.
_MESSAGES_KEPT: Final = 2
#: Above, glibc does not learn: half of its DEFAULT_MMAP_THRESHOLD_MAX.
_MOST_BYTES_KEPT: Final = 16 * 1024 * 1024

_CODES: Final[dict[type[ApiError], grpc.StatusCode]] = {
    StateConflict: grpc.StatusCode.ABORTED,
    ApiUnavailable: grpc.StatusCode.UNAVAILABLE,
}
_KEEPALIVE: Final = (
    # A subscriber that vanished without a word is noticed and its queue freed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Clients may look after quiet subscriptions as often.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)

Q = TypeVar("Q")
A = TypeVar("A")
Behaviour = Callable[[Q, Context], Awaitable[A]]


@dataclass(frozen=True, slots=True)
class EmbeddedApi:
    """A running embedded API.

    Attributes:
        port: where it listens.
        address: `host:port` to dial; IPv6 in brackets.
        publisher: what publishing comes to, for who lives in the same event loop.
    """

    port: int
    address: str
    publisher: Publisher


@asynccontextmanager
async def running_embedded_api(
    *,
    host: str,
    port: int,
    database: str,
    topic_rules: TopicRules,
    journal: Journal,
    clock: Clock,
    dice: Dice,
    api_key: str | None = None,
    max_message_bytes: int = 4 * 1024 * 1024,
    services: Collection[str] = KNOWN_SERVICES,
    queue_limits: QueueLimits | None = None,
    stop_grace_seconds: float = 2.0,
) -> AsyncIterator[EmbeddedApi]:
    """Serves State and Pubsub until the block is left.

    On leaving, subscribers get what waits for them and then UNAVAILABLE, running calls have the
    grace to end, and the store is closed with everything on disk.

    Args:
        host: name or address to bind.
        port: to bind; 0 takes any free one.
        database: path of the SQLite file, or `:memory:`.
        topic_rules: `platform`, or `any` to accept every topic that is not empty.
        journal: hears of subscribers that were cut and of faults of our own.
        clock: gives events their timestamps.
        dice: gives subscriptions and messages their ids.
        api_key: required of every call as metadata `x-api-key`, unless None or empty.
        max_message_bytes: of one request, and of one event delivered.
        services: whose state is kept.
        queue_limits: what may wait for one subscriber.
        stop_grace_seconds: how long leaving may take before calls are cancelled.

    Raises:
        OSError: the port cannot be bound or the database cannot be used.
    """
    _keep_memory(min(_MESSAGES_KEPT * max_message_bytes, _MOST_BYTES_KEPT))
    async with opened_store(database) as store:
        fanout = Fanout(queue_limits or QueueLimits(), journal)
        state = StateServicer(store, services)
        judge = TopicJudge(ScenarioRegistry(store, services), topic_rules)
        publisher = Publisher(
            fanout, judge, max_message_bytes=max_message_bytes, clock=clock, dice=dice
        )
        pubsub = PubsubServicer(publisher, fanout, judge, dice=dice)
        door = _Door(api_key or None, journal)
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                # Two processes on one port would share its callers between two stores.
                ("grpc.so_reuseport", 0),
                *_KEEPALIVE,
            ]
        )
        server.add_generic_rpc_handlers((_state_rpcs(state, door), _pubsub_rpcs(pubsub, door)))
        health_servicer = _add_health_and_reflection(server)
        bound = _bind(server, host, port)
        await server.start()
        try:
            yield EmbeddedApi(port=bound, address=_address(host, bound), publisher=publisher)
        finally:
            fanout.stop()
            pubsub.stop()
            await health_servicer.enter_graceful_shutdown()
            await server.stop(stop_grace_seconds)


class _Door:
    """What every call passes: the key before it, the translation of errors behind it."""

    def __init__(self, api_key: str | None, journal: Journal) -> None:
        self._api_key = None if api_key is None else api_key.encode()
        self._journal = journal

    def guard(self, method: str, behaviour: Behaviour[Q, A]) -> Behaviour[Q, A]:
        async def call(request: Q, context: Context) -> A:
            try:
                if not self._admits(context):
                    problem = f"{API_KEY_HEADER} is missing or wrong"
                    await context.abort(grpc.StatusCode.UNAUTHENTICATED, problem)
                return await behaviour(request, context)
            except (grpc.aio.AbortError, grpc.aio.InternalError):
                raise  # an answer that was given, or a caller that has gone: gRPC's to handle
            except InvalidArgument as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _short(str(error)))
            except ApiError as error:
                await context.abort(_CODES[type(error)], _short(error.problem))
            except Exception as error:  # noqa: BLE001 - the caller learns no details, we do
                self._journal.emit(
                    RpcCrashed(method=method, error=repr(error), trace=traceback.format_exc())
                )
                await context.abort(grpc.StatusCode.INTERNAL, "internal fault")

        return call

    def _admits(self, context: Context) -> bool:
        if self._api_key is None:
            return True
        given = [
            value for key, value in context.invocation_metadata() or () if key == API_KEY_HEADER
        ]
        return len(given) == 1 and hmac.compare_digest(str(given[0]).encode(), self._api_key)


def _rpcs(
    door: _Door,
    service: str,
    *,
    unary: Mapping[str, tuple[type[Message] | None, Behaviour[Any, Message]]],
    streams: Mapping[str, tuple[type[Message], Behaviour[Any, None]]] | None = None,
    dialogues: Mapping[str, Behaviour[Any, None]] | None = None,
) -> grpc.GenericRpcHandler[Any, Any]:
    """Returns the handlers of one service.

    A behaviour without a request type gets the bytes, as dialogues do, which read from their
    context; streams write bytes that are serialised already.
    """
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            door.guard(f"{service}.{name}", behaviour),
            request_deserializer=request.FromString if request else None,
            response_serializer=_serialised,
        )
        for name, (request, behaviour) in unary.items()
    }
    for name, (request, stream) in (streams or {}).items():
        handlers[name] = grpc.unary_stream_rpc_method_handler(
            door.guard(f"{service}.{name}", stream), request_deserializer=request.FromString
        )
    for name, dialogue in (dialogues or {}).items():
        handlers[name] = grpc.stream_stream_rpc_method_handler(
            door.guard(f"{service}.{name}", dialogue), response_serializer=_serialised
        )
    return grpc.method_handlers_generic_handler(f"virtufin.{service}", handlers)


def _state_rpcs(servicer: StateServicer, door: _Door) -> grpc.GenericRpcHandler[Any, Any]:
    unary: dict[str, tuple[type[Message] | None, Behaviour[Any, Message]]] = {
        "SaveState": (pb.SaveStateRequest, servicer.save_state),
        "GetState": (pb.GetStateRequest, servicer.get_state),
        "GetAllState": (pb.GetAllStateRequest, servicer.get_all_state),
        "RegisterKeys": (pb.RegisterKeysRequest, servicer.register_keys),
        "DeleteState": (pb.DeleteStateRequest, servicer.delete_state),
    }
    return _rpcs(door, "State", unary=unary)


def _pubsub_rpcs(servicer: PubsubServicer, door: _Door) -> grpc.GenericRpcHandler[Any, Any]:
    unary: dict[str, tuple[type[Message] | None, Behaviour[Any, Message]]] = {
        "PublishEvent": (None, servicer.publish_event),
        "PublishEvents": (None, servicer.publish_events),
        "Unsubscribe": (pb.UnsubscribeRequest, servicer.unsubscribe),
    }
    streams: dict[str, tuple[type[Message], Behaviour[Any, None]]] = {
        "Subscribe": (pb.PubsubSubscribeRequest, servicer.subscribe),
        "SubscribeEvents": (pb.SubscribeEventsRequest, servicer.subscribe_events),
    }
    dialogues: dict[str, Behaviour[Any, None]] = {"PublishStream": servicer.publish_stream}
    return _rpcs(door, "Pubsub", unary=unary, streams=streams, dialogues=dialogues)


def _keep_memory(size: int) -> None:
    """Has the allocator keep freed buffers up to this size, instead of asking the kernel anew.

    Each batch needs several of half a megabyte or more, and to fault their pages in again took a
    fifth of the API's time. From a freed buffer glibc learns that such ones come and go, and then
    keeps at most twice its size at the top of the heap (mallopt(3), `M_MMAP_THRESHOLD`). The pages
    of this one are never touched; other allocators do as they please.
    """
    buffer = bytes(size)
    del buffer


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()


def _add_health_and_reflection(server: grpc.aio.Server) -> Any:
    """Both answer without the key: probes and tools look before they have one."""
    servicer = health.aio.HealthServicer()  # type: ignore[attr-defined] # stubs miss it
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = [f"virtufin.{name}" for name in pb.DESCRIPTOR.services_by_name]
    reflection.enable_server_reflection(
        [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server, pool=POOL
    )
    return servicer


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    problem = "the address cannot be bound"
    try:
        bound = server.add_insecure_port(_address(host, port))
    except RuntimeError as error:
        bound, problem = 0, str(error)
    if not bound:
        raise OSError(
            errno.EADDRINUSE,
            f"the embedded API cannot listen on {_address(host, port)} (is the port in use?): "
            f"{problem}",
        )
    return bound


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _short(sentence: str) -> str:
    # Details travel in a header, which peers bound to 8 KiB.
    return sentence if len(sentence) <= _MAX_DETAILS else sentence[:_MAX_DETAILS] + "..."
