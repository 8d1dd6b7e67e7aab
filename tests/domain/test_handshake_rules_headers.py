"""What the request may carry: the rules of headers, subprotocols and origins by table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.handshake_rules.headers import (
    MAX_ORIGIN_LENGTH,
    MAX_SUBPROTOCOL_LENGTH,
    header_name_problem,
    header_value_problem,
    origin_problem,
    subprotocol_problem,
)


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
