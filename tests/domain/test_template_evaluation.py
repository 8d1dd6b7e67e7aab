"""Evaluation: known answers, one reading of the clock, bounds, and errors without secrets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import traceback
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from websocketmanager.domain.template import parse
from websocketmanager.domain.template_evaluation import (
    MAX_RESULT_BYTES,
    EvaluationContext,
    EvaluationFailed,
    MissingSecret,
    ResultTooLarge,
    UnusableSecret,
)

NOW = 1_719_234_567.890123


#: The lines of a traceback show their source, so this is not written where it is used.
HIDDEN = "hidden-value"


def evaluate(text: str, secrets: dict[str, str] | None = None, *, now: float = NOW) -> str:
    context = EvaluationContext(now=now, nonce="00ff", uuid="u-u-i-d", secrets=secrets or {})
    return parse(text).evaluate(context)


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${time.s}", "1719234567"),
        ("${time.ms}", "1719234567890"),
        ("${time.us}", "1719234567890123"),
        ("${time.s+60} ${time.s-60}", "1719234627 1719234507"),
        ("${time.ms+10000}", "1719234577890"),
        ("${time.s-9999999999}", "-8280765432"),
        ("${time.iso}", "2024-06-24T13:09:27.890Z"),
        ("${nonce}${uuid}", "00ffu-u-i-d"),
        ("${hex('é')}", "c3a9"),
        ("${base64('user', ':', 'pass')}", "dXNlcjpwYXNz"),
        ("${url('a b/é%')}", "a%20b%2F%C3%A9%25"),
        ("${json('\"\\\n')}", '\\"\\\\\\n'),
        ("${json('é')}", "é"),
        ("${hex(base64(url(json('\"'))))}", b"JTVDJTIy".hex()),
        ("${'it''s'}${''}{}", "it's{}"),
    ],
)
def test_values(text: str, expected: str) -> None:
    assert evaluate(text) == expected


@pytest.mark.parametrize(
    ("now", "iso", "microseconds"),
    [
        (0.0, "1970-01-01T00:00:00.000Z", "0"),
        (0.9999995, "1970-01-01T00:00:01.000Z", "1000000"),
        (253_402_300_799.0, "9999-12-31T23:59:59.000Z", "253402300799000000"),
    ],
)
def test_the_ends_of_time(now: float, iso: str, microseconds: str) -> None:
    assert evaluate("${time.iso} ${time.us}", now=now) == f"{iso} {microseconds}"


@pytest.mark.parametrize("now", [-0.1, 253_402_300_800.0, float("nan"), float("inf")])
def test_no_time(now: float) -> None:
    with pytest.raises(ValueError, match="1970"):
        EvaluationContext(now=now, nonce="", uuid="")


@given(st.integers(0, 4_000_000_000_000_000))
def test_the_clock_keeps_its_microseconds(microseconds: int) -> None:
    s, ms, us, iso = evaluate(
        "${time.s} ${time.ms} ${time.us} ${time.iso}", now=microseconds / 1e6
    ).split()
    assert (int(s), int(ms), int(us)) == (
        microseconds // 1_000_000,
        microseconds // 1_000,
        microseconds,
    )
    read = datetime.strptime(iso, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert round(read.timestamp() * 1000) == int(ms)


@pytest.mark.parametrize(
    ("digest", "expected"),
    [
        # RFC 4231, test case 2.
        ("sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            "sha384",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
            "8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            "sha512",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
            "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ],
)
def test_hmac(digest: str, expected: str) -> None:
    message = "'what do ya want ', 'for nothing?'"
    assert evaluate(f"${{hex(hmac.{digest}(secret:KEY, {message}))}}", {"KEY": "Jefe"}) == expected
    key = base64.b64encode(b"Jefe").decode()
    encoded = evaluate(f"${{base64(hmac.{digest}(unbase64(secret:KEY), {message}))}}", {"KEY": key})
    assert base64.b64decode(encoded).hex() == expected


def test_a_signature_over_the_time_that_is_sent() -> None:
    login = parse(
        '{"key":"${json(secret:K)}","timestamp":"${time.s}","nonce":"${nonce}","sign":"'
        "${base64(hmac.sha256(secret:S, time.s, nonce, 'GET/users/self/verify'))}\"}"
    )
    context = EvaluationContext(NOW, "ab12", "u", {"K": 'a"b', "S": "s3cret", "OTHER": ""})
    sent = json.loads(login.evaluate(context))
    signed = f"{sent['timestamp']}{sent['nonce']}GET/users/self/verify".encode()
    expected = base64.b64encode(hmac.digest(b"s3cret", signed, hashlib.sha256)).decode()
    assert sent == {"key": 'a"b', "timestamp": "1719234567", "nonce": "ab12", "sign": expected}


def test_bytes_in_a_url_and_in_a_key() -> None:
    derived = "hmac.sha256(hmac.sha256(secret:A, 'day'), 'request')"
    key = hmac.digest(b"a", b"day", "sha256")
    expected = hmac.digest(key, b"request", "sha256")
    assert unquote_to_bytes(evaluate(f"${{url({derived})}}", {"A": "a"})) == expected


def test_secrets_are_raw() -> None:
    assert evaluate("${secret:A}${ secret:b.c-D_1 }", {"A": '"${nonce}', "b.c-D_1": "}"}) == (
        '"${nonce}}'
    )


def test_a_missing_secret() -> None:
    with pytest.raises(MissingSecret, match=r"^there is no secret named WANTED$") as caught:
        evaluate("${secret:THERE}${hex(secret:WANTED)}", {"THERE": HIDDEN})
    assert caught.value.name == "WANTED"
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "value", "words"),
    [
        ("${secret:A}", "hidden\udc80", "no Unicode"),
        ("${hex(unbase64(secret:A))}", "hidd!", "not base64"),
        ("${hex(unbase64(secret:A))}", "hiddené", "not base64"),
        ("${hex(unbase64(secret:A))}", "hidde", "not base64"),
    ],
)
def test_an_unusable_secret_is_not_shown(text: str, value: str, words: str) -> None:
    with pytest.raises(UnusableSecret, match=words) as caught:
        evaluate(text, {"A": value})
    assert caught.value.name == "A"
    assert "hidd" not in "".join(traceback.format_exception(caught.value))


def test_the_context_does_not_show_its_secrets() -> None:
    context = EvaluationContext(NOW, "n", "u", {"A": "hidden-value"})
    assert "hidden" not in repr(context)


def test_the_bound_is_exact() -> None:
    most = MAX_RESULT_BYTES
    assert len(evaluate("${secret:A}", {"A": "x" * most})) == most
    with pytest.raises(ResultTooLarge, match=str(most)):
        evaluate("${secret:A}", {"A": "x" * (most + 1)})
    with pytest.raises(ResultTooLarge):
        evaluate("-${secret:A}", {"A": "é" * (most // 2)})


def test_functions_cannot_multiply_the_work() -> None:
    with pytest.raises(ResultTooLarge):
        evaluate("${" + "url(" * 8 + "secret:A" + ")" * 8 + "}", {"A": "%" * 100_000})
    message = ", ".join(["secret:A"] * 200)
    with pytest.raises(ResultTooLarge):
        evaluate(f"${{hex(hmac.sha256('key', {message}))}}", {"A": "x" * 9000})


@given(st.text(), st.sampled_from(["hex", "base64", "json", "url"]), st.integers(1, 8), st.text())
def test_filters_can_be_undone(text: str, function: str, depth: int, secret: str) -> None:
    undo = {
        "hex": bytes.fromhex,
        "base64": base64.b64decode,
        "json": lambda value: json.loads(f'"{value}"').encode(),
        "url": unquote_to_bytes,
    }[function]
    wrapped = f"{function}(" * depth + quoted(text) + ", secret:A" + ")" * depth
    value = evaluate("${" + wrapped + "}", {"A": secret})
    for _ in range(depth):
        value = undo(value).decode()
    assert value == text + secret


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_any_secret_gives_a_value_or_a_documented_error(a: str, b: str) -> None:
    template = parse(
        "${secret:A}${hex(unbase64(secret:B))}${json(secret:A)}${url(secret:B)}"
        "${base64(hmac.sha512(secret:B, secret:A))}"
    )
    try:
        result = template.evaluate(EvaluationContext(NOW, "n", "u", {"A": a, "B": b}))
    except EvaluationFailed:
        return
    assert result.startswith(a)
