"""Asks whether another process of this service answers at an address, over gRPC health."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_TIMEOUT_SECONDS = 2.0


class GrpcPeers:
    """`ports.Peers` over gRPC."""

    async def answers(self, address: str) -> bool:
        """Returns whether a gRPC server answers at the address (`host:port`).

        Silence counts as an answer: a host that does not say no may hold a living process.
        """
        if not address:
            return False
        options = (("grpc.enable_http_proxy", 0),)
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_SECONDS)
            except grpc.aio.AioRpcError as error:
                return error.code() is not grpc.StatusCode.UNAVAILABLE
        return True
