"""What the service's configuration means for one connection: defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass, field

from websocketmanager.domain.envelope import LIFECYCLE_TOPIC, LIFECYCLE_TYPE_PREFIX
from websocketmanager.domain.host_rules import HostRules
from websocketmanager.domain.lifecycle import Policy
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import ConnectionSpec, Format, InstanceId, Topic
from websocketmanager.domain.retry import BackoffPolicy
from websocketmanager.domain.sharing import shared

#: What the API needs of a publish request beside its data: topic, attributes, framing.
_API_OVERHEAD_BYTES = 64 * 1024
_DEFAULT_BUFFER_MESSAGES = 65_536
_DEFAULT_BUFFER_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """The service's own choices, handed to whoever acts on them. Times in seconds."""

    instance_id: InstanceId
    incarnation: str
    grpc_address: str = ""
    default_timeout_seconds: float = 10.0
    close_timeout_seconds: float = 5.0
    reconnect_base_seconds: float = 1.0
    reconnect_max_seconds: float = 30.0
    reconnect_max_attempts: int = 0
    stable_after_seconds: float = 30.0
    ping_interval_seconds: float = 20.0
    ping_timeout_seconds: float = 20.0
    dial_spacing_seconds: float = 0.002
    dial_spacing_rules: HostRules = field(default_factory=HostRules)
    """In milliseconds, for hosts with a spacing of their own."""
    max_sockets_per_host: int = 0
    """Zero: as many as come."""
    max_sockets_rules: HostRules = field(default_factory=HostRules)
    """For hosts with a cap of their own."""
    dials_in_parallel: int = 64
    recovery_deadline_seconds: float = 60.0
    heartbeat_interval_seconds: float = 10.0
    disconnected_retention_seconds: float = 3600.0
    api_max_message_bytes: int = 4 * 1024 * 1024
    message_log_max_bytes: int = 1024 * 1024 * 1024
    lifecycle_topic: Topic = LIFECYCLE_TOPIC
    lifecycle_type_prefix: str = LIFECYCLE_TYPE_PREFIX
    limits: Limits = field(default_factory=Limits)

    def lifecycle(self, spec: ConnectionSpec) -> Policy:
        """Returns the rules' policy for a connection with this intent."""
        chosen = spec.options.reconnect
        base = _seconds(chosen.base_delay_ms) or self.reconnect_base_seconds
        backoff = BackoffPolicy(
            base_seconds=base,
            # A caller who chose only a long base means that base, not the service's cap.
            max_seconds=_seconds(chosen.max_delay_ms) or max(base, self.reconnect_max_seconds),
            stable_after_seconds=_seconds(chosen.stable_after_ms) or self.stable_after_seconds,
            max_attempts=chosen.max_attempts or self.reconnect_max_attempts,
        )
        policy = Policy(
            auto_reconnect=spec.auto_reconnect,
            first_dial=chosen.first_dial,
            backoff=backoff,
            close_grace_seconds=self.close_timeout_seconds,
            # A server that lets a credential in once would refuse the second session.
            make_before_break=not spec.options.exclusive,
        )
        return shared(policy)

    def dial_spacing_at(self, host: str) -> float:
        """Returns the seconds between two dials to a host, by its name as `host_of` returns it."""
        own = self.dial_spacing_rules.at(host, -1)
        return self.dial_spacing_seconds if own < 0 else _seconds(own)

    def max_sockets_at(self, host: str) -> int:
        """Returns how many sockets a host may have; zero: as many as come."""
        return self.max_sockets_rules.at(host, self.max_sockets_per_host)

    def max_message_bytes(self, spec: ConnectionSpec) -> int:
        """Returns how large a message may be so that its event still fits the API."""
        room = max(self.api_max_message_bytes - _API_OVERHEAD_BYTES, 1)
        if spec.options.format is Format.ENVELOPE:
            room = room * 3 // 4  # base64
        wanted = spec.options.max_message_bytes or self.limits.max_message_bytes
        return min(wanted, room)

    def buffer_bounds(self, spec: ConnectionSpec) -> tuple[int, int]:
        """Returns how many messages and bytes may wait for the API."""
        chosen = spec.options.buffer
        return (
            chosen.max_messages or _DEFAULT_BUFFER_MESSAGES,
            chosen.max_bytes or _DEFAULT_BUFFER_BYTES,
        )


def _seconds(milliseconds: int) -> float:
    return milliseconds / 1000.0
