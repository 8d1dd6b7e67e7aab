"""Each setting reaches its part, in the part's own unit."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import SecretStr

from websocketmanager.app.policies import api_settings_of, limits_of, policy_of, profiles_of
from websocketmanager.domain.host_rules import HostRules
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import InstanceId
from websocketmanager.domain.policy import ServicePolicy
from websocketmanager.errors import SettingsInvalid
from websocketmanager.settings import Settings


def test_the_defaults_of_settings_and_parts_are_the_same() -> None:
    assert policy_of(Settings(instance_id="one"), "x") == ServicePolicy(InstanceId("one"), "x")
    assert limits_of(Settings()) == Limits()


def test_every_choice_reaches_the_policy() -> None:
    chosen = Settings(
        instance_id="one",
        default_timeout_ms=1500,
        reconnect_base_delay_ms=2500,
        max_reconnect_delay_ms=3500,
        reconnect_max_attempts=4,
        ping_interval_ms=5500,
        ping_timeout_ms=6500,
        dial_spacing_ms=7500,
        host_dial_spacing_ms=("slow.test=8",),
        max_connections_per_host=9,
        host_max_connections=("narrow.test=10",),
        dials_in_parallel=11,
        recovery_deadline_seconds=12,
        heartbeat_interval_seconds=13,
        disconnected_retention_seconds=14,
        api_max_message_bytes=150_000,
        message_log_max_bytes=160_000,
        lifecycle_type_prefix="test.",
        max_connections=17,
    )
    policy = policy_of(chosen, "x")
    assert policy == ServicePolicy(
        InstanceId("one"),
        "x",
        default_timeout_seconds=1.5,
        reconnect_base_seconds=2.5,
        reconnect_max_seconds=3.5,
        reconnect_max_attempts=4,
        ping_interval_seconds=5.5,
        ping_timeout_seconds=6.5,
        dial_spacing_seconds=7.5,
        dial_spacing_rules=HostRules.of(("slow.test=8",)),
        max_sockets_per_host=9,
        max_sockets_rules=HostRules.of(("narrow.test=10",)),
        dials_in_parallel=11,
        recovery_deadline_seconds=12,
        heartbeat_interval_seconds=13,
        disconnected_retention_seconds=14,
        api_max_message_bytes=150_000,
        message_log_max_bytes=160_000,
        lifecycle_type_prefix="test.",
        limits=limits_of(chosen),
    )
    # What no setting changes is named here; a new field must get a setting, or a place here.
    ours = ServicePolicy(InstanceId("other"), "y")
    assert {
        each.name
        for each in fields(ServicePolicy)
        if getattr(policy, each.name) == getattr(ours, each.name)
    } == {"grpc_address", "close_timeout_seconds", "stable_after_seconds", "lifecycle_topic"}


def test_a_message_must_fit_into_a_call_to_the_api() -> None:
    assert limits_of(Settings(api_max_message_bytes=65_536)).max_message_bytes == 65_536
    most = Limits().max_message_bytes
    assert limits_of(Settings(api_max_message_bytes=most + 1)).max_message_bytes == most


def test_the_bounds_of_the_process_are_those_of_the_settings() -> None:
    limits = limits_of(Settings(max_connections=7, max_buffer_bytes=70_000))
    assert (limits.max_connections, limits.max_buffer_bytes) == (7, 70_000)


def test_a_log_on_the_disk_needs_a_folder() -> None:
    assert not limits_of(Settings()).has_message_log
    assert limits_of(Settings(message_log_folder="logs")).has_message_log


@pytest.mark.parametrize(
    ("route", "target"), [("direct", "[::1]:5001"), ("dapr", "127.0.0.1:50002")]
)
def test_the_api_is_reached_directly_or_by_the_sidecar_of_this_machine(
    route: str, target: str
) -> None:
    chosen = Settings.model_validate(
        {"api_route": route, "api_host": "::1", "api_grpc_port": 5001, "dapr_grpc_port": 50_002}
    )
    assert api_settings_of(chosen).target == target
    assert api_settings_of(chosen).route == route


def test_the_key_leaves_its_cover_for_the_adapter_alone() -> None:
    assert api_settings_of(Settings()).api_key is None
    chosen = Settings(api_key=SecretStr("sesame"), api_timeout_ms=1500)
    assert api_settings_of(chosen).api_key == "sesame"
    assert api_settings_of(chosen).timeout_seconds == 1.5


def test_profiles_are_the_shipped_ones_or_those_of_a_folder(tmp_path: Path) -> None:
    assert profiles_of(Settings())
    assert not profiles_of(Settings(profiles_folder=str(tmp_path)))
    (tmp_path / "broken.yaml").write_text("- not a profile")
    with pytest.raises(SettingsInvalid):
        profiles_of(Settings(profiles_folder=str(tmp_path)))
