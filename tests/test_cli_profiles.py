"""Profiles on the command line: faults of their files, and a connection made with one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import websocketmanager
from tests.kit.scripted_api import running_scripted_api
from tests.kit.service import running_inside
from tests.kit.venues.base import running_venue
from tests.kit.venues.kraken import Kraken
from tests.test_cli import Ran, run

#: The tree under test, also where another one is installed.
TREE = str(Path(websocketmanager.__file__).parents[1])


def _run(*arguments: str, folder: str = "") -> Ran:
    # An empty value counts as not set.
    return run(*arguments, PYTHONPATH=TREE, ProfilesFolder=folder)


def test_check_config_and_serve_tell_the_faults_of_profiles_alike(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("meaning: m\noptions: {send_spacing_ms: -1, x: 1}\n")
    (tmp_path / "other.yaml").write_text("options: {}\n")
    option = f"--profiles-folder={tmp_path}"
    # Nobody listens at port 1: the profiles are looked at first.
    checked, served = _run("check-config", option), _run("serve", option, "--api-grpc-port", "1")
    for ran in (checked, served):
        assert ran.code == 2, ran.err
        assert f"{tmp_path}/mine.yaml: options.x: is not a key here" in ran.err
        assert f"{tmp_path}/other.yaml: meaning: must be given" in ran.err
        assert "Traceback" not in ran.err
    assert checked.err == served.err


def test_check_config_shows_the_folder(tmp_path: Path) -> None:
    ran = _run("check-config", folder=str(tmp_path))
    assert ran.code == 0, ran.err
    (row,) = [row for row in ran.rows if row["key"] == "ProfilesFolder"]
    assert (row["value"], row["origin"]) == (str(tmp_path), "environment")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    ran = _run("check-config", f"--profiles-folder={tmp_path}/none")
    assert ran.code == 2
    assert f"{tmp_path}/none: cannot be read as a folder" in ran.err


async def test_connect_with_a_profile() -> None:
    async with (
        running_scripted_api() as api,
        running_venue(Kraken()) as venue,
        running_inside(api.port) as service,
    ):
        await service.wait_ready()

        async def connect(*options: str) -> tuple[int, str]:
            arguments = ("connect", venue.url, "--server", service.grpc_address, *options)
            ran = await asyncio.to_thread(_run, *arguments)
            return ran.code, ran.err

        wanted = ("--parameter", "symbol=BTC/USD,ETH/USD", "--parameter", "channel=ticker")
        assert await connect("--profile", "kraken", *wanted) == (0, "")
        await venue.wait_subscribed({"ticker BTC/USD", "ticker ETH/USD"})
        (one,) = (await service.list()).values()
        assert one.profile == "kraken"

        code, said = await connect("--profile", "krake")
        assert (code, "there are alpaca, binance-futures," in said) == (2, True)
        code, said = await connect("--profile", "kraken", "--parameter", "symbol")
        assert (code, "--parameter" in said, "KEY=VALUE" in said) == (2, True, True)
        code, said = await connect("--parameter", "symbol=a")
        assert (code, "profile_parameters: needs profile" in said) == (2, True)
