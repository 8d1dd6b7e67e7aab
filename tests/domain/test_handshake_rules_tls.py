"""PEM texts and server names are judged before OpenSSL sees them."""

from __future__ import annotations

import pytest

from websocketmanager.domain.handshake_rules.tls import (
    MAX_PEM_LENGTH,
    certificate_problem,
    certificates,
    key_problem,
    server_name_problem,
    tls_faults,
)
from websocketmanager.domain.options import TlsOptions
from websocketmanager.errors import Fault

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\nAA==\n-----END CERTIFICATE-----"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"


def test_pem_texts_that_pass() -> None:
    assert certificate_problem(f"Comment: ü\n{CERTIFICATE}\n\n{CERTIFICATE}") is None
    assert certificate_problem(CERTIFICATE.replace("\n", "\r\n")) is None
    for kind in ("PRIVATE", "RSA PRIVATE", "EC PRIVATE"):
        assert key_problem(KEY.replace("PRIVATE", kind)) is None
    curve = "-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n"
    assert key_problem(curve + KEY.replace("PRIVATE", "EC PRIVATE")) is None


@pytest.mark.parametrize(
    "pem",
    [
        *("", "MIIB", KEY, CERTIFICATE[:-5], CERTIFICATE[5:], CERTIFICATE.replace("MI", "!!")),
        *("/etc/ssl/cert.pem", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"),
        CERTIFICATE + " " * MAX_PEM_LENGTH,
    ],
)
def test_texts_that_hold_no_certificate(pem: str) -> None:
    assert certificate_problem(pem)


@pytest.mark.parametrize(
    ("pem", "part"),
    [
        ("", "must have one PEM block"),
        (CERTIFICATE, "must have one PEM block"),
        (KEY + KEY, "must have one PEM block"),
        (KEY.replace("END PRIVATE", "END RSA PRIVATE"), "must have one PEM block"),
        (KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"), "must not be encrypted"),
        (KEY.replace("MIIB", "Proc-Type: 4,ENCRYPTED\n\nMIIB"), "must not be encrypted"),
        (KEY + " " * MAX_PEM_LENGTH, "characters"),
    ],
)
def test_texts_that_hold_no_key(pem: str, part: str) -> None:
    assert part in (key_problem(pem) or "")


def test_only_certificates_are_handed_on() -> None:
    text = f"ü\n{CERTIFICATE}\nnoise {KEY}{CERTIFICATE}"
    assert certificates(text) == f"{CERTIFICATE}\n{CERTIFICATE}\n"
    assert certificates(KEY) == ""


@pytest.mark.parametrize("name", ["feed.test", "feed.test.", "10.0.0.1", "::1", "a_b"])
def test_server_names_that_pass(name: str) -> None:
    assert server_name_problem(name) is None


@pytest.mark.parametrize("name", ["a b", "*.test", "[::1]", "feed.test:443", "fe80::1%eth0", "a\n"])
def test_server_names_that_do_not(name: str) -> None:
    assert server_name_problem(name)


def test_certificate_and_key_belong_together() -> None:
    assert tls_faults(TlsOptions(CERTIFICATE, CERTIFICATE, KEY, "feed.test")) == []
    assert tls_faults(TlsOptions(certificate_pem=CERTIFICATE)) == [
        Fault("tls.key_pem", "must be given with certificate_pem")
    ]
    assert tls_faults(TlsOptions(key_pem=KEY), "x") == [
        Fault("x.certificate_pem", "must be given with key_pem")
    ]


def test_tls_without_tls_is_not_forgotten_in_silence() -> None:
    assert tls_faults(TlsOptions(), secure=False) == []
    for tls in (TlsOptions(ca_pem=CERTIFICATE), TlsOptions(server_name="feed.test")):
        assert [fault.path for fault in tls_faults(tls, secure=False)] == ["tls"]
