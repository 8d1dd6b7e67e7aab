"""The contract of `ports.Secrets`, on the twin and on the folder and environment of a process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from websocketmanager.adapters.memory import MemorySecrets
from websocketmanager.adapters.secrets import PREFIX, FolderAndEnvironmentSecrets
from websocketmanager.errors import SecretMissing
from websocketmanager.ports import Secrets


class Bench:
    """A source of secrets, and ways to change it."""

    def __init__(
        self, secrets: Secrets, put: Callable[[str, str], object], drop: Callable[[str], object]
    ) -> None:
        self.secrets = secrets
        self.put = put
        self.drop = drop


@pytest.fixture(params=["memory", "folder", "environment"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    values: dict[str, str] = {}
    match request.param:
        case "memory":
            return Bench(MemorySecrets(values), values.__setitem__, values.pop)
        case "environment":
            return Bench(
                FolderAndEnvironmentSecrets(lambda: values),
                lambda name, value: values.__setitem__(PREFIX + name, value),
                lambda name: values.pop(PREFIX + name),
            )
        case _:
            return Bench(
                FolderAndEnvironmentSecrets(dict, tmp_path),
                lambda name, value: (tmp_path / name).write_text(value),
                lambda name: (tmp_path / name).unlink(),
            )


async def test_exactly_what_is_asked_for_is_returned(bench: Bench) -> None:
    bench.put("KEY", "one")
    bench.put("TOKEN", "two")
    assert dict(await bench.secrets.read(["KEY"])) == {"KEY": "one"}
    assert dict(await bench.secrets.read({"TOKEN", "KEY"})) == {"KEY": "one", "TOKEN": "two"}
    assert dict(await bench.secrets.read([])) == {}


async def test_every_reading_looks_anew(bench: Bench) -> None:
    bench.put("KEY", "old")
    held = await bench.secrets.read(["KEY"])
    bench.put("KEY", "new")
    assert (await bench.secrets.read(["KEY"]))["KEY"] == "new"
    assert held["KEY"] == "old"
    bench.drop("KEY")
    with pytest.raises(SecretMissing):
        await bench.secrets.read(["KEY"])


async def test_all_that_lack_are_named_and_no_value_is(bench: Bench) -> None:
    bench.put("KEY", "c4n4ry")
    with pytest.raises(SecretMissing) as caught:
        await bench.secrets.read(["KEY", "GONE", "AWAY"])
    assert set(caught.value.names) == {"GONE", "AWAY"}
    assert "c4n4ry" not in repr(caught.value) + str(caught.value)


async def test_an_empty_value_is_none(bench: Bench) -> None:
    bench.put("KEY", "")
    with pytest.raises(SecretMissing):
        await bench.secrets.read(["KEY"])


async def test_values_do_not_show(bench: Bench) -> None:
    bench.put("KEY", "c4n4ry")
    values = await bench.secrets.read(["KEY"])
    assert "c4n4ry" not in f"{values!r} {values} {bench.secrets!r}"
