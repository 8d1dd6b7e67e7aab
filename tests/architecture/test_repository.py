"""The repository speaks of itself alone, and its files agree with one another."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def test_no_registry_address_and_no_machine_path() -> None:
    # Put together, so that this file does not find itself.
    forbidden = re.compile(
        "|".join(
            ("index" + "-url", "find" + "-links", "pypi" + r"\.", "/wo" + "rk/", "/ro" + "ot/")
        )
    )
    for path in tracked():
        if path.suffix in {".png", ".svg"}:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not forbidden.search(line), f"{path.relative_to(ROOT)}:{number}: {line}"


def test_requirements_are_locked_with_hashes() -> None:
    for name in ("run", "dev"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        blocks = re.split(r"\n(?=\S)", text.strip())
        assert len(blocks) > 20
        for block in blocks:
            assert "==" in block.splitlines()[0], block
            assert "--hash=sha256:" in block, block


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = (ROOT / "requirements" / "run.txt").read_text()
    for dependency in project["dependencies"]:
        name = re.match(r"[A-Za-z0-9._-]+", dependency)
        assert name
        assert f"\n{name[0].lower()}==" in "\n" + locked.lower(), dependency


def test_ci_runs_the_check() -> None:
    assert "make check" in (ROOT / ".ci" / "run").read_text()
