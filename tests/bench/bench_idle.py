"""Many connections that say nothing: memory of each, idle CPU, start, loss of all, crash.

    python -m tests.bench.bench_idle [--connections 1000 10000] [--window 45] [--docs]

One service process with its API in another. Memory is what the resident set grows by per
connection beyond the first fifty, so that code and caches that come with the first do not count.
The feeds listen at several loopback addresses: one pair of addresses has about 28,000 ports.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.bench.machine import machine
from tests.bench.programs import (
    BUILD,
    ProgramFailed,
    build,
    connect_all,
    free_port,
    running_api,
    running_rig,
    running_service,
    say,
)
from tests.bench.report import write_docs
from websocketmanager._proto.websocketmanager import websocketmanager_pb2 as pb

#: Connections whose memory does not count.
_FIRST = 50
#: One loopback address for so many connections.
_PER_ADDRESS = 1250
#: Files that a process needs beside its connections.
_OTHER_FILES = 200
#: The service's default, and the interval that the promise is about.
_PING_SECONDS = 20.0
#: The feeds here want no spacing between dials; a venue does.
_UNLIMITED = {"DialSpacingMs": "0"}
_SETTLE_SECONDS = 2.0
#: The recovery deadline of the service is no part of what is measured.
_PATIENCE_SECONDS = 300.0
_MAX_KIB, _MAX_MIB, _MAX_CPU, _MAX_RECOVERY_SECONDS = 16.0, 250.0, 0.05, 60.0


def raise_file_limit(connections: int) -> bool:
    """Raises the limit of open files for what is started from here; says if it is too low."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < connections + _OTHER_FILES:
        say(f"skipped: {connections} connections: the hard limit of open files is {hard}")
        return False
    return True


async def measure(connections: int, window: float) -> dict[str, Any]:
    """Measures one number of connections."""
    hosts = max(1, -(-connections // _PER_ADDRESS))
    options = pb.ConnectionOptions(liveness=pb.Liveness(read_idle_ms=120_000))
    port = free_port()
    result: dict[str, Any] = {"connections": connections, "addresses": hosts}
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(running_rig(f"-hosts={hosts}"))
        await stack.enter_async_context(running_api(port))
        urls = [f"ws://{rig.feeds[n % hosts]}" for n in range(connections)]
        async with running_service(port, environ=_UNLIMITED) as (program, service):
            await connect_all(service, urls[:_FIRST], options)
            await asyncio.sleep(_SETTLE_SECONDS)
            first = program.rss_bytes()
            used = program.cpu_seconds()
            result["connect_seconds"] = await connect_all(service, urls[_FIRST:], options)
            await rig.ask("wait", open=connections)
            result["connect_cpu_ms_each"] = (
                (program.cpu_seconds() - used) / (connections - _FIRST) * 1e3
            )
            await asyncio.sleep(_SETTLE_SECONDS)
            result["connected_mib"] = program.rss_bytes() / 2**20
            pings, used, began = (await rig.ask("count"))["pings"], program.cpu_seconds(), _now()
            await asyncio.sleep(window)
            seconds = _now() - began
            result["idle_cpu"] = (program.cpu_seconds() - used) / seconds
            told = await rig.ask("count")
            result["pings_of_expected"] = (told["pings"] - pings) / (
                connections * seconds / _PING_SECONDS
            )
            resident = program.rss_bytes()
            result["resident_mib"] = resident / 2**20
            result["kib_each"] = (resident - first) / (connections - _FIRST) / 2**10
            result["still_open"] = told["open"]
            # Every socket is reset at once, as when a network or a venue goes away for a moment.
            began = _now()
            await rig.ask("drop")
            await rig.ask("wait", open=connections)
            result["lost_all_back_seconds"] = _now() - began
            await asyncio.sleep(_SETTLE_SECONDS)
            program.kill()
            await program.process.wait()
        await rig.ask("drop")  # returns when it has seen the end of every one
        began = _now()
        async with running_service(port, environ=_UNLIMITED, ready_seconds=_PATIENCE_SECONDS) as (
            program,
            _,
        ):
            result["crash_ready_seconds"] = _now() - began
            await rig.ask("wait", open=connections)
            result["crash_all_back_seconds"] = _now() - began
            result["crash_cpu_seconds"] = program.cpu_seconds()
            result["crash_mib"] = program.rss_bytes() / 2**20
    return result


def _now() -> float:
    return time.monotonic()


def table(results: list[dict[str, Any]]) -> list[str]:
    """Returns the results side by side, with what is promised for 10,000."""
    rows = (
        ("memory per connection, KiB", "kib_each", "{:.1f}", f"≤ {_MAX_KIB:g}"),
        ("resident, MiB", "resident_mib", "{:.0f}", f"≤ {_MAX_MIB:g}"),
        ("idle CPU, share of a core", "idle_cpu", "{:.1%}", f"≤ {_MAX_CPU:.0%}"),
        ("pings sent, of those due", "pings_of_expected", "{:.0%}", ""),
        ("`Connect` for all, s", "connect_seconds", "{:.1f}", ""),
        ("CPU per `Connect`, ms", "connect_cpu_ms_each", "{:.2f}", ""),
        ("all lost at once: all back after, s", "lost_all_back_seconds", "{:.1f}", ""),
        ("kill -9: ready after, s", "crash_ready_seconds", "{:.1f}", ""),
        (
            "kill -9: all back after, s",
            "crash_all_back_seconds",
            "{:.1f}",
            f"≤ {_MAX_RECOVERY_SECONDS:g}",
        ),
        ("kill -9: CPU of the recovery, s", "crash_cpu_seconds", "{:.1f}", ""),
    )
    heads = " | ".join(f"{r['connections']:,}" for r in results)
    lines = [
        f"| idle connections | {heads} | promised for 10,000 |",
        "|---" * (len(results) + 2) + "|",
    ]
    for title, key, form, promised in rows:
        cells = " | ".join(form.format(r[key]) for r in results)
        lines.append(f"| {title} | {cells} | {promised} |")
    return lines


def main() -> int:
    """Measures, writes and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measures idle connections and recovery.")
    parser.add_argument("--connections", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--window", type=float, default=45.0, help="seconds of idling")
    parser.add_argument("--json", type=Path, default=BUILD / "idle.json", help="where results go")
    parser.add_argument("--docs", action="store_true", help="renew docs/performance.md")
    chosen = parser.parse_args()
    build("rig")
    counts = [count for count in chosen.connections if raise_file_limit(count)]
    expected = sum(chosen.window + 15 + count / 60 for count in counts)
    say(f"{counts} connections: about {expected / 60:.0f} min; leave the machine alone meanwhile")
    described = machine()
    results, problems = [], []
    for count in counts:
        try:
            results.append(asyncio.run(measure(count, chosen.window)))
        except (ProgramFailed, TimeoutError) as error:
            problems.append(f"{count} connections: {error!r}")
            continue
        if results[-1]["still_open"] != count:
            problems.append(f"{count} connections: {results[-1]['still_open']} stayed open")
    report = {"machine": described, "results": results, "problems": problems}
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    if results:
        lines = table(results)
        say("\n" + "\n".join(lines))
        say(f"all figures: {chosen.json}")
        if chosen.docs:
            write_docs("idle", lines, report)
    for problem in problems:
        say(f"error: {problem}")
    return 1 if problems or not results else 0


if __name__ == "__main__":
    sys.exit(main())
