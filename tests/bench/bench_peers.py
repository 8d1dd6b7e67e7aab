"""The whole service beside its peers: throughput, latency, CPU; nothing lost, nothing misordered.

    python -m tests.bench.bench_peers [--rounds 5] [--wide-rounds 2] [--only NAME ...] [--docs]

Each round measures every program once under every load, one after the other, so that what the
machine does meanwhile hits all alike; the figures are medians over the rounds, and ratios of them.
Exit code 1: a message was lost, misordered or delivered twice, or a program failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tests.bench.machine import machine
from tests.bench.programs import (
    BUILD,
    PEERS,
    RIG_CORE,
    TESTED_CORE,
    TOPIC,
    Program,
    ProgramFailed,
    Rig,
    build,
    connect_all,
    free_port,
    running,
    running_api,
    running_rig,
    running_service,
    say,
)
from tests.bench.report import promises_table, scenario_tables, write_docs, write_plot
from tests.bench.scenarios import (
    BENTHOS,
    SCENARIOS,
    SCRIPT,
    SERVICE,
    Abilities,
    Engine,
    Scenario,
    Variant,
    abilities,
)
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

#: What starting, warming up, draining and ending cost beside the window.
_OVERHEAD_SECONDS = 2.7
_CONNECT_SECONDS = 0.008
_FAULTS = ("lost", "misordered", "duplicates", "foreign")


@dataclass(frozen=True)
class Timing:
    """How long things are measured, seconds, and how many messages may be under way."""

    warm: float
    window: float
    latency_window: float
    outstanding: int = 16_384

    def window_of(self, scenario: Scenario) -> float:
        """The window of this load."""
        return self.latency_window if scenario.rate else self.window


def watched_options(scenario: Scenario, certificate: Path) -> pb.ConnectionOptions:
    """Everything on that watches a feed, as one that matters has it."""
    options = pb.ConnectionOptions(
        liveness=pb.Liveness(read_idle_ms=30_000, first_data_ms=30_000, data_age_ms=30_000)
    )
    if scenario.deflate:
        options.handshake.compression = pb.COMPRESSION_DEFLATE
    if scenario.tls:
        options.handshake.tls.ca_pem = certificate.read_text()
    return options


@asynccontextmanager
async def tested(
    variant: Variant, scenario: Scenario, timing: Timing, folder: Path
) -> AsyncIterator[tuple[Rig, list[Program]]]:
    """Runs a variant with feed and sink; yields them and its processes, the tested one first."""
    certificate = folder / "certificate.pem"
    flags = [
        f"-connections={scenario.connections}",
        f"-size={scenario.size}",
        f"-kind={scenario.kind}",
        f"-rate={scenario.rate}",
        f"-tick={scenario.tick_us}us",
        f"-warm={timing.warm}s",
        f"-window={timing.window_of(scenario)}s",
        f"-outstanding={timing.outstanding}",
        f"-deflate={str(scenario.deflate).lower()}",
        *([f"-certificate={certificate}"] if scenario.tls else []),
    ]
    scheme = "wss" if scenario.tls else "ws"
    async with AsyncExitStack() as stack:
        programs: list[Program] = []
        if variant.kind == "benthos":
            rig = await stack.enter_async_context(running_rig(*flags))
            peer = running(
                "benthos",
                [str(BUILD / "benthos"), "-c", str(PEERS / "benthos" / "benthos.yaml")],
                core=TESTED_CORE,
                environ={
                    "BENCH_COPIES": str(scenario.connections),
                    "BENCH_FEED": f"{scheme}://{rig.feeds[0]}",
                    "BENCH_SINK": rig.sink,
                    "BENCH_TLS": str(scenario.tls).lower(),
                    "BENCH_CERTIFICATE": str(certificate) if scenario.tls else "",
                },
            )
            programs.append((await stack.enter_async_context(peer))[0])
            yield rig, programs
            return
        port = free_port()
        if variant.kind == "script":
            flags.append("-outstanding=2000")  # what waits at the end takes seconds as it is
        service: Any = None
        if not variant.direct:
            programs.append(await stack.enter_async_context(running_api(port)))
        if variant.kind == "service":
            direct = ["--embedded-api", "--database", ":memory:"] if variant.direct else []
            program, service = await stack.enter_async_context(
                running_service(port, flags=direct, environ={"SocketEngine": variant.engine})
            )
            programs.insert(0, program)
        address = f"127.0.0.1:{port}"
        flags += [f"-api={address}", f"-topic={TOPIC}"]
        rig = await stack.enter_async_context(running_rig(*flags))
        feed = f"{scheme}://{rig.feeds[0]}"
        if service is not None:
            urls = [feed] * scenario.connections
            await connect_all(service, urls, watched_options(scenario, certificate))
        else:
            script = [sys.executable, "-m", "tests.bench.peers.plain_script", feed, address, TOPIC]
            started = await stack.enter_async_context(running("script", script, core=TESTED_CORE))
            programs.insert(0, started[0])
        yield rig, programs


async def measure(variant: Variant, scenario: Scenario, timing: Timing) -> dict[str, Any]:
    """Measures once; returns the rig's result with the CPU of each process per message."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with tested(variant, scenario, timing, Path(folder)) as (rig, programs):
            try:
                await programs[0].wait_idle()
                result = await rig.ask("start", pids=[program.pid for program in programs])
            except ProgramFailed as error:
                said = "; ".join(line for program in programs for line in program.lines[-3:])
                raise ProgramFailed(f"{error}; the programs said: {said}") from error
    used, messages = result["cpu_seconds"], max(result["messages"], 1)
    return {
        "scenario": scenario.name,
        "variant": variant.name,
        **{key: value for key, value in result.items() if key != "event"},
        "cpu_us_per_message": used[0] / messages * 1e6,
        "api_us_per_message": used[1] / messages * 1e6 if len(used) > 1 else None,
    }


def faults(result: Mapping[str, Any]) -> str:
    """Returns what went wrong with messages, or the empty string."""
    return ", ".join(f"{result[name]} {name}" for name in _FAULTS if result[name])


def doubt(result: Mapping[str, Any]) -> str:
    """Returns why a latency says more of the machine than of the program, or the empty string."""
    if not result["latency_us"]:
        return ""
    late, p99 = result["lateness_us"]["p99"], result["latency_us"]["p99"]
    return f"(not quiet: the schedule itself was late by {late:,.0f} µs)" if late * 3 > p99 else ""


def plan(
    able: Abilities, only: Sequence[str], variants: Sequence[str]
) -> list[tuple[Scenario, Variant]]:
    """Returns what to measure in one round, in order; says what cannot be."""
    default: Engine = able.engines[0]
    wanted = [BENTHOS, SCRIPT, *SERVICE]
    for variant in SERVICE:
        if reason := able.lacks(variant):
            say(f"skipped: {variant.name}: {reason}")
    return [
        (scenario, variant)
        for scenario in SCENARIOS
        if not only or any(fnmatch(scenario.name, name) for name in only)
        for variant in wanted
        if not able.lacks(variant)
        and (not variants or any(fnmatch(variant.name, name) for name in variants))
        and scenario.measures(variant, default)
    ]


async def measure_all(
    cells: Sequence[tuple[Scenario, Variant]], rounds: int, wide_rounds: int, timing: Timing
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measures every cell once per round; returns the results and what went wrong."""
    results: list[dict[str, Any]] = []
    problems: list[str] = []
    for turn in range(max(rounds, wide_rounds)):
        for scenario, variant in cells:
            if turn >= (wide_rounds if scenario.wide else rounds):
                continue
            where = f"round {turn + 1}, {scenario.name}, {variant.name}"
            try:
                result = await measure(variant, scenario, timing)
            except (ProgramFailed, TimeoutError) as error:
                problems.append(f"{where}: {error!r}")
                say(problems[-1])
                continue
            results.append({"round": turn + 1, **result})
            if wrong := faults(result):
                problems.append(f"{where}: {wrong}")
            latency = result["latency_us"]
            shown = f" p99 {latency['p99']:,.0f} µs" if latency else ""
            say(
                f"{where}: {result['messages_per_second']:,.0f} msg/s{shown}, "
                f"{result['cpu_us_per_message']:.2f} µs CPU {doubt(result)} {wrong}".rstrip()
            )
    return results, problems


def medians(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Returns the median of every figure, by scenario and variant."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    keys = ("messages_per_second", "cpu_us_per_message", "api_us_per_message")
    for scenario, variant in dict.fromkeys((r["scenario"], r["variant"]) for r in results):
        mine = [r for r in results if (r["scenario"], r["variant"]) == (scenario, variant)]
        row = {
            key: statistics.median(r[key] for r in mine)
            for key in keys
            if all(r[key] is not None for r in mine)
        }
        if all(r["latency_us"] for r in mine):
            for name in ("p50", "p99", "p999"):
                row[name] = statistics.median(r["latency_us"][name] for r in mine)
            row["late_p99"] = statistics.median(r["lateness_us"]["p99"] for r in mine)
        row["resident_mib"] = statistics.median(r["resident_bytes"][0] / 2**20 for r in mine)
        row["rig_share"] = statistics.median(r["rig_cpu_seconds"] / r["seconds"] for r in mine)
        row["rounds"] = len(mine)
        found.setdefault(scenario, {})[variant] = row
    return found


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Measures the service beside its peers.")
    parser.add_argument("--rounds", type=int, default=5, help="of the promised ratios")
    parser.add_argument("--wide-rounds", type=int, default=2, help="of the other loads; 0: none")
    parser.add_argument("--window", type=float, default=2.0, help="seconds, throughput")
    parser.add_argument("--latency-window", type=float, default=2.5, help="seconds, latency")
    parser.add_argument("--warm", type=float, default=0.7, help="seconds before a window")
    parser.add_argument("--outstanding", type=int, default=16_384, help="messages under way")
    parser.add_argument("--only", nargs="+", default=[], help="loads, by name; * is any")
    parser.add_argument("--variants", nargs="+", default=[], help="programs, by name; * is any")
    parser.add_argument("--json", type=Path, default=BUILD / "peers.json", help="where results go")
    parser.add_argument("--docs", action="store_true", help="renew docs/performance.md and plot")
    chosen = parser.parse_args()
    if chosen.docs and (chosen.only or chosen.variants):
        parser.error("--docs is for whole runs: without --only and --variants")
    return chosen


def main() -> int:
    """Measures, writes and prints; returns the exit code."""
    chosen = arguments()
    able = abilities()
    cells = plan(able, chosen.only, chosen.variants)
    build("rig", *(["benthos"] if any(variant is BENTHOS for _, variant in cells) else []))
    timing = Timing(chosen.warm, chosen.window, chosen.latency_window, chosen.outstanding)
    runs = [
        (chosen.wide_rounds if scenario.wide else chosen.rounds)
        * (
            timing.warm
            + timing.window_of(scenario)
            + _OVERHEAD_SECONDS
            + scenario.connections * _CONNECT_SECONDS
        )
        for scenario, _ in cells
    ]
    say(
        f"{len(cells)} figures, {chosen.rounds} rounds ({chosen.wide_rounds} of wide loads): "
        f"about {sum(runs) / 60:.0f} min; leave the machine alone meanwhile"
    )
    say(f"rig and API on core {RIG_CORE}, program under test on core {TESTED_CORE}")
    described, began = machine(), time.monotonic()
    results, problems = asyncio.run(measure_all(cells, chosen.rounds, chosen.wide_rounds, timing))
    report = {
        "machine": described,
        "settings": {key: str(value) for key, value in vars(chosen).items()},
        "minutes": round((time.monotonic() - began) / 60, 1),
        "problems": problems,
        "medians": medians(results),
        "results": results,
    }
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    tables = [*scenario_tables(report), *promises_table(report)]
    say("\n" + "\n".join(tables))
    say(f"{report['minutes']} min; all figures: {chosen.json}")
    if chosen.docs:
        write_plot(report)
        image = "![throughput and latency beside the peers](performance.svg)"
        write_docs("peers", [image, "", *tables], report)
    for problem in problems:
        say(f"error: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
