"""An embedded API on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.kit.journal import RecordingJournal
from websocketmanager.adapters.system import SystemClock, SystemDice
from websocketmanager.embedded.server import running_embedded_api


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with running_embedded_api(
        host="127.0.0.1",
        port=0,
        database=":memory:",
        topic_rules="platform",
        journal=RecordingJournal(),
        clock=SystemClock(),
        dice=SystemDice(),
        api_key="sesame",
    ) as running:
        yield running.address
