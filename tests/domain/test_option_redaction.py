"""Options as they are shown: references stay, what may be a secret in plain text does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from tests.kit.options import CERTIFICATE, KEY, connection_options, fullest
from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.option_redaction import redacted_options
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    HandshakeOptions,
    Header,
    Liveness,
    Opening,
    Payload,
    Step,
    Subscription,
    TlsOptions,
)

CANARY = "hunter2-hunter2"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("User-Agent", CANARY, CANARY),
        ("Authorization", CANARY, "***"),
        ("Authorization", "Bearer " + CANARY, "***"),
        ("Authorization", "Bearer ${secret:TOKEN}", "Bearer ${secret:TOKEN}"),
        ("authorization", "basic ${base64(secret:A)}", "basic ${base64(secret:A)}"),
        ("Authorization", f"{CANARY} ${{secret:TOKEN}}", "***"),
        ("Authorization", f"${{secret:TOKEN}}{CANARY}", "***"),
        ("Authorization", f"${{base64('{CANARY}')}}", "***"),
        ("Authorization", "", ""),
        ("Cookie", "a=" + CANARY, "***"),
        ("APCA-API-KEY-ID", CANARY, "***"),
        ("APCA-API-SECRET-KEY", "${secret:ALPACA}${nonce}", "${secret:ALPACA}${nonce}"),
        ("X-Access-Token", CANARY, "***"),
        ("X-Signature", CANARY, "***"),
        ("X-Passphrase", CANARY, "***"),
    ],
)
def test_headers(name: str, value: str, expected: str) -> None:
    handshake = HandshakeOptions(headers=(Header(name, value),))
    found = redacted_options(ConnectionOptions(handshake=handshake))
    assert found.handshake.headers == (Header(name, expected),)


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ("", ""),
        ("http://p.example:3128", "http://p.example:3128"),
        (f"http://user:{CANARY}@p.example:3128", "http://***@p.example:3128"),
        ("socks5://u:${secret:P}@p.example:1080", "socks5://***@p.example:1080"),
    ],
)
def test_proxies(proxy: str, expected: str) -> None:
    found = redacted_options(ConnectionOptions(handshake=HandshakeOptions(proxy=proxy)))
    assert found.handshake.proxy == expected


def test_private_keys() -> None:
    def shown(tls: TlsOptions) -> TlsOptions:
        return redacted_options(
            ConnectionOptions(handshake=HandshakeOptions(tls=tls))
        ).handshake.tls

    assert shown(TlsOptions(CERTIFICATE, CERTIFICATE, KEY, "h")) == TlsOptions(
        CERTIFICATE, CERTIFICATE, "***", "h"
    )
    reference = TlsOptions(key_pem="${secret:KEY}")
    assert shown(reference) == reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"op":"subscribe","symbol":"BTC"}', '{"op":"subscribe","symbol":"BTC"}'),
        (
            f'{{"action":"auth","key" : "{CANARY}","secret":"a\\"{CANARY}"}}',
            '{"action":"auth","key" : "***","secret":"***"}',
        ),
        (
            '{"args":[{"apiKey":"${secret:K}","sign":"${hex(hmac.sha256(secret:S, time.s))}"}]}',
            '{"args":[{"apiKey":"${secret:K}","sign":"${hex(hmac.sha256(secret:S, time.s))}"}]}',
        ),
        (f'{{"passphrase":"{CANARY}"', '{"passphrase":"***"'),
        ('"key":"', '"key":"'),
    ],
)
def test_messages_to_send(text: str, expected: str) -> None:
    options = ConnectionOptions(
        opening=Opening(steps=(Step(Payload(text)),)),
        subscriptions=(Subscription("a", Payload(text), Payload(text)),),
        liveness=Liveness(heartbeat=ApplicationHeartbeat(Payload(text), 100)),
    )
    found = redacted_options(options)
    assert found.opening.steps == (Step(Payload(expected)),)
    assert found.subscriptions == (Subscription("a", Payload(expected), Payload(expected)),)
    assert found.liveness.heartbeat == ApplicationHeartbeat(Payload(expected), 100)


def test_what_is_only_referred_to_is_shown_as_it_is() -> None:
    found = redacted_options(fullest())
    assert found.handshake.proxy == "http://***@proxy.example:3128"
    assert found.handshake.headers == fullest().handshake.headers
    assert found.handshake.tls == fullest().handshake.tls
    assert (found.opening, found.subscriptions, found.liveness) == (
        fullest().opening,
        fullest().subscriptions,
        fullest().liveness,
    )


@given(connection_options())
def test_showing_twice_changes_nothing_more(options: ConnectionOptions) -> None:
    once = redacted_options(options)
    assert redacted_options(once) == once


def test_a_hostile_text_costs_no_more_than_its_length() -> None:
    for text in ('"' * 60_000, '"a' * 30_000, '"\\' * 30_000, '"key":"' * 8000, "${" * 30_000):
        redacted_options(ConnectionOptions(opening=Opening(steps=(Step(Payload(text)),))))
        header: Any = HandshakeOptions(headers=(Header("key", text),))
        redacted_options(ConnectionOptions(handshake=header))
    value = json.dumps({"k" * 30_000: "v", "token": CANARY})
    found = redacted_options(ConnectionOptions(opening=Opening(steps=(Step(Payload(value)),))))
    assert CANARY not in str(found)
