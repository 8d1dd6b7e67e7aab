"""Filling in parameters and putting options upon a profile's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from tests.kit.options import connection_options
from websocketmanager.domain.model import (
    ConnectionOptions,
    FirstDial,
    Format,
    ReconnectOptions,
)
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    Compression,
    HandshakeOptions,
    Header,
    Liveness,
    Match,
    Opening,
    Pattern,
    Payload,
    Rotation,
    Step,
    Subscription,
    TlsOptions,
)
from websocketmanager.domain.profiles import (
    Parameter,
    Profile,
    filled,
    merged,
    places,
)
from websocketmanager.errors import Fault

PLAIN = ConnectionOptions()
VALUE_PROBLEM = (
    "must have 1 to 128 characters, none of them a blank, quote, brace, backslash, comma or $"
)


def _subscription(key: str, text: str) -> Subscription:
    return Subscription(key, Payload(text=text))


def _profile(*parameters: Parameter, options: ConnectionOptions = PLAIN) -> Profile:
    return Profile("venue", "a venue", parameters, options)


SYMBOL = Parameter("symbol", "what is traded", several=True)
CHANNEL = Parameter("channel", "what about it", default="trades", several=True)
FEED = _profile(
    SYMBOL,
    CHANNEL,
    options=ConnectionOptions(
        subscriptions=(
            _subscription("{channel} {symbol}", '{"{channel}":"{symbol}","id":{number}}'),
        )
    ),
)


def _keys(options: ConnectionOptions) -> list[str]:
    return [one.key for one in options.subscriptions]


# --- merging --------------------------------------------------------------------------------------


@given(connection_options())
def test_a_profile_without_wishes_changes_nothing(options: ConnectionOptions) -> None:
    assert merged(PLAIN, options) == options


@given(connection_options())
def test_a_caller_without_wishes_gets_the_profile(options: ConnectionOptions) -> None:
    assert merged(options, PLAIN) == options


@given(connection_options(), connection_options())
def test_the_caller_wins_and_a_second_time_changes_nothing(
    below: ConnectionOptions, above: ConnectionOptions
) -> None:
    once = merged(below, above)
    assert merged(once, above) == once
    assert merged(below, once) == once
    assert once.send_spacing_ms == (above.send_spacing_ms or below.send_spacing_ms)
    assert once.subscriptions == (above.subscriptions or below.subscriptions)
    assert once.liveness.heartbeat == (above.liveness.heartbeat or below.liveness.heartbeat)
    assert once.handshake.tls.server_name == (
        above.handshake.tls.server_name or below.handshake.tls.server_name
    )


def test_groups_are_merged_field_by_field_and_lists_are_replaced() -> None:
    below = ConnectionOptions(
        reconnect=ReconnectOptions(base_delay_ms=1, max_delay_ms=2),
        handshake=HandshakeOptions(
            headers=(Header("A", "1"), Header("B", "2")),
            origin="https://below.test",
            tls=TlsOptions(server_name="below.test"),
        ),
        opening=Opening(steps=(Step(send=Payload(text="below")),)),
        liveness=Liveness(read_idle_ms=10, heartbeat=ApplicationHeartbeat(Payload(text="b"), 100)),
        rotation=Rotation(max_age_ms=1000),
        exclusive="below",
    )
    above = ConnectionOptions(
        reconnect=ReconnectOptions(max_delay_ms=3),
        handshake=HandshakeOptions(headers=(Header("C", "3"),), tls=TlsOptions(ca_pem="above")),
        liveness=Liveness(heartbeat=ApplicationHeartbeat(Payload(text="a"), 200)),
        rotation=Rotation(jitter_ms=5),
    )
    assert merged(below, above) == ConnectionOptions(
        reconnect=ReconnectOptions(base_delay_ms=1, max_delay_ms=3),
        handshake=HandshakeOptions(
            headers=(Header("C", "3"),),
            origin="https://below.test",
            tls=TlsOptions(ca_pem="above", server_name="below.test"),
        ),
        opening=below.opening,
        liveness=Liveness(read_idle_ms=10, heartbeat=ApplicationHeartbeat(Payload(text="a"), 200)),
        rotation=Rotation(max_age_ms=1000, jitter_ms=5),
        exclusive="below",
    )


def test_a_default_that_was_chosen_on_purpose_wins() -> None:
    below = ConnectionOptions(
        format=Format.ENVELOPE,
        reconnect=ReconnectOptions(first_dial=FirstDial.RETRY),
        handshake=HandshakeOptions(compression=Compression.DEFLATE, origin="null"),
    )
    explicit = {"format", "handshake.compression"}
    assert merged(below, PLAIN, explicit) == ConnectionOptions(
        reconnect=ReconnectOptions(first_dial=FirstDial.RETRY),
        handshake=HandshakeOptions(origin="null"),
    )


# --- filling in -----------------------------------------------------------------------------------


def test_a_subscription_is_made_for_each_combination_in_order() -> None:
    options, faults = filled(FEED, {"symbol": "BTC/USD,ETH/USD", "channel": "trades,bars"})
    assert faults == ()
    assert _keys(options) == ["trades BTC/USD", "bars BTC/USD", "trades ETH/USD", "bars ETH/USD"]
    assert [one.subscribe.text for one in options.subscriptions][2] == (
        '{"trades":"ETH/USD","id":3}'
    )


def test_defaults_count_and_repeated_values_do_not() -> None:
    options, faults = filled(FEED, {"symbol": "B,A,B"})
    assert (_keys(options), faults) == (["trades B", "trades A"], ())


def test_without_its_parameters_a_subscription_is_left_out() -> None:
    options, faults = filled(FEED, {})
    assert (options.subscriptions, faults) == ((), ())


def test_half_of_a_subscriptions_parameters_is_a_fault() -> None:
    _, faults = filled(FEED, {"channel": "bars"})
    assert faults == (Fault("profile_parameters.symbol", "must be given: what is traded"),)


def test_what_is_needed_outside_of_subscriptions_must_be_given() -> None:
    options = ConnectionOptions(exclusive="of {account}")
    profile = _profile(Parameter("account", "whose it is"), options=options)
    assert filled(profile, {})[1] == (
        Fault("profile_parameters.account", "must be given: whose it is"),
    )
    assert filled(profile, {"account": "ME"})[0] == ConnectionOptions(exclusive="of ME")


def test_every_text_is_filled_and_nothing_else_is_touched() -> None:
    options = ConnectionOptions(
        handshake=HandshakeOptions(headers=(Header("X", "${secret:{a}_KEY} {b} {1}"),)),
        opening=Opening(steps=(Step(send=Payload(binary=b"{a}")),)),
        liveness=Liveness(data=Pattern(Match.POINTER, pointer="/{a}", value='"{a}"')),
    )
    found, faults = filled(_profile(Parameter("a", "it"), options=options), {"a": "A.B"})
    assert faults == ()
    assert found == replace(
        options,
        handshake=HandshakeOptions(headers=(Header("X", "${secret:A.B_KEY} {b} {1}"),)),
        liveness=Liveness(data=Pattern(Match.POINTER, pointer="/A.B", value='"A.B"')),
    )


def test_in_a_regular_expression_a_value_stands_for_itself() -> None:
    options = ConnectionOptions(liveness=Liveness(data=Pattern(Match.REGEX, regex="^{a}$")))
    found, _ = filled(_profile(Parameter("a", "it"), options=options), {"a": "!t.*+"})
    assert found.liveness.data == Pattern(Match.REGEX, regex=r"^!t\.\*\+$")


def test_unknown_parameters_are_faults() -> None:
    assert filled(FEED, {"symbols": "A"})[1] == (
        Fault("profile_parameters.symbols", "is no parameter of venue; there are channel, symbol"),
    )
    assert filled(_profile(), {"x": "A"})[1] == (
        Fault("profile_parameters.x", "is no parameter of venue; there are none"),
    )


@pytest.mark.parametrize(
    "value",
    ["", ",", "A,", "A B", 'A"', "A'", "A\\", "{A", "A}", "$A", "A\n", "\x00", "\x9f", "A" * 129],
)
def test_values_that_could_end_a_text_are_faults(value: str) -> None:
    (fault,) = filled(FEED, {"symbol": value})[1]
    assert fault == Fault(
        "profile_parameters.symbol", f"{VALUE_PROBLEM}, and commas between values"
    )


def test_one_value_takes_no_comma() -> None:
    profile = _profile(Parameter("a", "it"))
    assert filled(profile, {"a": "A,B"})[1] == (Fault("profile_parameters.a", VALUE_PROBLEM),)
    assert filled(profile, {"a": "币安@1-_.:/*!|^=~"})[1] == ()


def test_too_many_subscriptions_are_a_fault_before_they_are_made() -> None:
    symbols = ",".join(f"S{number}" for number in range(1025))
    assert filled(FEED, {"symbol": symbols})[1] == (
        Fault("profile_parameters", "must make at most 1024 subscriptions, not 1025"),
    )
    assert len(filled(FEED, {"symbol": symbols.removesuffix(",S1024")})[0].subscriptions) == 1024


def test_places_are_told_with_their_paths() -> None:
    found = list(places(FEED.options, "options"))
    assert found == [
        ("options.subscriptions[0].key", "channel"),
        ("options.subscriptions[0].key", "symbol"),
        ("options.subscriptions[0].subscribe.text", "channel"),
        ("options.subscriptions[0].subscribe.text", "symbol"),
        ("options.subscriptions[0].subscribe.text", "number"),
    ]
