"""The platform's topic patterns, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.topics import (
    MAX_TOPIC_LENGTH,
    Accepted,
    NeedsScenario,
    Refused,
    judge_topic,
    scenario_is_active,
    scenario_key,
    scenario_refusal,
)


@pytest.mark.parametrize(
    "topic",
    [
        "websocketmanager.lifecycle",
        "websocketmanager.lifecycle.connected",
        "demo.ticks",
        "My_Service-2.Prices",
        "feed.btcusdt@depth",
        "feed.BTC/USDT",
        "markt.preise.größe",
        "actor.events",  # only whole segments are reserved
        "ACT.events",  # and case matters
        "act.exchange.binance.orderbook.updated",
        "act.exchange.binance.orderbook.updated.BTC-USDT",
        "hyp.whatif.exchange.binance.trade.executed",
        "hyp.whatif.exchange.binance.trade.executed.42",
        "sc.LIVE.market.price.changed",
        "sc.LIVE.market.price.changed.btcusdt",
        "a." + "b" * (MAX_TOPIC_LENGTH - 2),
    ],
)
def test_accepts(topic: str) -> None:
    assert judge_topic(topic) == Accepted()


@pytest.mark.parametrize(
    ("topic", "scenario_id"),
    [
        ("sc.S1.market.price.changed", "S1"),
        ("sc.crash-2008.market.price.changed.SPX", "crash-2008"),
        ("sc.live.market.price.changed", "live"),
    ],
)
def test_asks_for_the_scenario(topic: str, scenario_id: str) -> None:
    assert judge_topic(topic) == NeedsScenario(scenario_id)
    assert scenario_key(scenario_id) == f"scenario.{scenario_id}"


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("", "never empty"),
        ("ticks", "must be <service>.<category>[.<sub>]: it has 2 or 3 segments, not 1"),
        ("a.b.c.d", "must be <service>.<category>[.<sub>]: it has 2 or 3 segments, not 4"),
        ("a..b", "empty segment"),
        (".a.b", "empty segment"),
        ("a.b.", "empty segment"),
        (".", "empty segment"),
        ("a.b c", "no spaces"),
        ("a.b\n", r"'\n'"),
        ("a.\x00b", r"'\x00'"),
        ("a.b\u200b", r"'\u200b'"),
        ("a.b\u00a0c", r"'\xa0'"),
        ("a.*", "no wildcards"),
        ("a.>", "no wildcards"),
        ("a." + "b" * MAX_TOPIC_LENGTH, f"at most {MAX_TOPIC_LENGTH} characters"),
        ("act", "reserved segment act"),
        ("act.events", "must be act.exchange.<venue>.<entity>.<event>[.<id>]"),
        ("act.market.binance.trade.executed", "segment 2 is exchange, not 'market'"),
        ("act.exchange.binance.trade", "it has 5 or 6 segments, not 4"),
        ("act.exchange.binance.trade.executed.1.2", "it has 5 or 6 segments, not 7"),
        ("hyp.whatif", "must be hyp.<name>.exchange.<venue>.<entity>.<event>[.<id>]"),
        ("hyp.whatif.market.binance.trade.executed", "segment 3 is exchange, not 'market'"),
        ("hyp.exchange.binance.trade.executed", "it has 6 or 7 segments, not 5"),
        ("sc.S1", "must be sc.<scenarioId>.<domain>.<entity>.<event>[.<id>]"),
        ("sc.LIVE.market.price", "it has 5 or 6 segments, not 4"),
        ("sc.LIVE.market.price.changed.a.b", "it has 5 or 6 segments, not 7"),
    ],
)
def test_refuses_with_the_rule(topic: str, words: str) -> None:
    verdict = judge_topic(topic)
    assert isinstance(verdict, Refused)
    assert words in verdict.rule


@given(st.text() | st.lists(st.sampled_from(["act", "hyp", "sc", "exchange", "x", "", "LIVE"])))
def test_is_total(text: str | list[str]) -> None:
    topic = text if isinstance(text, str) else ".".join(text)
    verdict = judge_topic(topic)
    assert isinstance(verdict, Accepted | Refused | NeedsScenario)
    if isinstance(verdict, Refused):
        assert verdict.rule.isascii()
        assert len(verdict.rule) < 500
    else:
        assert 2 <= len(topic.split(".")) <= 7
        assert all(topic.split("."))


@pytest.mark.parametrize(
    ("value", "active"),
    [
        ("{}", True),
        ('{"name":"crash"}', True),
        ('{"status":"active"}', True),
        ('{"status":"Active"}', True),
        ('{"status":"paused"}', False),
        ('{"status":"archived"}', False),
        ('{"status":""}', False),
        ('{"status":null}', False),
        ("[]", True),
        ("registered", True),
        ("", True),
        ("[" * 100_000, True),
    ],
)
def test_a_scenario_is_active_unless_it_says_otherwise(value: str, active: bool) -> None:
    assert scenario_is_active(value) is active


def test_the_scenario_refusal_says_where_to_register() -> None:
    assert "'scenario.S1'" in scenario_refusal("sc.S1.a.b.c", "S1").rule
