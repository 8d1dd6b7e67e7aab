"""What a figure was measured on: processor, kernel, versions, load."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from tests.bench.programs import PEERS

_LIBRARIES = ("websockets", "uvloop", "grpcio", "protobuf", "orjson")


def machine() -> dict[str, str]:
    """Returns a description by name."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return {
        "processor": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "kernel": platform.release(),
        "load before": load,
        "Python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
        "Go": _go(),
        "benthos": _benthos(),
    }


def _go() -> str:
    try:
        said = subprocess.run(["go", "version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return said.split()[2].removeprefix("go")


def _benthos() -> str:
    text = (PEERS / "benthos" / "go.mod").read_text()
    found = re.search(r"redpanda-data/benthos/v4 v(\S+)", text)
    return found[1] if found else "unknown"
