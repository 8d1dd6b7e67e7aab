"""A command with settings has one option per key and gets what was said as a source."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import typer
from typer.testing import CliRunner

from websocketmanager.settings import KEYS, option_of
from websocketmanager.terminal.options import Source, with_settings


def invoke(*arguments: str, only: tuple[str, ...] = ()) -> tuple[Source, Path | None, int]:
    got: list[tuple[Source, Path | None, int]] = []
    files: list[Path | None] = []

    def make_source(flags: Mapping[str, object], config: Path | None) -> Source:
        files.append(config)
        return Source(flags, {"GrpcPort": "9"}, {"LogLevel": "debug"})

    def command(source: Source, number: int = 1) -> None:
        got.append((source, files[-1], number))

    app = typer.Typer()
    app.command()(with_settings(make_source, *only)(command))
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return got[0]


def test_every_key_but_the_secret_has_an_option() -> None:
    def command(source: Source) -> None: ...

    wrapped = with_settings(lambda flags, config: Source(flags, {}, {}))(command)
    names = set(inspect.signature(wrapped).parameters)
    assert names == {field for field, key in KEYS.items() if not key.secret} | {"config"}
    assert option_of("allowed_hosts") == "--allow-host"
    assert option_of("http_port") == "--http-port"


def test_options_are_handed_over_as_they_were_typed() -> None:
    hosts = ("--allow-host", "a", "--allow-host", "b")
    source, config, number = invoke("--http-port", "x", *hosts, "--config", "f", "--number", "3")
    assert source.cli["http_port"] == "x"
    assert source.cli["allowed_hosts"] == ["a", "b"]
    assert source.cli["grpc_port"] is None
    assert (config, number) == (Path("f"), 3)


def test_a_command_may_have_only_some_of_them() -> None:
    source, _, _ = invoke("--http-port", "7", only=("http_port",))
    assert dict(source.cli) == {"http_port": "7"}


def test_a_source_judges_all_it_has_above_the_command_s_own_defaults() -> None:
    source, _, _ = invoke("--http-port", "7")
    settings = source.settings(log_level="error", database="scratch")
    assert (settings.http_port, settings.grpc_port) == (7, 9)
    assert (settings.log_level, settings.database) == ("debug", "scratch")


def test_a_key_that_the_file_leaves_empty_counts_as_not_set() -> None:
    source = Source({}, {}, {"LogLevel": None})
    assert source.settings(log_level="error").log_level == "error"
