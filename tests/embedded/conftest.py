"""The embedded API with its defaults."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.embedded.client import Client, running


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running() as running_client:
        yield running_client
