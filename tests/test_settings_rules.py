"""Values that do not fit together are a fault of the one that somebody set."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.kit.settings import faults, load


@pytest.mark.parametrize(
    ("file", "blamed"),
    [
        ({"MaxReconnectDelayMs": 500}, "MaxReconnectDelayMs"),
        ({"ReconnectBaseDelayMs": 40_000}, "ReconnectBaseDelayMs"),
        (
            {"WEBSOCKETMANAGER_STALE_THRESHOLD_SECONDS": 20},
            "WEBSOCKETMANAGER_STALE_THRESHOLD_SECONDS",
        ),
        (
            {"WEBSOCKETMANAGER_HEARTBEAT_INTERVAL_SECONDS": 30},
            "WEBSOCKETMANAGER_HEARTBEAT_INTERVAL_SECONDS",
        ),
        ({"HttpPort": 15002}, "HttpPort"),
        ({"GrpcPort": 9, "HttpPort": 9}, "GrpcPort"),
        ({"MaxBufferBytes": 65_536}, "MaxBufferBytes"),
    ],
)
def test_what_does_not_fit_together_is_said_at_the_key_that_was_set(
    file: Mapping[str, object], blamed: str
) -> None:
    (fault,) = faults(file=file)
    assert fault.startswith(f"{blamed}: ")


@pytest.mark.parametrize(
    "file",
    [
        {"HttpPort": 0, "GrpcPort": 0},
        {"MaxReconnectDelayMs": 1000},
        {
            "WEBSOCKETMANAGER_HEARTBEAT_INTERVAL_SECONDS": 0.1,
            "WEBSOCKETMANAGER_STALE_THRESHOLD_SECONDS": 0.3,
        },
    ],
)
def test_what_just_fits_together_is_accepted(file: Mapping[str, object]) -> None:
    load(file=file)


def test_a_faulty_value_raises_no_second_fault_by_comparison() -> None:
    assert len(faults(file={"ReconnectBaseDelayMs": "x", "MaxReconnectDelayMs": 10})) == 1
