"""Judges a topic by the platform's patterns, and whether a scenario's record says that it runs.

    <service>.<category>[.<sub>]
    act.exchange.<venue>.<entity>.<event>[.<id>]
    hyp.<name>.exchange.<venue>.<entity>.<event>[.<id>]
    sc.<scenarioId>.<domain>.<entity>.<event>[.<id>]

The platform does not publish which characters a segment may hold. Here: any visible one except
the wildcards `*` and `>`, so that `BTC-USDT` and `btcusdt@depth` are ids; case matters. `act`,
`hyp` and `sc` are reserved: a topic that begins with one of them follows its pattern or none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

#: Characters of a whole topic.
MAX_TOPIC_LENGTH: Final = 1024
#: The scenario that is always registered and active.
LIVE_SCENARIO: Final = "LIVE"

_WILDCARDS: Final = "*>"
#: Characters of a refused topic that a sentence repeats.
_QUOTED_LENGTH: Final = 60
_PLAIN: Final = ("<service>", "<category>", "[<sub>]")
#: By reserved first segment. Segments in brackets of either kind are free, the rest literal.
_RESERVED: Final = {
    "act": ("act", "exchange", "<venue>", "<entity>", "<event>", "[<id>]"),
    "hyp": ("hyp", "<name>", "exchange", "<venue>", "<entity>", "<event>", "[<id>]"),
    "sc": ("sc", "<scenarioId>", "<domain>", "<entity>", "<event>", "[<id>]"),
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The topic follows its pattern, and nothing else must be known."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The topic breaks a rule; `rule` is the sentence that says which."""

    rule: str


@dataclass(frozen=True, slots=True)
class NeedsScenario:
    """The topic follows its pattern and is accepted while this scenario is active."""

    scenario_id: str


TopicVerdict = Accepted | Refused | NeedsScenario

_ACCEPTED: Final = Accepted()


def judge_topic(topic: str) -> TopicVerdict:
    """Judges any text as a topic; never raises."""
    segments = topic.split(".")
    if fault := _text_fault(topic, segments):
        return Refused(fault)
    pattern = _RESERVED.get(segments[0], _PLAIN)
    if fault := _shape_fault(segments, pattern):
        return Refused(
            f"{_quoted(topic)} must be {_spelled(pattern)}: {fault}"
            if pattern is _PLAIN
            else f"{_quoted(topic)} begins with the reserved segment {segments[0]}, "
            f"so it must be {_spelled(pattern)}: {fault}"
        )
    if segments[0] == "sc" and segments[1] != LIVE_SCENARIO:
        return NeedsScenario(segments[1])
    return _ACCEPTED


def scenario_key(scenario_id: str) -> str:
    """Returns the state key under which a scenario is registered."""
    return f"scenario.{scenario_id}"


def scenario_refusal(topic: str, scenario_id: str) -> Refused:
    """Returns the refusal of a topic whose scenario is unknown or not active."""
    return Refused(
        f"{_quoted(topic)} belongs to scenario {_quoted(scenario_id)}, which is not registered "
        f"and active: the state key {_quoted(scenario_key(scenario_id))} must hold a scenario "
        f"with the status active (or use the scenario {LIVE_SCENARIO})"
    )


def scenario_is_active(value: str) -> bool:
    """Says whether a registered scenario's value leaves it active.

    The platform does not publish the value's shape, so only a JSON object with a `status` other
    than `active` (in any case) says no; everything else is a scenario that was registered.
    """
    try:
        scenario = json.loads(value)
    except (ValueError, RecursionError):
        return True
    if not isinstance(scenario, dict):
        return True
    status = scenario.get("status", "active")
    return isinstance(status, str) and status.lower() == "active"


def _text_fault(topic: str, segments: list[str]) -> str | None:
    """Finds what no topic may hold, whatever its pattern."""
    if not topic:
        return "a topic is never empty"
    if len(topic) > MAX_TOPIC_LENGTH:
        return f"a topic has at most {MAX_TOPIC_LENGTH} characters, not {len(topic)}"
    for character in topic:
        if character == " " or not character.isprintable():
            return (
                f"{_quoted(topic)} holds {character!a}: "
                "a topic has no spaces, control or invisible characters"
            )
        if character in _WILDCARDS:
            return f"{_quoted(topic)} holds {character!r}: a topic has no wildcards"
    if "" in segments:
        return f"{_quoted(topic)} has an empty segment: every dot stands between two segments"
    return None


def _shape_fault(segments: list[str], pattern: tuple[str, ...]) -> str | None:
    """Compares count and literal segments with a pattern, whose last segment is optional."""
    least, most = len(pattern) - 1, len(pattern)
    if not least <= len(segments) <= most:
        return f"it has {least} or {most} segments, not {len(segments)}"
    for number, (segment, expected) in enumerate(zip(segments, pattern, strict=False), start=1):
        if expected[0] not in "<[" and segment != expected:
            return f"segment {number} is {expected}, not {_quoted(segment)}"
    return None


def _spelled(pattern: tuple[str, ...]) -> str:
    *fixed, optional = pattern
    return f"{'.'.join(fixed)}[.{optional[1:-1]}]"


def _quoted(text: str) -> str:
    # Plain ASCII and short: the sentence travels in a header.
    shown = text if len(text) <= _QUOTED_LENGTH else text[:_QUOTED_LENGTH] + "..."
    return ascii(shown)
