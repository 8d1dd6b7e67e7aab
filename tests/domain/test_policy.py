"""Defaults filled in: what a caller chose wins, what cannot work is bounded."""

from __future__ import annotations

from websocketmanager.domain.host_rules import HostRules
from websocketmanager.domain.model import (
    BufferOptions,
    ConnectionOptions,
    ConnectionSpec,
    FirstDial,
    Format,
    InstanceId,
    ReconnectOptions,
)
from websocketmanager.domain.policy import ServicePolicy

POLICY = ServicePolicy(InstanceId("i"), "inc", reconnect_max_attempts=9)


def spec(**options: object) -> ConnectionSpec:
    return ConnectionSpec("ws://h", options=ConnectionOptions(**options))  # type: ignore[arg-type] # any option


def test_defaults_of_the_service() -> None:
    rules = POLICY.lifecycle(spec())
    assert (rules.backoff.base_seconds, rules.backoff.max_seconds) == (1.0, 30.0)
    assert (rules.backoff.max_attempts, rules.backoff.stable_after_seconds) == (9, 30.0)
    assert rules.first_dial is FirstDial.FAIL


def test_choices_of_the_caller() -> None:
    chosen = ReconnectOptions(FirstDial.RETRY, 200, 4000, 3, 500)
    rules = POLICY.lifecycle(spec(reconnect=chosen))
    assert rules.backoff.base_seconds == 0.2
    assert rules.backoff.max_seconds == 4.0
    assert rules.backoff.max_attempts == 3
    assert rules.backoff.stable_after_seconds == 0.5
    assert rules.first_dial is FirstDial.RETRY


def test_a_long_base_alone_is_not_cut_by_the_services_cap() -> None:
    rules = POLICY.lifecycle(spec(reconnect=ReconnectOptions(base_delay_ms=60_000)))
    assert rules.backoff.max_seconds == 60.0


def test_messages_fit_the_api() -> None:
    assert POLICY.max_message_bytes(spec()) == 3 * 1024 * 1024
    assert POLICY.max_message_bytes(spec(max_message_bytes=1000)) == 1000
    envelope = POLICY.max_message_bytes(spec(format=Format.ENVELOPE))
    assert envelope * 4 / 3 + 60_000 < 4 * 1024 * 1024
    assert POLICY.max_message_bytes(spec(format=Format.ENVELOPE, max_message_bytes=10)) == 10


def test_buffers() -> None:
    assert POLICY.buffer_bounds(spec()) == (65_536, 32 * 1024 * 1024)
    assert POLICY.buffer_bounds(spec(buffer=BufferOptions(5, 2048))) == (5, 2048)


def test_a_host_with_a_rule_of_its_own() -> None:
    assert POLICY.dial_spacing_at("any.test") == 0.002
    assert POLICY.max_sockets_at("any.test") == 0
    policy = ServicePolicy(
        InstanceId("i"),
        "inc",
        dial_spacing_rules=HostRules.of(["slow.test=1000", "free.test=0"]),
        max_sockets_per_host=5,
        max_sockets_rules=HostRules.of(["slow.test=1", "free.test=0"]),
    )
    assert [policy.dial_spacing_at(f"{name}.test") for name in ("slow", "free", "any")] == [
        1.0,
        0.0,
        0.002,
    ]
    assert [policy.max_sockets_at(f"{name}.test") for name in ("slow", "free", "any")] == [1, 0, 5]
