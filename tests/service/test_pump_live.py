"""How a stream does now: rates, age, lag; and who looks on at it."""

from __future__ import annotations

import pytest

from tests.kit.clock import START, ManualClock
from tests.kit.quiet import wait_quiet
from tests.service.test_pump import DOWN, feed, identity, works
from websocketmanager.domain.model import Kind, Message


async def test_rates_follow_the_stream() -> None:
    async with works() as site:
        pump = site.pump(max_messages=100_000)
        assert pump.live().messages_per_second_10s == 0.0
        for _ in range(400):
            site.clock.advance(0.25)
            pump.accept(Message(Kind.TEXT, b"12345"), site.clock.now())
        live = pump.live()
        assert live.messages_per_second_10s == pytest.approx(4, rel=0.05)
        assert live.messages_per_second_60s == pytest.approx(4, rel=0.05)
        assert live.bytes_per_second_10s == pytest.approx(20, rel=0.05)
        assert live.bytes_per_second_60s == pytest.approx(20, rel=0.05)
        site.clock.advance(30)
        later = pump.live()
        assert later.messages_per_second_10s < 0.3
        assert 2 < later.messages_per_second_60s < 3


async def test_what_was_long_ago_hardly_counts_though_nobody_asked_meanwhile() -> None:
    async with works() as site:
        pump = site.pump(max_messages=100_000)
        for _ in range(1000):
            site.clock.advance(0.1)
            pump.accept(Message(Kind.TEXT, b"x"), site.clock.now())
        for _ in range(60):
            site.clock.advance(1.0)
            pump.accept(Message(Kind.TEXT, b"x"), site.clock.now())
        live = pump.live()
        assert live.messages_per_second_10s == pytest.approx(1, abs=0.1)
        assert 3 < live.messages_per_second_60s < 5


async def test_the_age_of_the_last_data() -> None:
    async with works() as site:
        pump = site.pump()
        assert pump.live().data_age_seconds is None
        feed(pump, "x")
        site.clock.advance(7.5)
        assert pump.live().data_age_seconds == 7.5
        site.clock.jump_wall_clock(-100)
        assert pump.live().data_age_seconds == 0.0


async def test_the_lag_is_the_age_of_the_oldest_that_waits_also_in_flight() -> None:
    async with works(max_batch=2) as site:
        pump = site.pump()
        assert (pump.live().queue_depth, pump.live().publish_lag_seconds) == (0, 0.0)
        site.faults.break_all(DOWN)
        for second in range(5):
            pump.accept(Message(Kind.TEXT, b"x"), START + second)
        site.clock.advance(10)
        await wait_quiet()
        assert pump.live().queue_depth == 5
        assert pump.live().publish_lag_seconds == 10.0
        site.faults.heal()
        await site.drained()
        assert (pump.live().queue_depth, pump.live().publish_lag_seconds) == (0, 0.0)


async def test_a_feed_that_waits_for_its_gate_lags_too() -> None:
    async with works() as site:
        pump = site.pump(session=0)
        pump.open_session(identity(1), START)
        feed(pump, "x")
        site.clock.advance(3)
        await wait_quiet()
        assert pump.live().publish_lag_seconds == 3.0


@pytest.mark.parametrize("topic", ["a.a", None])
async def test_who_looks_on_sees_every_message_published_or_not(topic: str | None) -> None:
    async with works() as site:
        pump = site.pump(topic=topic)  # type: ignore[arg-type]  # a Topic is a str
        feed(pump, "before")
        tap = pump.taps.add(ManualClock(), max_message_bytes=0)
        feed(pump, "1", "2")
        tap.finish(None)
        seen = [one async for one in tap]
    assert [(one.data, one.sequence, one.topic) for one in seen] == [
        (b"1", 2, topic),
        (b"2", 3, topic),
    ]
    assert seen[0].id == f"c1/{round(START * 1000)}/1/2"
