"""Requests and answers of `Rotate` and of the tests of a target."""

from __future__ import annotations

import pytest

from tests.api.face import VIEW
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.adapters.profile_files import packaged_folder, read_profiles
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.api import translate, translate_trial
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import FirstDial
from websocketmanager.domain.trial import Outcome, Phase, TrialStep
from websocketmanager.errors import InvalidArgument

LIMITS = Limits()


def test_options_mean_what_they_mean_in_connect() -> None:
    options = pb.ConnectionOptions(
        reconnect=pb.ReconnectOptions(first_dial=pb.FIRST_DIAL_RETRY), exclusive="k"
    )
    request = pb.TestConnectionRequest(url="wss://feed.example/s", options=options)
    spec = translate_trial.trial_spec(request, LIMITS, compile_regex)
    connect = pb.ConnectRequest(url=request.url, options=options, auto_reconnect=True)
    assert spec == translate.connection_spec(connect, LIMITS, compile_regex)
    assert spec.options.reconnect.first_dial is FirstDial.RETRY
    assert (spec.name, spec.topic, spec.tags) == ("", None, {})


def test_profiles_are_filled() -> None:
    profiles = read_profiles(packaged_folder(), compile_regex=compile_regex, limits=LIMITS)
    request = pb.TestConnectionRequest(
        url="wss://ws.kraken.com/v2",
        profile="kraken",
        profile_parameters={"channel": "trade", "symbol": "BTC/USD"},
    )
    spec = translate_trial.trial_spec(request, LIMITS, compile_regex, profiles)
    assert spec.options.subscriptions


def test_all_faults_are_told_at_once() -> None:
    request = pb.TestConnectionRequest(url="x", profile="none", profile_parameters={"a": "b"})
    with pytest.raises(InvalidArgument) as refused:
        translate_trial.trial_spec(request, LIMITS)
    assert {fault.path for fault in refused.value.faults} == {"url", "profile"}


def test_a_step() -> None:
    step = TrialStep(Phase.FIRST_DATA, Outcome.FAILED, 1.5, "d", "first_data_missing", "m")
    assert translate_trial.step_message(step) == pb.TestStep(
        step="first_data",
        outcome="failed",
        duration_ms=1500,
        detail="d",
        error_type="first_data_missing",
        error_message="m",
    )


@pytest.mark.parametrize(
    ("outcomes", "ok"),
    [
        ([Outcome.OK, Outcome.SKIPPED], True),
        ([Outcome.OK, Outcome.FAILED, Outcome.SKIPPED], False),
    ],
)
def test_an_answer(outcomes: list[Outcome], ok: bool) -> None:
    steps = [TrialStep(Phase.TCP, outcome) for outcome in outcomes]
    answer = translate_trial.trial_message(steps)
    assert answer.ok is ok
    assert list(answer.steps) == [translate_trial.step_message(one) for one in steps]


def test_a_rotated_connection() -> None:
    answer = translate_trial.rotated_message(VIEW)
    assert answer.connection == translate.connection_message(VIEW)
