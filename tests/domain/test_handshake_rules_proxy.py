"""A proxy's URL is read strictly, and shows no credentials."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.handshake_rules.proxy import ProxyUrl, parse_proxy, proxy_problem
from websocketmanager.domain.hosts import Malformed


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
