"""Each value is what its key may be, or a fault that says what it must be."""

from __future__ import annotations

import pytest

from tests.kit.settings import faults, load


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
