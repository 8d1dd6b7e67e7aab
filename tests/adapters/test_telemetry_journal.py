"""Twin of adapters/telemetry/journal.py, and of the catalogue and instruments behind it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from websocketmanager.adapters.telemetry import Telemetry, running_telemetry
from websocketmanager.adapters.telemetry.catalogue import LOG_ONLY, METRICS
from websocketmanager.adapters.telemetry.values import MAX_SERIES
from websocketmanager.domain import facts
from websocketmanager.domain.facts import Fact

FACTS = sorted(
    {
        each
        for each in vars(facts).values()
        if isinstance(each, type) and issubclass(each, Fact) and each is not Fact
    },
    key=lambda each: each.__name__,
)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    with running_telemetry(service_version="1.2.3", instance_id="a", environ={}) as running:
        yield running


def rendered(telemetry: Telemetry) -> dict[str, float]:
    page, _ = telemetry.render_metrics()
    lines = [line for line in page.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def example(kind: type[Fact]) -> Fact:
    """A fact of a class, with a value of the right type in every field."""
    values = {"int": 2, "float": 0.02, "bool": True, "str": "x"}
    return kind(**{each.name: values[str(each.type)] for each in dataclasses.fields(kind)})


def test_every_fact_is_measured_or_stated_to_be_for_the_log_only() -> None:
    assert METRICS.keys() | LOG_ONLY == set(FACTS)
    assert not METRICS.keys() & LOG_ONLY


@pytest.mark.parametrize("kind", FACTS, ids=lambda kind: kind.__name__)
def test_every_fact_is_logged_with_its_sentence_and_moves_its_metrics(
    kind: type[Fact], telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "websocketmanager")
    fact = example(kind)
    before = rendered(telemetry)
    telemetry.journal.emit(fact)
    (record,) = caplog.records
    assert record.levelname == kind.LEVEL.upper()
    fields = {each.name: getattr(fact, each.name) for each in dataclasses.fields(fact)}
    assert record.getMessage() == kind.SENTENCE.format(**fields)
    moved = {name for name, value in rendered(telemetry).items() if before.get(name) != value}
    for metric in METRICS.get(kind, ()):
        if metric.kind == "gauge" and metric.value(fact) == 0:
            continue  # gauges start at zero
        name = "websocketmanager_" + metric.name.replace(".", "_")
        assert any(each.startswith(name) for each in moved), name


def test_counters_add_and_keep_labels_apart(telemetry: Telemetry) -> None:
    for count, cause in ((3, "buffer_full"), (4, "buffer_full"), (1, "topic_rejected")):
        telemetry.journal.emit(facts.MessagesDropped("c", count, cause))
    metrics = rendered(telemetry)
    assert metrics['websocketmanager_messages_dropped_total{cause="buffer_full"}'] == 7
    assert metrics['websocketmanager_messages_dropped_total{cause="topic_rejected"}'] == 1


def test_counters_without_labels_show_before_their_first_fact(telemetry: Telemetry) -> None:
    assert rendered(telemetry)["websocketmanager_sessions_opened_total"] == 0


def test_published_events_are_counted_by_events_bytes_and_batches(telemetry: Telemetry) -> None:
    for count, size in ((1, 10), (2, 20), (600, 6000)):
        telemetry.journal.emit(facts.EventsPublished(count, size, 0.001))
    metrics = rendered(telemetry)
    assert metrics["websocketmanager_events_published_total"] == 603
    assert metrics["websocketmanager_events_published_size_bytes_total"] == 6030
    assert metrics['websocketmanager_publish_batch_size_bucket{le="1.0"}'] == 1
    assert metrics['websocketmanager_publish_batch_size_bucket{le="2.0"}'] == 2
    assert metrics['websocketmanager_publish_batch_size_bucket{le="512.0"}'] == 2
    assert metrics['websocketmanager_publish_batch_size_bucket{le="+Inf"}'] == 3
    assert metrics["websocketmanager_publish_batch_size_sum"] == 603


def test_durations_are_seconds_by_method_and_code(telemetry: Telemetry) -> None:
    for seconds in (0.001, 0.002, 20):
        telemetry.journal.emit(facts.RpcEnded("/virtufin.WebSocketManager/List", "OK", seconds))
    name = "websocketmanager_rpc_server_duration_seconds"
    labels = 'code="OK",method="/virtufin.WebSocketManager/List"'
    metrics = rendered(telemetry)
    assert metrics[f"{name}_count{{{labels}}}"] == 3
    assert metrics[f"{name}_sum{{{labels}}}"] == pytest.approx(20.003)
    bucket = f'{name}_bucket{{code="OK",le="0.001",method="/virtufin.WebSocketManager/List"}}'
    assert metrics[bucket] == 1


def test_a_stall_is_a_gauge_that_falls_again(telemetry: Telemetry) -> None:
    seen = []
    for fact in (facts.PublishingStalled("away"), facts.PublishingResumed(1.5)):
        telemetry.journal.emit(fact)
        seen.append(rendered(telemetry)["websocketmanager_publishing_stalled"])
    assert seen == [1, 0]


@pytest.mark.parametrize(
    ("state", "number"),
    [("closed", 0), ("half-open", 1), ("half_opened", 1), ("open", 2), ("opened", 2), ("OPEN", 2)],
)
def test_breaker_states_are_numbers(state: str, number: int, telemetry: Telemetry) -> None:
    telemetry.journal.emit(facts.BreakerChanged("api:5002", state))
    name = 'websocketmanager_api_breaker_state{target="api:5002"}'
    assert rendered(telemetry)[name] == number


def test_invented_label_values_stay_bounded_and_none_is_lost(telemetry: Telemetry) -> None:
    for number in range(MAX_SERIES + 50):
        telemetry.journal.emit(facts.RpcEnded(f"/x/{number}", "UNIMPLEMENTED", 0.1))
        telemetry.journal.emit(facts.RpcCrashed(f"/x/{number}", "E", ""))
    page = telemetry.render_metrics()[0].decode()
    counts = re.findall(
        r"^websocketmanager_rpc_server_duration_seconds_count.* (.*)$", page, re.MULTILINE
    )
    crashes = re.findall(r"^websocketmanager_rpc_server_crashes_total.* (.*)$", page, re.MULTILINE)
    assert len(counts) == len(crashes) == MAX_SERIES + 1
    assert sum(map(float, counts)) == sum(map(float, crashes)) == MAX_SERIES + 50


@dataclass(frozen=True, slots=True)
class Unshowable(Fact):
    SENTENCE: ClassVar[str] = "{nothing_like_this}"


@dataclass(frozen=True, slots=True)
class Unlevelled(Fact):
    LEVEL: ClassVar[str] = "loud"


@pytest.mark.parametrize("fact", [Unshowable(), Unlevelled()], ids=lambda fact: type(fact).__name__)
def test_emit_never_raises_and_tells_on_the_fact(
    fact: Fact, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "websocketmanager")
    telemetry.journal.emit(fact)
    assert f"a fact of class {type(fact).__name__} was not recorded" in caplog.text


def test_a_number_that_is_none_is_told_and_not_counted(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: float = "soon"  # type: ignore[assignment] # what a bug elsewhere may hand over
    telemetry.journal.emit(facts.RpcEnded("/x/Y", "OK", wrong))
    telemetry.journal.emit(facts.RpcEnded("/x/Y", "OK", 1))
    assert "a fact of class RpcEnded was not recorded" in caplog.text
    name = 'websocketmanager_rpc_server_duration_seconds_count{code="OK",method="/x/Y"}'
    assert rendered(telemetry)[name] == 1


def test_observed_numbers_are_read_when_metrics_are(telemetry: Telemetry) -> None:
    connections = {"connected": 2, "reconnecting": 1}
    received = 10
    telemetry.observe(
        "connections",
        "Connections by status",
        "{connection}",
        lambda: [(count, {"status": status}) for status, count in connections.items()],
    )
    telemetry.observe(
        "messages.received", "Messages", "{message}", lambda: [(received, {})], kind="counter"
    )
    first = rendered(telemetry)
    connections["connected"], received = 5, 25
    second = rendered(telemetry)
    name = 'websocketmanager_connections{status="connected"}'
    assert (first[name], second[name]) == (2, 5)
    assert 'websocketmanager_connections{status="reconnecting"}' in second
    name = "websocketmanager_messages_received_total"
    assert (first[name], second[name]) == (10, 25)


def test_a_callback_that_fails_spoils_nothing_else(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> list[tuple[float, dict[str, str]]]:
        raise RuntimeError("dictionary changed size during iteration")

    telemetry.observe("broken", "", "", broken)
    assert rendered(telemetry)["websocketmanager_dials_total"] == 0
    assert "changed size" in caplog.text


@pytest.mark.parametrize("name", ["dials", "rpc.server.duration", "mine"])
def test_a_name_is_taken_once(name: str, telemetry: Telemetry) -> None:
    if name == "mine":
        telemetry.observe("mine", "", "", list)
    with pytest.raises(ValueError, match=f"already a metric websocketmanager.{name}"):
        telemetry.observe(name, "", "", list)


def test_operators_find_every_metric_in_the_documentation(telemetry: Telemetry) -> None:
    for kind in FACTS:
        telemetry.journal.emit(example(kind))
    page = telemetry.render_metrics()[0].decode()
    served = set(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|", text, re.MULTILINE))
    assert served <= documented
    # The others are those of app/gauges.py, which shows what no fact tells.
    assert {name for name, _ in documented - served} == {
        "websocketmanager_buffer_events",
        "websocketmanager_messages_spilled",
        "websocketmanager_messages_received_size_bytes_total",
        "websocketmanager_messages_sent_size_bytes_total",
        "websocketmanager_messages_published_total",
        "websocketmanager_messages_received_total",
        "websocketmanager_messages_sent_total",
        "websocketmanager_reconnects_total",
        "websocketmanager_messages_unrouted_total",
        "websocketmanager_connections",
        "websocketmanager_publish_mode",
        "websocketmanager_ready",
    }
