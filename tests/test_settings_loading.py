"""All sources are judged together: every fault at once, and none that gives a secret away."""

from __future__ import annotations

import re

from tests.kit.settings import faults, load
from websocketmanager.errors import Fault
from websocketmanager.settings import parse_file


def test_unknown_file_keys_are_faults_with_a_hint() -> None:
    assert faults(file={"HtpPort": 1, "httpport": 2, "Zzz": 3}) == [
        "HtpPort: is not a key (file); did you mean HttpPort?",
        "httpport: is not a key (file); did you mean HttpPort?",
        "Zzz: is not a key (file)",
    ]


def test_keys_that_are_no_text_are_unknown_keys() -> None:
    assert faults(file=parse_file("1: 2", path="x")) == ["1: is not a key (file)"]


def test_every_fault_of_every_source_comes_at_once() -> None:
    found = faults(
        cli={"http_port": "x"},
        environ={"grpcport": "70000", "VIRTUFIN_API_HOST": "a/b"},
        file={"LogFormat": "xml", "Nope": 1, "MaxReconnectDelayMs": 500},
    )
    assert [fault.partition(": ")[0] for fault in found] == [
        "Nope",
        "--http-port",
        "grpcport",
        "VIRTUFIN_API_HOST",
        "LogFormat",
        "MaxReconnectDelayMs",
    ]
    assert [re.findall(r"\((command line|environment|file)\)", fault) for fault in found] == [
        ["file"],
        ["command line"],
        ["environment"],
        ["environment"],
        ["file"],
        ["file"],
    ]


def test_a_long_value_is_repeated_in_part() -> None:
    (fault,) = faults(environ={"LogLevel": "x" * 500})
    assert len(fault) < 200


def test_the_key_never_shows() -> None:
    settings = load(environ={"VIRTUFIN_API_KEY": "s3cret"})
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings) + str(settings) + settings.model_dump_json()
    (fault,) = faults(environ={"VIRTUFIN_API_KEY": "s3cret\n"})
    assert fault == "VIRTUFIN_API_KEY: must be printable ASCII without spaces (environment)"


def test_faults_read_as_key_and_problem() -> None:
    assert str(Fault("HttpPort", "is wrong")) == "HttpPort: is wrong"
