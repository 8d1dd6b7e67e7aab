"""Sources are merged by precedence and judged together; the shipped files tell the truth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from websocketmanager.errors import Fault, SettingsInvalid
from websocketmanager.settings import (
    KEYS,
    Settings,
    load_settings,
    option_of,
    parse_file,
    sources,
)

ROOT = Path(__file__).parent.parent


def load(
    cli: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Mapping[str, object] | None = None,
) -> Settings:
    return load_settings(cli=cli or {}, environ=environ or {}, file=file or {})


def faults(
    cli: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Mapping[str, object] | None = None,
) -> list[str]:
    with pytest.raises(SettingsInvalid) as invalid:
        load(cli, environ, file)
    return [str(fault) for fault in invalid.value.faults]


# --- precedence and spelling ------------------------------------------------------------------


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


def test_unknown_file_keys_are_faults_with_a_hint() -> None:
    assert faults(file={"HtpPort": 1, "httpport": 2, "Zzz": 3}) == [
        "HtpPort: is not a key (file); did you mean HttpPort?",
        "httpport: is not a key (file); did you mean HttpPort?",
        "Zzz: is not a key (file)",
    ]


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


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("10.0.0.0/8, *.lab.example,,localhost", ("10.0.0.0/8", "*.lab.example", "localhost")),
        (["::1", " 10.1.2.3 "], ("::1", "10.1.2.3")),
        ([], ()),
    ],
)
def test_allowed_hosts_come_as_a_list_or_with_commas(
    given: object, expected: tuple[str, ...]
) -> None:
    assert load(file={"AllowedHosts": given}).allowed_hosts == expected


def test_every_wrong_allowed_host_is_named() -> None:
    (fault,) = faults(cli={"allowed_hosts": ["10.0.0", "ok.example", "10.0.0.1/8", "a/b"]})
    assert fault.startswith("--allow-host: ")
    assert all(entry in fault for entry in ("'10.0.0'", "'10.0.0.1/8'", "'a/b'"))
    assert "ok.example' is" not in fault


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("One.test=1000, *.two.test=0", ("One.test=1000", "*.two.test=0")),
        (["[::1]=5", ""], ("[::1]=5",)),
        ({"one.test": 1000, "::1": 7}, ("one.test=1000", "::1=7")),
        ({}, ()),
    ],
)
def test_numbers_by_host_come_as_a_list_with_commas_or_as_a_mapping(
    given: object, expected: tuple[str, ...]
) -> None:
    settings = load(file={"HostDialSpacingMs": given, "HostMaxConnections": given})
    assert (settings.host_dial_spacing_ms, settings.host_max_connections) == (expected, expected)


def test_every_wrong_number_of_a_host_is_named() -> None:
    (fault,) = faults(environ={"HostDialSpacingMs": "one.test,two.test=3600001,three.test=1"})
    assert fault.startswith("HostDialSpacingMs: 'one.test' is not HOST=NUMBER; 'two.test=3600001' ")
    assert "must have at most 3600000" in fault
    assert "'three.test=1' " not in fault


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("DialSpacingMs", -1, "must be at least 0, not -1"),
        ("MaxConnectionsPerHost", 2.5, "must be a whole number, not 2.5"),
        ("HostMaxConnections", 5, "must be a list of HOST=NUMBER, not 5"),
        ("HostMaxConnections", {"one.test": "many"}, "must have a whole number behind its host"),
        ("HttpPort", "x", "must be a whole number, not 'x'"),
        ("HttpPort", 1.5, "must be a whole number, not 1.5"),
        ("HttpPort", True, "must be a number, not True"),
        ("HttpPort", [1], "must be a whole number, not [1]"),
        ("HttpPort", 65_536, "must be at most 65535, not 65536"),
        ("HttpPort", -1, "must be at least 0, not -1"),
        ("DaprGrpcPort", 0, "must be at least 1, not 0"),
        ("ShutdownGraceSeconds", "soon", "must be a number, not 'soon'"),
        ("ShutdownGraceSeconds", float("nan"), "must be at least 0, not nan"),
        ("ShutdownGraceSeconds", float("inf"), "must be at most 31536000, not inf"),
        ("PingIntervalMs", 0, "must be at least 1, not 0"),
        ("ApiRoute", "both", "must be 'direct' or 'dapr', not 'both'"),
        ("SocketEngine", "picows", "must be 'driver' or 'client', not 'picows'"),
        ("LogLevel", 3, "must be 'debug', 'info', 'warning' or 'error', not 3"),
        ("InstanceId", 12, "must be a text: put it in quotes, not 12"),
        ("InstanceId", "a b", "must be 1 to 128 letters, digits and . _ : -"),
        ("DatabasePath", [], "must be a text"),
        ("DatabasePath", "", "must not be empty"),
        ("VIRTUFIN_API_HOST", "http://api", "must be a host alone, without scheme or path"),
        ("VIRTUFIN_API_HOST", "api:5002", "must be a host alone: the port has a key of its own"),
        ("VIRTUFIN_API_HOST", "a b", "must be a host name or an IP address"),
        ("BindHost", "1.2.3", "must be a host name or an IP address"),
        ("AdvertisedHost", "x/y", "must be a host alone, without scheme or path"),
        ("LifecycleTypePrefix", "com.example", "and end with a dot"),
        ("AllowedHosts", 5, "must be a list of host names"),
    ],
)
def test_wrong_values_are_faults_with_key_reason_and_source(
    key: str, value: object, sentence: str
) -> None:
    (fault,) = faults(file={key: value})
    assert fault.startswith(f"{key}: ")
    assert sentence in fault
    assert fault.endswith("(file)")


def test_words_count_in_any_case_and_addresses_without_brackets() -> None:
    settings = load(environ={"LogLevel": " INFO ", "ApiRoute": "Dapr", "BindHost": "[::1]"})
    assert (settings.log_level, settings.api_route, settings.bind_host) == ("info", "dapr", "::1")


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


def test_settings_are_frozen_and_know_their_fields() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().http_port = 1
    with pytest.raises(ValueError, match="Extra inputs"):
        Settings.model_validate({"htp_port": 1})


# --- all at once, and together ------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("file", "blamed"),
    [
        ({"MaxReconnectDelayMs": 500}, "MaxReconnectDelayMs"),
        ({"ReconnectBaseDelayMs": 40_000}, "ReconnectBaseDelayMs"),
        (
            {"WEBSOCKETMANAGER_STALE_THRESHOLD_SECONDS": 20},
            "WEBSOCKETMANAGER_STALE_THRESHOLD_SECONDS",
        ),
        (
            {"WEBSOCKETMANAGER_HEARTBEAT_INTERVAL_SECONDS": 30},
            "WEBSOCKETMANAGER_HEARTBEAT_INTERVAL_SECONDS",
        ),
        ({"HttpPort": 15002}, "HttpPort"),
        ({"GrpcPort": 9, "HttpPort": 9}, "GrpcPort"),
        ({"MaxBufferBytes": 65_536}, "MaxBufferBytes"),
    ],
)
def test_what_does_not_fit_together_is_said_at_the_key_that_was_set(
    file: Mapping[str, object], blamed: str
) -> None:
    (fault,) = faults(file=file)
    assert fault.startswith(f"{blamed}: ")


@pytest.mark.parametrize(
    "file",
    [
        {"HttpPort": 0, "GrpcPort": 0},
        {"MaxReconnectDelayMs": 1000},
        {
            "WEBSOCKETMANAGER_HEARTBEAT_INTERVAL_SECONDS": 0.1,
            "WEBSOCKETMANAGER_STALE_THRESHOLD_SECONDS": 0.3,
        },
    ],
)
def test_what_just_fits_together_is_accepted(file: Mapping[str, object]) -> None:
    load(file=file)


def test_a_faulty_value_raises_no_second_fault_by_comparison() -> None:
    assert len(faults(file={"ReconnectBaseDelayMs": "x", "MaxReconnectDelayMs": 10})) == 1


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "is not valid YAML"),
        ("HttpPort: 1\nHttpPort: 2", "'HttpPort' stands there twice"),
        ("- a", "must hold lines of the form"),
        ("!!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("? [1]\n: 2", "is not valid YAML"),
    ],
)
def test_files_that_cannot_be_read_are_faults_of_the_file(text: str, problem: str) -> None:
    with pytest.raises(SettingsInvalid, match=problem) as invalid:
        parse_file(text, path="my.yaml")
    assert invalid.value.faults[0].path == "my.yaml"


def test_an_empty_file_says_nothing() -> None:
    assert parse_file("# nothing\n", path="x") == {}


def test_keys_that_are_no_text_are_unknown_keys() -> None:
    assert faults(file=parse_file("1: 2", path="x")) == ["1: is not a key (file)"]


def test_the_shipped_yaml_holds_every_key_with_its_default() -> None:
    text = (ROOT / "config" / "websocketmanager.yaml").read_text(encoding="utf-8")
    assert parse_file(text, path="x") == {}, "every key is commented out"
    file = parse_file(re.sub(r"(?m)^#(?=\w)", "", text), path="x")
    assert list(file) == [key.name for key in KEYS.values()]
    assert load(file=file) == Settings()
    assert [name for name, value in file.items() if value is None] == [
        "VIRTUFIN_API_KEY",
        "InstanceId",
    ]


def test_the_shipped_environment_holds_every_key_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    environ = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert list(environ) == [key.name for key in KEYS.values()]
    assert load(environ=environ) == Settings()
    unset = [name for name, value in environ.items() if not value]
    assert unset == [
        "AdvertisedHost",
        "VIRTUFIN_API_KEY",
        "InstanceId",
        "AllowedHosts",
        "HostDialSpacingMs",
        "HostMaxConnections",
        "SecretsFolder",
        "MessageLogFolder",
        "ProfilesFolder",
    ]


def test_the_documentation_lists_every_key_with_its_option() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    for field, key in KEYS.items():
        option = "–" if key.secret else f"`{option_of(field)}`"
        assert f"| `{key.name}` | {option} |" in text


def test_faults_read_as_key_and_problem() -> None:
    assert str(Fault("HttpPort", "is wrong")) == "HttpPort: is wrong"
