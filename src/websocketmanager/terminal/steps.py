"""The steps of a test, as lines for a person. Pure.

What servers send is untrusted: control characters never reach a terminal.
"""

from __future__ import annotations

from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb
from websocketmanager.terminal.lines import printable


def step_line(step: pb.TestStep) -> str:
    """Returns one step: outcome, name, time, and what was found or what is wrong."""
    took = "" if step.outcome == "skipped" else f"{step.duration_ms:.1f} ms"
    words = (step.detail, ": ".join(filter(None, (step.error_type, step.error_message))))
    return (
        f"{printable(step.outcome, limit=20):<7}  {printable(step.step, limit=20):<13}  {took:>10}"
        f"  {printable('; '.join(filter(None, words)), limit=2000)}"
    ).rstrip()
