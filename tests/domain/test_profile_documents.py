"""What a profile's document may say, and every fault of one that does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.kit.options import connection_options
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.domain import record_options
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.options import (
    Compression,
    HandshakeOptions,
    Match,
    Opening,
    Pattern,
    Payload,
    RefusalRule,
    Step,
    Subscription,
)
from websocketmanager.domain.profile_documents import profile_of
from websocketmanager.domain.profiles import Parameter, Profile
from websocketmanager.domain.retry import Advice


def _read(document: object) -> tuple[Profile | None, list[str]]:
    profile, faults = profile_of("venue", document, compile_regex=compile_regex, limits=Limits())
    assert (profile is None) == bool(faults)
    return profile, [str(fault) for fault in faults]


def _faults(options: Any = None, parameters: Any = None) -> list[str]:
    document = {"meaning": "a venue", "options": options or {}, "parameters": parameters or {}}
    return _read(document)[1]


def test_a_document_with_everything() -> None:
    profile, faults = _read(
        {
            "meaning": "a venue",
            "parameters": {
                "symbol": {"meaning": "what is traded", "several": True},
                "account": {"meaning": "whose", "default": "ME"},
            },
            "options": {
                "exclusive": "{account}",
                "handshake": {"compression": "deflate"},
                "opening": {
                    "steps": [
                        {"send": {"binary": "AAE="}, "expect": {}},
                        {"expect": {"regex": "^ok$", "frame": "text"}, "timeout_ms": 5},
                    ],
                    "refusals": [{"pattern": {"pointer": "/code"}, "advice": "never"}],
                },
                "subscriptions": [{"key": "{symbol}", "subscribe": {"text": "{symbol} {number}"}}],
            },
        }
    )
    assert faults == []
    assert profile == Profile(
        "venue",
        "a venue",
        (
            Parameter("symbol", "what is traded", several=True),
            Parameter("account", "whose", default="ME"),
        ),
        ConnectionOptions(
            exclusive="{account}",
            handshake=HandshakeOptions(compression=Compression.DEFLATE),
            opening=Opening(
                steps=(
                    Step(send=Payload(binary=b"\0\1"), expect=Pattern(Match.ANY)),
                    Step(expect=Pattern(Match.REGEX, regex="^ok$", frame=Kind.TEXT), timeout_ms=5),
                ),
                refusals=(RefusalRule(Pattern(Match.POINTER, pointer="/code"), Advice.NEVER),),
            ),
            subscriptions=(Subscription("{symbol}", Payload(text="{symbol} {number}")),),
        ),
    )


def test_a_meaning_is_enough() -> None:
    assert _read({"meaning": "m"}) == (Profile("venue", "m"), [])


@given(connection_options())
def test_what_a_record_holds_can_be_a_profile(options: ConnectionOptions) -> None:
    """Frames apart, which a document spells as words."""
    written = _with_words(record_options.to_value(options))
    profile, faults = profile_of(
        "venue",
        {"meaning": "m", "options": written},
        compile_regex=compile_regex,
        limits=Limits(has_message_log=True),
    )
    # Texts that look like places are rare, and a fault.
    assert faults or (profile is not None and profile.options == options)
    if faults:
        assert all(
            "no such parameter" in one.problem or "{number}" in one.problem for one in faults
        )


def _with_words(value: Any) -> Any:
    if isinstance(value, dict):
        words = {Kind.TEXT.value: "text", Kind.BINARY.value: "binary"}
        return {
            key: words[member] if key == "frame" else _with_words(member)
            for key, member in value.items()
        }
    return [_with_words(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("document", [[], "text", 1, None])
def test_a_document_has_keys(document: object) -> None:
    assert "document: must have keys and values" in _read(document)[1]


def test_all_faults_of_shape_are_told_at_once() -> None:
    assert _read(
        {
            "meaning": 1,
            "extra": 2,
            "parameters": {"Bad": {}, "number": {"meaning": "m"}, "x": [], "y": {"several": 1}},
            "options": {
                "exclusiv": "x",
                "markers": "yes",
                "send_spacing_ms": True,
                "max_message_bytes": 1.5,
                "exclusive": 5,
                "handshake": {"compression": "zip", "subprotocols": "a"},
                "opening": {"steps": [{"send": {"binary": "?"}}, 7], "refusals": [{}]},
                "liveness": {"heartbeat": {}, "data": {"frame": "text/plain"}},
                "subscriptions": [{"key": "a", "subscribe": {"text": None}}],
            },
        }
    )[1] == [
        "extra: is not a key here; there are meaning, parameters, options",
        "meaning: must be a text (in quotes)",
        "parameters.Bad: must be named by lower case letters, digits and _, and not number",
        "parameters.Bad.meaning: must be given",
        "parameters.number: must be named by lower case letters, digits and _, and not number",
        "parameters.x: must have keys and values",
        "parameters.x.meaning: must be given",
        "parameters.y.meaning: must be given",
        "parameters.y.several: must be true or false",
        "options.exclusiv: is not a key here; there are reconnect, format, markers, "
        "max_message_bytes, buffer, handshake, opening, subscriptions, liveness, correlation, "
        "send_spacing_ms, exclusive, rotation",
        "options.markers: must be true or false",
        "options.max_message_bytes: must be a whole number",
        "options.handshake.subprotocols: must be a list",
        "options.handshake.compression: must be one of none, deflate",
        "options.opening.steps[0].send.binary: must be base64",
        "options.opening.steps[1]: must have keys and values",
        "options.opening.refusals[0].pattern: must be given",
        "options.opening.refusals[0].advice: must be given",
        "options.subscriptions[0].subscribe.text: must be a text (in quotes)",
        "options.liveness.data.frame: must be one of text, binary",
        "options.liveness.heartbeat.send: must be given",
        "options.liveness.heartbeat.interval_ms: must be given",
        "options.send_spacing_ms: must be a whole number",
        "options.exclusive: must be a text (in quotes)",
    ]


def test_options_are_judged_like_a_callers() -> None:
    assert _faults(
        {
            "send_spacing_ms": 60_001,
            "reconnect": {"base_delay_ms": -1},
            "opening": {"steps": [{"expect": {"regex": "("}}, {"send": {"text": "${secret:}"}}]},
        }
    ) == [
        "options.reconnect.base_delay_ms: must be from 1 to 3600000, not -1",
        "options.opening.steps[0].expect.regex: is no RE2 expression: missing ): (",
        "options.opening.steps[1].send.text: at character 10: a secret's name is 1 to 128 letters, "
        "digits, _ . or -",
        "options.send_spacing_ms: must be from 1 to 60000, not 60001",
    ]


def test_places_need_a_parameter_and_their_place() -> None:
    assert _faults(
        {
            "exclusive": "{account} {symbol} {number}",
            "subscriptions": [{"key": "{symbol} {symbl}", "subscribe": {"text": "{number}"}}],
        },
        {"symbol": {"meaning": "m", "several": True}},
    ) == [
        "options.subscriptions[0].key: holds {symbl}, and there is no such parameter",
        "options.exclusive: holds {account}, and there is no such parameter",
        "options.exclusive: must not hold {symbol}, which takes several values",
        "options.exclusive: must not hold {number}: it is no subscription",
    ]


def test_a_default_is_judged_like_a_value() -> None:
    (fault,) = _faults({"exclusive": "{a}"}, {"a": {"meaning": "m", "default": "a b"}})
    assert fault.startswith("parameters.a.default: must have 1 to 128 characters")
