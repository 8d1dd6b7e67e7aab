"""Server reflection, v1 and v1alpha, over the files that this server serves.

The library has v1alpha only. v1 is the same protocol under another package, so one servicer
answers both; the descriptor of v1 is made from the other by renaming.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from google.api import annotations_pb2, http_pb2
from google.protobuf import any_pb2, descriptor_pb2, duration_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from websocketmanager._proto.websocketmanager import websocketmanager_pb2

_ALPHA = "grpc.reflection.v1alpha"
_STABLE = "grpc.reflection.v1"
_STABLE_SERVICE = f"{_STABLE}.ServerReflection"


def add_reflection(server: grpc.aio.Server) -> None:
    """Adds both versions to a server that is not started yet."""
    pool = _Pool()
    servicer = reflection.aio.ReflectionServicer(  # type: ignore[attr-defined]  # stubs lack it
        pool.services, pool=pool
    )
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_STABLE_SERVICE, methods),)
    )


class _Pool:
    """A descriptor pool that also finds the file of an RPC, which the library's does not.

    Attributes:
        services: full names of all services.
    """

    def __init__(self) -> None:
        self._pool = DescriptorPool()
        self._rpcs: dict[str, FileDescriptor] = {}
        self.services: list[str] = []
        for file in _files():
            added = self._pool.AddSerializedFile(file.SerializeToString())
            for service in added.services_by_name.values():
                self.services.append(service.full_name)
                self._rpcs.update((method.full_name, added) for method in service.methods)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - its interface
        return self._rpcs.get(symbol) or self._pool.FindFileContainingSymbol(symbol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def _files() -> Iterator[FileDescriptorProto]:
    """Yields every file that a caller may ask for, each after what it imports."""
    modules = (
        descriptor_pb2,
        # The details of our errors, so that a caller without our files can read them.
        any_pb2,
        duration_pb2,
        status_pb2,
        error_details_pb2,
        http_pb2,
        annotations_pb2,
        websocketmanager_pb2,
        health_pb2,
        reflection_pb2,
    )
    for module in modules:
        yield FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    yield _stable(FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb))


def _stable(file: FileDescriptorProto) -> FileDescriptorProto:
    """Returns the v1alpha reflection file renamed to v1."""
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = _STABLE
    for message in file.message_type:
        # An empty type name would still count as one.
        for field in filter(lambda field: field.type_name, message.field):
            field.type_name = field.type_name.replace(f".{_ALPHA}.", f".{_STABLE}.")
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(f".{_ALPHA}.", f".{_STABLE}.")
            method.output_type = method.output_type.replace(f".{_ALPHA}.", f".{_STABLE}.")
    return file
