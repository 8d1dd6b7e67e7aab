"""Both engines of the WebSocket adapter, for the suites that hold for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.opening import ENGINES, Chosen
from websocketmanager.adapters.websocket.dialer import Engine


# Of a module, as hypothesis refuses fixtures that are made anew for each test.
@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Has dialers made with each engine in turn."""
    before, Chosen.engine = Chosen.engine, request.param
    yield Chosen.engine
    Chosen.engine = before
