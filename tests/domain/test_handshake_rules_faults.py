"""All rules of a handshake together: each fault at its path, and none repeats a value."""

from __future__ import annotations

from websocketmanager.domain.handshake_rules.faults import handshake_faults
from websocketmanager.domain.handshake_rules.headers import (
    MAX_HEADER_LENGTH,
    MAX_HEADERS,
    MAX_SUBPROTOCOLS,
)
from websocketmanager.domain.options import TlsOptions


def test_nothing_said_is_nothing_wrong() -> None:
    assert handshake_faults() == []
    assert handshake_faults(tls=TlsOptions(), secure=False) == []


def test_every_fault_is_told_at_its_path_and_none_repeats_a_value() -> None:
    faults = handshake_faults(
        headers=[("X", "canary\n"), ("Host", "canary"), ("Ok", "1"), ("", "canary")],
        subprotocols=["a", "b", "a", "canary!,"],
        origin="https://canary/",
        proxy="http://canary:canary@canary/",
        tls=TlsOptions("canary", "canary", "canary", "can ary"),
    )
    assert [fault.path for fault in faults] == [
        *("headers[0].value", "headers[1].name", "headers[3].name"),
        *("subprotocols[2]", "subprotocols[3]", "origin", "proxy"),
        *("tls.ca_pem", "tls.certificate_pem", "tls.key_pem", "tls.server_name"),
    ]
    assert all(fault.problem.startswith("must ") for fault in faults)
    assert "canary" not in "".join(map(str, faults))


def test_numbers_and_lengths_are_bounded() -> None:
    assert handshake_faults(headers=[("X", "1")] * MAX_HEADERS) == []
    assert [fault.path for fault in handshake_faults(headers=[("X", "1")] * (MAX_HEADERS + 1))] == [
        "headers"
    ]
    long = [("X", "a" * (MAX_HEADER_LENGTH - 1)), ("X", "a" * MAX_HEADER_LENGTH)]
    assert [fault.path for fault in handshake_faults(headers=long)] == ["headers[1]"]
    names = [f"a{number}" for number in range(MAX_SUBPROTOCOLS + 1)]
    assert handshake_faults(subprotocols=names[1:]) == []
    assert [fault.path for fault in handshake_faults(subprotocols=names)] == ["subprotocols"]
