"""Reflection, v1 and v1alpha, as grpcurl, a gateway and the library's client use it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.api.face import ID, VIEW, Face, ScriptedVerbs
from websocketmanager._proto.websocketmanager import websocketmanager_pb2
from websocketmanager.domain.model import Kind

VERSIONS = ["grpc.reflection.v1", "grpc.reflection.v1alpha"]
SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "virtufin.WebSocketManager",
]
Request = reflection_pb2.ServerReflectionRequest


async def ask(face: Face, version: str, *requests: Any) -> list[Any]:
    """Returns the answers of one reflection stream."""
    channel: Any = face.channel
    call = channel.stream_stream(
        f"/{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=Request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter(requests))
    return [answer async for answer in call]


async def pool_for(face: Face, version: str, symbol: str) -> DescriptorPool:
    """Returns a pool of what the server answers for a symbol, and of nothing else."""
    (answer,) = await ask(face, version, Request(file_containing_symbol=symbol))
    assert answer.WhichOneof("message_response") == "file_descriptor_response"
    return pool_of(answer)


def pool_of(answer: Any) -> DescriptorPool:
    files = {}
    for data in answer.file_descriptor_response.file_descriptor_proto:
        file = descriptor_pb2.FileDescriptorProto.FromString(data)
        files[file.name] = file
    pool = DescriptorPool()
    for file in in_order(files):
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def in_order(
    files: dict[str, descriptor_pb2.FileDescriptorProto],
) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """Yields files after their imports; every import must be among them."""
    done: set[str] = set()

    def visit(name: str) -> Iterator[descriptor_pb2.FileDescriptorProto]:
        if name not in done:
            done.add(name)
            for imported in files[name].dependency:
                yield from visit(imported)
            yield files[name]

    for name in files:
        yield from visit(name)


def symbols() -> list[str]:
    """Returns every name of our contract that a caller may ask for."""
    file = websocketmanager_pb2.DESCRIPTOR
    names = [message.full_name for message in file.message_types_by_name.values()]
    names += [enum.full_name for enum in file.enum_types_by_name.values()]
    for service in file.services_by_name.values():
        names += [service.full_name, *(method.full_name for method in service.methods)]
    return names


@pytest.mark.parametrize("version", VERSIONS)
async def test_services(face: Face, version: str) -> None:
    (answer,) = await ask(face, version, Request(list_services="*"))
    assert [service.name for service in answer.list_services_response.service] == SERVICES


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_name_of_the_contract_is_found_with_all_imports(
    face: Face, version: str
) -> None:
    names = symbols()
    assert len(names) > 40
    answers = await ask(face, version, *(Request(file_containing_symbol=name) for name in names))
    assert len(answers) == len(names)
    for name, answer in zip(names, answers, strict=True):
        found = pool_of(answer).FindFileByName("websocketmanager.proto")
        assert found.package == "virtufin", name


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("service", SERVICES)
async def test_every_listed_service_can_be_described(
    face: Face, version: str, service: str
) -> None:
    pool = await pool_for(face, version, service)
    methods = pool.FindServiceByName(service).methods
    package = service.rpartition(".")[0]
    assert methods
    assert all(method.input_type.file.package == package for method in methods)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "name",
    ["websocketmanager.proto", "google/api/annotations.proto", "google/protobuf/descriptor.proto"],
)
async def test_files_by_name(face: Face, version: str, name: str) -> None:
    (answer,) = await ask(face, version, Request(file_by_filename=name))
    assert pool_of(answer).FindFileByName(name).name == name


@pytest.mark.parametrize("version", VERSIONS)
async def test_http_annotations_come_along(face: Face, version: str) -> None:
    http = 72295728
    wanted = reflection_pb2.ExtensionRequest(
        containing_type="google.protobuf.MethodOptions", extension_number=http
    )
    (answer,) = await ask(face, version, Request(file_containing_extension=wanted))
    extension = pool_of(answer).FindExtensionByName("google.api.http")
    assert extension.number == http


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_not_there(face: Face, version: str) -> None:
    requests = [
        Request(file_containing_symbol="virtufin.Pubsub"),
        Request(file_containing_symbol=""),
        Request(file_by_filename="virtufin_api.proto"),
        Request(),
    ]
    answers = await ask(face, version, *requests)
    assert [answer.error_response.error_code for answer in answers] == [5, 5, 5, 3]


async def test_the_library_client(face: Face) -> None:
    def read() -> tuple[list[str], str]:
        with grpc.insecure_channel(f"127.0.0.1:{face.port}") as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            services = list(database.get_services())
            pool = DescriptorPool(database)
            return services, pool.FindServiceByName(SERVICES[-1]).methods_by_name["Send"].full_name

    services, method = await asyncio.to_thread(read)
    assert services == SERVICES
    assert method == "virtufin.WebSocketManager.Send"


async def json_call(face: Face, version: str, rpc: str, body: dict[str, Any]) -> dict[str, Any]:
    """Calls by JSON as a gateway does: all it knows of the RPC comes from reflection."""
    pool = await pool_for(face, version, "virtufin.WebSocketManager")
    method = pool.FindServiceByName("virtufin.WebSocketManager").methods_by_name[rpc]
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)
    channel: Any = face.channel
    call = channel.unary_unary(
        f"/virtufin.WebSocketManager/{rpc}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    answer = await call(json_format.ParseDict(body, request()))
    return json_format.MessageToDict(answer)


@pytest.mark.parametrize("version", VERSIONS)
async def test_calls_by_json(face: Face, version: str) -> None:
    verbs: ScriptedVerbs = face.verbs
    verbs.reply = b"\x00\xff"
    body = {"url": "wss://feed.example/s", "autoReconnect": True, "tags": {"a": "b"}}
    assert await json_call(face, version, "Connect", body) == {"id": ID, "status": "connected"}
    answer = await json_call(face, version, "Send", {"id": ID, "message": "AP8=", "timeout_ms": 9})
    assert answer == {"response": "AP8="}
    listed = await json_call(face, version, "List", {"filters": [{"key": "a", "value": "b"}]})
    assert listed["connections"][0]["url"] == VIEW.url
    assert verbs.calls[1:] == [
        ("send", ID, b"\x00\xff", Kind.BINARY, 0.009),
        ("list", (("a", "b"),)),
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("detail", ["ErrorInfo", "BadRequest"])
async def test_the_details_of_errors_are_found(face: Face, version: str, detail: str) -> None:
    (answer,) = await ask(face, version, Request(file_containing_symbol=f"google.rpc.{detail}"))
    assert pool_of(answer).FindMessageTypeByName(f"google.rpc.{detail}").fields
