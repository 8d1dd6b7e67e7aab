"""Which URLs are accepted, what is read from them, and what a refusal says."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.url_policy import MAX_URL_LENGTH, ParsedUrl, parse_url
from websocketmanager.errors import InvalidArgument


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port"),
    [
        ("ws://h", "ws", "h", 80),
        ("wss://h", "wss", "h", 443),
        ("WSS://Feed.Example.COM:8443/Path?q=1", "wss", "feed.example.com", 8443),
        ("ws://h:", "ws", "h", 80),
        ("ws://h:00080/", "ws", "h", 80),
        ("ws://h:65535?x", "ws", "h", 65535),
        ("ws://user:p%40ss@h:1/", "ws", "h", 1),
        ("ws://:@h", "ws", "h", 80),
        ("ws://h./", "ws", "h.", 80),
        ("ws://_srv.a-b.c/", "ws", "_srv.a-b.c", 80),
        ("ws://bücher.example/straße", "ws", "xn--bcher-kva.example", 80),
        ("ws://feed。example/", "ws", "feed.example", 80),
        ("ws://h/{a|b}^`~!$&'()*+,;=:@[]?/?[]{}", "ws", "h", 80),
        ("wss://h/${secret:NAME}?k=${secret:KEY}", "wss", "h", 443),
    ],
)
def test_a_valid_url(url: str, scheme: str, host: str, port: int) -> None:
    assert parse_url(url) == ParsedUrl(scheme, host, port)
    assert parse_url(url).is_tls == (scheme == "wss")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://127.0.0.1:9/", "127.0.0.1"),
        ("ws://[::1]:9/", "::1"),
        ("ws://[2606:4700::ABCD]:9", "2606:4700::abcd"),
        ("ws://[::ffff:127.0.0.1]:9", "::ffff:127.0.0.1"),
        # Full-width digits are an address to IDNA, and so to the dial.
        ("ws://１２７.０.０.１:9/", "127.0.0.1"),
    ],
)
def test_an_address_as_host(url: str, host: str) -> None:
    assert parse_url(url) == ParsedUrl("ws", host, 9, ip_address(host))


def test_the_name_a_certificate_must_carry_has_no_final_dot() -> None:
    assert parse_url("wss://feed.example./").tls_name == "feed.example"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must not be empty"),
        ("ws://h/" + "x" * MAX_URL_LENGTH, "at most 4096 characters, not 4103"),
        ("http://h", "must begin with ws:// or wss://"),
        ("wsx://h", "must begin with ws:// or wss://"),
        ("h", "must begin with ws:// or wss://"),
        ("//h", "must begin with ws:// or wss://"),
        ("ws:h", "must have // after ws:"),
        ("wss:/h", "must have // after wss:"),
        ("ws://", "must have a host"),
        ("ws:///path", "must have a host"),
        ("ws://?q", "must have a host"),
        ("ws://:80", "must have a host"),
        ("ws://u:p@", "must have a host"),
        ("ws://h/#f", "must not have a fragment"),
        ("ws://h/#", "must not have a fragment"),
        (" ws://h", "white space"),
        ("ws://h/a b", "white space"),
        ("ws://h/\n", "white space"),
        ("ws://h\t/", "white space"),
        ("ws://h/\x00", "white space"),
        ("ws://h/\x7f", "white space"),
        ("ws://h/\u00a0", "invisible"),
        ("ws://h/\u200b", "invisible"),
        ("ws://h/\u202e", "invisible"),
        ("ws://h/\ud800", "invisible"),
        ("ws:\\\\h", "\\ percent-encoded"),
        ("ws://h\\@evil/", "\\ percent-encoded"),
        ('ws://h/"', '" percent-encoded'),
        ("ws://h/<x>", "< percent-encoded"),
        ("ws://h/%", "two hexadecimal digits"),
        ("ws://h/%zz", "two hexadecimal digits"),
        ("ws://h%41/", "letters, digits, hyphens and dots"),
        ("ws://h:0/", "a port from 1 to 65535"),
        ("ws://h:65536/", "a port from 1 to 65535"),
        ("ws://h:8a/", "a port from 1 to 65535"),
        ("ws://h:-1/", "a port from 1 to 65535"),
        ("ws://h:٣/", "a port from 1 to 65535"),
        ("ws://h:" + "9" * 2000, "a port from 1 to 65535"),
        ("ws://h:1:2/", "a port from 1 to 65535"),
        ("ws://::1/", "a host"),
        ("ws://[::1/", "brackets"),
        ("ws://[::1]x/", "brackets"),
        ("ws://[h]/", "an IPv6 address between brackets"),
        ("ws://[v1.x]/", "an IPv6 address between brackets"),
        ("ws://[127.0.0.1]/", "an IPv6 address between brackets"),
        ("ws://[fe80::1%25eth0]/", "IPv6 zone"),
        ("ws://u@h", "a password with its user name"),
        ("ws://a:b@c:d@h", "percent-encoded"),
        ("ws://a:%ff@h", "UTF-8 in its user information"),
        ("ws://a..b/", "letters, digits, hyphens and dots"),
        ("ws://.a/", "letters, digits, hyphens and dots"),
        ("ws://-a/", "letters, digits, hyphens and dots"),
        ("ws://a!b/", "letters, digits, hyphens and dots"),
        ("ws://" + "a" * 64 + "/", "letters, digits, hyphens and dots"),
        ("ws://" + "a." * 127 + "a/", "letters, digits, hyphens and dots"),
        ("ws://ü" + "b" * 64 + "/", "IDNA"),
        ("ws://2130706433/", "four decimal numbers"),
        ("ws://0x7f.1/", "four decimal numbers"),
        ("ws://0177.0.0.1/", "four decimal numbers"),
        ("ws://127.1/", "four decimal numbers"),
        ("ws://127.0.0.1./", "four decimal numbers"),
        ("ws://256.0.0.1/", "four decimal numbers"),
        ("ws://feed.0x10/", "four decimal numbers"),
    ],
)
def test_an_invalid_url_is_refused_at_its_field(url: str, problem: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_url(url)
    (fault,) = raised.value.faults
    assert fault.path == "url"
    assert problem in fault.problem


@pytest.mark.parametrize(
    "url",
    [
        "ws://secret@h",
        "ws://secret:%ff@h",
        "ws://h/?t=secret#x",
        "ws://h:secret/",
        "http://secret:secret@h/secret?secret",
    ],
)
def test_a_refusal_repeats_nothing_of_the_url(url: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_url(url)
    assert "secret" not in str(raised.value)


@given(
    st.one_of(
        st.text(),
        st.text().map("ws://".__add__),
        st.text("ws:/[]@%#?.:0a\\ü1").map("wss://".__add__),
    )
)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parsed = parse_url(text)
    except InvalidArgument:
        return
    assert parsed.host.isascii()
    assert 1 <= parsed.port <= 65535
