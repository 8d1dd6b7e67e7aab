"""The generated document shows the whole table."""

from __future__ import annotations

from websocketmanager.domain import lifecycle, lifecycle_doc
from websocketmanager.domain.failure import FailureKind


def test_every_state_cell_and_failure_is_in_it() -> None:
    text = lifecycle_doc.render()
    for state in lifecycle.State:
        assert f"**{state}**" in text
    for rule in lifecycle.TABLE.values():
        assert rule.text in text
    for kind in FailureKind:
        assert f"`{kind}`" in text
