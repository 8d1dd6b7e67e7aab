"""Options made ready: nothing is lost on the way, and every text is evaluated when it is said."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.kit.options import connection_options
from websocketmanager.adapters.regex import compile_regex
from websocketmanager.domain.frames import Kind
from websocketmanager.domain.model import ConnectionOptions, ConnectionSpec, Message
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    HandshakeOptions,
    Header,
    Liveness,
    Match,
    Opening,
    Pattern,
    Payload,
    QuietWindow,
    RefusalRule,
    Step,
    Subscription,
    TlsOptions,
)
from websocketmanager.domain.plan import Plan, compile_plan
from websocketmanager.domain.retry import Advice
from websocketmanager.domain.template import EvaluationContext, MissingSecret

OK = Pattern(Match.POINTER, pointer="/ok", value="true")


def plan_of(url: str = "wss://feed.test/", **options: object) -> Plan:
    chosen = ConnectionOptions(**options)  # type: ignore[arg-type] # the fields vary by test
    return compile_plan(ConnectionSpec(url, options=chosen), compile_regex)


def context(now: float = 1.0, nonce: str = "0", **secrets: str) -> EvaluationContext:
    return EvaluationContext(now=now, nonce=nonce, uuid="u", secrets=secrets)


def test_a_plan_of_nothing_says_and_expects_nothing() -> None:
    plan = plan_of()
    assert not any((plan.steps, plan.refusals, plan.subscriptions, plan.headers))
    assert (plan.secrets, plan.data, plan.heartbeat) == (frozenset(), None, None)
    assert not plan.silence.wanted
    assert not plan.quiet.covers(0.0)
    assert plan.send_spacing_seconds == 0.0


def test_steps_keep_their_order_and_their_fields() -> None:
    plan = plan_of(
        opening=Opening(
            steps=(
                Step(send=Payload("${nonce}")),
                Step(send=Payload(binary=b"${nonce}"), expect=OK, timeout_ms=1500, forward=True),
                Step(expect=Pattern()),
            )
        )
    )
    first, second, third = plan.steps
    assert first.send is not None
    assert first.expect is None
    assert (first.send.kind, first.send.said(context(nonce="7"))) == (Kind.TEXT, b"7")
    assert second.send is not None
    assert (second.send.kind, second.send.said(context())) == (Kind.BINARY, b"${nonce}")
    assert (second.timeout_seconds, second.forward) == (1.5, True)
    assert second.expect is not None
    assert second.expect.matches(Message(Kind.TEXT, b'{"ok":true}'))
    assert not second.expect.matches(Message(Kind.TEXT, b'{"ok":false}'))
    assert third.send is None
    assert (third.timeout_seconds, third.forward) == (0.0, False), "the service's default"


def test_a_text_is_evaluated_anew_each_time() -> None:
    plan = plan_of(opening=Opening((Step(send=Payload("${time.s} ${nonce} ${secret:A}")),)))
    speech = plan.steps[0].send
    assert speech is not None
    assert speech.said(context(1.0, "x", A="one")) == b"1 x one"
    assert speech.said(context(2.0, "y", A="two")) == b"2 y two"
    with pytest.raises(MissingSecret):
        speech.said(context())


def test_refusals_keep_their_class_and_name() -> None:
    rules = tuple(RefusalRule(OK, advice, advice.value) for advice in Advice)
    refusals = plan_of(opening=Opening(refusals=rules)).refusals
    assert [(one.advice, one.name) for one in refusals] == [(one, one.value) for one in Advice]
    assert all(one.pattern.matches(Message(Kind.TEXT, b'{"ok":true}')) for one in refusals)


def test_subscriptions_keep_their_order() -> None:
    plan = plan_of(
        subscriptions=(
            Subscription("b", Payload("+b"), Payload("-b"), OK),
            Subscription("a", Payload(binary=b"\x01")),
        )
    )
    second, first = plan.subscriptions
    assert (second.key, first.key) == ("b", "a")
    assert second.unsubscribe is not None
    assert second.unsubscribe.said(context()) == b"-b"
    assert second.acknowledge is not None
    assert (first.subscribe.kind, first.unsubscribe, first.acknowledge) == (Kind.BINARY, None, None)


def test_milliseconds_become_seconds() -> None:
    plan = plan_of(
        liveness=Liveness(
            read_idle_ms=1500,
            first_data_ms=2500,
            data_age_ms=3500,
            data=OK,
            heartbeat=ApplicationHeartbeat(Payload("ping"), interval_ms=4500),
            quiet=(QuietWindow((0, 1, 2, 3, 4, 5, 6), "00:00", "00:01"),),
        ),
        send_spacing_ms=250,
        exclusive="key",
    )
    silence = plan.silence
    assert (silence.read_idle_seconds, silence.first_data_seconds) == (1.5, 2.5)
    assert silence.data_age_seconds == 3.5
    assert plan.data is not None
    assert plan.quiet.covers(30.0)
    assert not plan.quiet.covers(60.0)
    assert plan.heartbeat is not None
    assert (plan.heartbeat.interval_seconds, plan.heartbeat.timeout_seconds) == (4.5, 4.5)
    assert (plan.send_spacing_seconds, plan.exclusive) == (0.25, "key")


def test_a_heartbeat_may_have_a_limit_of_its_own() -> None:
    beat = ApplicationHeartbeat(Payload("ping"), interval_ms=4500, expect=OK, timeout_ms=500)
    heartbeat = plan_of(liveness=Liveness(heartbeat=beat)).heartbeat
    assert heartbeat is not None
    assert heartbeat.expect is not None
    assert heartbeat.timeout_seconds == 0.5


def test_all_secrets_are_named_wherever_they_stand() -> None:
    plan = plan_of(
        "wss://u:${secret:URL}@feed.test/?t=${secret:QUERY}",
        handshake=HandshakeOptions(
            headers=(Header("A", "${secret:HEADER}"),),
            proxy="http://u:${secret:PROXY}@proxy.test:1",
            tls=TlsOptions("${secret:CA}", "${secret:CERTIFICATE}", "${secret:KEY}"),
        ),
        opening=Opening((Step(send=Payload("${hex(hmac.sha256(secret:SIGN, 'x'))}")),)),
        subscriptions=(Subscription("a", Payload("${secret:SUB}"), Payload("${secret:UNSUB}")),),
        liveness=Liveness(heartbeat=ApplicationHeartbeat(Payload("${secret:BEAT}"), 1000)),
    )
    names = "URL QUERY HEADER PROXY CA CERTIFICATE KEY SIGN SUB UNSUB BEAT"
    assert " ".join(sorted(plan.secrets)) == " ".join(sorted(names.split()))
    secrets = {name: name.lower() for name in plan.secrets}
    values = EvaluationContext(now=1.0, nonce="0", uuid="u", secrets=secrets)
    assert [(name, text.evaluate(values)) for name, text in plan.headers] == [("A", "header")]
    assert {name: text.evaluate(values) for name, text in plan.tls.items()} == {
        "ca_pem": "ca",
        "certificate_pem": "certificate",
        "key_pem": "key",
    }


def test_options_of_another_version_are_refused() -> None:
    with pytest.raises(ValueError, match="regex"):
        plan_of(liveness=Liveness(data=Pattern(Match.REGEX, regex="(")))
    with pytest.raises(ValueError, match="at character 3"):
        plan_of(opening=Opening((Step(send=Payload("${nonsense}")),)))


@given(connection_options())
def test_whatever_may_be_chosen_becomes_a_plan(options: ConnectionOptions) -> None:
    plan = compile_plan(ConnectionSpec("wss://feed.test/", options=options), compile_regex)
    assert len(plan.steps) == len(options.opening.steps)
    assert [one.key for one in plan.subscriptions] == [one.key for one in options.subscriptions]
    assert [one.advice for one in plan.refusals] == [
        rule.advice for rule in options.opening.refusals
    ]
    assert (plan.heartbeat is None) == (options.liveness.heartbeat is None)
    assert (plan.data is None) == (options.liveness.data is None)
