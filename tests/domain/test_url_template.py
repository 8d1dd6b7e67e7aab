"""Templates in URLs: where they may stand, and that no value moves a URL to another place."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.template import (
    EvaluationContext,
    EvaluationFailed,
    MissingSecret,
    TemplateFault,
)
from websocketmanager.domain.url_policy import parse_url
from websocketmanager.domain.url_template import (
    UrlUnusable,
    evaluated_proxy,
    evaluated_url,
    proxy_faults,
    url_faults,
)


def context(**secrets: str) -> EvaluationContext:
    return EvaluationContext(now=1.5, nonce="n0", uuid="u0", secrets=secrets)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://h/s?token=abc", "wss://h/s?token=abc"),
        ("wss://h/{a}$$?b=$", "wss://h/{a}$$?b=$"),
        ("wss://h/?t=${secret:A}", "wss://h/?t=p%40s%20s%2F%C3%A9"),
        ("wss://${secret:A}:${ secret:A }@h/", None),
        (
            "wss://${secret:A}:x${secret:A}@h:1/",
            "wss://p%40s%20s%2F%C3%A9:xp%40s%20s%2F%C3%A9@h:1/",
        ),
        ("wss://h/ws/${secret:B}?x", "wss://h/ws/plain?x"),
        ("wss://h/?t=${url(secret:A)}&b=${secret:B}", "wss://h/?t=p%40s%20s%2F%C3%A9&b=plain"),
        ("wss://h/?a=$${secret:A}", "wss://h/?a=${secret:A}"),
        ("wss://h/?a=$$${secret:B}", "wss://h/?a=$plain"),
        ("wss://h/?at=${time.ms}&n=${nonce}", "wss://h/?at=1500&n=n0"),
    ],
)
def test_urls(url: str, expected: str | None) -> None:
    if expected is None:
        assert [fault.path for fault in url_faults(url)] == ["url"]
        return
    assert url_faults(url) == []
    assert evaluated_url(url, context(A="p@s s/é", B="plain")) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h", "url: must"),
        ("wss://${secret:H}/", "url: must not have a template in its host or port"),
        ("wss://a.${secret:H}/", "url: must not have a template in its host or port"),
        ("wss://h:${secret:P}/", "url: must not have a template in its host or port"),
        ("wss://u:p@${secret:H}/", "url: must not have a template in its host or port"),
        ("wss://u:${secret:P}@h:x/", "url: must have a port"),
        ("wss://${secret:CREDENTIALS}@h/", "url: with its templates evaluated it must have a pass"),
        ("wss://h/?a=${b}", "url: at character "),
        ("wss://h/?a=${secret:A", "url: at character "),
        ("wss://h/?a=${nonce}${'#'}", "url: must not have a fragment"),
        ("wss://h/?a=${base64(unbase64(secret:A))}", ""),
    ],
)
def test_faults_of_urls(url: str, expected: str) -> None:
    found = list(map(str, url_faults(url)))
    assert len(found) == bool(expected)
    assert not expected or found[0].startswith(expected)


def test_a_fault_does_not_repeat_the_template() -> None:
    assert "hunter2" not in str(url_faults("wss://h/?a=${hunter2}&b=hunter2"))


@given(st.text(max_size=30))
def test_a_secret_that_is_encoded_arrives_as_it_is_and_moves_nothing(secret: str) -> None:
    url = "wss://user:${secret:A}@feed.example:8443/${secret:A}?t=${secret:A}"
    found = evaluated_url(url, context(A=secret))
    encoded = quote(secret, safe="")
    assert found == f"wss://user:{encoded}@feed.example:8443/{encoded}?t={encoded}"


@given(st.text("@:/?#[]\\.%0e\n x", max_size=12))
def test_a_secret_that_is_not_encoded_moves_nothing_either(secret: str) -> None:
    url = "wss://user:${json(secret:A)}@feed.example/"
    try:
        found = evaluated_url(url, context(A=secret))
    except EvaluationFailed:
        return
    assert parse_url(found) == parse_url(url)


def test_what_an_attempt_cannot_use() -> None:
    url = "wss://user:${json(secret:A)}@feed.example/"
    with pytest.raises(MissingSecret):
        evaluated_url(url, context())
    with pytest.raises(UrlUnusable, match="must keep its scheme, host and port") as caught:
        evaluated_url(url, context(A="hunter2@evil.example/?"))
    assert "hunter2" not in f"{caught.value!r}"
    assert caught.value.__cause__ is None
    with pytest.raises(UrlUnusable, match="percent-encoded") as caught:
        evaluated_url(url, context(A="hunter2@x"))
    assert "hunter2" not in f"{caught.value!r}"
    with pytest.raises(TemplateFault):
        evaluated_url("wss://h/?${", context())


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("http://p:1", "http://p:1"),
        ("http://u:${secret:A}@p:1", "http://u:p%40s%20s@p:1"),
        ("socks5://${url(secret:B)}:${secret:A}@p:1", "socks5://plain:p%40s%20s@p:1"),
    ],
)
def test_proxies(proxy: str, expected: str) -> None:
    assert proxy_faults(proxy) == []
    assert evaluated_proxy(proxy, context(A="p@s s", B="plain")) == expected


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("ftp://p:1", "proxy: must begin with one of"),
        ("http://p", "proxy: must be scheme://host:port"),
        ("http://${secret:H}:1", "proxy: must not have a template in its host or port"),
        ("http://p:${secret:P}", "proxy: must not have a template in its host or port"),
        ("http://u:${secret}@p:1", "proxy: at character "),
        ("http://" + "p" * 2042, "proxy: must have at most 2048 characters, not 2049"),
    ],
)
def test_faults_of_proxies(proxy: str, expected: str) -> None:
    (found,) = map(str, proxy_faults(proxy))
    assert found.startswith(expected)


def test_a_secret_leads_to_no_other_proxy() -> None:
    proxy = "http://u:${json(secret:A)}@p.example:3128"
    for secret in ("x@evil.example:3128/", "x@evil.example:1", "@", "x/"):
        with pytest.raises(UrlUnusable) as caught:
            evaluated_proxy(proxy, context(A=secret))
        assert "evil" not in str(caught.value)
    with pytest.raises(UrlUnusable, match="must keep its scheme, host and port"):
        evaluated_proxy("http://${json(secret:A)}:3128", context(A="evil.example"))
    with pytest.raises(MissingSecret):
        evaluated_proxy(proxy, context())
