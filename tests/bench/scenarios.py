"""What is measured beside what: loads, programs under test, and the ratios that are promised."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.bench.programs import ROOT
from websocketmanager.settings import KEYS

Engine = Literal["driver", "client"]


@dataclass(frozen=True)
class Variant:
    """A program under test.

    Attributes:
        name: as it stands in tables.
        kind: how it is started.
        engine: of the service, which reads the socket.
        direct: the API lives in the service's process.
    """

    name: str
    kind: Literal["service", "benthos", "script"]
    engine: Engine = "driver"
    direct: bool = False


BENTHOS = Variant("benthos", "benthos")
SCRIPT = Variant("script", "script")
SERVICE = tuple(
    Variant(f"{engine}, {'direct' if direct else 'API apart'}", "service", engine, direct)
    for engine in ("driver", "client")
    for direct in (False, True)
)


@dataclass(frozen=True)
class Scenario:
    """A load.

    Attributes:
        name: short, for the command line.
        title: for tables.
        rate: messages per second over all connections; 0: as fast as they are taken.
        tick_us: with a rate, microseconds: what is due in a tick is sent together at its end;
            0: evenly spaced.
        wide: beyond the promised ratios: fewer rounds, the default engine alone.
        direct: whether the direct sink is measured, too.
    """

    name: str
    title: str
    connections: int = 1
    size: int = 200
    kind: Literal["text", "binary"] = "text"
    rate: int = 0
    tick_us: int = 0
    tls: bool = False
    deflate: bool = False
    wide: bool = False
    direct: bool = True

    def measures(self, variant: Variant, default_engine: Engine) -> bool:
        """Whether the variant is measured under this load."""
        if variant.kind == "script":  # about 2,000 messages a second: no other load tells more
            return self.name == "throughput-1"
        if variant.kind == "benthos":
            return not self.deflate  # its client offers no compression
        if variant.direct and not self.direct:
            return False
        return not self.wide or variant.engine == default_engine


SCENARIOS = (
    Scenario("throughput-1", "1 connection, 200 B text"),
    Scenario("throughput-100", "100 connections, 200 B text", connections=100),
    Scenario("latency-1k", "1,000 msg/s evenly spaced, 1 connection", rate=1_000, direct=False),
    Scenario("latency-10k", "10,000 msg/s evenly spaced, 1 connection", rate=10_000),
    Scenario(
        "latency-10k-ticks",
        "10,000 msg/s in ticks of 1 ms, 1 connection",
        rate=10_000,
        tick_us=1_000,
    ),
    Scenario(
        "latency-10k-100",
        "10,000 msg/s evenly spaced, 100 connections",
        connections=100,
        rate=10_000,
        direct=False,
    ),
    Scenario(
        "latency-10k-100-ticks",
        "10,000 msg/s in ticks of 1 ms, 100 connections",
        connections=100,
        rate=10_000,
        tick_us=1_000,
    ),
    Scenario("throughput-1000", "1,000 connections, 200 B text", connections=1000, wide=True),
    Scenario("size-4k", "1 connection, 4 KiB text", size=4096, wide=True, direct=False),
    Scenario("binary", "1 connection, 200 B binary", kind="binary", wide=True, direct=False),
    Scenario("tls", "1 connection, 200 B text, TLS", tls=True, wide=True, direct=False),
    Scenario("deflate", "1 connection, 200 B text, deflate", deflate=True, wide=True, direct=False),
    Scenario(
        "latency-10k-1000",
        "10,000 msg/s evenly spaced, 1,000 connections",
        connections=1000,
        rate=10_000,
        wide=True,
    ),
)


@dataclass(frozen=True)
class Promise:
    """A ratio of medians that the default and the reference engine must reach.

    Attributes:
        measure: `throughput` (ours : peer, at least) or `p99` (ours : peer, at most).
        targets: by engine.
    """

    title: str
    scenario: str
    direct: bool
    measure: Literal["throughput", "p99"]
    targets: Mapping[Engine, float]
    peer: Variant = BENTHOS

    def kept(self, engine: Engine, ratio: float) -> bool:
        """Whether a ratio is good enough."""
        target = self.targets[engine]
        return ratio >= target if self.measure == "throughput" else ratio <= target


def _promise(
    title: str,
    scenario: str,
    measure: Literal["throughput", "p99"],
    driver: float,
    client: float,
    *,
    direct: bool = False,
    peer: Variant = BENTHOS,
) -> Promise:
    targets: dict[Engine, float] = {"driver": driver, "client": client}
    return Promise(title, scenario, direct, measure, targets, peer)


_PACED = "p99 at 10,000 msg/s"
_TICKS = "ticks of 1 ms"

PROMISES = (
    _promise("throughput, 1 connection, API apart", "throughput-1", "throughput", 2.0, 0.7),
    _promise(
        "throughput, 1 connection, direct", "throughput-1", "throughput", 2.5, 0.9, direct=True
    ),
    _promise("throughput, 100 connections, API apart", "throughput-100", "throughput", 1.7, 0.7),
    _promise(
        "throughput, 100 connections, direct", "throughput-100", "throughput", 2.0, 0.9, direct=True
    ),
    _promise("p99 at 1,000 msg/s", "latency-1k", "p99", 0.7, 0.8),
    _promise(f"{_PACED} evenly spaced, API apart", "latency-10k", "p99", 1.0, 1.2),
    _promise(f"{_PACED} in {_TICKS}, API apart", "latency-10k-ticks", "p99", 1.0, 1.2),
    _promise(f"{_PACED} evenly spaced, direct", "latency-10k", "p99", 0.5, 0.6, direct=True),
    _promise(f"{_PACED} in {_TICKS}, direct", "latency-10k-ticks", "p99", 0.5, 0.6, direct=True),
    _promise(f"{_PACED} evenly spaced, 100 connections", "latency-10k-100", "p99", 0.6, 0.8),
    _promise(f"{_PACED} in {_TICKS}, 100 connections", "latency-10k-100-ticks", "p99", 0.6, 0.8),
    _promise(
        "throughput against the plain script", "throughput-1", "throughput", 60, 30, peer=SCRIPT
    ),
)


@dataclass(frozen=True)
class Abilities:
    """What this version of the service can do."""

    engines: Sequence[Engine]
    direct: bool

    def lacks(self, variant: Variant) -> str:
        """Returns why a variant cannot be measured, or the empty string."""
        if variant.kind != "service":
            return ""
        if variant.engine not in self.engines:
            return f"this version has no SocketEngine={variant.engine}"
        if variant.direct and not self.direct:
            return "this version has no serve --embedded-api"
        return ""


def abilities() -> Abilities:
    """Asks the service what it can do."""
    chooses = any(key.name == "SocketEngine" for key in KEYS.values())
    helped = subprocess.run(
        [sys.executable, "-m", "websocketmanager", "serve", "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return Abilities(("driver", "client") if chooses else ("client",), "--embedded-api" in helped)
