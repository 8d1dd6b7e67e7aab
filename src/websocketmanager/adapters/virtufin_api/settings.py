"""What the adapter must know: a small frozen value, made by `app/` from the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Where the virtufin-api is and how patiently it is called.

    Attributes:
        target: `host:port` of the API, or of the sidecar's gRPC port when `route` is dapr.
        api_key: travels as metadata `x-api-key`; never shown.
        pubsub_name: travels as metadata entry `pubsubname` of every event.
        route: dapr adds metadata `dapr-app-id`, so that the sidecar invokes that service.
        app_id: the API's Dapr app id.
        timeout_seconds: deadline of each attempt.
        max_message_bytes: the API's limit for one gRPC message.
        max_attempts: of one call, the first included.
        retry_base_seconds: upper bound of the first pause; doubles up to `retry_max_seconds`.
        breaker_threshold: transport failures in a row that open the circuit breaker.
        breaker_ttl_seconds: how long it stays open before one call probes.
    """

    target: str
    api_key: str | None = field(default=None, repr=False)
    pubsub_name: str = "pubsub"
    route: Literal["direct", "dapr"] = "direct"
    app_id: str = "virtufin-api"
    timeout_seconds: float = 5.0
    max_message_bytes: int = 4 * 1024 * 1024
    max_attempts: int = 4
    retry_base_seconds: float = 0.1
    retry_max_seconds: float = 2.0
    breaker_threshold: int = 8
    breaker_ttl_seconds: float = 2.0
