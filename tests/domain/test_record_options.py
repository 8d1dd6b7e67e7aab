"""Options as JSON: exact round trips, small, tolerant of what is new and of what is not there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from tests.kit.options import connection_options, fullest
from websocketmanager.domain import record_options
from websocketmanager.domain.model import ConnectionOptions, ReconnectOptions
from websocketmanager.domain.options import Liveness, Payload, Step


def carried(options: ConnectionOptions) -> ConnectionOptions:
    return record_options.from_value(json.loads(json.dumps(record_options.to_value(options))))


@given(connection_options())
def test_round_trip(options: ConnectionOptions) -> None:
    assert carried(options) == options


def test_the_fullest_and_the_emptiest() -> None:
    assert carried(fullest()) == fullest()
    assert record_options.to_value(ConnectionOptions()) == {}
    assert record_options.from_value({}) == ConnectionOptions()


def test_the_shape_of_what_is_written() -> None:
    value = record_options.to_value(fullest())
    assert value["opening"]["steps"][1] == {"send": {"binary": "AP8="}}
    assert value["opening"]["refusals"] == [
        {
            "pattern": {
                "match": "pointer",
                "pointer": "/op",
                "value": '"ok"',
                "frame": "text/plain",
            },
            "advice": "never",
            "name": "denied",
        }
    ]
    assert value["liveness"]["quiet"] == [
        {"weekdays": [4, 5], "start": "22:00", "end": "06:30", "time_zone": "Europe/Zurich"}
    ]


def test_unknown_members_are_tolerated_at_every_depth() -> None:
    def with_novelties(value: Any) -> Any:
        if isinstance(value, list):
            return [with_novelties(element) for element in value]
        if isinstance(value, dict):
            return {key: with_novelties(member) for key, member in value.items()} | {"new": [1]}
        return value

    assert (
        record_options.from_value(with_novelties(record_options.to_value(fullest()))) == fullest()
    )


def test_missing_members_have_their_default() -> None:
    found = record_options.from_value(
        {"reconnect": {}, "liveness": {"read_idle_ms": 7}, "opening": {"steps": [{"send": {}}]}}
    )
    assert found.reconnect == ReconnectOptions()
    assert found.liveness == Liveness(read_idle_ms=7)
    assert found.opening.steps == (Step(send=Payload()),)


@pytest.mark.parametrize(
    "value",
    [
        7,
        None,
        [],
        {"markers": 1},
        {"send_spacing_ms": True},
        {"send_spacing_ms": 1.0},
        {"send_spacing_ms": "1"},
        {"exclusive": None},
        {"handshake": []},
        {"handshake": {"compression": "zstd"}},
        {"handshake": {"subprotocols": "ab"}},
        {"handshake": {"subprotocols": {"a": "b"}}},
        {"handshake": {"headers": [{"name": "n"}]}},
        {"opening": {"steps": [{"send": {"binary": "?"}}]}},
        {"opening": {"steps": [{"expect": {"frame": "text"}}]}},
        {"liveness": {"quiet": [{"weekdays": [False], "start": "", "end": ""}]}},
    ],
)
def test_the_wrong_shape_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        record_options.from_value(value)
