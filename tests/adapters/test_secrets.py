"""Secrets from a folder and the environment: those and no others, and never shown."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from websocketmanager.adapters.secrets import (
    MAX_SECRET_BYTES,
    PREFIX,
    FolderAndEnvironmentSecrets,
)
from websocketmanager.errors import SecretMissing
from websocketmanager.ports import Secrets


def source(folder: Path | None = None, /, **environ: str) -> Secrets:
    return FolderAndEnvironmentSecrets(
        lambda: {PREFIX + name: value for name, value in environ.items()}, folder
    )


async def problem(secrets: Secrets, name: str) -> str:
    with pytest.raises(SecretMissing) as caught:
        await secrets.read([name])
    assert caught.value.names == (name,)
    return caught.value.problems[name]


def kubernetes(folder: Path, version: str, **values: str) -> None:
    """Mounts values as the kubelet does: a new folder, then one exchange of a link."""
    (folder / version).mkdir()
    for name, value in values.items():
        (folder / version / name).write_text(value)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(version)
    (folder / "..data_tmp").rename(folder / "..data")


async def test_the_environment() -> None:
    secrets = source(A="one", B=" two\n", UNUSED="three")
    assert dict(await secrets.read(["B", "A", "A"])) == {"A": "one", "B": " two\n"}


async def test_nothing_asked_nothing_read(tmp_path: Path) -> None:
    def environ() -> Mapping[str, str]:
        raise AssertionError("read without need")

    assert dict(await FolderAndEnvironmentSecrets(environ, tmp_path).read([])) == {}


async def test_nothing_else_of_the_environment() -> None:
    environ = {"PATH": "x", PREFIX: "y", "websocketmanager_secret_A": "z", PREFIX + "B": "b"}
    secrets = FolderAndEnvironmentSecrets(lambda: environ)
    for name in ("PATH", "A", "a", "b", PREFIX + "B"):
        assert await problem(secrets, name) == f"is not in the environment as {PREFIX}{name}"


async def test_the_environment_is_read_anew() -> None:
    environ = {PREFIX + "A": "old"}
    secrets = FolderAndEnvironmentSecrets(lambda: environ)
    assert (await secrets.read(["A"]))["A"] == "old"
    environ[PREFIX + "A"] = "new"
    assert (await secrets.read(["A"]))["A"] == "new"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"v", "v"),
        (b"v\n", "v"),
        (b"v\r\n", "v"),
        (b"v\n\n", "v\n"),
        (b" v \n", " v "),
        (b"v\r", "v\r"),
        (b"a\nb\n", "a\nb"),
        ("Δ".encode(), "Δ"),
        (b"v" * MAX_SECRET_BYTES, "v" * MAX_SECRET_BYTES),
    ],
)
async def test_files(tmp_path: Path, data: bytes, value: str) -> None:
    (tmp_path / "A").write_bytes(data)
    assert (await source(tmp_path).read(["A"]))["A"] == value


async def test_the_folder_comes_first_and_the_environment_fills_in(tmp_path: Path) -> None:
    (tmp_path / "A").write_text("file")
    secrets = source(tmp_path, A="environment", B="environment")
    assert dict(await secrets.read(["A", "B"])) == {"A": "file", "B": "environment"}


async def test_a_file_is_read_anew(tmp_path: Path) -> None:
    secrets = source(tmp_path / "later")
    assert "neither in the secrets folder nor in the environment" in await problem(secrets, "A")
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "A").write_text("old")
    assert (await secrets.read(["A"]))["A"] == "old"
    (tmp_path / "later" / "A").write_text("new")
    assert (await secrets.read(["A"]))["A"] == "new"


async def test_a_folder_that_kubernetes_mounts(tmp_path: Path) -> None:
    kubernetes(tmp_path, "..2024_01", A="a1\n", B="b1")
    secrets = source(tmp_path)
    assert dict(await secrets.read(["A", "B"])) == {"A": "a1", "B": "b1"}
    kubernetes(tmp_path, "..2024_02", A="a2", B="b2")
    assert dict(await secrets.read(["A", "B"])) == {"A": "a2", "B": "b2"}


async def test_values_that_change_together_are_read_together(tmp_path: Path) -> None:
    kubernetes(tmp_path, "..1", A="a1", C="c1")

    class Exchanging(dict[str, str]):
        """Asked for B, which comes between A and C, it exchanges both."""

        def get(self, key: str, default: object = None) -> str:
            if not (tmp_path / "..2").exists():
                kubernetes(tmp_path, "..2", A="a2", C="c2")
            return "b"

    found = await FolderAndEnvironmentSecrets(Exchanging, tmp_path).read(["A", "B", "C"])
    assert dict(found) == {"A": "a2", "B": "b", "C": "c2"}


async def test_a_folder_that_never_rests_is_read_all_the_same(tmp_path: Path) -> None:
    kubernetes(tmp_path, "..0", A="a0")
    readings: list[str] = []

    def environ() -> Mapping[str, str]:
        readings.append(f"a{len(readings) + 1}")
        kubernetes(tmp_path, f"..{len(readings)}", A=readings[-1])
        return {}

    found = await FolderAndEnvironmentSecrets(environ, tmp_path).read(["A"])
    assert found["A"] == readings[-1] == "a3"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../outside",
        "/etc/passwd",
        "..data",
        "a/b",
        "a\\b",
        "a\0",
        "a\n",
        "ä",
        "a" * 129,
    ],
)
async def test_names_that_no_secret_has(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("outside")
    folder = tmp_path / "secrets"
    folder.mkdir()
    environ = {PREFIX + name: "value"}
    secrets = FolderAndEnvironmentSecrets(lambda: environ, folder)
    assert await problem(secrets, name) == "has a name that no secret can have"


async def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "secrets2").mkdir()
    (tmp_path / "secrets2" / "A").write_text("outside")
    (folder / "inner" / "D").write_text("inside")
    (folder / "A").symlink_to(tmp_path / "secrets2" / "A")
    (folder / "B").symlink_to("../secrets2/A")
    (folder / "link").symlink_to("../secrets2")
    (folder / "C").symlink_to("link/A")
    (folder / "D").symlink_to("inner/D")
    secrets = source(folder, A="environment", B="environment", C="environment")
    for name in ("A", "B", "C"):
        assert await problem(secrets, name) == "is a link that leads out of the secrets folder"
    assert (await secrets.read(["D"]))["D"] == "inside"


async def test_a_folder_that_is_a_link_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "A").write_text("a")
    (tmp_path / "link").symlink_to("real")
    assert (await source(tmp_path / "link").read(["A"]))["A"] == "a"


async def test_what_is_there_and_unusable_is_never_replaced_by_the_environment(
    tmp_path: Path,
) -> None:
    (tmp_path / "EMPTY").write_text("\n")
    (tmp_path / "LATIN").write_bytes(b"caf\xe9")
    (tmp_path / "LARGE").write_bytes(b"v" * (MAX_SECRET_BYTES + 1))
    (tmp_path / "FOLDER").mkdir()
    os.mkfifo(tmp_path / "PIPE")
    (tmp_path / "NOWHERE").symlink_to("gone")
    (tmp_path / "CIRCLE").symlink_to("CIRCLE")
    expected = {
        "CIRCLE": "is in the secrets folder and cannot be read",
        "EMPTY": "is empty",
        "FOLDER": "is in the secrets folder and no file",
        "LARGE": f"is larger than {MAX_SECRET_BYTES} bytes",
        "LATIN": "is not valid UTF-8",
        "NOWHERE": "is a link in the secrets folder that leads nowhere",
        "PIPE": "is in the secrets folder and no file",
    }
    secrets = source(tmp_path, **dict.fromkeys(expected, "environment"))
    with pytest.raises(SecretMissing) as caught:
        await secrets.read(expected)
    assert caught.value.problems == expected


async def test_an_empty_variable_is_no_secret() -> None:
    assert await problem(source(A=""), "A") == "is empty"


async def test_values_show_nowhere(tmp_path: Path) -> None:
    canary = "hunter2hunter2"
    (tmp_path / "A").write_text(canary)
    (tmp_path / "B").write_bytes(canary.encode() + b"\xff")
    secrets = source(tmp_path, C=canary)
    assert canary not in repr(secrets)
    assert canary not in repr(await secrets.read(["A", "C"]))
    with pytest.raises(SecretMissing) as caught:
        await secrets.read(["A", "B", "C", "D"])
    assert caught.value.names == ("B", "D")
    assert canary not in "".join(traceback.format_exception(caught.value))
    assert str(caught.value) == (
        "secret B is not valid UTF-8; secret D is neither in the secrets folder "
        "nor in the environment as WEBSOCKETMANAGER_SECRET_D"
    )
