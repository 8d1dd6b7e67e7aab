"""Judges of options: what a caller may choose passes, every fault is named by its field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

import pytest
from hypothesis import given

from tests.kit.options import CERTIFICATE, KEY, connection_options, fullest
from websocketmanager.domain import limits
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.limits import Limits
from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.option_faults import MAX_OPTIONS_BYTES, option_faults
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    Correlation,
    HandshakeOptions,
    Header,
    Liveness,
    Match,
    Opening,
    Overlap,
    Pattern,
    Payload,
    QuietWindow,
    RefusalRule,
    Rotation,
    Step,
    Subscription,
    TlsOptions,
)
from websocketmanager.domain.retry import Advice

ANY = Pattern()
OK = Pattern(Match.POINTER, "/ok")
PING = Payload("ping")
RULE = RefusalRule(OK, Advice.LATER)


class Found:
    def search(self, data: bytes) -> bool:
        return True


def compiled(expression: str) -> Found:
    if expression == "(":
        raise ValueError("has an open bracket")
    return Found()


def faults(*, secure: bool = True, **chosen: Any) -> list[str]:
    options = ConnectionOptions(**chosen)
    return [
        str(fault)
        for fault in option_faults(options, compile_regex=compiled, secure=secure, path="o")
    ]


LOGGING = Limits(has_message_log=True)


@given(connection_options())
def test_what_may_be_chosen_passes(options: ConnectionOptions) -> None:
    assert option_faults(options, compile_regex=compiled) == []
    assert limits.options_faults(options, auto_reconnect=True, limits=LOGGING) == []


def test_the_defaults_and_the_fullest_pass() -> None:
    assert option_faults(ConnectionOptions(), compile_regex=None, secure=False) == []
    assert option_faults(fullest(), compile_regex=compiled) == []


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"send_spacing_ms": -1}, "o.send_spacing_ms: must be from 1 to 60000, not -1"),
        ({"send_spacing_ms": 60_001}, "o.send_spacing_ms: must be from 1 to 60000, not 60001"),
        ({"exclusive": "a\nb"}, "o.exclusive: must not contain control characters"),
        ({"exclusive": "a" * 257}, "o.exclusive: must have at most 256 characters, not 257"),
    ],
)
def test_plain_fields(chosen: dict[str, Any], expected: str) -> None:
    assert faults(**chosen) == [expected]


@pytest.mark.parametrize(
    ("handshake", "expected"),
    [
        (HandshakeOptions(headers=(Header("X", "v"),) * 64), ""),
        (HandshakeOptions(headers=(Header("X", "v"),) * 65), "headers: must be at most 64, not 65"),
        (HandshakeOptions(headers=(Header("a b", "v"),)), "headers[0].name: must be a token"),
        (HandshakeOptions(headers=(Header("Host", "v"),)), "headers[0].name: must not be Host"),
        (HandshakeOptions(headers=(Header("X", "a\r\nb"),)), "headers[0].value: must have visible"),
        (
            HandshakeOptions(headers=(Header("X", "${secret:A}\n"),)),
            "headers[0].value: must have vi",
        ),
        (HandshakeOptions(headers=(Header("X", "${secret:A} b"),)), ""),
        (HandshakeOptions(headers=(Header("X", "${secret}"),)), "headers[0].value: at character 9"),
        (HandshakeOptions(subprotocols=("a", "a")), "subprotocols[1]: must not be offered twice"),
        (HandshakeOptions(origin="app.example"), "origin: must be scheme://host"),
        (HandshakeOptions(open_timeout_ms=600_001), "open_timeout_ms: must be from 1 to 600000"),
        (HandshakeOptions(close_timeout_ms=-1), "close_timeout_ms: must be from 1 to 60000"),
        (HandshakeOptions(proxy="socks4://h:1"), "proxy: must begin with one of http://"),
        (
            HandshakeOptions(proxy="http://${secret:H}:1"),
            "proxy: must not have a template in its h",
        ),
        (HandshakeOptions(proxy="http://u:${secret:P}@h:1"), ""),
        (HandshakeOptions(proxy="http://u:${secret}@h:1"), "proxy: at character 18"),
        (HandshakeOptions(proxy="http://" + "h" * 2048), "proxy: must have at most 2048 char"),
        (HandshakeOptions(tls=TlsOptions(ca_pem=CERTIFICATE)), ""),
        (HandshakeOptions(tls=TlsOptions(ca_pem="${secret:CA}")), ""),
        (HandshakeOptions(tls=TlsOptions(ca_pem="CA")), "tls.ca_pem: must have a PEM block"),
        (HandshakeOptions(tls=TlsOptions(ca_pem="${CA}")), "tls.ca_pem: at character 3"),
        (
            HandshakeOptions(tls=TlsOptions(certificate_pem=CERTIFICATE)),
            "tls.key_pem: must be given",
        ),
        (
            HandshakeOptions(tls=TlsOptions(key_pem="${secret:K}")),
            "tls.certificate_pem: must be giv",
        ),
        (
            HandshakeOptions(tls=TlsOptions(certificate_pem="${secret:C}", key_pem=KEY + KEY)),
            "tls.key_pem: must have one PEM block",
        ),
        (HandshakeOptions(tls=TlsOptions(server_name="a b")), "tls.server_name: must have a host"),
    ],
)
def test_handshakes(handshake: HandshakeOptions, expected: str) -> None:
    found = faults(handshake=handshake)
    assert len(found) == bool(expected)
    assert not expected or found[0].startswith("o.handshake." + expected)


def test_tls_needs_a_url_with_tls() -> None:
    handshake = HandshakeOptions(tls=TlsOptions(server_name="h"))
    found = faults(handshake=handshake, secure=False)
    assert found == ["o.handshake.tls: must not be given for a URL that is not wss://"]


@pytest.mark.parametrize(
    ("opening", "expected"),
    [
        (Opening(steps=(Step(PING, ANY),) * 32), ""),
        (Opening(steps=(Step(PING),) * 33), "steps: must be at most 32, not 33"),
        (Opening(steps=(Step(),)), "steps[0]: must send or expect something"),
        (Opening(steps=(Step(PING, timeout_ms=5),)), "steps[0].timeout_ms: needs expect"),
        (Opening(steps=(Step(PING, forward=True),)), "steps[0].forward: needs expect"),
        (Opening(steps=(Step(None, ANY, -1),)), "steps[0].timeout_ms: must be from 1 to 600000"),
        (Opening(steps=(Step(Payload()),)), "steps[0].send: must have one of text and binary"),
        (
            Opening(steps=(Step(Payload("a", b"b")),)),
            "steps[0].send: must have one of text and bin",
        ),
        (Opening(steps=(Step(Payload(binary=b"a" * 65_536)),)), ""),
        (
            Opening(steps=(Step(Payload(binary=b"a" * 65_537)),)),
            "steps[0].send.binary: must have at most 65536 bytes, not 65537",
        ),
        (Opening(steps=(Step(Payload("${secret:}")),)), "steps[0].send.text: at character 10"),
        (Opening(steps=(Step(Payload("${hmac.sha256('k','m')}")),)), "steps[0].send.text: at char"),
        (Opening(steps=(Step(Payload("${hex(unbase64(secret:A))}")),)), ""),
        (
            Opening(steps=(Step(None, Pattern(Match.POINTER, "a")),)),
            "steps[0].expect.pointer: a JSON pointer",
        ),
        (
            Opening(steps=(Step(None, Pattern(Match.POINTER, "/a", "ok")),)),
            "steps[0].expect.value: is no JSON value",
        ),
        (
            Opening(steps=(Step(None, Pattern(Match.REGEX, regex="(")),)),
            "steps[0].expect.regex: has an open bracket",
        ),
        (Opening(steps=(Step(None, Pattern(regex="a")),)), "steps[0].expect.regex: belongs to mat"),
        (Opening(refusals=(RULE,) * 33), "refusals: must be at most 32, not 33"),
        (Opening(refusals=(replace(RULE, pattern=ANY),)), "refusals[0].pattern: must not match ev"),
        (Opening(refusals=(replace(RULE, pattern=Pattern(frame=Kind.BINARY)),)), ""),
        (
            Opening(refusals=(replace(RULE, name="n" * 65),)),
            "refusals[0].name: must have at most 64",
        ),
        (
            Opening(refusals=(replace(RULE, pattern=Pattern(Match.REGEX)),)),
            "refusals[0].pattern.regex: match regex needs an expression",
        ),
    ],
)
def test_openings(opening: Opening, expected: str) -> None:
    found = faults(opening=opening)
    assert len(found) == bool(expected)
    assert not expected or found[0].startswith("o.opening." + expected)


def test_subscriptions() -> None:
    found = faults(
        subscriptions=(
            Subscription("a", PING, PING, OK),
            Subscription("b", Payload(), Payload("${x}"), ANY),
            Subscription("", PING),
            Subscription("a", PING, acknowledge=Pattern(Match.REGEX, regex="(")),
            Subscription("k" * 257, PING),
        )
    )
    assert found == [
        "o.subscriptions[1].subscribe: must have one of text and binary, and it must not be empty",
        *[fault for fault in found if fault.startswith("o.subscriptions[1].unsubscribe.text: at")],
        "o.subscriptions[1].acknowledge: must not match every message",
        "o.subscriptions[2].key: must not be empty",
        "o.subscriptions[3].key: must not be that of o.subscriptions[0], too",
        "o.subscriptions[3].acknowledge.regex: has an open bracket",
        "o.subscriptions[4].key: must have at most 256 characters, not 257",
    ]
    assert len(found) == 7


def test_many_subscriptions() -> None:
    wanted = tuple(Subscription(str(number), PING) for number in range(1025))
    assert faults(subscriptions=wanted[:1024]) == []
    assert faults(subscriptions=wanted) == ["o.subscriptions: must be at most 1024, not 1025"]


@pytest.mark.parametrize(
    ("liveness", "expected"),
    [
        (Liveness(ping_interval_ms=99), "ping_interval_ms: must be from 100 to 3600000, not 99"),
        (Liveness(ping_timeout_ms=9), "ping_timeout_ms: must be from 10 to 3600000, not 9"),
        (Liveness(read_idle_ms=86_400_001), "read_idle_ms: must be from 10 to 86400000"),
        (Liveness(first_data_ms=-1), "first_data_ms: must be from 10 to 86400000"),
        (Liveness(data_age_ms=1), "data_age_ms: must be from 10 to 86400000"),
        (Liveness(data=ANY), ""),
        (Liveness(data=Pattern(value="1")), "data.value: belongs to match pointer"),
        (Liveness(heartbeat=ApplicationHeartbeat(PING, 100)), ""),
        (
            Liveness(heartbeat=ApplicationHeartbeat(PING, 0)),
            "heartbeat.interval_ms: must be from 100",
        ),
        (Liveness(heartbeat=ApplicationHeartbeat(Payload(), 100)), "heartbeat.send: must have one"),
        (
            Liveness(heartbeat=ApplicationHeartbeat(PING, 100, None, 10)),
            "heartbeat.timeout_ms: needs expect",
        ),
        (
            Liveness(heartbeat=ApplicationHeartbeat(PING, 100, OK, 9)),
            "heartbeat.timeout_ms: must be from 10 to 3600000, not 9",
        ),
        (
            Liveness(heartbeat=ApplicationHeartbeat(PING, 100, ANY)),
            "heartbeat.expect: must not match every message",
        ),
        (Liveness(quiet=(QuietWindow((0,), "00:00", "00:00"),) * 33), "quiet: must be at most 32"),
        (Liveness(quiet=(QuietWindow((0,), "24:00", "00:00"),)), "quiet[0].start: "),
        (Liveness(quiet=(QuietWindow((7,), "00:00", "00:00"),)), "quiet[0].weekdays[0]: "),
        (Liveness(quiet=(QuietWindow((0,), "00:00", "00:00", "Nowhere"),)), "quiet[0].time_zone: "),
    ],
)
def test_livenesses(liveness: Liveness, expected: str) -> None:
    found = faults(liveness=liveness)
    assert len(found) == bool(expected)
    assert not expected or found[0].startswith("o.liveness." + expected)


@pytest.mark.parametrize(
    ("correlation", "expected"),
    [
        (Correlation("/id"), []),
        (Correlation("id"), ["request_pointer: a JSON pointer"]),
        (Correlation("/id", "id"), ["reply_pointer: a JSON pointer"]),
        (Correlation("", "/id"), ["request_pointer: must be given with reply_pointer"]),
    ],
)
def test_correlations(correlation: Correlation, expected: list[str]) -> None:
    found = faults(correlation=correlation)
    assert len(found) == len(expected)
    for fault, start in zip(found, expected, strict=True):
        assert fault.startswith("o.correlation." + start)


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (Rotation(max_age_ms=1000, jitter_ms=999), ""),
        (Rotation(max_age_ms=999), "max_age_ms: must be from 1000 to 604800000, not 999"),
        (Rotation(max_age_ms=-1), "max_age_ms: must be from 1000 to 604800000, not -1"),
        (Rotation(max_age_ms=1000, jitter_ms=1000), "jitter_ms: must be from 1 to 999, not 1000"),
        (Rotation(jitter_ms=1), "max_age_ms: must be given with jitter_ms"),
        (Rotation(notices=(OK,) * 17), "notices: must be at most 16, not 17"),
        (Rotation(notices=(OK, ANY)), "notices[1]: must not match every message"),
        (Rotation(data_timeout_ms=9), "data_timeout_ms: must be from 10 to 600000, not 9"),
        (
            Rotation(overlap=Overlap.CONTENT, overlap_window_ms=60_001),
            "overlap_window_ms: must be from 1 to 60000, not 60001",
        ),
        (Rotation(overlap_window_ms=1), "overlap_window_ms: must not be given with OVERLAP_CUT"),
        (Rotation(overlap=Overlap.POINTER, overlap_pointer="/u"), ""),
        (Rotation(overlap=Overlap.POINTER), "overlap_pointer: must be given with OVERLAP_POINTER"),
        (
            Rotation(overlap_pointer="/u"),
            "overlap_pointer: must be given with OVERLAP_POINTER, and",
        ),
        (Rotation(overlap=Overlap.POINTER, overlap_pointer="u"), "overlap_pointer: a JSON pointer"),
    ],
)
def test_rotations(rotation: Rotation, expected: str) -> None:
    found = faults(rotation=rotation)
    assert len(found) == bool(expected)
    assert not expected or found[0].startswith("o.rotation." + expected)


def test_without_regular_expressions_each_is_a_fault() -> None:
    options = ConnectionOptions(liveness=Liveness(data=Pattern(Match.REGEX, regex="a")))
    found = option_faults(options, compile_regex=None)
    assert list(map(str, found)) == [
        "options.liveness.data.regex: regular expressions are not available here"
    ]


def test_each_regular_expression_is_compiled_once_and_not_too_many() -> None:
    tried: list[str] = []

    def compile_regex(expression: str, /) -> Found:
        tried.append(expression)
        return compiled(expression)

    def found(expressions: list[str]) -> list[str]:
        tried.clear()
        wanted = tuple(
            Subscription(str(n), PING, acknowledge=Pattern(Match.REGEX, regex=expression))
            for n, expression in enumerate(expressions)
        )
        options = ConnectionOptions(subscriptions=wanted)
        return list(map(str, option_faults(options, compile_regex=compile_regex)))

    many = [str(number) for number in range(64)]
    assert found(many * 2) == []
    assert tried == many
    assert found([*many, "x", "("]) == [
        "options: must have at most 64 different regular expressions, not 66"
    ]
    assert tried == many
    assert found(["(", "("]) == [
        f"options.subscriptions[{n}].acknowledge.regex: has an open bracket" for n in (0, 1)
    ]
    assert tried == ["("]


def test_together_they_have_a_bound() -> None:
    big = tuple(Subscription(str(n), Payload("é" * 32_000)) for n in range(17))
    assert faults(subscriptions=big[:16]) == []
    (found,) = faults(subscriptions=big)
    assert found.startswith(f"o: must take at most {MAX_OPTIONS_BYTES} bytes as JSON, not ")


def test_all_faults_come_at_once() -> None:
    found = faults(
        handshake=HandshakeOptions(origin="x", headers=(Header("", "${"),)),
        opening=Opening(steps=(Step(),)),
        subscriptions=(Subscription("", Payload()),),
        liveness=Liveness(read_idle_ms=1),
        correlation=Correlation("x"),
        send_spacing_ms=-1,
        exclusive="\n",
        rotation=Rotation(max_age_ms=1),
    )
    assert [fault.split(": ")[0] for fault in found] == [
        "o.handshake.headers[0].value",
        "o.handshake.headers[0].name",
        "o.handshake.origin",
        "o.opening.steps[0]",
        "o.subscriptions[0].key",
        "o.subscriptions[0].subscribe",
        "o.liveness.read_idle_ms",
        "o.correlation.request_pointer",
        "o.send_spacing_ms",
        "o.exclusive",
        "o.rotation.max_age_ms",
    ]


def test_no_sentence_repeats_a_secret_in_plain_text() -> None:
    canary = "hunter2hunter2"
    found = faults(
        handshake=HandshakeOptions(
            headers=(Header("X", canary + "\n"), Header("Y", "${" + canary)),
            proxy=f"http://u:{canary}@h",
            tls=TlsOptions(canary, canary, canary),
        ),
        opening=Opening(steps=(Step(Payload(f"{canary}${{{canary}")),)),
    )
    assert len(found) == 7
    assert canary not in "".join(found)


def test_only_the_compiler_may_say_no_to_an_expression() -> None:
    def never(_: str, /) -> NoReturn:
        raise ValueError("never")

    options = ConnectionOptions(opening=Opening(refusals=(replace(RULE, pattern=OK),)))
    assert option_faults(options, compile_regex=never) == []
