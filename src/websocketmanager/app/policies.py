"""What each part gets of the settings: small values, each in the words of its part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from websocketmanager.adapters.profile_files import packaged_folder, read_profiles
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.adapters.virtufin_api import ApiSettings
from websocketmanager.app.addresses import host_port
from websocketmanager.domain.host_rules import HostRules
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import InstanceId
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.domain.profiles import Profile
from websocketmanager.settings import Settings


def policy_of(settings: Settings, incarnation: str) -> ServicePolicy:
    """Returns what the service goes by; `incarnation` tells this process from its successors."""
    return ServicePolicy(
        instance_id=InstanceId(settings.instance_id),
        incarnation=incarnation,
        default_timeout_seconds=settings.default_timeout_ms / 1000,
        reconnect_base_seconds=settings.reconnect_base_delay_ms / 1000,
        reconnect_max_seconds=settings.max_reconnect_delay_ms / 1000,
        reconnect_max_attempts=settings.reconnect_max_attempts,
        ping_interval_seconds=settings.ping_interval_ms / 1000,
        ping_timeout_seconds=settings.ping_timeout_ms / 1000,
        dial_spacing_seconds=settings.dial_spacing_ms / 1000,
        dial_spacing_rules=HostRules.of(settings.host_dial_spacing_ms),
        max_sockets_per_host=settings.max_connections_per_host,
        max_sockets_rules=HostRules.of(settings.host_max_connections),
        dials_in_parallel=settings.dials_in_parallel,
        recovery_deadline_seconds=settings.recovery_deadline_seconds,
        heartbeat_interval_seconds=settings.heartbeat_interval_seconds,
        disconnected_retention_seconds=settings.disconnected_retention_seconds,
        api_max_message_bytes=settings.api_max_message_bytes,
        message_log_max_bytes=settings.message_log_max_bytes,
        lifecycle_type_prefix=settings.lifecycle_type_prefix,
        limits=limits_of(settings),
    )


def limits_of(settings: Settings) -> Limits:
    """Returns what one request and one process may ask for at most."""
    limits = Limits()
    return replace(
        limits,
        max_connections=settings.max_connections,
        max_buffer_bytes=settings.max_buffer_bytes,
        has_message_log=bool(settings.message_log_folder),
        max_message_bytes=min(limits.max_message_bytes, settings.api_max_message_bytes),
    )


def api_settings_of(settings: Settings) -> ApiSettings:
    """Returns how the virtufin-api is reached, directly or through the sidecar."""
    dapr = settings.api_route == "dapr"
    port = settings.dapr_grpc_port if dapr else settings.api_grpc_port
    return ApiSettings(
        target=host_port("127.0.0.1" if dapr else settings.api_host, port),
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        pubsub_name=settings.pubsub_name,
        route=settings.api_route,
        app_id=settings.api_app_id,
        timeout_seconds=settings.api_timeout_ms / 1000,
        max_message_bytes=settings.api_max_message_bytes,
    )


def profiles_of(settings: Settings) -> Mapping[str, Profile]:
    """Returns the profiles that `Connect` may name.

    Raises:
        SettingsInvalid: with every fault of every file.
    """
    folder = Path(settings.profiles_folder) if settings.profiles_folder else packaged_folder()
    return read_profiles(folder, compile_regex=compile_regex, limits=limits_of(settings))
