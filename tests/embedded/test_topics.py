"""Which topics pass, by the rules and by the scenarios of the moment."""

from __future__ import annotations

import pytest

from websocketmanager.embedded.store import opened_store
from websocketmanager.embedded.topics import ScenarioRegistry, TopicJudge, TopicRules

SERVICES = ("websocketmanager", "scenario")


@pytest.mark.parametrize(
    ("rules", "refused"),
    [("platform", {"", "no-such-prefix", "sc.S2.a.b.c"}), ("any", {""})],
)
async def test_each_topic_that_breaks_a_rule_is_named_with_it(
    rules: TopicRules, refused: set[str]
) -> None:
    async with opened_store(":memory:") as store:
        await store.save("scenario", "scenario.S1", "{}")
        judge = TopicJudge(ScenarioRegistry(store, SERVICES), rules)
        topics = ["demo.ticks", "sc.S1.a.b.c", "", "no-such-prefix", "sc.S2.a.b.c"]

        refusals = await judge.refusals(topics)

        assert set(refusals) == refused
        assert all(refusals.values())


async def test_the_scenario_service_decides_over_others() -> None:
    async with opened_store(":memory:") as store:
        registry = ScenarioRegistry(store, SERVICES)
        await store.save("websocketmanager", "scenario.S1", "{}")
        assert await registry.active({"S1", "S2"}) == {"S1"}
        await store.save("scenario", "scenario.S1", '{"status":"archived"}')
        assert await registry.active({"S1"}) == frozenset()


async def test_a_scenario_is_asked_for_each_time() -> None:
    async with opened_store(":memory:") as store:
        judge = TopicJudge(ScenarioRegistry(store, SERVICES), "platform")
        await store.save("scenario", "scenario.S1", "{}")
        topics = ["demo.ticks", "sc.S1.a.b.c"]
        for _ in range(2):
            assert await judge.refusals(topics) == {}
        await store.save("scenario", "scenario.S1", '{"status":"archived"}')
        assert set(await judge.refusals(topics)) == {"sc.S1.a.b.c"}
        assert await judge.refusals(["demo.ticks"]) == {}
        assert set(await judge.refusals(["no-such-prefix"])) == {"no-such-prefix"}


async def test_what_is_remembered_of_topics_is_bounded() -> None:
    async with opened_store(":memory:") as store:
        judge = TopicJudge(ScenarioRegistry(store, SERVICES), "platform")
        for number in range(5000):
            assert await judge.refusals([f"demo.t{number}"]) == {}
            assert len(judge._accepted) == number % 4096 + 1
