"""What may be said in a handshake: the rules by table, and that no sentence repeats a value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.handshake_rules import (
    MAX_HEADER_LENGTH,
    MAX_HEADERS,
    MAX_ORIGIN_LENGTH,
    MAX_PEM_LENGTH,
    MAX_SUBPROTOCOL_LENGTH,
    MAX_SUBPROTOCOLS,
    ProxyUrl,
    certificate_problem,
    certificates,
    handshake_faults,
    header_name_problem,
    header_value_problem,
    key_problem,
    origin_problem,
    parse_proxy,
    proxy_problem,
    server_name_problem,
    subprotocol_problem,
    tls_faults,
)
from websocketmanager.domain.hosts import Malformed
from websocketmanager.domain.options import TlsOptions
from websocketmanager.errors import Fault

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\nAA==\n-----END CERTIFICATE-----"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"


# --- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["X-Key", "authorization", "Cookie", "a", "!#$%&'*+.^_`|~9", "Hosts"]
)
def test_names_that_are_the_callers(name: str) -> None:
    assert header_name_problem(name) is None


@pytest.mark.parametrize(
    "name", ["", "a b", "a:", "X\r\nY", "X\n", "ü", "a\0", "(a)", '"a"', "a/b", "a,b", "[a]", "{a}"]
)
def test_names_that_are_no_tokens(name: str) -> None:
    assert "token" in (header_name_problem(name) or "")


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        *((name, "handshake") for name in ("Host", "CONNECTION", "upgrade")),
        *((f"Sec-WebSocket-{part}", "handshake") for part in ("Key", "Version", "Accept", "New")),
        *((f"sec-websocket-{part}", "handshake") for part in ("protocol", "extensions", "")),
        ("Origin", "option"),
        *((name, "transport") for name in ("Content-Length", "Transfer-Encoding", "TE", "Trailer")),
        *((name, "transport") for name in ("Keep-Alive", "Proxy-Connection", "Expect")),
        *((name, "proxy") for name in ("Proxy-Authorization", "Proxy-Authenticate")),
    ],
)
def test_names_that_are_somebody_elses(name: str, owner: str) -> None:
    problem = header_name_problem(name)
    assert problem is not None
    assert problem.startswith(f"must not be {name}, which ")
    assert owner in problem


@pytest.mark.parametrize("value", ["", "a", "Bearer a.b-c", "a\tb", 'k="v, w"; x', "!~{}\\"])
def test_values_that_pass(value: str) -> None:
    assert header_value_problem(value) is None


@pytest.mark.parametrize(
    "value", ["a\r\nb", "a\n", "\r", "a\0", "\x7f", "ü", "\x85", "\u2028", " a", "a ", "\ta", "a\t"]
)
def test_values_that_do_not(value: str) -> None:
    assert header_value_problem(value)


@given(st.text(), st.text())
def test_what_passes_is_one_line_of_a_header(name: str, value: str) -> None:
    if header_name_problem(name) is None and header_value_problem(value) is None:
        line = f"{name}: {value}"
        assert line.isascii()
        assert line.splitlines() == [line]
        assert ":" not in name


# --- subprotocols, origin ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["v1.json", "graphql-transport-ws", "a" * MAX_SUBPROTOCOL_LENGTH])
def test_subprotocols_that_pass(name: str) -> None:
    assert subprotocol_problem(name) is None


@pytest.mark.parametrize(
    "name", ["", "a, b", "a b", "a;b", "ä", "a\n", '"a"', "a" * (MAX_SUBPROTOCOL_LENGTH + 1)]
)
def test_subprotocols_that_do_not(name: str) -> None:
    assert subprotocol_problem(name)


@pytest.mark.parametrize(
    "origin",
    ["https://feed.test", "http://127.0.0.1:8080", "https://[::1]:1", "null", "app-x://a_b"],
)
def test_origins_that_pass(origin: str) -> None:
    assert origin_problem(origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        *("feed.test", "https://", "https://feed.test/", "https://feed.test/a", "https://a b"),
        *("https://u:p@feed.test", "https://feed.test\r\nX: y", "https://f.test\n", "https://ü"),
        *("https://a:123456", "null ", "https://" + "a" * MAX_ORIGIN_LENGTH),
    ],
)
def test_origins_that_do_not(origin: str) -> None:
    assert origin_problem(origin)


# --- proxies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy.test:3128", ProxyUrl("http", "proxy.test", 3128)),
        ("HTTP://Proxy.Test:1/", ProxyUrl("http", "proxy.test", 1)),
        ("socks5://proxy.test.:65535", ProxyUrl("socks5", "proxy.test.", 65535)),
        ("http://u:p@h:1", ProxyUrl("http", "h", 1, None, "u", "p")),
        ("http://k%65y:@h:1", ProxyUrl("http", "h", 1, None, "key", "")),
        ("http://%C3%BC:p%40:q@h:1", ProxyUrl("http", "h", 1, None, "ü", "p@:q")),
        ("socks5h://u%3A:p@h:1", ProxyUrl("socks5h", "h", 1, None, "u:", "p")),
    ],
)
def test_proxies_that_are_read(url: str, expected: ProxyUrl) -> None:
    assert parse_proxy(url) == expected
    assert proxy_problem(url) is None


def test_a_proxys_address_is_known_as_one() -> None:
    assert parse_proxy("http://10.0.0.1:1").literal is not None
    six = parse_proxy("socks5://[2606:4700::1]:1")
    assert (six.host, six.literal is not None) == ("2606:4700::1", True)


def test_only_socks5h_leaves_names_to_the_proxy() -> None:
    urls = ("http://h:1", "socks5://h:1", "socks5h://h:1")
    assert [parse_proxy(url).resolves_names for url in urls] == [False, False, True]


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "must begin with one of http://, socks5://, socks5h://"),
        ("proxy.test:3128", "must begin with one of"),
        ("https://h:1", "must begin with one of"),
        ("socks4://h:1", "must begin with one of"),
        ("http://h", "scheme://host:port"),
        ("http://h:", "scheme://host:port"),
        ("http://h:1/path", "scheme://host:port"),
        ("http://h:1?x", "scheme://host:port"),
        ("http://h:1#x", "scheme://host:port"),
        ("http://h:1\n", "scheme://host:port"),
        ("http://u/v:p@h:1", "scheme://host:port"),
        ("http://h:0", "port from 1 to 65535"),
        ("http://h:65536", "port from 1 to 65535"),
        ("http://:1", "must have a host"),
        ("http://2130706433:1", "four decimal numbers"),
        ("http://[fe80::1%25eth0]:1", "IPv6 zone"),
        ("http://h\u200b:1", "invisible"),
        ("http://u@h:1", "must have a password with its user name"),
        ("http://a@b:c@h:1", "must have @ in user information percent-encoded"),
        ("http://%ff:p@h:1", "UTF-8"),
        ("http://u%0d%0a:p@h:1", "control characters"),
        ("http://u\n:p@h:1", "control characters"),
        ("http://u%3A:p@h:1", "colon"),
        ("socks5://u:@h:1", "1 to 255 ASCII"),
        ("socks5://:p@h:1", "1 to 255 ASCII"),
        ("socks5://%C3%BC:p@h:1", "1 to 255 ASCII"),
        (f"socks5h://u:{'p' * 256}@h:1", "1 to 255 ASCII"),
    ],
)
def test_proxies_that_are_not(url: str, part: str) -> None:
    assert part in (proxy_problem(url) or "")


@given(
    st.from_regex(r"(http|socks5h?|x)://[^\r\n]{0,20}@[a-z0-9.:\[\]/@]{0,20}", fullmatch=True)
    | st.text()
)
def test_every_text_is_read_or_refused(url: str) -> None:
    try:
        proxy = parse_proxy(url)
    except Malformed:
        return
    assert proxy.host
    assert 1 <= proxy.port <= 65535


def test_a_proxy_shows_no_credentials() -> None:
    proxy = parse_proxy("http://canary:canary@h:1")
    assert "canary" not in repr(proxy)


# --- TLS -----------------------------------------------------------------------------------------


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


# --- all together --------------------------------------------------------------------------------


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
