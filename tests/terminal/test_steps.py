"""Steps of a test as a person reads them."""

from __future__ import annotations

import pytest

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.terminal.steps import step_line


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            pb.TestStep(step="tcp", outcome="ok", duration_ms=1.26, detail="127.0.0.1:9"),
            "ok       tcp                1.3 ms  127.0.0.1:9",
        ),
        (
            pb.TestStep(step="proxy", outcome="skipped", detail="none is asked for"),
            "skipped  proxy                      none is asked for",
        ),
        (
            pb.TestStep(
                step="first_data",
                outcome="failed",
                duration_ms=10000,
                error_type="peer_closed",
                error_message="bye\x1b[2J",
            ),
            "failed   first_data     10000.0 ms  peer_closed: bye\\x1b[2J",
        ),
        (pb.TestStep(step="new\nstep", outcome="odd"), "odd      new\\nstep          0.0 ms"),
    ],
)
def test_lines(step: pb.TestStep, expected: str) -> None:
    assert step_line(step) == expected
