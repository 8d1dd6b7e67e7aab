"""A `Connect` that names a profile: what comes of both, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.face import VIEW, ScriptedTrials, ScriptedVerbs
from tests.kit.clock import ManualClock
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.api import translate
from websocketmanager.api.servicer import Servicer
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import (
    ConnectionOptions,
    ConnectionSpec,
    FirstDial,
    Format,
    ReconnectOptions,
)
from websocketmanager.domain.options import (
    Compression,
    HandshakeOptions,
    Overlap,
    Payload,
    Rotation,
    Subscription,
)
from websocketmanager.domain.profiles import Parameter, Profile
from websocketmanager.errors import Fault, InvalidArgument

URL = "wss://feed.example/s"
VENUE = Profile(
    "venue",
    "a venue",
    (Parameter("symbol", "what is traded", several=True),),
    ConnectionOptions(
        reconnect=ReconnectOptions(FirstDial.RETRY, base_delay_ms=7),
        format=Format.ENVELOPE,
        handshake=HandshakeOptions(compression=Compression.DEFLATE),
        subscriptions=(Subscription("{symbol}", Payload(text="+{symbol}")),),
        send_spacing_ms=300,
        rotation=Rotation(overlap=Overlap.CONTENT),
    ),
)
PROFILES = {"venue": VENUE}


def _spec(**fields: Any) -> ConnectionSpec:
    request = pb.ConnectRequest(url=URL, auto_reconnect=True, **fields)
    return translate.connection_spec(request, Limits(), compile_regex, PROFILES)


def _faults(**fields: Any) -> list[Fault]:
    with pytest.raises(InvalidArgument) as refused:
        _spec(**fields)
    return list(refused.value.faults)


def test_the_callers_options_are_put_upon_the_profiles() -> None:
    spec = _spec(
        profile="venue",
        profile_parameters={"symbol": "a,b"},
        options=pb.ConnectionOptions(
            send_spacing_ms=5, reconnect=pb.ReconnectOptions(max_delay_ms=9)
        ),
    )
    assert spec.profile == "venue"
    assert spec.options == ConnectionOptions(
        reconnect=ReconnectOptions(FirstDial.RETRY, base_delay_ms=7, max_delay_ms=9),
        format=Format.ENVELOPE,
        handshake=HandshakeOptions(compression=Compression.DEFLATE),
        subscriptions=(
            Subscription("a", Payload(text="+a")),
            Subscription("b", Payload(text="+b")),
        ),
        send_spacing_ms=5,
        rotation=Rotation(overlap=Overlap.CONTENT),
    )


def test_a_choice_that_is_spelled_out_wins_even_if_it_is_the_default() -> None:
    options = _spec(
        profile="venue",
        options=pb.ConnectionOptions(
            format=pb.FORMAT_RAW,
            reconnect=pb.ReconnectOptions(first_dial=pb.FIRST_DIAL_FAIL),
            handshake=pb.HandshakeOptions(compression=pb.COMPRESSION_NONE),
            rotation=pb.Rotation(overlap=pb.OVERLAP_CUT),
        ),
    ).options
    assert options == ConnectionOptions(
        reconnect=ReconnectOptions(base_delay_ms=7), send_spacing_ms=300
    )


def test_without_a_profile_nothing_changes() -> None:
    assert _spec() == ConnectionSpec(URL, auto_reconnect=True)


def test_an_unknown_profile_is_refused_with_those_that_there_are() -> None:
    assert _faults(profile="venu") == [
        Fault("profile", "is not one of the service's profiles; there are venue")
    ]
    with pytest.raises(InvalidArgument, match=r"profile: .*; there are none"):
        translate.connection_spec(pb.ConnectRequest(url=URL, profile="x"), Limits())


def test_parameters_need_a_profile_that_has_them() -> None:
    assert _faults(profile_parameters={"symbol": "a"}) == [
        Fault("profile_parameters", "needs profile")
    ]
    assert _faults(profile="venue", profile_parameters={"symbols": "a", "symbol": "a b"}) == [
        Fault("profile_parameters.symbols", "is no parameter of venue; there are symbol"),
        Fault(
            "profile_parameters.symbol",
            "must have 1 to 128 characters, none of them a blank, quote, brace, backslash, comma "
            "or $, and commas between values",
        ),
    ]


def test_what_does_not_fit_together_is_refused_at_its_path() -> None:
    faults = _faults(
        profile="venue",
        options=pb.ConnectionOptions(
            reconnect=pb.ReconnectOptions(max_delay_ms=6),
            rotation=pb.Rotation(overlap_pointer="/id"),
        ),
    )
    assert [fault.path for fault in faults] == [
        "options.reconnect.max_delay_ms",
        "options.rotation.overlap_pointer",
    ]


async def test_the_servicer_knows_its_profiles() -> None:
    verbs = ScriptedVerbs()
    verbs.view = VIEW
    servicer = Servicer(
        verbs,
        ScriptedTrials(),
        limits=Limits(),
        clock=ManualClock(),
        compile_regex=compile_regex,
        profiles=PROFILES,
    )
    request = pb.ConnectRequest(
        url=URL, auto_reconnect=True, profile="venue", profile_parameters={"symbol": "a"}
    )
    context: Any = None
    await servicer.Connect(request, context)
    ((_, spec),) = verbs.calls
    assert spec == _spec(profile="venue", profile_parameters={"symbol": "a"})
