"""Protobuf ↔ domain for `Rotate` and the tests of a target, pure; refuses as `translate` does.

May import the domain, errors, our generated messages and its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.api import translate
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import ConnectionSpec, ConnectionView
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.profiles import Profile
from websocketmanager.domain.trial import Outcome, TrialStep


def trial_spec(
    request: pb.TestConnectionRequest,
    limits: Limits,
    compile_regex: CompileRegex | None = None,
    profiles: Mapping[str, Profile] = translate.NO_PROFILES,
) -> ConnectionSpec:
    """Returns what is to be tested. Takes and raises what `translate.connection_spec` does."""
    connect = pb.ConnectRequest(
        url=request.url,
        # Options for either kind of connection are good here.
        auto_reconnect=True,
        options=request.options,
        profile=request.profile,
        profile_parameters=request.profile_parameters,
    )
    return translate.connection_spec(connect, limits, compile_regex, profiles)


def step_message(step: TrialStep) -> pb.TestStep:
    """Returns one step."""
    return pb.TestStep(
        step=step.phase.value,
        outcome=step.outcome.value,
        duration_ms=round(step.seconds * 1000, 3),
        detail=step.detail,
        error_type=step.error_type,
        error_message=step.error_message,
    )


def trial_message(steps: Sequence[TrialStep]) -> pb.TestConnectionResponse:
    """Returns the answer to `TestConnection`."""
    return pb.TestConnectionResponse(
        steps=map(step_message, steps),
        ok=all(step.outcome is not Outcome.FAILED for step in steps),
    )


def rotated_message(view: ConnectionView) -> pb.RotateResponse:
    """Returns the answer to `Rotate`."""
    return pb.RotateResponse(connection=translate.connection_message(view))
