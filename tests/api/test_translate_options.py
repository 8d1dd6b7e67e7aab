"""Options between protobuf and domain: exact both ways, and what the domain cannot say refused."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format
from hypothesis import given

from tests.kit.options import connection_options
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api.options_message import options_message as write
from websocketmanager.api.translate_options import connection_options as read
from websocketmanager.domain import record_options
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.options import (
    Compression,
    Match,
    Opening,
    Overlap,
    Pattern,
    Payload,
    QuietWindow,
)
from websocketmanager.domain.retry import Advice
from websocketmanager.errors import Fault


def parsed(fields: dict[str, object]) -> tuple[ConnectionOptions, list[Fault]]:
    return read(json_format.ParseDict(fields, pb.ConnectionOptions()))


@given(connection_options())
def test_round_trip_over_the_wire_and_the_record(options: ConnectionOptions) -> None:
    message = pb.ConnectionOptions.FromString(write(options).SerializeToString())
    found, faults = read(message)
    assert (found, faults) == (options, [])
    recorded = record_options.from_value(json.loads(json.dumps(record_options.to_value(found))))
    assert write(recorded) == message


def test_nothing_said_is_the_default() -> None:
    assert read(pb.ConnectionOptions()) == (ConnectionOptions(), [])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Match.ANY),
        ({"value": "1"}, Match.ANY),
        ({"pointer": "/a"}, Match.POINTER),
        ({"regex": "a"}, Match.REGEX),
        ({"regex": "a", "pointer": "/a"}, Match.REGEX),
        ({"regex": "a", "match": "MATCH_POINTER"}, Match.POINTER),
        ({"regex": "a", "match": "MATCH_ANY"}, Match.ANY),
    ],
)
def test_the_match_that_is_meant(fields: dict[str, str], expected: Match) -> None:
    options, faults = parsed({"liveness": {"data": fields}})
    assert faults == []
    assert options.liveness.data is not None
    assert options.liveness.data.match is expected


def test_what_is_not_told() -> None:
    options, faults = parsed(
        {
            "opening": {"refusals": [{}], "steps": [{"send": {}}, {"expect": {}}]},
            "liveness": {"quiet": [{"start": "01:00"}], "heartbeat": {}},
            "subscriptions": [{"key": "k"}],
            "rotation": {"notices": [{}]},
            "handshake": {},
        }
    )
    assert faults == []
    assert options.opening.refusals[0].advice is Advice.LATER
    assert options.opening.steps[0].send == Payload()
    assert options.opening.steps[1].expect == Pattern()
    assert options.liveness.quiet == (QuietWindow(tuple(range(7)), "01:00", "", "UTC"),)
    assert options.liveness.heartbeat is not None
    assert options.liveness.heartbeat.send == Payload()
    assert options.subscriptions[0].subscribe == Payload()
    assert options.subscriptions[0].unsubscribe is None
    assert options.rotation.overlap is Overlap.CUT
    assert options.handshake.compression is Compression.NONE


def test_numbers_that_no_enum_has() -> None:
    bad_pattern = {"match": 9, "frame": 9}
    _, faults = parsed(
        {
            "format": 9,
            "reconnect": {"firstDial": 9},
            "handshake": {"compression": 9},
            "opening": {
                "steps": [{}, {"expect": bad_pattern}],
                "refusals": [{"advice": 9, "pattern": bad_pattern}],
            },
            "subscriptions": [{"acknowledge": bad_pattern}],
            "liveness": {
                "data": bad_pattern,
                "heartbeat": {"expect": bad_pattern},
                "quiet": [{"weekdays": [1, 8, 0]}],
            },
            "rotation": {"overlap": 9, "notices": [bad_pattern]},
        }
    )
    assert sorted(map(str, faults)) == sorted(
        [
            "options.format: 9 is not a Format",
            "options.reconnect.first_dial: 9 is not a FirstDial",
            "options.handshake.compression: 9 is not a Compression",
            "options.opening.steps[1].expect.match: 9 is not a Match",
            "options.opening.steps[1].expect.frame: 9 is not a Frame",
            "options.opening.refusals[0].pattern.match: 9 is not a Match",
            "options.opening.refusals[0].pattern.frame: 9 is not a Frame",
            "options.opening.refusals[0].advice: 9 is not an Advice",
            "options.subscriptions[0].acknowledge.match: 9 is not a Match",
            "options.subscriptions[0].acknowledge.frame: 9 is not a Frame",
            "options.liveness.data.match: 9 is not a Match",
            "options.liveness.data.frame: 9 is not a Frame",
            "options.liveness.heartbeat.expect.match: 9 is not a Match",
            "options.liveness.heartbeat.expect.frame: 9 is not a Frame",
            "options.liveness.quiet[0].weekdays[1]: 8 is not a Weekday",
            "options.liveness.quiet[0].weekdays[2]: 0 is not a Weekday",
            "options.rotation.overlap: 9 is not an Overlap",
            "options.rotation.notices[0].match: 9 is not a Match",
            "options.rotation.notices[0].frame: 9 is not a Frame",
        ]
    )


def test_of_a_list_that_is_too_long_no_more_is_read_than_allowed() -> None:
    message = pb.ConnectionOptions(
        subscriptions=[pb.Subscription(key=str(n)) for n in range(2000)],
        opening=pb.Opening(steps=[pb.Step()] * 33, refusals=[pb.RefusalRule()] * 33),
        handshake=pb.HandshakeOptions(headers=[pb.Header()] * 65, subprotocols=["a"] * 17),
        liveness=pb.Liveness(quiet=[pb.QuietWindow(weekdays=[pb.WEEKDAY_MONDAY] * 8)] * 33),
        rotation=pb.Rotation(notices=[pb.Pattern()] * 17),
    )
    options, faults = read(message)
    assert len(options.subscriptions) == 1024
    assert options.opening == Opening(options.opening.steps[:32], options.opening.refusals[:32])
    assert {str(fault) for fault in faults if "weekdays" not in fault.path} == {
        "options.subscriptions: must be at most 1024, not 2000",
        "options.opening.steps: must be at most 32, not 33",
        "options.opening.refusals: must be at most 32, not 33",
        "options.handshake.headers: must be at most 64, not 65",
        "options.handshake.subprotocols: must be at most 16, not 17",
        "options.liveness.quiet: must be at most 32, not 33",
        "options.rotation.notices: must be at most 16, not 17",
    }


@pytest.mark.parametrize(
    ("frame", "expected"),
    [(pb.FRAME_UNSPECIFIED, None), (pb.FRAME_TEXT, Kind.TEXT), (pb.FRAME_BINARY, Kind.BINARY)],
)
def test_frames(frame: pb.Frame, expected: Kind | None) -> None:
    options, _ = read(pb.ConnectionOptions(liveness=pb.Liveness(data=pb.Pattern(frame=frame))))
    assert options.liveness.data == Pattern(frame=expected)
