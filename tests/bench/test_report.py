"""What a run says of itself: promises kept and missed, tables, the marked part of the document."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.bench.bench_peers import doubt, faults, medians
from tests.bench.report import DOCS, plot, promised_ratio, promises_table, write_docs
from tests.bench.scenarios import PROMISES


def result(scenario: str, variant: str, rate: float = 0.0, **given: Any) -> dict[str, Any]:
    return {
        "scenario": scenario,
        "variant": variant,
        "messages_per_second": rate,
        "cpu_us_per_message": 1.0,
        "api_us_per_message": None,
        "latency_us": None,
        "lateness_us": None,
        "resident_bytes": [1 << 20],
        "rig_cpu_seconds": 0.1,
        "seconds": 2.0,
        **dict.fromkeys(("lost", "misordered", "duplicates", "foreign"), 0),
        **given,
    }


def paced(variant: str, p99: float, late: float = 1.0) -> dict[str, Any]:
    latency = {"p50": p99 / 2, "p99": p99, "p999": p99 * 2}
    return result("latency-1k", variant, 1000.0, latency_us=latency, lateness_us={"p99": late})


RUN = [
    *(result("throughput-1", "benthos", rate) for rate in (90.0, 100.0, 5000.0)),
    result("throughput-1", "driver, API apart", 210.0),
    result("throughput-1", "client, API apart", 69.0),
    paced("benthos", 1000.0),
    paced("driver, API apart", 690.0),
    paced("client, API apart", 810.0),
]


def test_a_promise_compares_medians_and_knows_its_direction() -> None:
    found = {"medians": medians(RUN)}
    lines = {line.split(" | ")[0][2:]: line for line in promises_table(found) if " | " in line}
    throughput = lines["throughput, 1 connection, API apart"]
    assert "| 2.10 | ≥ 2 | 0.69 **missed** | ≥ 0.7 |" in throughput
    assert "| 0.69 | ≤ 0.7 | 0.81 **missed** | ≤ 0.8 |" in lines["p99 at 1,000 msg/s"]
    assert "not measured" in lines["throughput, 1 connection, direct"]


def test_a_promise_without_its_peer_has_no_ratio() -> None:
    alone = medians([result("throughput-1", "driver, API apart", 210.0)])
    assert promised_ratio(PROMISES[0], "driver", alone) is None


@pytest.mark.parametrize("fault", ["lost", "misordered", "duplicates", "foreign"])
def test_every_fault_of_a_run_is_told(fault: str) -> None:
    assert faults(RUN[0]) == ""
    assert faults({**RUN[0], fault: 3}) == f"3 {fault}"


def test_a_late_schedule_is_told() -> None:
    assert doubt(RUN[0]) == doubt(paced("benthos", 1000.0, late=300.0)) == ""
    assert "late by 400 µs" in doubt(paced("benthos", 1000.0, late=400.0))


def test_the_plot_has_a_bar_for_every_figure_from_zero() -> None:
    tree = ET.fromstring(plot(medians(RUN)))
    bars = [e for e in tree.iter() if e.get("class") in {"ours", "peer"}]
    widths = [float(bar.get("width", 0)) for bar in bars]
    assert len(bars) == 6
    assert widths[0] / widths[1] == pytest.approx(100 / 210, rel=0.02)


def test_the_document_is_renewed_between_its_marks_only(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(DOCS.read_text())
    before = document.read_text().split("<!-- idle")
    for tables in (["| stale row |"], ["| new |"]):
        write_docs("idle", tables, {"machine": {"kernel": "6"}}, document)
    after = document.read_text()
    assert "| new |\n\nMeasured on: kernel 6." in after
    assert "stale row" not in after
    assert after.startswith(before[0])
    assert after.endswith(before[-1].partition("-->")[2])
    with pytest.raises(ValueError, match="no marks of nothing"):
        write_docs("nothing", [], {"machine": {}}, document)
