"""Addresses are such that the one who gets them can dial them."""

from __future__ import annotations

import socket

import pytest

from websocketmanager.app.addresses import advertised_host, host_port, local_host
from websocketmanager.settings import Settings


def test_hosts_of_ipv6_stand_in_brackets() -> None:
    assert host_port("127.0.0.1", 7) == "127.0.0.1:7"
    assert host_port("::1", 7) == "[::1]:7"
    assert host_port("feed.test", 7) == "feed.test:7"


@pytest.mark.parametrize(
    ("bound", "local"),
    [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1")],
)
def test_clients_on_the_machine_dial_what_is_bound(bound: str, local: str) -> None:
    assert local_host(Settings(bind_host=bound)) == local


def test_peers_dial_what_is_advertised_or_bound_or_the_host_name() -> None:
    assert advertised_host(Settings(advertised_host="pod.test", bind_host="::")) == "pod.test"
    assert advertised_host(Settings(bind_host="127.0.0.2")) == "127.0.0.2"
    assert advertised_host(Settings(bind_host="0.0.0.0")) == socket.gethostname()
    assert advertised_host(Settings(bind_host="::")) == socket.gethostname()
