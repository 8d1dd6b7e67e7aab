"""Which topics the embedded API accepts, and which scenarios it knows as active."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

from websocketmanager.domain.topics import (
    Accepted,
    NeedsScenario,
    Refused,
    judge_topic,
    scenario_is_active,
    scenario_key,
    scenario_refusal,
)
from websocketmanager.embedded.store import Store

TopicRules = Literal["platform", "any"]

#: Service whose record of a scenario decides when several services hold one.
_SCENARIO_SERVICE: Final = "scenario"
#: Topics that are remembered as accepted.
_MEMORY: Final = 4096


class TopicJudge:
    """Judges topics by the rules and by the scenarios of now."""

    def __init__(self, scenarios: ScenarioRegistry, rules: TopicRules) -> None:
        self._scenarios = scenarios
        self._rules = rules
        #: Of late, and whatever scenarios there are.
        self._accepted: set[str] = set()

    async def refusals(self, topics: Collection[str]) -> dict[str, str]:
        """Returns the broken rule of each topic that breaks one."""
        if self._accepted.issuperset(topics):
            return {}
        if self._rules == "any":
            return {topic: "a topic is never empty" for topic in topics if not topic}
        refusals: dict[str, str] = {}
        needed: dict[str, str] = {}
        for topic in topics:
            match judge_topic(topic):
                case Refused(rule):
                    refusals[topic] = rule
                case NeedsScenario(scenario_id):
                    needed[topic] = scenario_id
                case Accepted():
                    self._remember(topic)
        if needed:
            active = await self._scenarios.active(set(needed.values()))
            for topic, scenario_id in needed.items():
                if scenario_id not in active:
                    refusals[topic] = scenario_refusal(topic, scenario_id).rule
        return refusals

    def _remember(self, topic: str) -> None:
        if len(self._accepted) >= _MEMORY:
            self._accepted.clear()
        self._accepted.add(topic)


class ScenarioRegistry:
    """Which scenarios are registered and active, by their state records."""

    def __init__(self, store: Store, services: Collection[str]) -> None:
        self._store = store
        self._services = sorted(services, key=lambda service: service != _SCENARIO_SERVICE)

    async def active(self, scenario_ids: Collection[str]) -> frozenset[str]:
        """Returns those that are.

        A record under any known service counts; of several the one of the service `scenario`
        decides, else the first in the configured order.
        """
        places = [
            (service, scenario_key(scenario_id))
            for scenario_id in scenario_ids
            for service in self._services
        ]
        found = iter(await self._store.get_each(places))
        records = {
            scenario_id: [next(found) for _ in self._services] for scenario_id in scenario_ids
        }
        return frozenset(
            scenario_id
            for scenario_id, candidates in records.items()
            if (record := next(filter(None, candidates), None)) is not None
            and scenario_is_active(record.value)
        )
