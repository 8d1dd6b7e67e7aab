"""Every gRPC code has an exit code and an advice; the documentation tells the same."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from websocketmanager.api.status import RULES
from websocketmanager.terminal.exits import MEANINGS, Exit, advice, exit_of

CODES = [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


@pytest.mark.parametrize("code", CODES)
def test_every_failure_ends_with_a_failure_and_an_advice(code: str) -> None:
    assert exit_of(code, "") is not Exit.OK
    assert advice(code, "", unreachable="start it")


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        ("UNAVAILABLE", "", Exit.UNREACHABLE),
        ("UNAVAILABLE", "SERVICE_UNAVAILABLE", Exit.UNREACHABLE),
        ("UNAVAILABLE", "API_UNAVAILABLE", Exit.UNREACHABLE),
        ("UNAVAILABLE", "FIRST_DIAL_FAILED", Exit.UPSTREAM),
        ("UNAVAILABLE", "ROTATION_FAILED", Exit.UPSTREAM),
        ("UNAVAILABLE", "CONNECTION_ENDED", Exit.REFUSED),
        ("NOT_FOUND", "CONNECTION_NOT_FOUND", Exit.NOT_FOUND),
        ("DEADLINE_EXCEEDED", "REPLY_TIMEOUT", Exit.DEADLINE),
        ("INVALID_ARGUMENT", "INVALID_ARGUMENT", Exit.USAGE),
        ("FAILED_PRECONDITION", "NOT_CONNECTED", Exit.REFUSED),
        ("INTERNAL", "", Exit.FAILED),
    ],
)
def test_the_reason_decides_where_the_code_says_too_little(
    code: str, reason: str, expected: Exit
) -> None:
    assert exit_of(code, reason) is expected


def test_an_unreachable_peer_gets_its_own_advice() -> None:
    assert advice("UNAVAILABLE", "", unreachable="start it") == "start it"
    assert advice("UNAVAILABLE", "SERVICE_UNAVAILABLE", unreachable="start it") != "start it"


def test_the_reasons_that_are_told_apart_exist() -> None:
    reasons = {rule.reason for rule in RULES.values() if rule}
    told_apart = {"FIRST_DIAL_FAILED", "ROTATION_FAILED", "CONNECTION_ENDED", "SERVICE_UNAVAILABLE"}
    assert told_apart <= reasons


def test_every_exit_code_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert set(MEANINGS) == set(Exit)
    for code in Exit:
        assert f"| {code:d} |" in text or (code > 128 and str(int(code)) in text)
