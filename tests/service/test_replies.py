"""Replies find the callers that wait for them; nobody waits for ever."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from websocketmanager.domain.correlation import PrefixCorrelator
from websocketmanager.errors import ConnectionEnded, LimitReached
from websocketmanager.service.replies import Replies

ONE, TWO = b"1" * 16, b"2" * 16


def replies(max_pending: int = 4) -> Replies:
    return Replies(PrefixCorrelator(), connection_id="c1", max_pending=max_pending)


async def test_the_first_reply_completes_its_caller() -> None:
    table = replies()
    one, two = table.expect(ONE, generation=1), table.expect(TWO, generation=1)
    assert not table.take(b"something else entirely")
    assert not table.take(b"short")
    assert table.take(TWO + b"b")
    assert table.take(ONE)
    assert (await one, await two) == (b"", b"b")
    assert not table.take(ONE + b"again")


async def test_a_reply_that_was_given_up_is_an_ordinary_message() -> None:
    table = replies()
    table.expect(ONE, generation=1)
    table.forget(ONE)
    table.forget(ONE)
    assert not table.take(ONE + b"late")
    table.expect(TWO, generation=1).cancel()
    assert not table.take(TWO + b"late")


async def test_as_many_as_allowed_may_wait() -> None:
    table = replies(max_pending=1)
    table.expect(ONE, generation=1)
    with pytest.raises(LimitReached):
        table.expect(TWO, generation=1)
    table.forget(ONE)
    table.expect(TWO, generation=1)


async def test_the_end_of_the_socket_ends_all_waiting() -> None:
    table = replies()
    one = table.expect(ONE, generation=1)
    table.expect(TWO, generation=1).cancel()
    table.fail_all("gone")
    with pytest.raises(ConnectionEnded, match="gone"):
        await one
    assert not table.take(ONE)


async def test_a_failure_that_nobody_asks_for_is_no_complaint() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    table = replies()
    table.expect(ONE, generation=1)
    table.fail_all("gone")
    gc.collect()
    assert complaints == []
