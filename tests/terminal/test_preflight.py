"""What cannot work is refused before anything starts."""

from __future__ import annotations

import socket

import pytest

from websocketmanager.errors import SettingsInvalid
from websocketmanager.settings import Settings
from websocketmanager.terminal.preflight import check_api, check_ports, host_port


def test_free_ports_pass_and_stay_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    check_ports(("127.0.0.1", port, "--a"), ("127.0.0.1", 0, "--b"))
    check_ports(("127.0.0.1", port, "--a"))


def test_every_port_in_use_is_named_with_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(SettingsInvalid) as invalid:
            check_ports(
                ("127.0.0.1", port, "--a"), ("127.0.0.1", 0, "--b"), ("127.0.0.1", port, "--c")
            )
    assert [fault.path for fault in invalid.value.faults] == ["--a", "--c"]


def test_an_address_that_is_not_ours_is_named_too() -> None:
    with pytest.raises(SettingsInvalid, match=r"192\.0\.2\.1:0"):
        check_ports(("192.0.2.1", 0, "--a"))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(api_grpc_port=0),
        Settings(grpc_port=5002),
        Settings(grpc_port=5002, bind_host="10.0.0.1", api_host="10.0.0.1"),
    ],
)
def test_an_api_that_cannot_be_one_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingsInvalid, match="virtufin-api"):
        check_api(settings)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(grpc_port=5002, api_host="api.example"),
        Settings(grpc_port=5002, api_route="dapr"),
    ],
)
def test_any_other_api_passes(settings: Settings) -> None:
    check_api(settings)


def test_ipv6_stands_in_brackets() -> None:
    assert (host_port("::1", 2), host_port("h", 2)) == ("[::1]:2", "h:2")
