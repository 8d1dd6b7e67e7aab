"""Each module has a test twin, in the folder that mirrors its own."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "websocketmanager"

#: Modules that hold no behaviour, or are proven by the test named here.
PROVEN_ELSEWHERE = {
    "__init__.py": "a version",
    "__main__.py": "tests/test_cli.py",
    "errors.py": "tests/api/test_status.py",
    "ports.py": "tests/contracts",
    "app/parts.py": "tests/system",
    "app/running.py": "tests/system",
    "domain/facts/connections.py": "tests/adapters/test_telemetry_journal.py",
    "domain/facts/fact.py": "tests/adapters/test_telemetry_journal.py",
    "domain/facts/faces.py": "tests/adapters/test_telemetry_journal.py",
    "domain/facts/process.py": "tests/adapters/test_telemetry_journal.py",
    "domain/facts/publishing.py": "tests/adapters/test_telemetry_journal.py",
    "domain/failure.py": "tests/domain/test_retry.py",
    "domain/frames.py": "a vocabulary",
    "domain/model.py": "a vocabulary",
    "domain/options.py": "a vocabulary",
    "domain/readiness.py": "tests/web/test_health.py",
}
#: Packages that are proven as one, by tests that begin with the package's name.
PACKAGES = (
    "adapters/message_log",
    "adapters/telemetry",
    "adapters/virtufin_api",
    "adapters/websocket",
    "cli",
    "domain/handshake_rules",
    "domain/lifecycle",
    "service/ledger",
    "service/pump",
    "service/runner",
    "service/session",
    "service/spool",
    "settings",
    "terminal/remote",
)

MODULES = sorted(
    path.relative_to(SOURCE).as_posix()
    for path in SOURCE.rglob("*.py")
    if "_proto" not in path.parts and path.name != "__init__.py"
)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_twin(module: str) -> None:
    if module in PROVEN_ELSEWHERE:
        proof = PROVEN_ELSEWHERE[module]
        assert not proof.startswith("tests/") or (ROOT / proof).exists(), proof
        return
    folder, _, name = module.rpartition("/")
    if folder in PACKAGES:
        parent, _, package = folder.rpartition("/")
        assert list((ROOT / "tests" / parent).glob(f"test_{package}*.py"))
        return
    twins = [f"test_{name}", f"test_{name.removesuffix('.py')}_*.py"]
    found = [path for twin in twins for path in (ROOT / "tests" / folder).glob(twin)]
    assert found, f"tests/{folder}/test_{name} is missing"
