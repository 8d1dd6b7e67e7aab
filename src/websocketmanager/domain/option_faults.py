"""Judges what a connection says, hears and expects: every fault, by the path of its field. Pure.

`option_judge` knows what payloads, templates and patterns may be; here is what each group of
options may say. In every number zero means the default, or off. No sentence repeats what may be a
secret.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from websocketmanager.domain import handshake_rules as rules
from websocketmanager.domain import limits, template
from websocketmanager.domain.model import ConnectionOptions
from websocketmanager.domain.option_judge import MAX_REGEXES, OptionJudge
from websocketmanager.domain.options import (
    ApplicationHeartbeat,
    Correlation,
    HandshakeOptions,
    Liveness,
    Opening,
    Overlap,
    Rotation,
    Step,
    Subscription,
    TlsOptions,
)
from websocketmanager.domain.pattern import CompileRegex
from websocketmanager.domain.quiet import quiet_window_faults
from websocketmanager.domain.record_options import to_value
from websocketmanager.domain.template import TemplateFault
from websocketmanager.domain.url_template import proxy_faults
from websocketmanager.errors import Fault

MAX_STEPS: Final = 32
MAX_REFUSALS: Final = 32
MAX_REFUSAL_NAME_LENGTH: Final = 64
MAX_SUBSCRIPTIONS: Final = 1024
MAX_SUBSCRIPTION_KEY_LENGTH: Final = 256
MAX_QUIET_WINDOWS: Final = 32
MAX_NOTICES: Final = 16
MAX_EXCLUSIVE_LENGTH: Final = 256
#: Bytes of all options as JSON: every change of a connection writes them to the store.
MAX_OPTIONS_BYTES: Final = 1_048_576

_MINUTE: Final = 60_000
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
#: Stand for PEM texts that only a secret holds.
_SAMPLE_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
_SAMPLE_KEY: Final = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"


def option_faults(
    options: ConnectionOptions,
    *,
    compile_regex: CompileRegex | None,
    secure: bool = True,
    path: str = "options",
) -> list[Fault]:
    """Judges all options but those that `limits.options_faults` judges.

    Args:
        options: what the caller chose.
        compile_regex: None where there are no regular expressions: each is a fault.
        secure: whether the URL is wss://.
        path: of the options within the request.
    """
    judge = OptionJudge(compile_regex)
    _handshake(judge, options.handshake, f"{path}.handshake", secure=secure)
    _opening(judge, options.opening, f"{path}.opening")
    _subscriptions(judge, options.subscriptions, f"{path}.subscriptions")
    _liveness(judge, options.liveness, f"{path}.liveness")
    _correlation(judge, options.correlation, f"{path}.correlation")
    judge.number(options.send_spacing_ms, f"{path}.send_spacing_ms", 1, _MINUTE)
    if options.exclusive:
        judge.faults += limits.line_faults(
            options.exclusive, f"{path}.exclusive", MAX_EXCLUSIVE_LENGTH
        )
    _rotation(judge, options.rotation, f"{path}.rotation")
    if (count := len(judge.regexes)) > MAX_REGEXES:
        problem = f"must have at most {MAX_REGEXES} different regular expressions, not {count}"
        judge.fault(path, problem)
    if not judge.faults:
        size = len(json.dumps(to_value(options), ensure_ascii=False).encode())
        if size > MAX_OPTIONS_BYTES:
            judge.fault(path, f"must take at most {MAX_OPTIONS_BYTES} bytes as JSON, not {size}")
    return judge.faults


def _handshake(judge: OptionJudge, chosen: HandshakeOptions, path: str, *, secure: bool) -> None:
    """The rules are those for evaluated texts; what is a secret is replaced by a sample."""
    headers = [
        (header.name, judge.evaluated(header.value, f"{path}.headers[{index}].value"))
        for index, header in enumerate(chosen.headers[: rules.MAX_HEADERS + 1])
    ]
    tls = _sampled_tls(judge, chosen.tls, f"{path}.tls")
    found = rules.handshake_faults(
        headers=headers,
        subprotocols=chosen.subprotocols,
        origin=chosen.origin,
        tls=tls,
        secure=secure,
    )
    judge.faults += [Fault(f"{path}.{fault.path}", fault.problem) for fault in found]
    judge.number(chosen.open_timeout_ms, f"{path}.open_timeout_ms", 1, 10 * _MINUTE)
    judge.number(chosen.close_timeout_ms, f"{path}.close_timeout_ms", 1, _MINUTE)
    if chosen.proxy:
        judge.faults += proxy_faults(chosen.proxy, f"{path}.proxy")


def _opening(judge: OptionJudge, opening: Opening, path: str) -> None:
    judge.count(opening.steps, MAX_STEPS, f"{path}.steps")
    for index, step in enumerate(opening.steps[:MAX_STEPS]):
        _step(judge, step, f"{path}.steps[{index}]")
    judge.count(opening.refusals, MAX_REFUSALS, f"{path}.refusals")
    for index, rule in enumerate(opening.refusals[:MAX_REFUSALS]):
        at = f"{path}.refusals[{index}]"
        judge.selective(rule.pattern, f"{at}.pattern")
        if rule.name:
            judge.faults += limits.line_faults(rule.name, f"{at}.name", MAX_REFUSAL_NAME_LENGTH)


def _step(judge: OptionJudge, step: Step, path: str) -> None:
    if step.send is None and step.expect is None:
        judge.fault(path, "must send or expect something")
    if step.send is not None:
        judge.payload(step.send, f"{path}.send")
    if step.expect is not None:
        judge.pattern(step.expect, f"{path}.expect")
    elif step.send is not None:
        if step.timeout_ms:
            judge.fault(f"{path}.timeout_ms", "needs expect")
        if step.forward:
            judge.fault(f"{path}.forward", "needs expect")
    judge.number(step.timeout_ms, f"{path}.timeout_ms", 1, 10 * _MINUTE)


def _subscriptions(judge: OptionJudge, wanted: Sequence[Subscription], path: str) -> None:
    judge.count(wanted, MAX_SUBSCRIPTIONS, path)
    first: dict[str, int] = {}
    for index, one in enumerate(wanted[:MAX_SUBSCRIPTIONS]):
        at = f"{path}[{index}]"
        judge.faults += limits.line_faults(one.key, f"{at}.key", MAX_SUBSCRIPTION_KEY_LENGTH)
        if (same := first.setdefault(one.key, index)) != index:
            judge.fault(f"{at}.key", f"must not be that of {path}[{same}], too")
        judge.payload(one.subscribe, f"{at}.subscribe")
        if one.unsubscribe is not None:
            judge.payload(one.unsubscribe, f"{at}.unsubscribe")
        if one.acknowledge is not None:
            judge.selective(one.acknowledge, f"{at}.acknowledge")


def _liveness(judge: OptionJudge, liveness: Liveness, path: str) -> None:
    for name, value, least, most in (
        ("ping_interval_ms", liveness.ping_interval_ms, 100, _HOUR),
        ("ping_timeout_ms", liveness.ping_timeout_ms, 10, _HOUR),
        ("read_idle_ms", liveness.read_idle_ms, 10, _DAY),
        ("first_data_ms", liveness.first_data_ms, 10, _DAY),
        ("data_age_ms", liveness.data_age_ms, 10, _DAY),
    ):
        judge.number(value, f"{path}.{name}", least, most)
    if liveness.data is not None:
        judge.pattern(liveness.data, f"{path}.data")
    if liveness.heartbeat is not None:
        _heartbeat(judge, liveness.heartbeat, f"{path}.heartbeat")
    judge.count(liveness.quiet, MAX_QUIET_WINDOWS, f"{path}.quiet")
    for index, window in enumerate(liveness.quiet[:MAX_QUIET_WINDOWS]):
        for fault in quiet_window_faults(window):
            judge.fault(f"{path}.quiet[{index}].{fault.path}", fault.problem)


def _heartbeat(judge: OptionJudge, heartbeat: ApplicationHeartbeat, path: str) -> None:
    judge.payload(heartbeat.send, f"{path}.send")
    judge.faults += limits.range_faults(heartbeat.interval_ms, f"{path}.interval_ms", 100, _HOUR)
    judge.number(heartbeat.timeout_ms, f"{path}.timeout_ms", 10, _HOUR)
    if heartbeat.expect is not None:
        judge.selective(heartbeat.expect, f"{path}.expect")
    elif heartbeat.timeout_ms:
        judge.fault(f"{path}.timeout_ms", "needs expect")


def _correlation(judge: OptionJudge, correlation: Correlation, path: str) -> None:
    if correlation.reply_pointer and not correlation.request_pointer:
        judge.fault(f"{path}.request_pointer", "must be given with reply_pointer")
    judge.pointer(correlation.request_pointer, f"{path}.request_pointer")
    judge.pointer(correlation.reply_pointer, f"{path}.reply_pointer")


def _rotation(judge: OptionJudge, rotation: Rotation, path: str) -> None:
    judge.number(rotation.max_age_ms, f"{path}.max_age_ms", 1000, 7 * _DAY)
    if rotation.jitter_ms and not rotation.max_age_ms:
        judge.fault(f"{path}.max_age_ms", "must be given with jitter_ms")
    elif rotation.max_age_ms > 0:
        judge.number(rotation.jitter_ms, f"{path}.jitter_ms", 1, rotation.max_age_ms - 1)
    judge.count(rotation.notices, MAX_NOTICES, f"{path}.notices")
    for index, notice in enumerate(rotation.notices[:MAX_NOTICES]):
        judge.selective(notice, f"{path}.notices[{index}]")
    judge.number(rotation.data_timeout_ms, f"{path}.data_timeout_ms", 10, 10 * _MINUTE)
    judge.number(rotation.overlap_window_ms, f"{path}.overlap_window_ms", 1, _MINUTE)
    judge.pointer(rotation.overlap_pointer, f"{path}.overlap_pointer")
    if (rotation.overlap is Overlap.POINTER) != bool(rotation.overlap_pointer):
        judge.fault(f"{path}.overlap_pointer", "must be given with OVERLAP_POINTER, and only so")
    if rotation.overlap is Overlap.CUT and rotation.overlap_window_ms:
        judge.fault(f"{path}.overlap_window_ms", "must not be given with OVERLAP_CUT")


def _sampled_tls(judge: OptionJudge, tls: TlsOptions, path: str) -> TlsOptions:
    return replace(
        tls,
        ca_pem=_pem(judge, tls.ca_pem, f"{path}.ca_pem", _SAMPLE_CERTIFICATE),
        certificate_pem=_pem(
            judge, tls.certificate_pem, f"{path}.certificate_pem", _SAMPLE_CERTIFICATE
        ),
        key_pem=_pem(judge, tls.key_pem, f"{path}.key_pem", _SAMPLE_KEY),
    )


def _pem(judge: OptionJudge, text: str, path: str, sample: str) -> str:
    """Returns a PEM text that can be judged: the caller's unless a secret makes it."""
    try:
        return text if template.parse(text).is_constant else sample
    except TemplateFault as error:
        judge.fault(path, str(error))
        return sample
