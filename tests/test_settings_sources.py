"""The source that counts is the most particular one, and each value's origin is known."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.kit.settings import faults, load
from websocketmanager.settings import Settings, sources


def test_without_sources_the_defaults_count() -> None:
    assert load() == Settings()


@pytest.mark.parametrize(
    ("cli", "environ", "file", "port"),
    [
        ({"http_port": "1"}, {"HttpPort": "2"}, {"HttpPort": 3}, 1),
        ({"http_port": None}, {"HttpPort": "2"}, {"HttpPort": 3}, 2),
        ({}, {}, {"HttpPort": 3}, 3),
        ({}, {"HttpPort": ""}, {"HttpPort": 3}, 3),
        ({}, {}, {"HttpPort": None}, 15001),
    ],
)
def test_command_line_wins_over_environment_over_file_over_default(
    cli: Mapping[str, object], environ: Mapping[str, str], file: Mapping[str, object], port: int
) -> None:
    assert load(cli, environ, file).http_port == port


def test_environment_names_count_in_any_case_and_the_exact_one_wins() -> None:
    assert load(environ={"HTTPPORT": "7"}).http_port == 7
    assert load(environ={"LOGLEVEL": "debug", "LogLevel": "error"}).log_level == "error"


def test_unknown_environment_names_are_ignored() -> None:
    assert load(environ={"HttpPorts": "x", "PATH": "/bin"}) == Settings()


def test_the_instance_id_falls_back_to_the_host_name() -> None:
    assert load(environ={"HOSTNAME": "pod-3"}).instance_id == "pod-3"
    assert load(environ={"HOSTNAME": "pod-3"}, file={"InstanceId": "x"}).instance_id == "x"
    assert faults(environ={"HOSTNAME": "a b"})[0].startswith("HOSTNAME: must be")


def test_sources_tell_where_each_value_comes_from() -> None:
    given = sources(
        cli={"allowed_hosts": ["a"]}, environ={"grpcport": "1"}, file={"LogLevel": "info"}
    )
    assert (given["allowed_hosts"].origin, given["allowed_hosts"].spelling) == (
        "command line",
        "--allow-host",
    )
    assert (given["grpc_port"].origin, given["grpc_port"].spelling) == ("environment", "grpcport")
    assert given["log_level"].origin == "file"
    assert given["http_port"].origin == "default"
