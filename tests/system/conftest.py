"""Long runs are asked for by WEBSOCKETMANAGER_LONG_TESTS=1; short ones are always run."""

from __future__ import annotations

import asyncio
import os

import pytest

LONG = "WEBSOCKETMANAGER_LONG_TESTS"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"long: takes minutes; run only with {LONG}=1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(LONG):
        return
    skip = pytest.mark.skip(reason=f"takes minutes; {LONG}=1 runs it")
    for item in items:
        if "system" in item.path.parts and item.get_closest_marker("long"):
            item.add_marker(skip)


@pytest.fixture
async def plain_loop() -> None:
    """Turns asyncio's debug mode off: the doubles must keep up with a service that is fast."""
    asyncio.get_running_loop().set_debug(False)
