"""Powers stay in their rooms: what a per-file lint exception would let through."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "websocketmanager"
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "_proto" not in path.parts)
NAMES = [path.relative_to(SOURCE).as_posix() for path in MODULES]

#: Who may make tasks: the composition roots, and those whose job is to own some.
TASK_OWNERS = {
    "app/running.py",
    "cli/process.py",
    "dev.py",
    "service/crew.py",
    "service/errands.py",
    "service/lane.py",
    "service/ledger/ledger.py",
    "service/recovery.py",
    "service/registry.py",
    "service/trial.py",
    "service/trials.py",
}
#: Names that say that no room was chosen.
ROOMLESS = {"manager.py", "utils.py", "common.py", "base.py", "helpers.py", "misc.py"}


def attributes(tree: ast.AST) -> set[str]:
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


@pytest.mark.parametrize("name", NAMES)
def test_only_owners_make_tasks(name: str) -> None:
    used = attributes(ast.parse((SOURCE / name).read_text()))
    makers = {"asyncio.create_task", "asyncio.ensure_future", "asyncio.TaskGroup", "tg.create_task"}
    if name not in TASK_OWNERS and not name.startswith(("demo/", "terminal/")):
        assert not used & makers


@pytest.mark.parametrize("name", NAMES)
def test_only_the_system_adapter_sleeps(name: str) -> None:
    used = attributes(ast.parse((SOURCE / name).read_text()))
    if name != "adapters/system.py":
        assert "asyncio.sleep" not in used
        assert "time.sleep" not in used


@pytest.mark.parametrize("name", NAMES)
def test_only_the_command_line_sees_the_environment_and_exits(name: str) -> None:
    used = attributes(ast.parse((SOURCE / name).read_text()))
    if name != "cli/process.py":
        assert not used & {"os.environ", "os.getenv", "sys.argv", "sys.exit", "os._exit"}


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("domain/")])
def test_the_domain_is_synchronous(name: str) -> None:
    tree = ast.parse((SOURCE / name).read_text())
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef | ast.Await)]


def test_cancellation_is_never_swallowed() -> None:
    for name in NAMES:
        for node in ast.walk(ast.parse((SOURCE / name).read_text())):
            if not isinstance(node, ast.ExceptHandler) or node.type is None:
                continue
            caught = ast.unparse(node.type)
            if "CancelledError" in caught or caught == "BaseException":
                raises = [n for n in ast.walk(node) if isinstance(n, ast.Raise)]
                assert raises, f"{name}:{node.lineno} catches {caught} and does not raise"


def test_no_roomless_names() -> None:
    assert not [name for name in NAMES if Path(name).name in ROOMLESS]
