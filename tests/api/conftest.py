"""A running face for each test that asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.face import Face, serving


@pytest.fixture
async def face() -> AsyncIterator[Face]:
    async with serving() as running:
        yield running
