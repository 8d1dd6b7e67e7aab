"""The Dockerfile and .dockerignore without a container engine: parsed, and run where possible."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.web.client import serving
from websocketmanager.domain.readiness import Readiness
from websocketmanager.settings import Settings

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Instruction:
    word: str
    flags: dict[str, str]
    value: str

    @property
    def words(self) -> list[str]:
        """The arguments of the exec form, or the words of any other."""
        if self.value.startswith("["):
            parsed: list[str] = json.loads(self.value)
            return parsed
        return self.value.split()


@dataclass
class Stage:
    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        return [each for each in self.instructions if each.word == word]

    def one(self, word: str) -> Instruction:
        (only,) = self.all(word)
        return only


def parse(text: str) -> tuple[dict[str, str], list[Stage]]:
    """Reads instructions as BuildKit does: comments, continued lines, flags, stages."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, whole.splitlines())):
        word, _, rest = line.partition(" ")
        flags = {}
        while found := re.match(r"--([a-z-]+)=(\S+)\s+", rest):
            flags[found[1]] = found[2]
            rest = rest[found.end() :]
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name))
        elif word == "ARG" and not stages:
            name, _, value = rest.partition("=")
            arguments[name] = value
        else:
            stages[-1].instructions.append(Instruction(word, flags, rest.strip()))
    return arguments, stages


def environment(stage: Stage) -> dict[str, str]:
    pairs = (word.partition("=") for each in stage.all("ENV") for word in each.value.split())
    return {name: value for name, _, value in pairs}


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def stages(text: str) -> list[Stage]:
    return parse(text)[1]


@pytest.fixture(scope="module")
def final(stages: list[Stage]) -> Stage:
    return stages[-1]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out: the last pattern that matches it or a parent."""
    parents = [path, *map(str, Path(path).parents)]
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        wanted = pattern.removeprefix("!")
        anywhere = wanted.startswith("**/")
        for each in parents:
            name = Path(each).name if anywhere else each
            if fnmatch.fnmatchcase(name, wanted.removeprefix("**/")):
                verdict = not pattern.startswith("!")
    return verdict


def copied(stages: list[Stage]) -> list[str]:
    """What is copied from the context, as paths below the root."""
    copies = [each for stage in stages for each in stage.all("COPY") if "from" not in each.flags]
    return [source for each in copies for source in each.words[:-1]]


def test_two_stages_on_the_same_small_base(text: str) -> None:
    arguments, stages = parse(text)
    build, final = stages
    assert build.base == final.base == "python:${PYTHON_VERSION}-slim-bookworm"
    assert tuple(map(int, arguments["PYTHON_VERSION"].split("."))) >= (3, 11)
    (copy,) = final.all("COPY")
    assert copy.flags["from"] == build.name


def test_no_registry_address_and_no_secret_in_any_file(text: str) -> None:
    # In two parts, so that no line of this file names such an option itself.
    options = "|".join(("index" + "-url", "extra-index", "trusted-host"))
    assert not re.search(rf"https?://(?!127\.0\.0\.1)|{options}", text)
    assert "API_KEY" not in text


def test_everything_is_installed_from_the_lock_with_hashes(stages: list[Stage]) -> None:
    installs = [each.value for each in stages[0].all("RUN") if " install " in each.value]
    assert any("--require-hashes --no-deps -r requirements/run.txt" in each for each in installs)
    for each in installs:
        assert "--require-hashes" in each or "--no-deps --no-build-isolation ." in each
    assert not any("pip" in each.value for each in stages[-1].all("RUN"))


def test_every_copied_path_exists_and_is_not_ignored(stages: list[Stage]) -> None:
    sources = copied(stages)
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
        for below in (ROOT / source).rglob("*"):
            path = str(below.relative_to(ROOT))
            assert ignored(path) is ("__pycache__" in path or path.endswith(".pyc")), path


@pytest.mark.parametrize(
    "path",
    [".env", ".git/config", ".venv/bin/python", "tests/__init__.py", "websocketmanager.sqlite3"],
)
def test_nothing_else_is_sent_to_the_builder(path: str) -> None:
    assert ignored(path)


def test_the_copied_files_are_enough_to_build_the_project(
    stages: list[Stage], tmp_path: Path
) -> None:
    for source in copied(stages):
        target = tmp_path / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target)
        else:
            shutil.copy(ROOT / source, target)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert b"websocketmanager = websocketmanager.cli:main" in archive.read(entry_points)
    assert "websocketmanager/__main__.py" in names
    shipped = {name.partition("/profiles/")[2] for name in names if "/profiles/" in name}
    assert shipped == {file.name for file in (ROOT / "config" / "profiles").iterdir()}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_does_not_run_as_root(final: Stage) -> None:
    user, _, group = final.one("USER").value.partition(":")
    assert int(user) > 0
    assert int(group) > 0
    words = [each.word for each in final.instructions]
    assert "RUN" not in words[words.index("USER") :], "what follows USER runs without rights"


def test_ports_are_those_of_the_contract_and_reachable_from_outside(final: Stage) -> None:
    variables = environment(final)
    assert final.one("EXPOSE").words == [variables["HttpPort"], variables["GrpcPort"]]
    assert (variables["HttpPort"], variables["GrpcPort"]) == ("5001", "5002")
    assert variables["BindHost"] == "0.0.0.0"


def test_its_variables_are_settings(final: Stage) -> None:
    names = {each.lower().replace("_", "") for each in Settings.model_fields}
    ours = {name for name in environment(final) if not name.isupper()}
    assert {name.lower() for name in ours} <= names


def test_it_starts_the_service_without_a_shell_and_stops_by_sigterm(final: Stage) -> None:
    assert final.one("ENTRYPOINT").value == '["websocketmanager"]'
    assert final.one("CMD").value == '["serve"]'
    assert final.one("STOPSIGNAL").value == "SIGTERM"
    assert environment(final)["PATH"].split(":")[0] == "/opt/websocketmanager/bin"


def test_it_says_what_it_is(final: Stage) -> None:
    assert 'org.opencontainers.image.title="websocketmanager"' in final.one("LABEL").value
    assert 'org.opencontainers.image.licenses="Apache-2.0"' in final.one("LABEL").value


@pytest.mark.parametrize(
    ("readiness", "code"), [(Readiness(), 0), (Readiness(missing=("recovery",)), 1)]
)
async def test_the_health_check_tells_ready_from_not_ready(
    readiness: Readiness, code: int, final: Stage
) -> None:
    check = final.one("HEALTHCHECK")
    assert check.value.startswith("CMD [")
    program, *arguments = json.loads(check.value.removeprefix("CMD "))
    assert program == "python"
    async with serving(readiness=lambda: readiness) as port:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            # A proxy of the environment must not be asked.
            env={"HttpPort": str(port), "http_proxy": "http://127.0.0.1:1"},
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == code
    assert check.flags.keys() == {"interval", "timeout", "start-period", "retries"}


def test_the_start_period_outlasts_recovery(final: Stage) -> None:
    start = int(final.one("HEALTHCHECK").flags["start-period"].removesuffix("s"))
    assert start > Settings.model_fields["recovery_deadline_seconds"].default
