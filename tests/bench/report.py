"""Results as tables in Markdown, as a plot in SVG, and in docs/performance.md between its marks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias
from xml.sax.saxutils import escape

from tests.bench.programs import ROOT
from tests.bench.scenarios import BENTHOS, PROMISES, SCENARIOS, SCRIPT, SERVICE, Engine, Promise

#: Figures by scenario and program.
Medians: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float]]]

PEER_NAMES = {BENTHOS.name, SCRIPT.name}
DOCS = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"
#: Stands below the latencies.
SPACING = (
    "*Evenly spaced*: no two messages at the same time, so that each wakes the program up.",
    "*In ticks of 1 ms*: what venues that conflate do; what is due within a millisecond is written",
    "together at its end, one write for each connection, and is counted from then.",
)


def scenario_tables(report: Mapping[str, Any]) -> list[str]:
    """Returns one table of throughput and one of latency."""
    medians = report["medians"]
    lines = [
        "| as fast as it goes | program | msg/s | × peer | µs CPU per message | of the API |"
        " MiB resident | core of the rig | rounds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for title, name, row, peer in _rows(medians, paced=False):
        ratio = _ratio(row["messages_per_second"], peer, "messages_per_second")
        api = f"{row['api_us_per_message']:.2f}" if "api_us_per_message" in row else "–"
        lines.append(
            f"| {title} | {name} | {row['messages_per_second']:,.0f} | {ratio} "
            f"| {row['cpu_us_per_message']:.2f} | {api} | {row['resident_mib']:.0f} "
            f"| {row['rig_share']:.0%} | {row['rounds']} |"
        )
    lines += [
        "",
        "| at a steady rate | program | p50 µs | p99 µs | p99.9 µs | p99 × peer |"
        " µs CPU per message | schedule late by, p99 µs | rounds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for title, name, row, peer in _rows(medians, paced=True):
        lines.append(
            f"| {title} | {name} | {row['p50']:,.0f} | {row['p99']:,.0f} | {row['p999']:,.0f} "
            f"| {_ratio(row['p99'], peer, 'p99')} | {row['cpu_us_per_message']:.1f} "
            f"| {row['late_p99']:,.0f} | {row['rounds']} |"
        )
    return [*lines, "", *SPACING]


def promises_table(report: Mapping[str, Any]) -> list[str]:
    """Returns the promised ratios with what was measured."""
    lines = [
        "",
        "| ratio of medians | driver | target | client | target |",
        "|---|---|---|---|---|",
    ]
    for promise in PROMISES:
        cells = []
        for engine in ("driver", "client"):
            sign = "≥" if promise.measure == "throughput" else "≤"
            ratio = promised_ratio(promise, engine, report["medians"])
            target = f"{sign} {promise.targets[engine]:g}"
            if ratio is None:
                cells += ["not measured", target]
            else:
                word = "" if promise.kept(engine, ratio) else " **missed**"
                cells += [f"{ratio:.2f}{word}", target]
        lines.append(f"| {promise.title} | {' | '.join(cells)} |")
    return lines


def promised_ratio(promise: Promise, engine: Engine, medians: Medians) -> float | None:
    """Returns the ratio of a promise for an engine, or None when a part was not measured."""
    key = "messages_per_second" if promise.measure == "throughput" else "p99"
    ours = next(v.name for v in SERVICE if v.engine == engine and v.direct == promise.direct)
    rows = medians.get(promise.scenario, {})
    mine, peer = rows.get(ours, {}).get(key), rows.get(promise.peer.name, {}).get(key)
    return mine / peer if mine is not None and peer else None


def write_docs(
    part: str, tables: Sequence[str], report: Mapping[str, Any], path: Path = DOCS
) -> None:
    """Puts tables between the marks of a part, with the machine below them."""
    described = "; ".join(f"{name} {value}" for name, value in report["machine"].items())
    body = "\n".join([*tables, "", f"Measured on: {described}."])
    text = path.read_text()
    begin, end = f"<!-- {part}: written by the benchmark -->", f"<!-- {part}: end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{path} has no marks of {part}")
    path.write_text(pattern.sub(lambda _: f"{begin}\n\n{body}\n\n{end}", text))


def write_plot(report: Mapping[str, Any]) -> None:
    """Draws throughput and p99 of the promised loads as bars."""
    PLOT.write_text(plot(report["medians"]))


def plot(medians: Medians) -> str:
    """Returns the bars as SVG: one panel per load, each on its own linear scale from zero."""
    width, label, bar, gap = 760, 170, 18, 6
    parts: list[str] = []
    y = 8
    for scenario in (one for one in SCENARIOS if not one.wide and one.name in medians):
        key, unit = ("p99", "µs p99") if scenario.rate else ("messages_per_second", "msg/s")
        rows = {name: row[key] for name, row in medians[scenario.name].items() if row.get(key)}
        if not rows:
            continue
        scale = (width - label - 100) / max(rows.values())
        less = ", less is better" if scenario.rate else ""
        parts.append(
            f'<text x="8" y="{y + 16}" class="t">{escape(scenario.title)}: {unit}{less}</text>'
        )
        y += 26
        for name, value in rows.items():
            kind = "peer" if name in PEER_NAMES else "ours"
            length = max(value * scale, 1)
            parts.append(
                f'<text x="{label - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
                f'<rect x="{label}" y="{y}" width="{length:.0f}" height="{bar}" class="{kind}"/>'
                f'<text x="{label + length + 6:.0f}" y="{y + 13}">{value:,.0f}</text>'
            )
            y += bar + gap
        y += 14
    style = (
        "text{font:13px sans-serif;fill:#333}.t{font-weight:bold}.ours{fill:#2a78b8}"
        ".peer{fill:#b0b0b0}.back{fill:#fff}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" role="img" '
        f'aria-label="Throughput and latency beside the peers">'
        f'<style>{style}</style><rect class="back" width="{width}" height="{y}"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )


def _rows(
    medians: Medians, *, paced: bool
) -> list[tuple[str, str, Mapping[str, float], Mapping[str, float]]]:
    """Returns title, program, its figures and the peer's, in the order of the scenarios."""
    plain = medians.get("throughput-1", {}).get("benthos", {})
    return [
        # Where the peer cannot do the same it is taken at its best.
        (one.title, name, row, medians[one.name].get("benthos", {} if paced else plain))
        for one in SCENARIOS
        if one.name in medians and bool(one.rate) == paced
        for name, row in medians[one.name].items()
        # Where nothing came through there is no latency.
        if not paced or "p99" in row
    ]


def _ratio(value: float, peer: Mapping[str, float], key: str) -> str:
    return f"{value / peer[key]:.2f}" if peer.get(key) else "–"
