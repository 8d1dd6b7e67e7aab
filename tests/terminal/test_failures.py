"""Every expected failure has a sentence, an advice and an exit code."""

from __future__ import annotations

import pytest

from websocketmanager.errors import (
    ApiRefused,
    ApiUnauthenticated,
    ApiUnavailable,
    Fault,
    InstanceIdInUse,
    RecordUnreadable,
    SettingsInvalid,
)
from websocketmanager.terminal.exits import Exit
from websocketmanager.terminal.failures import explain
from websocketmanager.terminal.remote import CallFailed


def call_failed(code: str = "NOT_FOUND", *, peer: str = "websocketmanager") -> CallFailed:
    return CallFailed(
        peer=peer,
        address="h:1",
        code=code,
        problem="no \x1b[2J such thing",
        reason="WHY" if code == "NOT_FOUND" else "",
        facts={"a": "\x07"},
    )


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (SettingsInvalid(Fault("A", "is wrong"), Fault("B", "too")), Exit.USAGE, "A: is wrong"),
        (InstanceIdInUse(instance_id="x", address="y"), Exit.USAGE, "--instance-id"),
        (ApiUnavailable("State.GetState", "down"), Exit.UNREACHABLE, "--api-host"),
        (ApiUnauthenticated("State.GetState", "who"), Exit.REFUSED, "VIRTUFIN_API_KEY"),
        (ApiRefused("State.GetState", "no"), Exit.REFUSED, "State.GetState: no"),
        (RecordUnreadable(key="k", problem="newer"), Exit.FAILED, "k: newer"),
        (OSError(28, "No space left on device"), Exit.FAILED, "No space left"),
        (call_failed(), Exit.NOT_FOUND, "websocketmanager list"),
        (call_failed("UNAVAILABLE"), Exit.UNREACHABLE, "websocketmanager serve"),
        (call_failed("UNAVAILABLE", peer="virtufin-api"), Exit.UNREACHABLE, "--api-grpc-port"),
    ],
)
def test_a_failure_is_explained(failure: Exception, code: Exit, says: str) -> None:
    told = explain(failure)
    assert told.exit is code
    assert says in "\n".join(told.lines)
    assert told.lines[-1].startswith("next:  ")


def test_every_fault_of_the_configuration_is_a_sentence() -> None:
    told = explain(SettingsInvalid(Fault("A", "is wrong"), Fault("B", "too")))
    assert told.sentences == ("configuration: A: is wrong", "configuration: B: too")


def test_what_a_peer_says_cannot_act_on_the_terminal() -> None:
    text = "".join(explain(call_failed()).lines)
    assert "WHY a=\\x07" in text
    assert "\x1b" not in text
